//! A roll-out to thousands costs a few statements for each batch, never one for each subscription.

use std::sync::atomic::Ordering;

use rebilld::{
    billing::roll_outs,
    domain::{
        clock::Timeline,
        event::Actor,
        roll_out::{Effect, EntryType, RollOutStatus},
        subscription::Subscription,
    },
    store,
};

use super::{edit, gold, options, priced};
use crate::world::*;

const CROWD: i64 = 2000;

on_both! {
    async fn two_thousand_take_a_few_statements_for_each_batch(world: World) {
        let plan = gold(&world).await;
        let mut template = Subscription { plan_id: Some(plan.id), ..world.monthly(world.customer("UTC").await, "2026-01-10").await };
        template.refresh(&world.app.rules);
        let crowd: Vec<Subscription> = (0..CROWD).map(|_| Subscription { id: world.app.id(), ..template.clone() }).collect();
        let mut tx = world.app.db.begin().await.expect("tx");
        store::subscriptions::insert(&mut tx, &crowd).await.expect("stored");
        store::clocks::lock(&mut tx, world.clock).await.expect("clock");
        tx.commit().await.expect("commit");
        // One cycle each, so that there is something to credit.
        let timeline = Timeline::Test(world.clock);
        let at = at("2026-01-20T00:00:00Z");
        rebilld::billing::subscriptions::open_due::open_due(&world.app, timeline, at).await.expect("billed");
        let mut tx = world.app.db.begin().await.expect("tx");
        tx.query("update invoices set status = 'paid', amount_paid = total, next_attempt_at = null").run().await.expect("paid");
        let clock = store::clocks::lock(&mut tx, world.clock).await.expect("read").expect("clock");
        store::clocks::save(&mut tx, rebilld::domain::clock::TestClock { now_at: at, ..clock }).await.expect("moved");
        tx.commit().await.expect("commit");
        edit(&world.app, &plan, priced(500)).await;

        let key = plan.id.to_string();
        let statements = || world.app.db.tally().statements.load(Ordering::Relaxed);
        let options = options(Effect::Now);
        let before = statements();
        let listed = roll_outs::list(&world.app, EntryType::Plan, &key, options.clone(), None, 50).await.expect("listed");
        let list_cost = statements() - before;
        let totals = listed.totals.expect("totals");
        // 21 of 31 days are left: 3.39 to pay for them, 6.77 back.
        assert_eq!((totals.subscriptions, listed.lines[0].credit, listed.has_more), (CROWD, 338, true));
        let begun = roll_outs::start(&world.app, &Actor::System, EntryType::Plan, &key, options, Some(listed.revision)).await.expect("begun");
        let before = statements();
        let done = roll_outs::carry_on(&world.app, begun, true).await.expect("done");
        let cost = statements() - before;
        assert_eq!((done.status, done.subscriptions_changed), (RollOutStatus::Done, CROWD));
        let batches = CROWD as u64 / u64::from(world.app.config.billing.batch) + 1;
        assert!(list_cost <= 5 * batches + 5, "the list took {list_cost} statements");
        assert!(cost <= 20 * batches, "{cost} statements in {batches} batches");
        let customer = store::customers::find(&world.app.db, &template.customer_id.to_string()).await.expect("read").expect("there");
        assert_eq!(customer.balance, 338 * CROWD);
        let rows: (i64,) = world.app.db.query("select count(*) from invoices where cycle is null").one().await.expect("count");
        assert_eq!(rows.0, CROWD);
    }
}
