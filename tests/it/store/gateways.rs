//! Gateways that rest: pauses are kept, and only what goes to them waits.

use rebilld::{
    domain::{
        customer::{Customer, PaymentMethod, Timeline},
        invoice::{Invoice, NextAction},
        payment::{Payment, PaymentStatus},
    },
    store::{self, Error, Tx, gateways::GatewayPause},
};

use super::{Ground, on_both, samples};

fn pause(gateway: &str) -> GatewayPause {
    GatewayPause { gateway: gateway.into(), reason: samples::hard(), actor: "system".into(), paused_at: samples::noon() }
}

/// A customer with a default method of this gateway, and an invoice that is due.
async fn owing(ground: &Ground, gateway: &str, minute: i64) -> Invoice {
    let customer: Customer = samples::customer();
    let method = PaymentMethod { gateway: gateway.into(), ..samples::method(customer.id) };
    let mut invoice = samples::invoice(customer.id);
    (invoice.timeline, invoice.next_attempt_at, invoice.next_action) =
        (Timeline::Wall, Some(samples::minute(minute)), NextAction::Charge);
    ground
        .write(async |tx: &mut Tx| {
            store::customers::insert(tx, &customer).await?;
            store::payment_methods::insert(tx, &method).await?;
            store::invoices::insert(tx, std::slice::from_ref(&invoice)).await
        })
        .await;
    invoice
}

fn ids(invoices: &[Invoice]) -> Vec<String> {
    invoices.iter().map(|invoice| invoice.id.to_string()).collect()
}

on_both! {
    async fn a_gateway_is_paused_once(ground) {
        ground.write(async |tx: &mut Tx| store::gateways::pause(tx, pause("fluid")).await).await;
        assert!(matches!(ground.refused(async |tx: &mut Tx| store::gateways::pause(tx, pause("fluid")).await).await, Error::Conflict));
        assert_eq!(store::gateways::paused(&ground.db).await.expect("read"), [pause("fluid")]);
        assert_eq!(ground.write(async |tx: &mut Tx| store::gateways::pauses(tx).await).await, [pause("fluid")]);
        assert_eq!(ground.write(async |tx: &mut Tx| store::gateways::resume(tx, "fluid").await).await, Some(pause("fluid")));
        assert_eq!(ground.write(async |tx: &mut Tx| store::gateways::resume(tx, "fluid").await).await, None);
    }

    async fn only_what_goes_to_it_waits(ground) {
        let (first, second, other) = (owing(ground, "fluid", -3).await, owing(ground, "fluid", -2).await, owing(ground, "paylike", -1).await);
        let given_up = Invoice { next_action: NextAction::GiveUp, ..owing(ground, "fluid", -4).await };
        ground.write(async |tx: &mut Tx| store::invoices::save(tx, std::slice::from_ref(&given_up)).await).await;
        let (now, until) = (samples::noon(), samples::minute(15));
        let due = async |names: &[&str], limit| ids(&ground.write(async |tx: &mut Tx| store::gateways::due_elsewhere(tx, Timeline::Wall, now, names, limit).await).await);
        // The end of a ladder asks no gateway.
        assert_eq!(due(&["fluid"], 10).await, ids(&[given_up.clone(), other.clone()]));
        assert_eq!(due(&["fluid", "paylike"], 10).await, ids(std::slice::from_ref(&given_up)));
        assert_eq!(due(&["none"], 2).await, ids(&[given_up, first.clone()]));
        let at = async |name: &str, limit| ids(&ground.write(async |tx: &mut Tx| store::gateways::due_at(tx, Timeline::Wall, now, name, limit).await).await);
        assert_eq!((at("fluid", 1).await, at("fluid", 9).await.len(), at("none", 9).await.len()), (ids(std::slice::from_ref(&first)), 2, 0));

        let postpone = async |limit| ground.write(async |tx: &mut Tx| store::gateways::postpone(tx, Timeline::Wall, now, "fluid", until, limit).await).await;
        assert_eq!((postpone(1).await, postpone(9).await, postpone(9).await), (1, 1, 0));
        let again = async |id| store::invoices::get(&ground.db, id).await.expect("read").expect("invoice").next_attempt_at;
        assert_eq!((again(first.id).await, again(second.id).await, again(other.id).await), (Some(until), Some(until), other.next_attempt_at));
        let forward = async |name: &str, from| ground.write(async |tx: &mut Tx| store::gateways::bring_forward(tx, name, from, now, 9).await).await;
        assert_eq!((forward("paylike", until).await, forward("fluid", samples::minute(16)).await, forward("fluid", until).await), (0, 0, 2));
        assert_eq!(again(second.id).await, Some(now));
    }

    async fn payments_at_a_gateway_that_answers_again_are_looked_up_at_once(ground) {
        let mut payments: Vec<Payment> = Vec::new();
        for (gateway, owner) in [("fluid", None), ("fluid", Some("busy")), ("paylike", None)] {
            let invoice = owing(ground, gateway, 0).await;
            let payment = Payment { gateway: gateway.into(), status: PaymentStatus::Unknown, lease_owner: owner.map(str::to_owned), lease_expires_at: None, next_lookup_at: Some(samples::minute(60)), ..samples::payment(&invoice) };
            payments.push(payment);
        }
        ground.write(async |tx: &mut Tx| store::payments::insert(tx, &payments).await).await;
        let moved = ground.write(async |tx: &mut Tx| store::gateways::look_up_now(tx, "fluid", samples::noon()).await).await;
        assert_eq!(moved, 1, "not one that is being looked up, not one of another gateway");
        assert_eq!(store::payments::get(&ground.db, payments[0].id).await.expect("read").expect("payment").next_lookup_at, Some(samples::noon()));
    }
}
