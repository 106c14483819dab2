//! Subscriptions, invoices, payments and refunds, repeats of requests, and what an operator is told.

use chrono::Duration;
use rebilld::{
    domain::{
        clock::Timeline,
        customer::Customer,
        id::{Id, RunId, SubscriptionId},
        invoice::{Invoice, InvoiceStatus},
        payment::{Payment, PaymentStatus},
        payment_method::{MethodKind, PaymentMethod},
        refund::{Refund, RefundStatus},
        subscription::{Subscription, SubscriptionStatus},
    },
    store::{self, Tx, idempotency::Kept, invariants::Finding, runs::JobRun},
};

use super::{TestDatabase, on_both, people::saved_all_but, samples};
use crate::world::at;

async fn ada(database: &TestDatabase) -> Customer {
    let ada = samples::customer();
    database.write(async |tx: &mut Tx| store::customers::insert(tx, &ada).await).await;
    ada
}

on_both! {
    async fn subscriptions_are_saved_whole_or_in_progress_only(database: &TestDatabase) {
        let ada = ada(database).await;
        let before = Subscription { metadata: serde_json::Map::new(), ..samples::subscription(ada.id) };
        let changed = Subscription { id: before.id, ..samples::full_subscription(samples::id()) };
        let other = samples::subscription(ada.id);
        database.write(async |tx: &mut Tx| store::subscriptions::insert(tx, &[before.clone(), other.clone()]).await).await;
        database.write(async |tx: &mut Tx| store::subscriptions::save_progress(tx, std::slice::from_ref(&changed)).await).await;
        let after = store::subscriptions::get(&database.db, before.id).await.expect("read").expect("subscription");
        let progress = Subscription {
            status: changed.status,
            next_slot: changed.next_slot,
            next_cycle: changed.next_cycle,
            cycles_billed: changed.cycles_billed,
            next_bill_date: changed.next_bill_date,
            next_bill_at: changed.next_bill_at,
            due_at: changed.due_at,
            authorize_at: changed.authorize_at,
            period_start: changed.period_start,
            period_end: changed.period_end,
            moved_to: changed.moved_to,
            updated_at: changed.updated_at,
            ..before.clone()
        };
        assert_eq!(after, progress, "terms untouched");
        database.write(async |tx: &mut Tx| store::subscriptions::save(tx, std::slice::from_ref(&changed)).await).await;
        let after = database.write(async |tx: &mut Tx| store::subscriptions::lock(tx, before.id).await).await.expect("subscription");
        let fixed = ["customer_id", "timeline", "currency", "first_period", "initial_payment_amount", "created_at"];
        let changed = Subscription { parked_reason: before.parked_reason.clone(), ..changed };
        saved_all_but(&before, &changed, &after, &fixed);
        assert_eq!(store::subscriptions::of_customer(&database.db, ada.id).await.expect("read"), [after.clone(), other.clone()]);
        assert!(store::subscriptions::of_customer(&database.db, samples::id()).await.expect("read").is_empty());
        let ids = [other.id, samples::id(), before.id];
        assert_eq!(database.write(async |tx: &mut Tx| store::subscriptions::lock_many(tx, &ids).await).await, [after.clone(), other.clone()], "in the order of their ids");
        assert!(database.write(async |tx: &mut Tx| store::subscriptions::lock_many(tx, &[]).await).await.is_empty());

        let going = Subscription { status: SubscriptionStatus::Active, due_at: Some(at("2026-09-01T06:00:00Z")), parked_reason: None, cancelled_at: None, ..after.clone() };
        let all = [going.id, other.id];
        let settling = async |whole: &[SubscriptionId], paid: &[SubscriptionId]| {
            let read = database.write(async |tx: &mut Tx| store::subscriptions::lock_settling(tx, whole, paid).await).await;
            read.into_iter().map(|subscription| subscription.id).collect::<Vec<_>>()
        };
        database.write(async |tx: &mut Tx| store::subscriptions::save(tx, std::slice::from_ref(&going)).await).await;
        assert_eq!(settling(&[], &[going.id]).await, [], "a payment changes nothing about one that goes on");
        assert_eq!(settling(&[going.id], &[]).await, [going.id]);
        assert!(settling(&all[..1], &all[1..]).await.contains(&going.id));
        for changed in [Subscription { due_at: None, ..going.clone() }, Subscription { status: SubscriptionStatus::PastDue, ..going.clone() }] {
            database.write(async |tx: &mut Tx| store::subscriptions::save(tx, std::slice::from_ref(&changed)).await).await;
            assert_eq!(settling(&[], &[going.id]).await, [going.id]);
        }
        assert_eq!(database.write(async |tx: &mut Tx| store::subscriptions::lock(tx, samples::id()).await).await, None);
    }

    async fn invoices_are_saved_and_found(database: &TestDatabase) {
        let ada = ada(database).await;
        let (sub, other) = (samples::subscription(ada.id), samples::subscription(ada.id));
        let of = |cycle, status, period_end| {
            let amount_paid = if status == InvoiceStatus::Paid { 1000 } else { 0 };
            Invoice { subscription_id: Some(sub.id), cycle, status, period_end, amount_paid, ..samples::invoice(ada.id) }
        };
        let (june, july) = (Some(crate::world::date("2026-06-30")), Some(crate::world::date("2026-07-31")));
        let rows = [
            of(Some(0), InvoiceStatus::Paid, june),
            of(Some(1), InvoiceStatus::Open, june),
            of(None, InvoiceStatus::Open, june),
            of(None, InvoiceStatus::Void, june),
            of(None, InvoiceStatus::Open, july),
            samples::invoice(ada.id),
            Invoice { subscription_id: Some(other.id), status: InvoiceStatus::Uncollectible, ..samples::invoice(ada.id) },
        ];
        database.write(async |tx: &mut Tx| {
            store::subscriptions::insert(tx, &[sub.clone(), other.clone()]).await?;
            store::invoices::insert(tx, &rows).await
        }).await;
        let pick = |found: Vec<Invoice>| found.iter().map(|invoice| rows.iter().position(|row| row == invoice).expect("as written")).collect::<Vec<_>>();
        macro_rules! found { ($call:expr) => { pick(database.write($call).await) } }
        assert_eq!(found!(async |tx: &mut Tx| store::invoices::lock_open_of_subscription(tx, sub.id).await), [1, 2, 4]);
        assert_eq!(found!(async |tx: &mut Tx| store::invoices::lock_open_of_customer(tx, ada.id).await), [1, 2, 4, 5]);
        assert_eq!(found!(async |tx: &mut Tx| store::invoices::reaching_past(tx, &[sub.id, other.id], june.expect("date"), true).await), [4]);
        assert_eq!(found!(async |tx: &mut Tx| store::invoices::reaching_past(tx, &[sub.id], crate::world::date("2026-06-29"), false).await), [0, 1, 2, 3, 4]);
        assert_eq!(found!(async |tx: &mut Tx| store::invoices::lock_many(tx, &[rows[5].id, rows[0].id, samples::id()]).await), [0, 5]);
        let owing = database.write(async |tx: &mut Tx| store::invoices::subscriptions_owing(tx, &[sub.id, other.id]).await).await;
        assert_eq!(owing, [sub.id]);
        let given_up = found!(async |tx: &mut Tx| store::invoices::lock_uncollectible_of_subscription(tx, other.id).await);
        assert_eq!(given_up, [6]);
        let behind = async || database.write(async |tx: &mut Tx| store::invoices::subscriptions_behind(tx, &[sub.id, other.id]).await).await;
        assert_eq!(behind().await, []);
        let declined = Invoice { dunning_step: 1, ..rows[2].clone() };
        let given_up = Invoice { dunning_step: 4, ..rows[6].clone() };
        database.write(async |tx: &mut Tx| store::invoices::save(tx, &[declined.clone(), given_up.clone()]).await).await;
        assert_eq!(behind().await, [sub.id], "an open one that was declined");

        let changed = Invoice { id: rows[5].id, ..samples::full_invoice(&sub) };
        let changed = Invoice { amount_paid: 7, amount_refunded: 5, amount_credited: 2, status: InvoiceStatus::Open, ..changed };
        let Invoice { next_attempt_at, next_action, attempts, postponed_by, refused_at, updated_at, .. } = changed;
        let (parked_reason, refused_reason) = (changed.parked_reason.clone(), changed.refused_reason.clone());
        let claimed = Invoice {
            next_attempt_at, next_action, attempts, postponed_by, parked_reason, refused_at, refused_reason, updated_at, ..rows[5].clone()
        };
        database.write(async |tx: &mut Tx| store::invoices::save_claimed(tx, std::slice::from_ref(&changed)).await).await;
        assert_eq!(store::invoices::get(&database.db, changed.id).await.expect("read"), Some(claimed), "and nothing else");
        database.write(async |tx: &mut Tx| store::invoices::save(tx, std::slice::from_ref(&changed)).await).await;
        let after = database.write(async |tx: &mut Tx| store::invoices::lock(tx, changed.id).await).await.expect("invoice");
        let fixed = ["number", "customer_id", "subscription_id", "installment_plan_id", "installment_number", "cycle", "timeline", "description", "currency", "timezone",
            "period_start", "period_end", "lines", "subtotal", "credit_applied", "total", "due_at", "created_at"];
        let other_customer = Invoice { customer_id: samples::id(), ..changed };
        saved_all_but(&rows[5], &other_customer, &after, &fixed);
    }

    async fn an_invoice_is_charged_to_its_own_method_or_the_default(database: &TestDatabase) {
        let (ada, bob, eve) = (ada(database).await, samples::customer(), samples::customer());
        let method = |customer, priority, is_default| PaymentMethod {
            priority,
            is_default,
            kind: MethodKind::VaultToken,
            customer_token: Some(samples::hard()),
            channels: vec![samples::hard(), String::new()],
            mandate_ended_at: is_default.then(samples::first),
            ..samples::method(customer)
        };
        let methods = [method(ada.id, 9, true), method(ada.id, 1, false), method(bob.id, 5, false), method(bob.id, 2, false)];
        let own = Subscription { payment_method_id: Some(methods[1].id), ..samples::subscription(ada.id) };
        let invoices = [
            samples::invoice(ada.id),
            Invoice { subscription_id: Some(own.id), ..samples::invoice(ada.id) },
            samples::invoice(bob.id),
            samples::invoice(eve.id),
        ];
        database.write(async |tx: &mut Tx| {
            tx.insert_rows(&[bob, eve]).await?;
            tx.insert_rows(&methods).await?;
            store::subscriptions::insert(tx, std::slice::from_ref(&own)).await?;
            store::invoices::insert(tx, &invoices).await
        }).await;
        let ids = invoices.each_ref().map(|invoice| invoice.id);
        let chosen = database.write(async |tx: &mut Tx| store::invoices::methods_of(tx, &ids).await).await;
        assert_eq!(chosen.len(), 4);
        for (invoice, expected) in invoices.iter().zip([Some(&methods[0]), Some(&methods[1]), Some(&methods[3]), None]) {
            let one = chosen.iter().find(|one| one.invoice_id == invoice.id).expect("each");
            assert_eq!(one.payment_method_id, expected.map(|method| method.id));
            assert_eq!((one.kind, one.customer_token.as_deref()), (expected.map(|method| method.kind), expected.map(|_| samples::HARD)));
            assert_eq!((&one.gateway, &one.payment_method_token, &one.transaction_id), (&expected.map(|method| method.gateway.clone()), &None, &None));
            assert_eq!(one.channels, expected.map(|method| method.channels.clone()));
            assert_eq!(one.mandate_ended_at, expected.and_then(|method| method.mandate_ended_at));
        }
    }

    async fn payments_are_saved_and_found(database: &TestDatabase) {
        let ada = ada(database).await;
        let sub = samples::subscription(ada.id);
        let invoices = [Invoice { subscription_id: Some(sub.id), ..samples::invoice(ada.id) }, samples::invoice(ada.id), samples::invoice(ada.id)];
        let of = |invoice: &Invoice, status| Payment { status, ..samples::payment(invoice) };
        let rows = [
            of(&invoices[0], PaymentStatus::Declined),
            of(&invoices[1], PaymentStatus::Parked),
            of(&invoices[0], PaymentStatus::Unknown),
            of(&invoices[2], PaymentStatus::Succeeded),
        ];
        database.write(async |tx: &mut Tx| {
            store::subscriptions::insert(tx, std::slice::from_ref(&sub)).await?;
            store::invoices::insert(tx, &invoices).await?;
            store::payments::insert(tx, &rows).await
        }).await;
        let both = [rows[0].clone(), rows[2].clone()];
        assert_eq!(store::payments::of_invoice(&database.db, invoices[0].id).await.expect("read"), both);
        assert_eq!(database.write(async |tx: &mut Tx| store::payments::lock_of_invoice(tx, invoices[0].id).await).await, both);
        assert_eq!(database.write(async |tx: &mut Tx| store::payments::lock_many(tx, &[rows[2].id, rows[0].id]).await).await, both);
        let mut flying = database.write(async |tx: &mut Tx| store::payments::invoices_in_flight(tx, &invoices.each_ref().map(|i| i.id)).await).await;
        flying.sort();
        assert_eq!(flying, [invoices[0].id, invoices[1].id]);
        let mut owners = database.write(async |tx: &mut Tx| store::payments::owners_of(tx, &invoices.each_ref().map(|i| i.id)).await).await;
        owners.sort();
        let mut expected = invoices.each_ref().map(|i| (i.id, i.subscription_id, i.installment_plan_id));
        expected.sort();
        assert_eq!(owners, expected);

        // What its claimer knows is believed as long as the claim holds; what has changed meanwhile is read.
        let renewed = Payment { called_at: at("2026-02-02T00:00:00Z"), lease_expires_at: Some(at("2026-02-02T00:01:00Z")), ..rows[0].clone() };
        let retaken = Payment { lease_token: rows[1].lease_token + 1, ..rows[1].clone() };
        let ended = Payment { status: PaymentStatus::Declined, lease_expires_at: None, ..rows[2].clone() };
        database.write(async |tx: &mut Tx| store::payments::save(tx, &[renewed.clone(), retaken.clone(), ended.clone()]).await).await;
        let mut known = [rows[0].clone(), rows[1].clone(), rows[2].clone()];
        for payment in &mut known {
            payment.description = "as claimed".into();
        }
        let mut locked = database.write(async |tx: &mut Tx| store::payments::lock_claimed(tx, &known.each_ref()).await).await;
        locked.sort_by_key(|payment| payment.id);
        let mut expected = [Payment { description: "as claimed".into(), ..renewed }, retaken, ended];
        expected.sort_by_key(|payment| payment.id);
        assert_eq!(locked, expected);

        let changed = Payment { id: rows[3].id, ..samples::full_payment(&samples::invoice(samples::id())) };
        database.write(async |tx: &mut Tx| store::payments::save(tx, std::slice::from_ref(&changed)).await).await;
        let after = database.write(async |tx: &mut Tx| store::payments::lock(tx, changed.id).await).await.expect("payment");
        let fixed = ["invoice_id", "customer_id", "payment_method_id", "payment_request_id", "authorization_id", "timeline", "attempt", "gateway", "kind", "reference", "idempotency_key",
            "customer_token", "payment_method_token", "prior_transaction_id", "credential", "reason", "description", "amount", "amount_disputed", "currency", "sent_at", "created_at"];
        saved_all_but(&rows[3], &changed, &after, &fixed);
    }

    async fn refunds_are_saved_and_found(database: &TestDatabase) {
        let ada = ada(database).await;
        let invoice = samples::invoice(ada.id);
        let payment = samples::payment(&invoice);
        let (first, second) = (samples::refund(payment.id, invoice.id), Refund { status: RefundStatus::Refused, ..samples::refund(payment.id, invoice.id) });
        database.write(async |tx: &mut Tx| {
            store::invoices::insert(tx, std::slice::from_ref(&invoice)).await?;
            store::payments::insert(tx, std::slice::from_ref(&payment)).await?;
            store::refunds::insert(tx, first.clone()).await?;
            store::refunds::insert(tx, second.clone()).await
        }).await;
        assert_eq!(store::refunds::of_invoice(&database.db, invoice.id).await.expect("read"), [first.clone(), second]);
        assert!(store::refunds::of_invoice(&database.db, samples::id()).await.expect("read").is_empty());
        // Of the two one is on its way.
        for (of, claimed) in [(invoice.id, first.amount), (samples::id(), 0)] {
            assert_eq!(database.write(async |tx: &mut Tx| store::refunds::claimed(tx, of).await).await, claimed);
        }
        let changed = Refund { id: first.id, ..samples::full_refund(samples::id(), samples::id()) };
        database.write(async |tx: &mut Tx| store::refunds::save(tx, changed.clone()).await).await;
        let after = database.write(async |tx: &mut Tx| store::refunds::lock(tx, first.id).await).await.expect("refund");
        saved_all_but(&first, &changed, &after, &["payment_id", "invoice_id", "timeline", "amount", "returned_before", "currency", "reason", "created_at"]);
    }

    async fn a_repeat_gets_what_was_kept(database: &TestDatabase) {
        let (owner, other) = (samples::id(), samples::id());
        let never = samples::minute(-1440);
        let take = async |owner, key: &str, digest: &str, now, expired| database.write(async |tx: &mut Tx| store::idempotency::take(tx, owner, key, digest, now, expired).await).await;
        let kept = |status: Option<i64>, body: Option<&str>| Some(Kept { request_digest: "d".into(), status, body: body.map(str::to_owned) });
        assert_eq!(take(owner, samples::HARD, "d", samples::noon(), never).await, None);
        assert_eq!(take(owner, samples::HARD, "e", samples::noon(), never).await, kept(None, None), "being answered, and for another request");
        assert_eq!(take(other, samples::HARD, "e", samples::noon(), never).await, None, "keys are each owner's own");
        database.write(async |tx: &mut Tx| store::idempotency::keep(tx, owner, samples::HARD, 201, samples::HARD).await).await;
        database.write(async |tx: &mut Tx| store::idempotency::keep(tx, owner, samples::HARD, 500, "later").await).await;
        database.write(async |tx: &mut Tx| store::idempotency::free(tx, owner, samples::HARD).await).await;
        assert_eq!(take(owner, samples::HARD, "d", samples::minute(1), never).await, kept(Some(201), Some(samples::HARD)), "the first answer stays");
        database.write(async |tx: &mut Tx| store::idempotency::free(tx, other, samples::HARD).await).await;
        assert_eq!(take(other, samples::HARD, "f", samples::noon(), never).await, None, "what came to nothing may be tried again");
        assert_eq!(take(owner, samples::HARD, "g", samples::minute(5), samples::noon()).await, None, "expired, to the microsecond");
        assert_eq!(database.write(async |tx: &mut Tx| store::idempotency::remove_expired(tx, samples::minute(4)).await).await, 1);
        assert_eq!(database.count("idempotency_keys").await, 1);
        assert_eq!(database.write(async |tx: &mut Tx| store::idempotency::remove_expired(tx, samples::minute(5)).await).await, 1);
    }

    async fn old_runs_are_removed_by_their_ids(database: &TestDatabase) {
        let at = |minutes: i64| -> RunId { Id::from_bits(RunId::first_at(samples::minute(minutes)).bits() | 7) };
        for minutes in [-2, -1, 0, 1] {
            database.write(async |tx: &mut Tx| store::runs::insert(tx, JobRun { id: at(minutes), ..samples::job_run() }).await).await;
        }
        assert_eq!(database.write(async |tx: &mut Tx| store::runs::remove_older(tx, samples::noon()).await).await, 2);
        assert_eq!(database.write(async |tx: &mut Tx| store::runs::remove_older(tx, samples::noon()).await).await, 0);
        assert_eq!(database.write(async |tx: &mut Tx| store::runs::remove_older(tx, crate::world::at("1960-01-01T00:00:00Z")).await).await, 0);
        assert_eq!(database.count("job_runs").await, 2);
    }

    async fn an_operator_is_told_of_what_is_stuck(database: &TestDatabase) {
        let db = &database.db;
        let none = Finding::default();
        let gauges = store::invariants::gauges(db).await.expect("gauges");
        assert_eq!((gauges.invoices_open, gauges.payments_unknown, gauges.payments_parked, gauges.subscriptions_parked), (0, 0, 0, 0));
        assert_eq!(store::invariants::invoices_overpaid(db, samples::minute(-60)).await.expect("read"), none);

        let ada = ada(database).await;
        let test = Timeline::Test(samples::id());
        let parked: Vec<Subscription> = (0..7).map(|_| Subscription { status: SubscriptionStatus::Parked, parked_reason: Some("why".into()), ..samples::subscription(ada.id) }).collect();
        let due = |timeline| Subscription { timeline, due_at: Some(samples::minute(-5)), ..samples::subscription(ada.id) };
        let late = [due(Timeline::Wall), due(test)];
        let owed = |timeline| Invoice { timeline, next_attempt_at: Some(samples::minute(-5)), ..samples::invoice(ada.id) };
        let invoices = [owed(Timeline::Wall), owed(test), samples::invoice(ada.id), samples::invoice(ada.id), samples::invoice(ada.id)];
        let of = |i: usize, status| Payment { status, ..samples::payment(&invoices[i]) };
        let payments = [
            of(0, PaymentStatus::Parked),
            of(1, PaymentStatus::Unknown),
            Payment { lease_expires_at: Some(samples::minute(-5)), ..of(2, PaymentStatus::Pending) },
            Payment { amount: 1500, amount_captured: 1500, overpayment: 500, amount_refunded: 499, ..of(3, PaymentStatus::Succeeded) },
            Payment { amount: 1500, amount_captured: 1500, overpayment: 500, amount_refunded: 500, ..of(4, PaymentStatus::Succeeded) },
        ];
        let refunds = [Refund { status: RefundStatus::Parked, ..samples::refund(payments[3].id, invoices[3].id) }, samples::refund(payments[4].id, invoices[4].id)];
        database.write(async |tx: &mut Tx| {
            store::subscriptions::insert(tx, &parked).await?;
            store::subscriptions::insert(tx, &late).await?;
            store::invoices::insert(tx, &invoices).await?;
            store::payments::insert(tx, &payments).await?;
            tx.insert_rows(&refunds).await
        }).await;
        let gauges = store::invariants::gauges(db).await.expect("gauges");
        assert_eq!((gauges.invoices_open, gauges.payments_unknown, gauges.payments_parked, gauges.subscriptions_parked), (5, 1, 1, 7));
        let one = |id: String| Finding { count: 1, ids: vec![id] };
        let found = store::invariants::subscriptions_parked(db).await.expect("read");
        assert_eq!((found.count, found.ids), (7, parked[..5].iter().map(|row| row.id.to_string()).collect()));
        assert_eq!(store::invariants::payments_parked(db).await.expect("read"), one(payments[0].id.to_string()));
        assert_eq!(store::invariants::refunds_parked(db).await.expect("read"), one(refunds[0].id.to_string()));
        assert_eq!(store::invariants::payments_beyond_lease(db, samples::minute(-5)).await.expect("read"), one(payments[2].id.to_string()));
        assert_eq!(store::invariants::payments_beyond_lease(db, samples::minute(-6)).await.expect("read"), none);
        assert_eq!(store::invariants::payments_long_unknown(db, samples::noon()).await.expect("read"), one(payments[1].id.to_string()));
        assert_eq!(store::invariants::payments_long_unknown(db, samples::minute(-1)).await.expect("read"), none);
        assert_eq!(store::invariants::subscriptions_overdue(db, samples::minute(-5)).await.expect("read"), one(late[0].id.to_string()), "a test clock's work waits for it");
        assert_eq!(store::invariants::invoices_overdue(db, samples::minute(-5)).await.expect("read"), one(invoices[0].id.to_string()));
        assert_eq!(store::invariants::invoices_overdue(db, samples::minute(-6)).await.expect("read"), none);
        assert_eq!(store::invariants::invoices_overpaid(db, samples::minute(-60)).await.expect("read"), one(invoices[3].id.to_string()));
        assert_eq!(store::invariants::invoices_overpaid(db, samples::noon() + Duration::days(1)).await.expect("read"), none);

        let shown = store::invariants::parked_subscriptions(db).await.expect("read");
        assert_eq!((shown.len(), shown[0].id, shown[0].customer_id, shown[0].parked_reason.as_deref()), (7, parked[0].id, ada.id, Some("why")));
        let shown = store::invariants::parked_payments(db).await.expect("read");
        assert_eq!((shown.len(), shown[0].id, &shown[0].reference, shown[0].amount), (1, payments[0].id, &payments[0].reference, 1));
        let shown = store::invariants::parked_refunds(db).await.expect("read");
        assert_eq!((shown.len(), shown[0].id, shown[0].payment_id, shown[0].sent_at), (1, refunds[0].id, payments[3].id, samples::noon()));
    }
}
