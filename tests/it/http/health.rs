//! What the invariants are for: each breach is found, by the row that breaks it.

use chrono::TimeDelta;
use rebilld::store::health;

use crate::world::{On, World, on_both};

/// Two paid invoices, so that there is something to spoil.
async fn billed(world: &World) {
    let customer = world.customer("UTC").await;
    world.method(customer, false, &world.token()).await;
    let subscription = world.monthly(customer, "2026-01-10").await;
    world.add(subscription).await;
    world.advance("2026-02-20T00:00:00Z").await;
}

async fn spoil(world: &World, sql: &'static str) {
    let mut tx = world.app.db.begin().await.expect("tx");
    assert!(tx.query(sql).run().await.expect("spoilt") > 0);
    tx.commit().await.expect("committed");
}

on_both! {
    async fn every_breach_is_found(world: World) {
        billed(&world).await;
        let db = &world.app.db;
        let now = world.app.clock.now();
        let later = now + TimeDelta::minutes(5);
        let earlier = now - TimeDelta::days(1);
        let count = |found: rebilld::store::Result<health::Finding>| found.expect("asked").count;
        assert_eq!(count(health::invoices_overpaid(db, earlier).await), 0);
        spoil(&world, "update payments set amount_captured = amount * 2 where attempt = 1").await;
        assert_eq!(count(health::invoices_overpaid(db, earlier).await), 2);
        // Payments from before are history.
        assert_eq!(count(health::invoices_overpaid(db, later).await), 0);

        spoil(&world, "update payments set status = 'pending', lease_expires_at = sent_at where invoice_id in (select min(id) from invoices)").await;
        assert_eq!(count(health::payments_beyond_lease(db, later).await), 1);
        assert_eq!(count(health::payments_beyond_lease(db, earlier).await), 0);
        spoil(&world, "update payments set status = 'unknown', lease_expires_at = null where status = 'pending'").await;
        assert_eq!(count(health::payments_long_unknown(db, later).await), 1);
        assert_eq!(health::gauges(db).await.expect("gauges").payments_unknown, 1);
        spoil(&world, "update payments set status = 'parked' where status = 'unknown'").await;
        assert_eq!(count(health::payments_parked(db).await), 1);
        assert_eq!(health::parked_payments(db).await.expect("listed").len(), 1);

        spoil(&world, "update invoices set status = 'open', next_attempt_at = due_at, timeline = 'wall' where cycle = 0").await;
        spoil(&world, "update subscriptions set timeline = 'wall'").await;
        let year_later = now + TimeDelta::days(3650);
        assert_eq!(count(health::invoices_overdue(db, year_later).await), 1);
        assert_eq!(count(health::subscriptions_overdue(db, year_later).await), 1);
        spoil(&world, "update subscriptions set status = 'parked', parked_reason = 'why', due_at = null").await;
        assert_eq!(count(health::subscriptions_parked(db).await), 1);
        assert_eq!(health::parked_subscriptions(db).await.expect("listed")[0].parked_reason.as_deref(), Some("why"));
        assert_eq!(count(health::refunds_parked(db).await), 0);
        assert!(health::parked_refunds(db).await.expect("listed").is_empty());
        let gauges = health::gauges(db).await.expect("gauges");
        assert_eq!((gauges.invoices_open, gauges.payments_parked, gauges.subscriptions_parked), (1, 1, 1));
    }
}
