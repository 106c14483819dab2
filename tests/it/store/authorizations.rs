//! What authorizing early asks of the store: what is to be looked at, what is open, what was claimed and by whom.

use rebilld::{
    domain::{
        authorization::{Authorization, AuthorizationStatus as Status},
        clock::Timeline,
        customer::Customer,
        invoice::{Invoice, InvoiceStatus},
        payment_method::PaymentMethod,
        refund::RefundStatus,
        subscription::Subscription,
    },
    store::{self, Error, Tx, authorizations::InvoiceState},
};

use super::{TestDatabase, on_both, samples};

async fn subscriptions(database: &TestDatabase, count: usize) -> (Customer, Vec<Subscription>) {
    let ada = samples::customer();
    let rows: Vec<Subscription> = (0..count)
        .map(|i| Subscription {
            authorize_days_before: Some(3),
            authorize_at: Some(samples::minute(rebilld::domain::count(i))),
            ..samples::subscription(ada.id)
        })
        .collect();
    database
        .write(async |tx: &mut Tx| {
            store::customers::insert(tx, &ada).await?;
            store::subscriptions::insert(tx, &rows).await
        })
        .await;
    (ada, rows)
}

fn of(subscription: &Subscription, status: Status) -> Authorization {
    let reserved = matches!(status, Status::Authorized | Status::Used | Status::Voiding);
    Authorization {
        status,
        transaction_id: reserved.then(|| "t".to_owned()),
        payment_id: (status == Status::Used).then(samples::id),
        ..samples::authorization(subscription)
    }
}

async fn insert(database: &TestDatabase, rows: &[Authorization]) {
    database.write(async |tx: &mut Tx| store::authorizations::insert(tx, rows).await).await;
}

async fn read(database: &TestDatabase, row: &Authorization) -> Authorization {
    store::authorizations::get(&database.db, row.id).await.expect("read").expect("there")
}

on_both! {
    async fn a_subscription_keeps_one_reservation_at_a_time(database: &TestDatabase) {
        let (_, subs) = subscriptions(database, 2).await;
        for first in [Status::Pending, Status::Authorized, Status::Unknown] {
            let open = of(&subs[0], first);
            insert(database, std::slice::from_ref(&open)).await;
            for second in [Status::Pending, Status::Authorized, Status::Unknown] {
                let refused = database.refused(async |tx: &mut Tx| store::authorizations::insert(tx, &[of(&subs[0], second)]).await).await;
                assert!(matches!(refused, Error::Conflict), "{first} and {second}: {refused:?}");
            }
            let over = Authorization { status: Status::Voided, resolved_at: Some(samples::noon()), ..open };
            database.write(async |tx: &mut Tx| store::authorizations::save(tx, std::slice::from_ref(&over)).await).await;
            assert_eq!(read(database, &over).await, over);
        }
        insert(database, &[of(&subs[0], Status::Declined), of(&subs[0], Status::Used), of(&subs[1], Status::Pending)]).await;
    }

    async fn what_is_to_be_looked_at_comes_in_order_and_once(database: &TestDatabase) {
        let (ada, subs) = subscriptions(database, 3).await;
        let due = database.write(async |tx: &mut Tx| store::authorizations::due(tx, Timeline::Wall, samples::minute(1), 10).await).await;
        assert_eq!(due, subs[..2]);
        assert_eq!(store::authorizations::earliest_due(&database.db, Timeline::Wall).await.expect("read"), subs[0].authorize_at);
        assert_eq!(store::authorizations::earliest_due(&database.db, Timeline::Test(samples::id())).await.expect("read"), None);
        let looked = Subscription { authorize_at: None, amount: 5, ..subs[0].clone() };
        database.write(async |tx: &mut Tx| store::authorizations::save_next_look(tx, &[looked]).await).await;
        let now = store::subscriptions::get(&database.db, subs[0].id).await.expect("read").expect("there");
        assert_eq!(now, Subscription { authorize_at: None, ..subs[0].clone() }, "nothing else is written");
        assert_eq!(database.write(async |tx: &mut Tx| store::authorizations::look_at_customer(tx, ada.id).await).await, 3);
        assert_eq!(database.write(async |tx: &mut Tx| store::authorizations::look_at_customer(tx, samples::id()).await).await, 0);
        let now = store::subscriptions::get(&database.db, subs[0].id).await.expect("read").expect("there");
        assert_eq!(now.authorize_at, Some(subs[0].updated_at));
    }

    async fn everything_that_a_decision_needs_is_found(database: &TestDatabase) {
        let (ada, subs) = subscriptions(database, 3).await;
        let ids: Vec<_> = subs.iter().map(|sub| sub.id).collect();
        let rows = [of(&subs[0], Status::Authorized), of(&subs[0], Status::Voiding), of(&subs[1], Status::Declined), of(&subs[1], Status::Used)];
        let old = Authorization { cycle: 7, ..of(&subs[2], Status::Lost) };
        insert(database, &rows).await;
        insert(database, std::slice::from_ref(&old)).await;
        let open = database.write(async |tx: &mut Tx| store::authorizations::lock_open_of(tx, &ids).await).await;
        assert_eq!(open, rows[..2]);
        assert_eq!(database.write(async |tx: &mut Tx| store::authorizations::over_of(tx, &ids).await).await, rows[2..3], "of the coming cycle only");
        assert_eq!(database.write(async |tx: &mut Tx| store::authorizations::lock(tx, rows[3].id).await).await, Some(rows[3].clone()));
        assert_eq!(store::authorizations::latest_of(&database.db, ids[2]).await.expect("read"), Some(old.clone()));
        assert_eq!(store::authorizations::of_cycle(&database.db, ids[2], 7).await.expect("read"), Some(old));
        assert_eq!(store::authorizations::of_cycle(&database.db, ids[2], 0).await.expect("read"), None);

        let mut invoice = samples::invoice(ada.id);
        (invoice.subscription_id, invoice.cycle) = (Some(ids[0]), Some(0));
        let method = PaymentMethod { mandate_ended_at: None, ..samples::full_method(ada.id) };
        database.write(async |tx: &mut Tx| {
            store::invoices::insert(tx, std::slice::from_ref(&invoice)).await?;
            store::payment_methods::insert(tx, &method).await
        }).await;
        let standings = database.write(async |tx: &mut Tx| store::authorizations::invoices_of(tx, &[rows[0].id, rows[2].id]).await).await;
        assert_eq!(standings, [InvoiceState { id: rows[0].id, status: InvoiceStatus::Open, attempts: 0 }]);
        let other: Invoice = samples::invoice(ada.id);
        let mut found = database.write(async |tx: &mut Tx| store::authorizations::lock_of_invoices(tx, &[invoice.id, other.id]).await).await;
        found.sort_by_key(|found| found.authorization.id);
        assert_eq!(found.iter().map(|found| (found.invoice_id, found.authorization.clone())).collect::<Vec<_>>(), [(invoice.id, rows[0].clone()), (invoice.id, rows[1].clone())]);
        let payers = database.write(async |tx: &mut Tx| store::authorizations::payers_of(tx, &ids).await).await;
        assert_eq!(payers.len(), 3);
        assert!(payers.iter().all(|payer| payer.payment_method_id == Some(method.id) && payer.balance == ada.balance && payer.gateway == Some(method.gateway.clone())));
        database.write(async |tx: &mut Tx| store::payment_methods::end_mandates(tx, &[method.id], samples::noon()).await).await;
        let payers = database.write(async |tx: &mut Tx| store::authorizations::payers_of(tx, &ids).await).await;
        assert!(payers.len() == 3 && payers.iter().all(|payer| payer.gateway.is_none()), "nobody is asked whose issuer has stopped it");
    }

    async fn claims_and_leases_end_as_those_of_payments_do(database: &TestDatabase) {
        let (_, subs) = subscriptions(database, 4).await;
        let leased = |sub, owner: &str, expires| Authorization {
            lease_owner: Some(owner.into()), lease_expires_at: Some(samples::minute(expires)), ..of(sub, Status::Pending)
        };
        let rows = [
            leased(&subs[0], "a", 0),
            leased(&subs[1], "b", 1),
            Authorization { next_lookup_at: Some(samples::minute(-1)), ..of(&subs[2], Status::Voiding) },
            Authorization { next_lookup_at: Some(samples::minute(1)), ..of(&subs[3], Status::Unknown) },
        ];
        insert(database, &rows).await;
        assert_eq!(store::authorizations::undecided(&database.db, Timeline::Wall).await.expect("count"), 4);
        assert_eq!(store::leases::earliest_lookup::<Authorization>(&database.db, Timeline::Wall).await.expect("read"), rows[2].next_lookup_at);
        assert_eq!(database.write(async |tx: &mut Tx| store::leases::expire::<Authorization>(tx, samples::noon(), None).await).await, 1);
        let expired = read(database, &rows[0]).await;
        assert_eq!((expired.status, expired.lease_token, expired.next_lookup_at), (Status::Unknown, 1, Some(samples::noon())));
        assert_eq!(database.write(async |tx: &mut Tx| store::leases::expire::<Authorization>(tx, samples::noon(), Some("b")).await).await, 1);
        let claim = async |timeline| database.write(async |tx: &mut Tx| {
            store::leases::claim_lookups::<Authorization>(tx, "c", timeline, samples::noon(), samples::minute(5), 10).await
        }).await;
        assert!(claim(Some(Timeline::Test(samples::id()))).await.is_empty());
        let mut claimed = claim(None).await;
        claimed.sort_by_key(|row| row.id);
        assert_eq!(claimed.iter().map(|row| row.id).collect::<Vec<_>>(), [rows[0].id, rows[1].id, rows[2].id]);
        assert!(claimed.iter().all(|row| row.next_lookup_at == Some(samples::minute(5)) && row.lease_owner.as_deref() == Some("c")));
        assert!(claim(None).await.is_empty(), "claimed once");
        let ids = [rows[0].id, rows[3].id];
        assert_eq!(database.write(async |tx: &mut Tx| store::leases::keep_lookups::<Authorization>(tx, "c", &ids, samples::minute(6)).await).await, 1);
        assert_eq!(read(database, &rows[0]).await.next_lookup_at, Some(samples::minute(6)));
        assert_eq!(database.write(async |tx: &mut Tx| store::leases::release_lookups::<Authorization>(tx, samples::noon(), "c").await).await, 3);
        assert_eq!(claim(None).await.len(), 3);
    }

    async fn what_could_not_be_captured_is_given_free(database: &TestDatabase) {
        let (_, subs) = subscriptions(database, 2).await;
        let rows = [of(&subs[0], Status::Used), of(&subs[1], Status::Voided)];
        insert(database, &rows).await;
        let ids = rows.each_ref().map(|row| row.id);
        database.write(async |tx: &mut Tx| store::authorizations::void_used(tx, &ids, "why", samples::noon()).await).await;
        let now = read(database, &rows[0]).await;
        assert_eq!((now.status, now.void_reason.as_deref(), now.next_lookup_at), (Status::Voiding, Some("why"), Some(samples::noon())));
        assert_eq!(read(database, &rows[1]).await, rows[1]);
    }

    async fn a_refund_is_read_by_its_id(database: &TestDatabase) {
        let ada = samples::customer();
        let invoice = samples::invoice(ada.id);
        let payment = samples::payment(&invoice);
        let refund = rebilld::domain::refund::Refund { status: RefundStatus::Parked, ..samples::refund(payment.id, invoice.id) };
        database.write(async |tx: &mut Tx| {
            store::customers::insert(tx, &ada).await?;
            store::invoices::insert(tx, std::slice::from_ref(&invoice)).await?;
            store::payments::insert(tx, std::slice::from_ref(&payment)).await?;
            store::refunds::insert(tx, refund.clone()).await
        }).await;
        assert_eq!(store::refunds::get(&database.db, refund.id).await.expect("read"), Some(refund));
        assert_eq!(store::refunds::get(&database.db, samples::id()).await.expect("read"), None);
    }
}
