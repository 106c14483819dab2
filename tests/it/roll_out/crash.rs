//! Cut off in the middle, begun again by another daemon, edited meanwhile: each subscription is changed once, as it was listed.

use std::sync::Arc;

use rebilld::{
    billing::{
        App, BillingError, roll_outs,
        subscriptions::{cancel::CancelInput, update::SubscriptionPatch},
    },
    config::Config,
    domain::{
        clock::Timeline,
        count,
        event::Actor,
        id::PlanId,
        roll_out::{Effect, EntryType, RollOut, RollOutStatus},
        subscription::Subscription,
    },
    jobs,
    store::{self, Db},
};

use super::{edit, gold, list, options, priced};
use crate::world::*;

const CROWD: usize = 40;

/// Another daemon on the same database, that takes a few subscriptions at a time.
async fn daemon(world: &World, name: &str) -> Arc<App> {
    let mut config: Config = world.app.config.clone();
    config.billing.batch = 6;
    app(Db::open(&world.url, 8, false).await.expect("database"), config, name)
}

async fn crowd(world: &World, plan: PlanId) -> Vec<Subscription> {
    let customer = world.customer("UTC").await;
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let subscription = Subscription { plan_id: Some(plan), ..world.monthly(customer, "2026-01-10").await };
        crowd.push(world.add(subscription).await);
    }
    crowd
}

async fn changes(world: &World, subscription: &Subscription) -> usize {
    world.events(Some(subscription.id.to_string())).await.iter().filter(|kind| *kind == "subscription.changed").count()
}

async fn now(world: &World, roll_out: &RollOut) -> RollOut {
    store::roll_outs::get(&world.app.db, roll_out.id).await.expect("read").expect("there")
}

on_both! {
    async fn a_roll_out_cut_off_anywhere_changes_each_once(world: World) {
        let plan = gold(&world).await;
        let crowd = crowd(&world, plan.id).await;
        edit(&world.app, &plan, priced(1500)).await;
        let options = options(Effect::PeriodEnd);
        let (revision, totals, _) = list(&world.app, &plan, &options).await;
        assert_eq!(totals.subscriptions, count(CROWD));
        let first = daemon(&world, "first").await;
        let key = plan.id.to_string();
        let start = async |app: &App, revision: &str| {
            roll_outs::start(app, &Actor::System, EntryType::Plan, &key, options.clone(), Some(revision.to_owned())).await
        };
        let begun = start(&first, &revision).await.expect("begun");
        // It has been asked for: what the plan is now does not matter to it.
        edit(&world.app, &plan, priced(9999)).await;
        let (other, _, _) = list(&world.app, &plan, &options).await;
        let refused = start(&world.app, &other).await.expect_err("one is running");
        assert!(matches!(&refused, BillingError::WrongState(why) if why.contains("running")), "{refused:?}");
        roll_outs::step(&first, begun.id).await.expect("a batch");
        assert_eq!(now(&world, &begun).await.subscriptions_changed, 6);
        // Dropped wherever it stands: each time a little later.
        for polls in [1, 2, 3, 4, 6, 8, 12, 16, 24, 32] {
            let mut work = Box::pin(roll_outs::step(&first, begun.id));
            for _ in 0..polls {
                if futures_util::poll!(&mut work).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(work);
            // A commit that was on its way may still arrive: both are read again until nothing came in between.
            let there = loop {
                let (before, mut changed) = (now(&world, &begun).await, 0);
                for subscription in &crowd {
                    changed += changes(&world, subscription).await;
                }
                if now(&world, &begun).await == before {
                    assert_eq!(before.subscriptions_changed, count(changed), "counted with the change itself");
                    break before;
                }
            };
            if there.status == RollOutStatus::Done {
                break;
            }
        }
        drop(first);
        let (second, third) = (daemon(&world, "second").await, daemon(&world, "third").await);
        while now(&world, &begun).await.status == RollOutStatus::Running {
            let job = jobs::job("roll_outs").expect("the job");
            let run = async |app: &Arc<App>| (job.run)(app, Timeline::Wall, app.clock.now()).await;
            let (one, other) = tokio::join!(run(&second), run(&third));
            one.expect("worked");
            other.expect("worked");
        }
        let done = now(&world, &begun).await;
        assert_eq!((done.subscriptions_changed, done.left_alone.len()), (count(CROWD), 0));
        for subscription in &crowd {
            assert_eq!((world.subscription(subscription).await.amount, changes(&world, subscription).await), (1500, 1));
        }
        let events = world.events(Some(begun.id.to_string())).await;
        assert_eq!(events, ["roll_out.started", "roll_out.done"]);
        // The later edit can be listed, and has them all inherited.
        let (_, totals, _) = list(&world.app, &plan, &options).await;
        assert_eq!(totals.subscriptions, count(CROWD));
    }

    async fn what_changed_between_list_and_batch_is_judged_again(world: World) {
        let plan = gold(&world).await;
        let crowd = crowd(&world, plan.id).await;
        edit(&world.app, &plan, priced(1500)).await;
        let options = options(Effect::PeriodEnd);
        let (revision, ..) = list(&world.app, &plan, &options).await;
        let app = daemon(&world, "first").await;
        let key = plan.id.to_string();
        let begun = roll_outs::start(&app, &Actor::System, EntryType::Plan, &key, options, Some(revision)).await.expect("begun");
        roll_outs::step(&app, begun.id).await.expect("a batch");
        let [dearer, gone] = [&crowd[20], &crowd[30]].map(|subscription| subscription.id);
        let terms = rebilld::billing::subscriptions::terms::TermsInput { amount: Some(42), ..Default::default() };
        rebilld::billing::subscriptions::update::update(&app, &Actor::System, dearer, SubscriptionPatch { terms, ..Default::default() }, false).await.expect("changed");
        let now_at_once = rebilld::domain::subscription::When::Now;
        rebilld::billing::subscriptions::cancel::cancel(&app, &Actor::System, gone, CancelInput { when: now_at_once, credit: false }, false).await.expect("cancelled");
        let changed = roll_outs::work(&app).await.expect("worked");
        assert_eq!(changed, CROWD - 6 - 2);
        let done = now(&world, &begun).await;
        // Who has ended since is not met any more.
        assert_eq!(serde_json::to_value(&done.left_alone).expect("json"), serde_json::json!({"overridden": 1}));
        assert_eq!(world.subscription(&crowd[20]).await.amount, 42);
        assert_eq!(world.subscription(&crowd[30]).await.amount, 1000);
    }
}
