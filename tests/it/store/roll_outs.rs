//! What roll-outs ask of the store: pages of what is running, one roll-out at a time for an entry, the record of its edits.

use rebilld::{
    domain::{
        catalog::Entry,
        id::{AddOn, Discount, Id},
        invoice::Invoice,
        plan::Plan,
        roll_out::{LeftAloneReason, RollOut, RollOutStatus},
        subscription::{Change, Subscription, SubscriptionStatus},
    },
    store::{self, Error, Tx},
};
use serde_json::json;

use super::{TestDatabase, on_both, samples};

async fn hold(database: &TestDatabase, subscriptions: &[Subscription]) {
    database.write(async |tx: &mut Tx| store::subscriptions::insert(tx, subscriptions).await).await;
}

on_both! {
    async fn one_runs_at_a_time_and_is_taken_by_one(database: &TestDatabase) {
        let first = samples::roll_out();
        database.write(async |tx: &mut Tx| store::roll_outs::insert(tx, &first).await).await;
        let second = RollOut { id: samples::id(), ..first.clone() };
        let refused = database.refused(async |tx: &mut Tx| store::roll_outs::insert(tx, &second).await).await;
        assert!(matches!(refused, Error::Conflict), "{refused:?}");
        assert_eq!(store::roll_outs::running(&database.db).await.expect("running"), std::slice::from_ref(&first));
        let mut tx = database.db.begin().await.expect("tx");
        let mut taken = store::roll_outs::take(&mut tx, first.id).await.expect("taken").expect("there");
        if database.db.is_postgres() {
            let other = database.write(async |tx: &mut Tx| store::roll_outs::take(tx, first.id).await).await;
            assert_eq!(other, None, "two at the same batch");
        }
        (taken.status, taken.finished_at) = (RollOutStatus::Done, Some(samples::noon()));
        (taken.subscriptions_changed, taken.plans_changed, taken.done_through) = (7, 2, Some("sub_x".into()));
        taken.left_alone.insert(LeftAloneReason::Overridden, 3);
        store::roll_outs::save(&mut tx, &taken).await.expect("saved");
        tx.commit().await.expect("commit");
        assert_eq!(store::roll_outs::get(&database.db, first.id).await.expect("read"), Some(taken));
        assert_eq!(database.write(async |tx: &mut Tx| store::roll_outs::take(tx, first.id).await).await, None);
        database.write(async |tx: &mut Tx| store::roll_outs::insert(tx, &second).await).await;
    }

    async fn what_is_running_comes_once_each_by_id(database: &TestDatabase) {
        let ada = samples::customer();
        database.write(async |tx: &mut Tx| store::customers::insert(tx, &ada).await).await;
        let (plan, other, entry) = (samples::id(), samples::id(), samples::id::<AddOn>().to_string());
        let of = |plan| Subscription { plan_id: Some(plan), ..samples::subscription(ada.id) };
        let mut item = samples::full_plan().add_ons.remove(0);
        item.id.clone_from(&entry);
        let ended = |status| Subscription { status, cancelled_at: None, due_at: None, ..of(plan) };
        let list = vec![item.clone()];
        let pending = Change { add_ons: Some(list.clone()), ..Change::default() };
        let rows = [
            of(plan), of(other), of(plan), ended(SubscriptionStatus::Cancelled), ended(SubscriptionStatus::Completed), of(plan),
            Subscription { add_ons: list.clone(), ..of(other) },
            Subscription { discounts: list.clone(), ..of(other) },
            Subscription { pending_change: Some(pending), ..of(other) },
            Subscription { add_ons: list, ..ended(SubscriptionStatus::Cancelled) },
        ];
        hold(database, &rows).await;
        let ids = |rows: Vec<Subscription>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
        let expected = [0, 2, 5].map(|i| rows[i].id);
        let holding = [6, 7, 8].map(|i| rows[i].id);
        let (after, like) = (expected[0].to_string(), entry.as_str());
        database.write(async |tx: &mut Tx| {
            assert_eq!(ids(store::subscriptions::running_of_plan(tx, plan, "", 9).await?), expected);
            assert_eq!(ids(store::subscriptions::lock_running_of_plan(tx, plan, "", 2).await?), expected[..2]);
            assert_eq!(ids(store::subscriptions::lock_running_of_plan(tx, plan, &after, 9).await?), expected[1..]);
            assert_eq!(store::subscriptions::ended_of_plan(tx, plan).await?, 3);
            assert_eq!(ids(store::subscriptions::running_with(tx, like, "", 2).await?), holding[..2]);
            assert_eq!(ids(store::subscriptions::lock_running_with(tx, like, &holding[0].to_string(), 9).await?), holding[1..]);
            Ok(())
        }).await;
        let holder = Plan { add_ons: vec![item.clone()], ..samples::plan() };
        let lower = Plan { discounts: vec![item], ..samples::plan() };
        database.write(async |tx: &mut Tx| {
            for plan in [&holder, &lower, &samples::plan()] {
                store::plans::insert(tx, plan).await?;
            }
            assert_eq!(store::plans::with(tx, like).await?, [holder.clone(), lower.clone()]);
            let renamed: Vec<Plan> = store::plans::lock_with(tx, like).await?.into_iter().map(|plan| Plan { name: "x".into(), ..plan }).collect();
            store::plans::save_many(tx, &renamed).await?;
            assert_eq!(store::plans::with(tx, like).await?, renamed);
            Ok(())
        }).await;
    }

    async fn many_are_asked_for_what_one_would_be(database: &TestDatabase) {
        let (ada, bob, clock) = (samples::customer(), samples::customer(), samples::clock());
        let billed = |customer| Subscription { next_cycle: 2, period_end: Some("2026-07-01".parse().expect("date")), ..samples::subscription(customer) };
        let (one, two) = (billed(ada.id), billed(bob.id));
        let entry = samples::entry::<Discount>();
        let invoice = |of: &Subscription, cycle, end: &str| Invoice {
            subscription_id: Some(of.id), cycle, period_end: Some(end.parse().expect("date")), ..samples::invoice(of.customer_id)
        };
        let invoices = [
            invoice(&one, Some(0), "2026-06-01"), invoice(&one, Some(1), "2026-07-01"), invoice(&one, None, "2026-06-01"),
            invoice(&one, None, "2026-07-01"), invoice(&two, Some(1), "2026-07-01"),
        ];
        let changed = |name: &str| {
            rebilld::domain::event::Event { data: json!({"before": {"name": name}}), ..samples::event("plan.updated", "plan_x") }
        };
        database.write(async |tx: &mut Tx| {
            store::customers::insert_many(tx, &[ada.clone(), bob.clone()]).await?;
            store::clocks::insert(tx, clock.clone()).await?;
            store::catalog::insert::<Discount>(tx, &entry).await?;
            store::subscriptions::insert(tx, &[one.clone(), two.clone()]).await?;
            store::invoices::insert(tx, &invoices).await?;
            store::events::append(tx, &[changed("a"), samples::event("plan.created", "plan_x"), changed("b")]).await?;
            Ok(())
        }).await;
        let nobody = Id::from_bits(1);
        let ids = [one.id, two.id];
        database.write(async |tx: &mut Tx| {
            let found = store::invoices::reaching_past(tx, &ids, crate::world::date("2026-06-15"), true).await?;
            assert_eq!(found.iter().map(|invoice| invoice.id).collect::<Vec<_>>(), [1, 3, 4].map(|i| invoices[i].id));
            assert_eq!(store::invoices::lock_open_of_subscriptions(tx, &ids[1..]).await?, invoices[4..]);
            let mut both = store::customers::get_many(tx, &[bob.id, ada.id, Id::from_bits(1)]).await?;
            both.sort_by_key(|customer| customer.id);
            assert_eq!(both, [ada.clone(), bob.clone()]);
            assert_eq!(store::clocks::get_many(tx, &[clock.id, nobody]).await?, std::slice::from_ref(&clock));
            assert_eq!(store::clocks::hold_many(tx, &[nobody, clock.id]).await?, std::slice::from_ref(&clock));
            let found: Option<Entry<Discount>> = store::catalog::find_in(tx, &entry.id.to_string()).await?;
            assert_eq!(found.map(|found| found.id), Some(entry.id));
            let edits = store::events::data_of(tx, "plan_x", "plan.updated").await?;
            assert_eq!(edits, [json!({"before": {"name": "a"}}), json!({"before": {"name": "b"}})]);
            Ok(())
        }).await;
    }
}
