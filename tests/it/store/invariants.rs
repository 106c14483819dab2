//! The questions behind the invariants: each finds its row and no other.

use chrono::TimeDelta;
use rebilld::{
    domain::{
        authorization::Authorization,
        clock::{TestClock, Timeline},
        customer::Customer,
        invoice::{Invoice, InvoiceStatus},
        payment::{Payment, PaymentStatus},
        payment_request::{PaymentRequest, RequestStatus},
        refund::{Refund, RefundStatus},
        subscription::Subscription,
    },
    store::{self, Error, Tx, invariants::Violation, sums::Sums},
};

use super::{TestDatabase, on_both, samples};

async fn customer(database: &TestDatabase) -> Customer {
    let customer = samples::customer();
    database.write(async |tx: &mut Tx| store::customers::insert(tx, &customer).await).await;
    customer
}

async fn invoice(database: &TestDatabase, change: impl FnOnce(&mut Invoice)) -> Invoice {
    let mut invoice = samples::invoice(customer(database).await.id);
    change(&mut invoice);
    database.write(async |tx: &mut Tx| store::invoices::insert(tx, std::slice::from_ref(&invoice)).await).await;
    invoice
}

on_both! {
    async fn a_breach_is_kept_once_until_it_is_over(database: &TestDatabase) {
        let violation = |name: &str| Violation { name: name.into(), count: 2, broken_at: samples::noon() };
        database.write(async |tx: &mut Tx| store::invariants::broken(tx, &[violation("b"), violation("a")]).await).await;
        assert_eq!(database.write(async |tx: &mut Tx| store::invariants::violations(tx).await).await, [violation("a"), violation("b")]);
        assert!(matches!(database.refused(async |tx: &mut Tx| store::invariants::broken(tx, &[violation("a")]).await).await, Error::Conflict));
        let more = Violation { count: 7, ..violation("b") };
        assert_eq!(database.write(async |tx: &mut Tx| store::invariants::recount(tx, std::slice::from_ref(&more)).await).await, 1);
        assert_eq!(store::invariants::known(&database.db).await.expect("read"), [violation("a"), more]);
        database.write(async |tx: &mut Tx| store::invariants::recount(tx, &[violation("b")]).await).await;
        assert_eq!(database.write(async |tx: &mut Tx| store::invariants::restored(tx, &["a", "c"]).await).await, 1);
        assert_eq!(database.write(async |tx: &mut Tx| store::invariants::violations(tx).await).await, [violation("b")]);
    }

    async fn what_nothing_will_ever_touch_is_found(database: &TestDatabase) {
        let ada = customer(database).await;
        let due = Subscription { next_bill_at: Some(samples::noon()), due_at: Some(samples::noon()), ..samples::subscription(ada.id) };
        let adrift = Subscription { id: samples::id(), due_at: None, ..due.clone() };
        let ended = Subscription { id: samples::id(), next_bill_at: None, ..adrift.clone() };
        let all = [due, adrift.clone(), ended];
        database.write(async |tx: &mut Tx| store::subscriptions::insert(tx, &all).await).await;
        assert_eq!(store::invariants::subscriptions_adrift(&database.db).await.expect("read"), [adrift.id]);

        let mut ids: Vec<_> = all.iter().map(|subscription| subscription.id).collect();
        ids.sort();
        let page = async |after, limit| store::invariants::subscriptions_after(&database.db, after, limit).await.expect("read");
        assert_eq!((page(ids[0], 1).await, page(ids[0], 9).await), (vec![ids[1]], ids[1..].to_vec()));

        invoice(database, |invoice| invoice.next_attempt_at = Some(samples::noon())).await;
        let paying = invoice(database, |_| {}).await;
        let asked = invoice(database, |_| {}).await;
        let stuck = invoice(database, |_| {}).await;
        let request = PaymentRequest { status: RequestStatus::Sent, next_check_at: Some(samples::noon()), ..samples::payment_request(&asked) };
        database.write(async |tx: &mut Tx| store::payment_requests::insert(tx, std::slice::from_ref(&request)).await).await;
        let late = async |before| store::invariants::payment_requests_overdue(&database.db, before).await.expect("read");
        assert_eq!((late(samples::minute(-1)).await, late(samples::noon()).await), (vec![], vec![request.id]));
        let payment = Payment { status: PaymentStatus::Unknown, ..samples::payment(&paying) };
        database.write(async |tx: &mut Tx| store::payments::insert(tx, std::slice::from_ref(&payment)).await).await;
        assert_eq!(store::invariants::invoices_stuck(&database.db).await.expect("read"), [stuck.id]);
    }

    async fn what_is_refused_for_long_is_found_by_its_own_clock(database: &TestDatabase) {
        let clock = TestClock { now_at: samples::minute(60 * 24 * 30), ..samples::clock() };
        database.write(async |tx: &mut Tx| store::clocks::insert(tx, clock.clone()).await).await;
        let refused = |minute, timeline| move |invoice: &mut Invoice| {
            (invoice.timeline, invoice.refused_at, invoice.refused_reason) = (timeline, Some(samples::minute(minute)), Some("310".into()));
            invoice.next_attempt_at = Some(samples::noon());
        };
        let old = invoice(database, refused(-60 * 48, Timeline::Wall)).await;
        invoice(database, refused(-60 * 48 + 1, Timeline::Wall)).await;
        let on_clock = invoice(database, refused(0, Timeline::Test(clock.id))).await;
        let paid = invoice(database, |invoice| {
            (invoice.refused_at, invoice.status, invoice.amount_paid) = (Some(samples::minute(-60 * 99)), InvoiceStatus::Paid, invoice.total);
        }).await;
        let asked = invoice(database, refused(-60 * 99, Timeline::Wall)).await;
        let request = PaymentRequest { status: RequestStatus::Sent, ..samples::payment_request(&asked) };
        database.write(async |tx: &mut Tx| store::payment_requests::insert(tx, std::slice::from_ref(&request)).await).await;
        let found = store::invariants::invoices_refused(&database.db, samples::noon(), TimeDelta::days(2)).await.expect("read");
        let mut found = found;
        found.sort();
        let mut expected = [(old.id, "310".to_owned()), (on_clock.id, "310".to_owned())];
        expected.sort();
        assert_eq!(found, expected, "{paid:?}");

        let parked = invoice(database, |invoice| invoice.parked_reason = Some("410".into())).await;
        invoice(database, |invoice| (invoice.parked_reason, invoice.next_attempt_at) = (Some("410".into()), Some(samples::noon()))).await;
        assert_eq!(store::invariants::invoices_parked(&database.db).await.expect("read").ids, [parked.id.to_string()]);
        let listed = store::invariants::parked_invoices(&database.db).await.expect("read");
        assert_eq!(listed.iter().map(|invoice| (invoice.id, invoice.parked_reason.as_deref())).collect::<Vec<_>>(), [(parked.id, Some("410"))]);
        assert_eq!(store::invariants::invoices_stuck(&database.db).await.expect("read"), []);
    }

    async fn cycles_are_counted_by_their_last_three(database: &TestDatabase) {
        let ada = customer(database).await;
        let of = |next_cycle| Subscription { next_cycle, ..samples::subscription(ada.id) };
        let (new, whole, short) = (of(0), of(5), of(5));
        let cycles = |subscription: &Subscription, cycles: &[i64]| -> Vec<Invoice> {
            let one = |cycle: &i64| Invoice { subscription_id: Some(subscription.id), cycle: Some(*cycle), ..samples::invoice(ada.id) };
            cycles.iter().map(one).collect()
        };
        // The first two are history.
        let invoices = [cycles(&whole, &[2, 3, 4]), cycles(&short, &[0, 1, 2, 4])].concat();
        let all = [new.clone(), whole.clone(), short.clone()];
        database
            .write(async |tx: &mut Tx| {
                store::subscriptions::insert(tx, &all).await?;
                store::invoices::insert(tx, &invoices).await
            })
            .await;
        let ids: Vec<_> = all.iter().map(|subscription| subscription.id).collect();
        assert_eq!(store::invariants::cycles_without_invoice(&database.db, &ids).await.expect("read"), [short.id]);
    }

    async fn sums_are_of_what_was_made_since_then(database: &TestDatabase) {
        let owed = invoice(database, |invoice| (invoice.amount_paid, invoice.amount_refunded) = (700, 200)).await;
        let payment = Payment { status: PaymentStatus::Succeeded, amount_captured: 700, amount_refunded: 200, ..samples::payment(&owed) };
        let refund = |amount, status| Refund { amount, status, lease_expires_at: Some(samples::noon()), ..samples::refund(payment.id, owed.id) };
        let (done, under_way) = (refund(150, RefundStatus::Succeeded), refund(50, RefundStatus::Pending));
        database
            .write(async |tx: &mut Tx| {
                store::payments::insert(tx, std::slice::from_ref(&payment)).await?;
                store::refunds::insert(tx, done).await?;
                store::refunds::insert(tx, under_way.clone()).await
            })
            .await;
        let sums = Sums {
            id: owed.id,
            amount_paid: 700,
            credit_paid: 0,
            amount_refunded: 200,
            amount_credited: 0,
            amount_reduced: 0,
            credit_given: 0,
            taken: 700,
            returned: 200,
            given_back: 200,
            refunded: 150,
            credited: 0,
            noted: 0,
        };
        let db = &database.db;
        let (before, after) = (samples::minute(-60), samples::minute(60 * 24 * 365 * 100));
        assert_eq!(store::sums::of_invoices(db, before).await.expect("read"), [sums]);
        assert_eq!(store::sums::of_invoices(db, after).await.expect("read"), []);
        assert_eq!(store::sums::payments_misreturned(db, before).await.expect("read"), [payment.id]);
        assert_eq!(store::sums::payments_misreturned(db, after).await.expect("read"), []);
        assert_eq!(store::invariants::refunds_beyond_lease(db, samples::noon()).await.expect("read"), [under_way.id]);
        assert_eq!(store::invariants::refunds_beyond_lease(db, samples::minute(-1)).await.expect("read"), []);
        let subscription = samples::subscription(customer(database).await.id);
        let asked = Authorization { lease_expires_at: Some(samples::noon()), ..samples::authorization(&subscription) };
        database
            .write(async |tx: &mut Tx| {
                store::subscriptions::insert(tx, std::slice::from_ref(&subscription)).await?;
                store::authorizations::insert(tx, std::slice::from_ref(&asked)).await
            })
            .await;
        assert_eq!(store::invariants::authorizations_beyond_lease(db, samples::noon()).await.expect("read"), [asked.id]);
        assert_eq!(store::invariants::authorizations_beyond_lease(db, samples::minute(-1)).await.expect("read"), []);
        assert_eq!(store::invariants::authorizations_taken(db, before).await.expect("read"), []);
        let taken = Authorization { amount_taken: Some(7), ..asked };
        database.write(async |tx: &mut Tx| store::authorizations::save(tx, std::slice::from_ref(&taken)).await).await;
        assert_eq!(store::invariants::authorizations_taken(db, taken.called_at).await.expect("read"), [taken.id]);
        assert_eq!(store::invariants::authorizations_taken(db, taken.called_at + chrono::TimeDelta::seconds(1)).await.expect("read"), []);

        let (rich, even) = (customer(database).await, customer(database).await);
        let credit = |customer: &Customer| rebilld::domain::customer::Credit { amount: 5, ..samples::credit(customer.id) };
        let credits = [credit(&rich), credit(&even)];
        let even = Customer { balance: 5, ..even };
        database.write(async |tx: &mut Tx| store::customers::save_balances(tx, std::slice::from_ref(&even), &credits).await).await;
        assert_eq!(store::sums::balances_off(db, before).await.expect("read"), [rich.id]);
        assert_eq!(store::sums::balances_off(db, after).await.expect("read"), []);
    }
}
