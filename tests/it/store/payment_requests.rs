//! Payment requests: claimed by one daemon each, brought forward, closed with their invoices; and the overpayment that goes back.

use rebilld::{
    domain::{
        clock::Timeline,
        customer::Customer,
        invoice::{Invoice, InvoiceStatus},
        payment::{Payment, PaymentStatus},
        payment_method::PaymentMethod,
        payment_request::{Ending, PaymentRequest, RequestStatus, Role},
        refund::{Refund, RefundStatus},
    },
    store::{self, Tx, invariants::Finding},
};

use super::{TestDatabase, on_both, people::saved_all_but, samples};

/// Requests of invoices of their own.
async fn stored(database: &TestDatabase, rows: Vec<PaymentRequest>) -> Vec<PaymentRequest> {
    let ada = samples::customer();
    let invoices: Vec<Invoice> =
        rows.iter().filter_map(|row| Some(Invoice { id: row.invoice_id?, ..samples::invoice(ada.id) })).collect();
    let rows: Vec<_> = rows.into_iter().map(|row| PaymentRequest { customer_id: ada.id, ..row }).collect();
    database
        .write(async |tx: &mut Tx| {
            store::customers::insert(tx, &ada).await?;
            store::invoices::insert(tx, &invoices).await?;
            store::payment_requests::insert(tx, &rows).await
        })
        .await;
    rows
}

fn request(status: RequestStatus) -> PaymentRequest {
    PaymentRequest { status, ..samples::payment_request(&samples::invoice(samples::id())) }
}

fn due(status: RequestStatus, check: i64) -> PaymentRequest {
    PaymentRequest { next_check_at: Some(samples::minute(check)), ..request(status) }
}

async fn read(database: &TestDatabase, row: &PaymentRequest) -> PaymentRequest {
    store::payment_requests::get(&database.db, row.id).await.expect("read").expect("there")
}

on_both! {
    async fn the_gateways_own_ids_are_known(database: &TestDatabase) {
        let asked = PaymentRequest { request_id: Some("145510OO".into()), ..request(RequestStatus::Sent) };
        let rows = stored(database, vec![asked, request(RequestStatus::Unknown), request(RequestStatus::Sent)]).await;
        let ids: Vec<_> = rows[..2].iter().map(|row| row.id).collect();
        let found = store::payment_requests::request_ids(&database.db, &ids).await.expect("read");
        assert_eq!(found, [(rows[0].id, "145510OO".to_owned())]);
        assert_eq!(store::payment_requests::request_ids(&database.db, &[]).await.expect("read"), []);
    }

    async fn they_are_saved_and_found(database: &TestDatabase) {
        let rows = stored(database, vec![request(RequestStatus::Sent), request(RequestStatus::Paid)]).await;
        let (invoice, db) = (rows[0].invoice_id.expect("an invoice"), &database.db);
        assert_eq!(store::payment_requests::of_invoice(db, invoice).await.expect("read"), [rows[0].clone()]);
        let both = [invoice, rows[1].invoice_id.expect("an invoice")];
        assert_eq!(database.write(async |tx: &mut Tx| store::payment_requests::lock_of_invoices(tx, &both).await).await, rows);
        for (gateway, reference, found) in [("paysley", &*rows[0].reference, true), ("kurv", &*rows[0].reference, false), ("paysley", "x", false)] {
            let id = store::payment_requests::named(db, gateway, reference).await.expect("read");
            assert_eq!(id, found.then_some(rows[0].id), "{gateway} {reference}");
        }
        let changed = PaymentRequest { id: rows[0].id, ..samples::full_payment_request(samples::id()) };
        database.write(async |tx: &mut Tx| store::payment_requests::save(tx, std::slice::from_ref(&changed)).await).await;
        let after = database.write(async |tx: &mut Tx| store::payment_requests::lock(tx, changed.id).await).await.expect("there");
        let fixed = ["invoice_id", "customer_id", "payment_method_id", "timeline", "gateway", "role", "reference", "channels", "name", "email", "phone",
            "locale", "description", "amount", "currency", "payment_frequency", "payment_start_at", "total_number_of_payments", "initial_payment_amount",
            "expires_at", "claimed_at", "created_at"];
        saved_all_but(&rows[0], &changed, &after, &fixed);
    }

    async fn each_is_claimed_once_until_its_time_and_freed_by_the_next_life(database: &TestDatabase) {
        let elsewhere = Timeline::Test(samples::id());
        let rows = stored(database, vec![
            due(RequestStatus::Sent, 0),
            due(RequestStatus::Pending, -3),
            due(RequestStatus::Sent, 1),
            request(RequestStatus::Sent),
            PaymentRequest { timeline: elsewhere, ..due(RequestStatus::Unknown, -9) },
        ]).await;
        let claim = async |owner: &str, timeline, now: i64, limit| {
            database.write(async |tx: &mut Tx| store::leases::claim_lookups::<PaymentRequest>(tx, owner, timeline, samples::minute(now), samples::minute(now + 5), limit).await).await
        };
        assert_eq!(claim("a", Some(Timeline::Wall), 0, 1).await[0].id, rows[1].id, "the longest due first");
        let claimed = claim("a", None, 0, 10).await;
        assert_eq!(claimed.len(), 2);
        assert!(claimed.iter().all(|row| row.lease_owner.as_deref() == Some("a") && row.lease_token == 1 && row.claimed_at == Some(samples::noon())));
        assert!(claim("b", None, 0, 10).await.is_empty());
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        let keep = async |owner: &str| database.write(async |tx: &mut Tx| store::leases::keep_lookups::<PaymentRequest>(tx, owner, &ids, samples::minute(6)).await).await;
        assert_eq!((keep("b").await, keep("a").await), (0, 3), "a claim is kept by its claimer only");
        assert_eq!(read(database, &rows[0]).await.next_check_at, Some(samples::minute(6)));
        let earliest = async |timeline| store::leases::earliest_lookup::<PaymentRequest>(&database.db, timeline).await.expect("read");
        assert_eq!((earliest(Timeline::Wall).await, earliest(Timeline::Test(samples::id())).await), (Some(samples::minute(1)), None));
        assert_eq!(database.write(async |tx: &mut Tx| store::leases::release_lookups::<PaymentRequest>(tx, samples::noon(), "b").await).await, 0);
        assert_eq!(database.write(async |tx: &mut Tx| store::leases::release_lookups::<PaymentRequest>(tx, samples::noon(), "a").await).await, 3);
        assert_eq!(claim("b", Some(elsewhere), 0, 10).await[0].lease_token, 2);
        assert_eq!(claim("b", None, 0, 10).await.len(), 2);
        assert_eq!(claim("c", None, 5, 10).await.len(), 4, "whoever dies is relieved");
    }

    async fn what_is_open_ends_with_its_invoice_or_its_time(database: &TestDatabase) {
        let rows = stored(database, vec![
            PaymentRequest { next_reminder_at: Some(samples::minute(-1)), ..request(RequestStatus::Sent) },
            PaymentRequest { ending: Some(Ending::Expired), ..request(RequestStatus::Sent) },
            request(RequestStatus::Paid),
            PaymentRequest { expires_at: samples::minute(1), next_reminder_at: Some(samples::minute(-2)), ..request(RequestStatus::Unknown) },
            PaymentRequest { expires_at: samples::minute(9), ..request(RequestStatus::Pending) },
        ]).await;
        let db = &database.db;
        assert_eq!(store::next_due::request(db, Timeline::Wall).await.expect("read"), Some(samples::minute(-2)));
        assert_eq!(store::next_due::request(db, Timeline::Test(samples::id())).await.expect("read"), None);
        assert_eq!(store::payment_requests::busy(db, Timeline::Wall).await.expect("read"), 3);
        let due = database.write(async |tx: &mut Tx| store::payment_requests::lock_to_remind(tx, Timeline::Wall, samples::minute(-1), 9).await).await;
        assert_eq!(due.iter().map(|row| row.id).collect::<Vec<_>>(), [rows[3].id, rows[0].id]);
        let invoices: Vec<_> = rows[..3].iter().filter_map(|row| row.invoice_id).collect();
        let wall = samples::minute(77);
        let withdrawn = database.write(async |tx: &mut Tx| store::payment_requests::withdraw_of_invoices(tx, &invoices, wall).await).await;
        assert_eq!(withdrawn, 1, "not what is ending already, nor what has ended");
        assert_eq!(database.write(async |tx: &mut Tx| store::payment_requests::withdraw_of_invoices(tx, &[], wall).await).await, 0);
        let now = read(database, &rows[0]).await;
        assert_eq!((now.ending, now.next_check_at, now.next_reminder_at), (Some(Ending::Withdrawn), Some(wall), None));
        assert_eq!(database.write(async |tx: &mut Tx| store::payment_requests::expire(tx, Timeline::Wall, samples::minute(1), wall).await).await, 1);
        assert_eq!((read(database, &rows[3]).await.ending, read(database, &rows[4]).await.ending), (Some(Ending::Expired), None));
        assert_eq!(store::next_due::request(db, Timeline::Wall).await.expect("read"), Some(samples::minute(9)));
    }

    async fn parked_ones_are_shown_and_open_ones_counted(database: &TestDatabase) {
        let rows = stored(database, vec![request(RequestStatus::Parked), request(RequestStatus::Sent), request(RequestStatus::Expired)]).await;
        let gauges = store::invariants::gauges(&database.db).await.expect("gauges");
        assert_eq!((gauges.payment_requests_open, gauges.payment_requests_parked), (1, 1));
        let found = store::invariants::payment_requests_parked(&database.db).await.expect("read");
        assert_eq!(found, Finding { count: 1, ids: vec![rows[0].id.to_string()] });
        let shown = store::invariants::parked_payment_requests(&database.db).await.expect("read");
        assert_eq!((shown.len(), shown[0].id, &shown[0].reference), (1, rows[0].id, &rows[0].reference));
    }

    async fn a_surplus_is_claimed_once_and_failures_are_counted(database: &TestDatabase) {
        let rows = stored(database, vec![PaymentRequest { role: Role::Extra, ..request(RequestStatus::Paid) }]).await;
        let invoice = Invoice { id: rows[0].invoice_id.expect("an invoice"), ..samples::invoice(rows[0].customer_id) };
        let paid = |at: i64| Payment {
            status: PaymentStatus::Succeeded,
            payment_request_id: Some(rows[0].id),
            transaction_id: Some(at.to_string()),
            amount: 5,
            amount_captured: 5,
            overpayment: 5,
            return_at: Some(samples::minute(at)),
            ..samples::payment(&invoice)
        };
        let payments = [paid(0), paid(1)];
        database.write(async |tx: &mut Tx| store::payments::insert(tx, &payments).await).await;
        let of_it = database.write(async |tx: &mut Tx| store::payments::of_request(tx, rows[0].id).await).await;
        assert_eq!(of_it, payments);
        let db = &database.db;
        assert_eq!(store::payments::earliest_return(db, Timeline::Wall).await.expect("read"), Some(samples::noon()));
        let claim = async || database.write(async |tx: &mut Tx| store::payments::claim_returns(tx, samples::noon(), samples::minute(5), 9).await).await;
        assert_eq!(claim().await.iter().map(|row| row.id).collect::<Vec<_>>(), [payments[0].id]);
        assert!(claim().await.is_empty());
        assert_eq!(store::payments::earliest_return(db, Timeline::Wall).await.expect("read"), Some(samples::minute(1)));
        let refund = |status| Refund { status, ..samples::refund(payments[0].id, invoice.id) };
        let refunds = [refund(RefundStatus::Refused), refund(RefundStatus::GatewayError), refund(RefundStatus::Succeeded), refund(RefundStatus::Pending)];
        database.write(async |tx: &mut Tx| tx.insert_rows(&refunds).await).await;
        for (payment, failures) in [(payments[0].id, 2), (payments[1].id, 0)] {
            assert_eq!(database.write(async |tx: &mut Tx| store::refunds::failures(tx, invoice.id, payment).await).await, failures);
        }
    }

    async fn who_was_charged_last_and_who_can_be_asked(database: &TestDatabase) {
        let ada = samples::customer();
        let bob = samples::customer();
        let invoices = [samples::invoice(ada.id), samples::invoice(ada.id), Invoice { status: InvoiceStatus::Void, ..samples::invoice(bob.id) }];
        let by = |i: usize, gateway: &str| Payment { status: PaymentStatus::Declined, gateway: gateway.into(), ..samples::payment(&invoices[i]) };
        let asks = |of: &Customer, priority, is_default| PaymentMethod {
            kind: rebilld::domain::payment_method::MethodKind::PaymentRequest,
            customer_token: None,
            channels: vec!["EMAIL".into()],
            priority,
            is_default,
            ..samples::method(of.id)
        };
        let methods = [asks(&ada, 2, false), asks(&ada, 1, false), PaymentMethod { kind: rebilld::domain::payment_method::MethodKind::VaultToken, customer_token: Some("t".into()), ..samples::method(ada.id) }, asks(&bob, 0, true)];
        database.write(async |tx: &mut Tx| {
            store::customers::insert(tx, &ada).await?;
            store::customers::insert(tx, &bob).await?;
            store::invoices::insert(tx, &invoices).await?;
            store::payments::insert(tx, &[by(0, "a"), by(1, "b"), by(0, "c")]).await?;
            store::payment_methods::insert_many(tx, &methods).await
        }).await;
        let ids = invoices.each_ref().map(|invoice| invoice.id);
        let mut last = database.write(async |tx: &mut Tx| store::payments::last_gateways(tx, &ids).await).await;
        last.sort();
        assert_eq!(last, [(ids[0], "c".to_owned()), (ids[1], "b".to_owned())]);
        let found = database.write(async |tx: &mut Tx| store::payment_methods::that_ask(tx, &[ada.id]).await).await;
        assert_eq!(found.iter().map(|method| method.id).collect::<Vec<_>>(), [methods[1].id, methods[0].id]);
    }
}
