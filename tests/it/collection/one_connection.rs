//! A daemon with one connection: whoever asked for a second one while the first is held would wait for it for ever, as would as many
//! as there are connections that do so at the same moment.

use rebilld::{
    billing::refunds,
    domain::{event::Actor, invoice::InvoiceStatus, payment_request::RequestStatus},
    sandbox::Pay,
    store::Db,
};

use crate::world::*;

const DECLINED: &str = "decline2020000000000";

on_both! {
    async fn a_daemon_gets_by_with_one_connection(world: World) {
        let mut world = world;
        let db = Db::open(&world.url, 1, false).await.expect("database");
        world.app = app(db, world.app.config.clone(), "frugal");
        for _ in 0..3 {
            for (paylike, token) in [(false, world.token()), (false, DECLINED.to_owned()), (true, world.prior())] {
                let customer = world.customer("UTC").await;
                world.method(customer, paylike, &token).await;
                let sub = world.monthly(customer, "2026-01-10").await;
                world.add(sub).await;
            }
            let customer = world.customer("UTC").await;
            world.asks(customer, &["EMAIL"]).await;
            let sub = world.monthly(customer, "2026-01-10").await;
            world.add(sub).await;
        }
        world.advance("2026-01-12T00:00:00Z").await;
        let requests = world.requests().await;
        assert_eq!(requests.len(), 3);
        for request in &requests {
            let pay = Pay { reference: Some(request.reference.clone()), ..Pay::default() };
            world.sandbox.sandbox().pay(pay).await.expect("paid");
        }
        world.advance("2026-01-20T00:00:00Z").await;
        assert!(world.requests().await.iter().all(|request| request.status == RequestStatus::Paid), "{:?}", world.requests().await);
        let paid = world.invoices().await.into_iter().find(|invoice| invoice.status == InvoiceStatus::Paid).expect("paid").id;
        refunds::refund(&world.app, &Actor::System, paid, None, "a mistake").await.expect("given back");
        world.advance("2026-03-20T00:00:00Z").await;
        assert_eq!(world.prove().await, 3 * (3 + 3 + 1), "three months, and those who are asked only pay once");
    }
}
