//! Thirty subscriptions in every state, on three clocks and in five zones: nothing happens by listing, and then what was listed.

use std::{collections::BTreeMap, sync::Arc};

use super::{edit, everything, gold, list, options, priced};
use crate::world::*;
use rebilld::{
    billing::{
        App,
        roll_outs::{self, SubscriptionLine},
        subscriptions::{
            cancel::{CancelInput, cancel},
            change::{ChangeInput, change},
            open_due::open_due,
            pause::{PauseInput, pause},
            terms::TermsInput,
        },
    },
    clock::Clock,
    domain::{
        clock::{TestClock, Timeline},
        count,
        customer::Customer,
        event::Actor,
        frequency::Frequency,
        id::{CustomerId, SubscriptionId},
        invoice::Invoice,
        plan::Plan,
        roll_out::{Effect, EntryType, LeftAloneReason, RollOutStatus, Verdict},
        subscription::{Subscription, SubscriptionStatus, When},
    },
    store::{self, Db},
};

const NOW: &str = "2026-03-14T10:00:00Z";
const ZONES: [&str; 5] = ["UTC", "America/Los_Angeles", "Pacific/Kiritimati", "Europe/Berlin", "Asia/Kathmandu"];

/// The same customer on another timeline.
async fn moved(world: &World, customer: CustomerId, timeline: Timeline) -> CustomerId {
    let known = store::customers::find(&world.app.db, &customer.to_string()).await.expect("read").expect("customer");
    let other = Customer { id: world.app.id(), timeline, ..known };
    let mut tx = world.app.db.begin().await.expect("tx");
    store::customers::insert(&mut tx, &other).await.expect("customer");
    tx.commit().await.expect("commit");
    other.id
}

/// Another clock, that stands eleven days behind.
async fn slow_clock(world: &World) -> Timeline {
    let mut tx = world.app.db.begin().await.expect("tx");
    let clock = store::clocks::lock(&mut tx, world.clock).await.expect("read").expect("clock");
    let clock = TestClock { id: world.app.id(), now_at: at("2026-03-03T23:30:00Z"), ..clock };
    store::clocks::insert(&mut tx, clock.clone()).await.expect("clock");
    tx.commit().await.expect("commit");
    Timeline::Test(clock.id)
}

/// Bills what is due by the now of each timeline.
async fn billed(world: &World, timelines: [Timeline; 3]) {
    let mut tx = world.app.db.begin().await.expect("tx");
    let clock = store::clocks::lock(&mut tx, world.clock).await.expect("read").expect("clock");
    store::clocks::save(&mut tx, TestClock { now_at: at(NOW), ..clock }).await.expect("moved");
    tx.commit().await.expect("commit");
    for timeline in timelines {
        let now = world.app.now_of(timeline).await.expect("now");
        open_due(&world.app, timeline, now).await.expect("billed");
    }
}

async fn save(world: &World, mut subscription: Subscription) -> Subscription {
    subscription.refresh(&world.app.rules);
    let mut tx = world.app.db.begin().await.expect("tx");
    store::subscriptions::save(&mut tx, std::slice::from_ref(&subscription)).await.expect("saved");
    tx.commit().await.expect("commit");
    subscription
}

/// Thirty of the plan: ten kinds on each of three timelines.
async fn crowd(world: &World, plan: &Plan) -> Vec<SubscriptionId> {
    let timelines = [Timeline::Test(world.clock), slow_clock(world).await, Timeline::Wall];
    let mut all = Vec::new();
    for timeline in timelines {
        let now = if timeline == Timeline::Test(world.clock) { at(NOW) } else { world.app.now_of(timeline).await.expect("now") };
        for kind in 0..10 {
            let customer = world.customer(ZONES[kind % ZONES.len()]).await;
            let customer = moved(world, customer, timeline).await;
            let start = (now - chrono::TimeDelta::days(40 - count(kind))).date_naive().to_string();
            let mut subscription = Subscription { plan_id: Some(plan.id), timeline, ..world.monthly(customer, &start).await };
            subscription.description = "Gold".into();
            match kind {
                // Of its own: a price, a rhythm.
                1 => subscription.amount = 777,
                2 => subscription.billing_cycle_interval = 2,
                // Not billed yet.
                3 => {
                    subscription.status = SubscriptionStatus::Trialing;
                    subscription.anchor_date = (now + chrono::TimeDelta::days(9)).date_naive();
                    subscription.trial_ends_on = Some(subscription.anchor_date);
                }
                4 => subscription.quantity = 3,
                _ => {}
            }
            all.push(world.add(subscription).await.id);
        }
    }
    billed(world, timelines).await;
    for (i, id) in all.iter().enumerate() {
        let subscription = store::subscriptions::get(&world.app.db, *id).await.expect("read").expect("there");
        let verb = (&world.app, &Actor::System, *id);
        match i % 10 {
            5 => drop(save(world, Subscription { status: SubscriptionStatus::PastDue, ..subscription }).await),
            6 => drop(
                pause(verb.0, verb.1, verb.2, PauseInput { until: None, when: When::Now, credit: false }, false)
                    .await
                    .expect("paused"),
            ),
            7 => drop(
                cancel(verb.0, verb.1, verb.2, CancelInput { when: When::PeriodEnd, credit: false }, false)
                    .await
                    .expect("cancelled"),
            ),
            8 if i < 10 => drop(
                cancel(verb.0, verb.1, verb.2, CancelInput { when: When::Now, credit: false }, false).await.expect("cancelled"),
            ),
            8 => {
                let parked_reason = Some("asked".to_owned());
                save(world, Subscription { status: SubscriptionStatus::Parked, parked_reason, ..subscription }).await;
            }
            9 => {
                let terms = TermsInput { quantity: Some(2), ..TermsInput::default() };
                change(verb.0, verb.1, verb.2, ChangeInput { when: When::PeriodEnd, terms }, false).await.expect("waits");
            }
            _ => {}
        }
    }
    all
}

async fn subscriptions(world: &World) -> BTreeMap<SubscriptionId, Subscription> {
    let rows: Vec<Subscription> = world.app.db.query("select * from subscriptions").all().await.expect("rows");
    rows.into_iter().map(|row| (row.id, row)).collect()
}

/// The row says what the line said of it.
fn agrees(world: &World, line: &SubscriptionLine, before: &Subscription, after: &Subscription) {
    let fields = |row: &Subscription| serde_json::to_value(row).expect("json");
    let (was, is) = (fields(before), fields(after));
    assert!(!line.after.is_empty(), "{line:?}");
    for (told, row) in [(&line.before, &was), (&line.after, &is)] {
        for (name, value) in told {
            assert_eq!(&row[name], value, "{name} of {line:?}");
        }
    }
    // And nothing that the customer would notice beside it.
    for name in
        ["amount", "quantity", "billing_days", "description", "status", "next_bill_date", "add_ons", "duration", "period_end"]
    {
        let told = line.after.contains_key(name);
        assert_eq!(was[name] != is[name], told, "{name} of {line:?}");
    }
    assert_eq!(Verdict::next_amount(after, &world.app.rules), line.next_after, "{line:?}");
}

/// The daemon on a wall clock that stands still: what is paid by days must not change at midnight.
async fn standing(world: &World) -> Arc<App> {
    let db = Db::open(&world.url, 8, false).await.expect("database");
    app_by(Clock::manual(at("2026-04-20T18:00:00Z")), db, world.app.config.clone(), "standing")
}

/// Lists, applies, and compares; then bills on and compares again.
async fn proof(mut world: World, when: Effect) {
    world.app = standing(&world).await;
    let plan = gold(&world).await;
    let all = crowd(&world, &plan).await;
    let add_on = rebilld::billing::catalog::EntryInput { name: "Extra".into(), amount: Some(50), ..Default::default() };
    let add_on =
        rebilld::billing::catalog::create::<rebilld::domain::id::AddOn>(&world.app, &Actor::System, add_on).await.expect("made");
    let extra = rebilld::billing::checks::ModifierInput { id: add_on.id.to_string(), ..Default::default() };
    edit(&world.app, &plan, priced(1200)).await;
    edit(&world.app, &plan, rebilld::billing::plans::PlanPatch { name: Some("Gold II".into()), ..Default::default() }).await;
    let last = rebilld::billing::plans::PlanPatch { add_ons: Some(vec![extra]), ..priced(1500) };
    edit(&world.app, &plan, last).await;

    let options = options(when);
    let stood = everything(&world.app).await;
    let (revision, totals, lines) = list(&world.app, &plan, &options).await;
    assert_eq!(everything(&world.app).await, stood, "a list stores nothing");
    assert!(stood.len() > 150, "{} rows", stood.len());
    assert_eq!(totals.subscriptions, count(lines.len()));
    assert_eq!(totals.subscriptions + totals.left_alone.values().sum::<i64>(), count(all.len()));
    assert_eq!(totals.left_alone, BTreeMap::from([(LeftAloneReason::Ended, 1), (LeftAloneReason::Cancelling, 3)]));
    let sums = totals.currencies.values().next().expect("one currency");
    let sum = |of: fn(&SubscriptionLine) -> i64| lines.iter().map(of).sum::<i64>();
    assert_eq!((sums.amount, sums.credit), (sum(|line| line.amount), sum(|line| line.credit)));
    assert_eq!(sums.next_after, sum(|line| line.next_after.unwrap_or(0)));
    assert!(sums.next_after > sums.next_before);
    assert_eq!(sums.amount > 0, when == Effect::Now);

    let (before, invoiced) = (subscriptions(&world).await, world.invoices().await);
    let key = plan.id.to_string();
    let begun =
        roll_outs::start(&world.app, &Actor::System, EntryType::Plan, &key, options, Some(revision)).await.expect("begun");
    let done = roll_outs::carry_on(&world.app, begun, true).await.expect("done");
    assert_eq!((done.status, done.subscriptions_changed), (RollOutStatus::Done, count(lines.len())));
    assert_eq!(done.left_alone, totals.left_alone);
    let after = subscriptions(&world).await;
    let new: Vec<Invoice> = world.invoices().await.into_iter().filter(|it| !invoiced.iter().any(|old| old.id == it.id)).collect();
    for id in &all {
        let changes = world.events(Some(id.to_string())).await.iter().filter(|kind| *kind == "subscription.changed").count();
        let waits = usize::from(before[id].pending_change.is_some());
        let opened: Vec<&Invoice> = new.iter().filter(|invoice| invoice.subscription_id == Some(*id)).collect();
        let Some(line) = lines.iter().find(|line| line.subscription_id == *id) else {
            assert_eq!((&before[id], changes, opened.len()), (&after[id], waits, 0), "left alone");
            continue;
        };
        assert_eq!(changes, 1 + waits);
        agrees(&world, line, &before[id], &after[id]);
        let told: Vec<_> = opened.iter().map(|invoice| (&invoice.lines, invoice.subtotal)).collect();
        let expected: Vec<_> = (!line.lines.is_empty()).then_some((&line.lines, line.amount)).into_iter().collect();
        assert_eq!(told, expected, "the invoice of {line:?}");
    }
    // Of ten kinds on each clock, six have a paid period running, and a price that changes by the add-on at least.
    assert_eq!(new.len(), if when == Effect::Now { 18 } else { 0 }, "{new:#?}");
    let own = |kind: usize| &after[&all[kind]];
    assert_eq!((own(1).amount, own(1).description.as_str()), (777, "Gold II"));
    assert_eq!((own(2).amount, own(2).billing_cycle_interval, own(2).billing_frequency), (1500, 2, Frequency::Monthly));
    assert_eq!(
        (own(5).status, own(6).status, own(18).status),
        (SubscriptionStatus::PastDue, SubscriptionStatus::Paused, SubscriptionStatus::Parked)
    );
    bills_as_listed(&world, &lines, &after).await;
}

/// What the bill run opens next for each on the story's clock is what the list said.
async fn bills_as_listed(world: &World, lines: &[SubscriptionLine], stood: &BTreeMap<SubscriptionId, Subscription>) {
    let timeline = Timeline::Test(world.clock);
    let seen = world.invoices().await;
    // Two months on, day by day, as nobody misses a cycle.
    for day in 1..62 {
        let now = at(NOW) + chrono::TimeDelta::days(day);
        let mut tx = world.app.db.begin().await.expect("tx");
        let clock = store::clocks::lock(&mut tx, world.clock).await.expect("read").expect("clock");
        store::clocks::save(&mut tx, TestClock { now_at: now, ..clock }).await.expect("moved");
        tx.commit().await.expect("commit");
        open_due(&world.app, timeline, now).await.expect("billed");
    }
    let mut compared = 0;
    let invoices = world.invoices().await;
    for line in lines.iter().filter(|line| stood[&line.subscription_id].timeline == timeline) {
        let cycle = stood[&line.subscription_id].next_cycle;
        let of = |it: &&Invoice| it.subscription_id == Some(line.subscription_id) && it.cycle == Some(cycle);
        let next = invoices.iter().find(of);
        assert!(next.is_none_or(|next| !seen.iter().any(|old| old.id == next.id)));
        assert_eq!(next.map(|next| next.subtotal), line.next_after, "{line:?}");
        compared += usize::from(next.is_some());
    }
    assert_eq!(compared, 7, "all but the paused one, the one that is leaving and the one that has left");
}

on_both! {
    async fn from_the_next_cycle_on_what_was_listed_happens(world: World) {
        proof(world, Effect::PeriodEnd).await;
    }

    async fn now_what_was_listed_happens(world: World) {
        proof(world, Effect::Now).await;
    }
}
