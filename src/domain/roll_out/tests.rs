//! Which values are inherited and which are a subscription's own; who is left alone; what is listed is what is billed.

use serde_json::{Value, json};

use super::*;
use crate::domain::{
    frequency::Frequency,
    subscription::{BilledDays, Rules, Subscription, SubscriptionStatus, UnusedDays},
};

fn rules() -> Rules {
    Rules { bill_at: "06:00:00".parse().expect("time"), holidays: BTreeMap::new(), catch_up_limit: 3 }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("instant")
}

fn merged(base: Value, more: Value) -> Value {
    let mut base = base.as_object().expect("object").clone();
    base.extend(more.as_object().expect("object").clone());
    Value::Object(base)
}

/// Gold, 10.00 USD a month, and what is said otherwise.
fn plan(more: Value) -> Plan {
    let plain = json!({
        "id": "plan_00000000000000000000000001", "name": "Gold", "description": "", "amount": 1000, "currency": "USD",
        "billing_frequency": "monthly", "billing_cycle_interval": 1, "billing_days": null, "duration": 0, "trial_days": 0,
        "catch_up": "bill_all", "while_past_due": "bill", "business_day": "none", "add_ons": [], "discounts": [],
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    });
    serde_json::from_value(merged(plain, more)).expect("a plan")
}

/// As made from [`plan`], with January billed, and what is said otherwise.
fn subscription(more: Value) -> Subscription {
    let plain = json!({
        "id": "sub_00000000000000000000000001", "customer_id": "cus_00000000000000000000000001",
        "plan_id": "plan_00000000000000000000000001", "timeline": "wall", "status": "active", "description": "Gold",
        "currency": "USD", "amount": 1000, "quantity": 1, "billing_frequency": "monthly", "billing_cycle_interval": 1, "duration": 0,
        "timezone": "UTC", "first_period": "full", "catch_up": "bill_all", "while_past_due": "bill", "business_day": "none",
        "add_ons": [], "discounts": [], "metadata": {}, "anchor_date": "2026-01-01", "next_slot": 1, "next_cycle": 1,
        "cycles_billed": 1, "period_start": "2026-01-01", "period_end": "2026-02-01", "cancel_at_period_end": false,
        "pause_at_period_end": false, "passes_first_anchor": false,
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
    });
    let mut subscription: Subscription = serde_json::from_value(merged(plain, more)).expect("a subscription");
    subscription.refresh(&rules());
    subscription
}

fn options(overrides: Overrides) -> Options {
    Options { when: Effect::PeriodEnd, fields: None, overrides, keep_anchor: false }
}

fn keep() -> Options {
    options(Overrides::Keep)
}

fn replace() -> Options {
    options(Overrides::Replace)
}

fn judge(versions: &Versions, options: &Options, subscription: &Subscription) -> Result<Verdict, LeftAloneReason> {
    let (start, end) = ("2026-01-11".parse().expect("date"), "2026-02-01".parse().expect("date"));
    let days = BilledDays { start, end, price: 1000, of_days: 31, invoice_id: None };
    let unused = vec![UnusedDays::paid(days)];
    versions.judge(options, subscription, SubscriptionFacts { now: at("2026-01-11T12:00:00Z"), unused }, &rules())
}

fn item(id: &str, amount: i64) -> Value {
    json!({"id": id, "name": id, "amount": amount})
}

#[test]
fn edits_are_undone_one_by_one() {
    let now = plan(json!({"amount": 1500, "name": "Gold II"}));
    let edits = [
        json!({"before": {"amount": 1000}, "after": {"amount": 1200}}),
        json!({"before": {"name": "Gold"}, "after": {"name": "Gold II"}}),
        json!({"before": {"amount": 1200, "catch_up": "no word of this version"}, "after": {"amount": 1500}}),
        json!({"after": {}}),
    ];
    let states = history(now.clone(), &edits);
    // What cannot be read any more is passed over, and so is everything before it.
    assert_eq!(states, std::slice::from_ref(&now));
    let edits = [edits[0].clone(), edits[1].clone(), json!({"before": {"amount": 1200}, "after": {"amount": 1500}})];
    let states = history(now, &edits);
    let told: Vec<_> = states.iter().map(|plan| (plan.amount, plan.name.as_str())).collect();
    assert_eq!(told, [(1500, "Gold II"), (1200, "Gold II"), (1200, "Gold"), (1000, "Gold")]);
}

#[test]
fn a_value_that_the_plan_ever_had_follows_and_any_other_stays() {
    let plans = Versions::Plan(vec![plan(json!({"amount": 1500})), plan(json!({"amount": 1200})), plan(json!({}))]);
    for (own, options, expected) in [
        (1000, keep(), Ok(1500)),
        (1200, keep(), Ok(1500)),
        (1500, keep(), Err(LeftAloneReason::Unchanged)),
        (999, keep(), Err(LeftAloneReason::Overridden)),
        (999, replace(), Ok(1500)),
        (1500, replace(), Err(LeftAloneReason::Unchanged)),
        (1000, Options { fields: Some(vec![Field::Name]), ..keep() }, Err(LeftAloneReason::Unchanged)),
        (1000, Options { fields: Some(vec![Field::Amount]), ..keep() }, Ok(1500)),
    ] {
        let verdict = judge(&plans, &options, &subscription(json!({"amount": own})));
        assert_eq!(verdict.map(|verdict| verdict.after.amount), expected, "{own} {options:?}");
    }
}

#[test]
fn every_field_of_a_plan_follows() {
    let after = json!({"name": "Silver", "amount": 7, "duration": 5, "catch_up": "skip", "while_past_due": "hold",
        "business_day": "following", "holiday_calendar": "bank", "billing_frequency": "weekly", "billing_cycle_interval": 2,
        "billing_days": "3", "add_ons": [item("a", 1)], "discounts": [item("d", 2)]});
    let verdict = judge(&Versions::Plan(vec![plan(after), plan(json!({}))]), &keep(), &subscription(json!({}))).expect("changed");
    let it = verdict.after;
    assert_eq!((it.description.as_str(), it.amount, it.duration), ("Silver", 7, 5));
    assert_eq!((it.catch_up.as_str(), it.while_past_due.as_str(), it.business_day.as_str()), ("skip", "hold", "following"));
    assert_eq!((it.billing_frequency, it.billing_cycle_interval, it.billing_days.as_deref()), (Frequency::Weekly, 2, Some("3")));
    assert_eq!((it.holiday_calendar.as_deref(), it.add_ons.len(), it.discounts.len()), (Some("bank"), 1, 1));
    assert_eq!((it.add_ons[0].applied_from, verdict.kept), (1, vec![]));
    assert_eq!(verdict.changed.effective_date.to_string(), "2026-02-01");
}

#[test]
fn every_third_month_never_becomes_every_third_week() {
    let weekly = json!({"billing_frequency": "weekly", "billing_days": "3"});
    for (before, own, expected) in [
        (json!({}), json!({}), Some(("weekly", 1, Some("3")))),
        // Days of the month mean nothing to a week, even those of its own.
        (json!({"billing_days": "1"}), json!({"billing_days": "9"}), Some(("weekly", 1, Some("3")))),
        (json!({}), json!({"billing_cycle_interval": 3}), None),
        (json!({}), json!({"billing_frequency": "yearly"}), None),
    ] {
        let plans = Versions::Plan(vec![plan(weekly.clone()), plan(before)]);
        let verdict = judge(&plans, &keep(), &subscription(own.clone())).ok();
        let told = verdict
            .as_ref()
            .map(|it| (it.after.billing_frequency.as_str(), it.after.billing_cycle_interval, it.after.billing_days.as_deref()));
        assert_eq!(told, expected, "{own}");
        let forced = judge(&plans, &replace(), &subscription(own)).expect("replaced").after;
        assert_eq!((forced.billing_frequency, forced.billing_cycle_interval), (Frequency::Weekly, 1));
    }
    let plans = Versions::Plan(vec![plan(json!({"billing_days": "15"})), plan(json!({"billing_days": "1"}))]);
    let days =
        |own: Value| judge(&plans, &keep(), &subscription(own)).map(|verdict| verdict.after.billing_days.unwrap_or_default());
    assert_eq!(days(json!({"billing_days": "1"})), Ok("15".to_owned()));
    assert_eq!(days(json!({"billing_days": "9"})), Err(LeftAloneReason::Overridden));
}

#[test]
fn a_list_follows_where_it_was_the_plans_and_its_items_on_their_own() {
    let versions =
        |newest: Value, before: Value| Versions::Plan(vec![plan(json!({"add_ons": newest})), plan(json!({"add_ons": before}))]);
    let edited = versions(json!([item("a", 5), item("c", 7)]), json!([item("a", 3), item("b", 4)]));
    // What it holds; what it then holds by keeping its own; by replacing.
    for (own, kept, replaced) in [
        (json!([item("a", 3), item("b", 4)]), "a5 c7", "a5 c7"),
        // The same in another order.
        (json!([item("b", 4), item("a", 3)]), "a5 c7", "a5 c7"),
        // An amount of its own stays, also of what the plan has given up.
        (json!([item("a", 9), item("b", 4)]), "a9 c7", "a5 c7"),
        (json!([item("a", 3), item("b", 9)]), "a5 c7 b9", "a5 c7"),
        // A list of its own stays, and in it what is the plan's follows.
        (json!([item("a", 3)]), "a5", "a5 c7"),
        (json!([item("a", 3), item("x", 1)]), "a5 x1", "a5 c7"),
        (json!([item("x", 1)]), "x1", "a5 c7"),
        (json!([]), "", "a5 c7"),
    ] {
        let subscription = subscription(json!({"add_ons": own}));
        let told = |options: &Options| {
            let after = judge(&edited, options, &subscription).map_or_else(|_| subscription.clone(), |verdict| verdict.after);
            let one = |item: &Modifier| format!("{}{}", item.id, serde_json::to_value(item).expect("json")["amount"]);
            after.add_ons.iter().map(one).collect::<Vec<_>>().join(" ")
        };
        assert_eq!((told(&keep()).as_str(), told(&replace()).as_str()), (kept, replaced), "{own}");
    }
}

#[test]
fn a_modifier_keeps_its_count_and_each_value_of_its_own() {
    let version = |amount: i64, name: &str, duration: i64| -> Modifier {
        serde_json::from_value(json!({"id": "a", "name": name, "amount": amount, "duration": duration})).expect("a modifier")
    };
    let versions = Versions::AddOn(vec![version(5, "More", 6), version(4, "Extra", 6), version(3, "Extra", 0)]);
    let held = json!([item("x", 3), {"id": "a", "name": "Extra", "amount": 3, "duration": 9, "applied_from": 1}]);
    let verdict = judge(&versions, &keep(), &subscription(json!({"add_ons": held, "next_cycle": 4}))).expect("changed");
    let [other, a] = &verdict.after.add_ons[..] else { panic!("two") };
    assert_eq!(serde_json::to_value(other).expect("json")["amount"], 3, "another add-on of the same price");
    assert_eq!(*a, Modifier { applied_from: 1, duration: 9, ..version(5, "More", 0) });
    assert_eq!(verdict.kept, [Field::Duration]);
    let elsewhere = subscription(json!({"discounts": held}));
    assert!(!versions.concerns(&elsewhere) && versions.concerns(&subscription(json!({"add_ons": held}))));
    // In plans too, since new subscriptions come from them.
    let changed = versions
        .in_plan(&keep(), &plan(json!({"add_ons": [merged(item("a", 9), json!({"duration": 9}))]})))
        .map(|plan| plan.add_ons);
    assert!(changed.is_none(), "all of it is its own: {changed:?}");
    let changed =
        versions.in_plan(&keep(), &plan(json!({"add_ons": [{"id": "a", "name": "Extra", "amount": 9}]}))).expect("named");
    assert_eq!(changed.add_ons[0].name, "More");
}

#[test]
fn who_is_left_alone_and_why() {
    let plans = Versions::Plan(vec![plan(json!({"amount": 1500, "duration": 6})), plan(json!({}))]);
    let parked = json!({"status": "parked", "parked_reason": "x"});
    for (own, expected) in [
        (json!({"status": "cancelled"}), Err(LeftAloneReason::Ended)),
        (json!({"status": "completed"}), Err(LeftAloneReason::Ended)),
        (json!({"cancel_at_period_end": true}), Err(LeftAloneReason::Cancelling)),
        (json!({"currency": "EUR"}), Err(LeftAloneReason::OtherCurrency)),
        (json!({"pending_change": {"plan_id": "plan_00000000000000000000000009"}}), Err(LeftAloneReason::ChangingPlan)),
        (merged(parked.clone(), json!({"next_slot": 0})), Err(LeftAloneReason::Parked)),
        (parked, Ok(1500)),
        (json!({"status": "paused"}), Ok(1500)),
        (json!({"status": "trialing", "period_start": null, "period_end": null, "next_slot": 0}), Ok(1500)),
        (json!({"status": "past_due"}), Ok(1500)),
        (json!({"cycles_billed": 6}), Err(LeftAloneReason::DoesNotFit)),
        (json!({"quantity": 100_000, "amount": 1000}), Ok(1500)),
        (json!({"pending_change": {"quantity": 2}}), Ok(1500)),
    ] {
        let verdict = judge(&plans, &keep(), &subscription(own.clone()));
        assert_eq!(verdict.map(|verdict| verdict.after.amount), expected, "{own}");
    }
    let dear = Versions::Plan(vec![plan(json!({"amount": 900_000_000_000_i64})), plan(json!({}))]);
    assert_eq!(judge(&dear, &keep(), &subscription(json!({"quantity": 2}))).err(), Some(LeftAloneReason::DoesNotFit));
}

#[test]
fn what_waits_for_the_next_cycle_is_changed_where_it_is_the_plans() {
    let plans =
        Versions::Plan(vec![plan(json!({"amount": 1500, "name": "Gold II"})), plan(json!({"amount": 1200})), plan(json!({}))]);
    // What waits; what the next charge then comes to; what comes of it if what waits is undone.
    for (pending, next, undone) in
        [(json!({"amount": 1200}), 1500, 1500), (json!({"amount": 700}), 700, 1500), (json!({"quantity": 3}), 4500, 1500)]
    {
        let before = subscription(json!({"pending_change": pending}));
        let verdict = judge(&plans, &keep(), &before).expect("changed");
        assert_eq!(Verdict::next_amount(&verdict.after, &rules()), Some(next), "{pending}");
        let mut kept = Subscription { pending_change: None, ..verdict.after };
        kept.refresh(&rules());
        assert_eq!((Verdict::next_amount(&kept, &rules()), kept.description.as_str()), (Some(undone), "Gold II"), "{pending}");
    }
    let taken = judge(&plans, &replace(), &subscription(json!({"pending_change": {"amount": 700}}))).expect("changed");
    assert_eq!(Verdict::next_amount(&taken.after, &rules()), Some(1500));
}

#[test]
fn now_charges_only_where_a_period_is_running_and_the_price_changes() {
    let now = Options { when: Effect::Now, ..keep() };
    let dearer = Versions::Plan(vec![plan(json!({"amount": 2000})), plan(json!({}))]);
    let renamed = Versions::Plan(vec![plan(json!({"name": "Silver", "catch_up": "skip"})), plan(json!({}))]);
    let paused = json!({"status": "paused"});
    let trialing = json!({"status": "trialing", "period_start": null, "period_end": null, "next_slot": 0, "next_cycle": 0});
    for (versions, own, charged) in [
        // 21 of 31 days: 2000 of them cost 13.55, 6.77 come back.
        (&dearer, json!({}), Some((678, "2026-01-11"))),
        (&dearer, json!({"status": "past_due"}), Some((678, "2026-01-11"))),
        (&dearer, paused, None),
        (&dearer, trialing, None),
        (&renamed, json!({}), None),
    ] {
        let before = subscription(own.clone());
        let verdict = judge(versions, &now, &before).expect("changed");
        let told = verdict.changed.period.map(|_| (verdict.changed.amount, verdict.changed.effective_date.to_string()));
        assert_eq!(told, charged.map(|(amount, date)| (amount, date.to_owned())), "{own}");
        assert_eq!(verdict.changed.lines.is_empty(), charged.is_none());
        assert_ne!(verdict.after, before);
        assert_eq!(verdict.after.status, before.status);
    }
    let cheaper = Versions::Plan(vec![plan(json!({"amount": 100})), plan(json!({}))]);
    let verdict = judge(&cheaper, &now, &subscription(json!({}))).expect("changed");
    assert_eq!((verdict.changed.amount, verdict.changed.credit), (0, 609));
    assert!(SubscriptionStatus::ALL.len() == 7, "a new status needs a line in these tables");
}

#[test]
fn versions_are_kept_as_they_are() {
    let percentage: Modifier = serde_json::from_value(json!({"id": "a", "percentage": 12.345})).expect("a modifier");
    for versions in [Versions::Plan(vec![plan(json!({"add_ons": [percentage]}))]), Versions::Discount(vec![percentage.clone()])] {
        let text = serde_json::to_string(&versions).expect("json");
        assert_eq!(serde_json::from_str::<Versions>(&text).expect("read"), versions);
    }
}
