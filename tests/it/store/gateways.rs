//! Gateways that rest: pauses are kept, and only what goes to them waits.

use rebilld::{
    domain::{
        clock::Timeline,
        customer::Customer,
        dunning::Postponement,
        invoice::{Invoice, NextAction},
        payment::{Payment, PaymentStatus},
        payment_method::PaymentMethod,
    },
    store::{
        self, Error, Tx,
        gateways::{GatewayPause, GatewayRefusal},
    },
};

use super::{TestDatabase, on_both, samples};

fn pause(gateway: &str) -> GatewayPause {
    GatewayPause { gateway: gateway.into(), reason: samples::hard(), actor: "system".into(), paused_at: samples::noon() }
}

/// A customer with a default method of this gateway, and an invoice that is due.
async fn owing(database: &TestDatabase, gateway: &str, minute: i64) -> Invoice {
    let customer: Customer = samples::customer();
    let method = PaymentMethod { gateway: gateway.into(), ..samples::method(customer.id) };
    let mut invoice = samples::invoice(customer.id);
    (invoice.timeline, invoice.next_attempt_at, invoice.next_action) =
        (Timeline::Wall, Some(samples::minute(minute)), NextAction::Charge);
    database
        .write(async |tx: &mut Tx| {
            store::customers::insert(tx, &customer).await?;
            store::payment_methods::insert(tx, &method).await?;
            store::invoices::insert(tx, std::slice::from_ref(&invoice)).await
        })
        .await;
    invoice
}

on_both! {
    async fn a_gateway_is_paused_once(database: &TestDatabase) {
        database.write(async |tx: &mut Tx| store::gateways::pause(tx, pause("fluid")).await).await;
        assert!(matches!(database.refused(async |tx: &mut Tx| store::gateways::pause(tx, pause("fluid")).await).await, Error::Conflict));
        assert_eq!(store::gateways::paused(&database.db).await.expect("read"), [pause("fluid")]);
        assert_eq!(database.write(async |tx: &mut Tx| store::gateways::pauses(tx).await).await, [pause("fluid")]);
        assert_eq!(database.write(async |tx: &mut Tx| store::gateways::resume(tx, "fluid").await).await, Some(pause("fluid")));
        assert_eq!(database.write(async |tx: &mut Tx| store::gateways::resume(tx, "fluid").await).await, None);
    }

    async fn a_refusal_is_kept_once_until_it_is_over(database: &TestDatabase) {
        let refusal = GatewayRefusal {
            gateway: "fluid".into(),
            reason: samples::hard(),
            key_digest: "a".into(),
            probes: 0,
            refused_at: samples::noon(),
            next_probe_at: samples::minute(1),
        };
        database.write(async |tx: &mut Tx| store::gateways::refuse(tx, refusal.clone()).await).await;
        assert!(matches!(database.refused(async |tx: &mut Tx| store::gateways::refuse(tx, refusal.clone()).await).await, Error::Conflict));
        assert_eq!(store::gateways::refused(&database.db).await.expect("read"), std::slice::from_ref(&refusal));
        let probed = GatewayRefusal { reason: "again".into(), probes: 3, next_probe_at: samples::minute(9), ..refusal.clone() };
        let changed = GatewayRefusal { key_digest: "never".into(), refused_at: samples::minute(9), ..probed.clone() };
        database.write(async |tx: &mut Tx| store::gateways::save_refusal(tx, changed.clone()).await).await;
        assert_eq!(database.write(async |tx: &mut Tx| store::gateways::lock_refusals(tx).await).await, std::slice::from_ref(&probed));
        assert_eq!(database.write(async |tx: &mut Tx| store::gateways::end_refusal(tx, "fluid").await).await, Some(probed));
        assert_eq!(database.write(async |tx: &mut Tx| store::gateways::end_refusal(tx, "fluid").await).await, None);
    }

    async fn what_waits_for_a_gateway_is_brought_forward_and_nothing_else(database: &TestDatabase) {
        let (now, until) = (samples::noon(), samples::minute(15));
        let waits = |postponed_by, next_attempt_at, timeline| async move {
            let invoice = owing(database, "fluid", 0).await;
            let invoice = Invoice { postponed_by, next_attempt_at: Some(next_attempt_at), timeline, ..invoice };
            database.write(async |tx: &mut Tx| store::invoices::save(tx, std::slice::from_ref(&invoice)).await).await;
            invoice
        };
        let gateway = Some(Postponement::Gateway);
        let (one, two) = (waits(gateway, until, Timeline::Wall).await, waits(gateway, samples::minute(3), Timeline::Wall).await);
        let others = [
            waits(Some(Postponement::Cap), until, Timeline::Wall).await,
            waits(None, until, Timeline::Wall).await,
            waits(gateway, samples::minute(16), Timeline::Wall).await,
        ];
        let forward = async |limit| database.write(async |tx: &mut Tx| store::gateways::bring_forward(tx, Timeline::Wall, now, until, limit).await).await;
        assert_eq!((forward(1).await, forward(9).await, forward(9).await), (1, 1, 0));
        let again = async |id| store::invoices::get(&database.db, id).await.expect("read").expect("invoice").next_attempt_at;
        assert_eq!((again(one.id).await, again(two.id).await), (Some(now), Some(now)));
        for other in others {
            assert_eq!(again(other.id).await, other.next_attempt_at, "{other:?}");
        }
    }

    async fn payments_at_a_gateway_that_answers_again_are_looked_up_at_once(database: &TestDatabase) {
        let mut payments: Vec<Payment> = Vec::new();
        for (gateway, owner) in [("fluid", None), ("fluid", Some("busy")), ("paylike", None)] {
            let invoice = owing(database, gateway, 0).await;
            let payment = Payment { gateway: gateway.into(), status: PaymentStatus::Unknown, lease_owner: owner.map(str::to_owned), lease_expires_at: None, next_lookup_at: Some(samples::minute(60)), ..samples::payment(&invoice) };
            payments.push(payment);
        }
        database.write(async |tx: &mut Tx| store::payments::insert(tx, &payments).await).await;
        let moved = database.write(async |tx: &mut Tx| store::gateways::look_up_now(tx, "fluid", samples::noon()).await).await;
        assert_eq!(moved, 1, "not one that is being looked up, not one of another gateway");
        assert_eq!(store::payments::get(&database.db, payments[0].id).await.expect("read").expect("payment").next_lookup_at, Some(samples::noon()));
    }
}
