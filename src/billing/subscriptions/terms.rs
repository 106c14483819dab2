//! What a change of running terms asks for, turned into a [`Change`] that is known to fit the subscription.

use chrono::NaiveDate;

use crate::{
    billing::{
        App, Result,
        checks::{Checks, ModifierInput, Terms, modifiers},
        dunning_policies,
    },
    domain::{
        calendar::{BusinessDay, Zone},
        customer::Metadata,
        frequency::Frequency,
        id::{AddOn, Discount, PaymentMethodId},
        money::{Currency, MAX_AMOUNT_MINOR},
        plan::{CatchUp, Plan, WhilePastDue},
        proration::FirstPeriod,
        subscription::{Change, Subscription, When},
    },
    input::{Patch, body},
    store::{self, Tx},
};

body! {
    /// Terms that may change while a subscription runs. What is left out stays; null takes away.
    #[derive(Default)]
    pub struct TermsInput {
        /// Id or reference. Another plan brings its terms along, except those given here.
        pub plan_id: Option<String> line up to 255,
        /// Shown on invoices.
        pub description: Option<String> up to 255,
        /// For one unit of quantity, minor units.
        pub amount: Option<i64> in 0..=MAX_AMOUNT_MINOR,
        pub quantity: Option<i64> in 1..=100_000,
        pub billing_frequency | payment_frequency: Option<Frequency>,
        pub billing_cycle_interval: Option<i64> in 1..=1000,
        /// Another frequency without days takes them from the next bill date.
        pub billing_days: Patch<String> up to 100,
        /// Number of charges, those already made included; 0 = until cancelled.
        pub duration | total_number_of_payments: Option<i64> in 0..=100_000,
        /// Exclusive: nothing is charged on or after it.
        pub ends_on: Patch<NaiveDate>,
        /// All of them anew.
        pub add_ons: Option<Vec<ModifierInput>>,
        /// All of them anew.
        pub discounts: Option<Vec<ModifierInput>>,
        /// Null: the customer's default.
        pub payment_method_id: Patch<PaymentMethodId>,
        pub business_day: Option<BusinessDay>,
        pub holiday_calendar: Patch<String> line up to 100,
        pub catch_up: Option<CatchUp>,
        pub while_past_due: Option<WhilePastDue>,
        /// IANA name.
        pub timezone: Option<Zone>,
        /// All of it anew.
        pub metadata: Option<Metadata>,
        /// With a new frequency or interval: whether the schedule goes on as it was laid, with its first date on or after the next charge;
        /// else it starts anew there. With a bill date: whether only that charge moves. New `billing_days` alone never start it anew: the
        /// next charge is the first new day on or after the old next date.
        pub keep_anchor: Option<bool>,
        /// May be repeated, never changed.
        pub currency: Option<Currency>,
        /// May be repeated, never changed: it only counts at the start.
        pub first_period: Option<FirstPeriod>,
        /// May be repeated, never changed: it only counts at the start.
        pub initial_payment_amount: Option<i64> in 0..=MAX_AMOUNT_MINOR,
        /// Only null: to move the end of a trial, reschedule the first charge.
        pub trial_days: Option<i64> in 0..=100_000,
        /// Id or reference; it holds from the next failure on. Null: whichever is the default then.
        pub dunning_policy_id: Patch<String> line up to 255,
        /// So many days before each bill date the charge is authorized; 0: not before.
        pub authorize_days_before: Option<i64> in 0..=30,
    }
}

impl TermsInput {
    /// Terms that count at the start alone may be repeated as they are, and never changed.
    fn check_fixed(&self, checks: &mut Checks, subscription: &Subscription) {
        let differs = [
            (
                "currency",
                self.currency.is_some_and(|currency| currency != subscription.currency),
                "cannot be changed: what was billed and credited is in the old one; cancel it, and subscribe anew",
            ),
            (
                "first_period",
                self.first_period.is_some_and(|first| first != subscription.first_period),
                "only counts at the start, and cannot be changed afterwards",
            ),
            (
                "initial_payment_amount",
                self.initial_payment_amount.is_some_and(|amount| Some(amount) != subscription.initial_payment_amount),
                "only counts at the start, and cannot be changed afterwards",
            ),
            (
                "trial_days",
                self.trial_days.is_some(),
                "only counts at the start: to move the end of a trial, reschedule the first charge",
            ),
        ];
        for (field, _, message) in differs.into_iter().filter(|(_, differs, _)| *differs) {
            checks.fault(field, message);
        }
    }
}

/// The change that the input asks for. `action` is when a change takes effect: at the period's end it stands on top of what
/// waits for it already, and naming the plan that the subscription has brings that plan's terms as they are now. Without an action
/// it is a PATCH, in which the plan may be repeated unchanged.
pub(crate) async fn resolve(
    app: &App,
    tx: &mut Tx,
    checks: &mut Checks,
    subscription: &Subscription,
    today: NaiveDate,
    input: TermsInput,
    action: Option<When>,
) -> Result<Change> {
    input.check_fixed(checks, subscription);
    let mut ground = subscription.clone();
    let at_end = action == Some(When::PeriodEnd);
    if at_end && let Some(pending) = &subscription.pending_change {
        pending.put_over(&mut ground);
    }
    let mut change = match &input.plan_id {
        Some(key) => plan_change(tx, checks, subscription, key, action.is_some()).await?,
        None => Change::default(),
    };
    let frequency_before = change.billing_frequency.unwrap_or(ground.billing_frequency);
    if input.billing_frequency.is_some_and(|frequency| frequency != frequency_before) {
        // Days of one frequency mean nothing to another.
        change.billing_days = Some(None);
    }
    let add_ons = match &input.add_ons {
        Some(inputs) => Some(modifiers::<AddOn>(tx, checks, "add_ons", inputs, &subscription.add_ons).await?),
        None => None,
    };
    let discounts = match &input.discounts {
        Some(inputs) => Some(modifiers::<Discount>(tx, checks, "discounts", inputs, &subscription.discounts).await?),
        None => None,
    };
    let dunning_policy_id = match input.dunning_policy_id.change() {
        Some(key) => Some(dunning_policies::named(tx, checks, key.as_deref()).await?),
        None => None,
    };
    if let Patch::Value(method) = input.payment_method_id {
        let methods = store::payment_methods::of_customer(tx, subscription.customer_id).await?;
        if !methods.iter().any(|known| known.id == method) {
            checks.fault("payment_method_id", "is no payment method of this customer");
        }
    }
    if input.business_day == Some(BusinessDay::None) {
        change.holiday_calendar = Some(None);
    }
    change.merge(Change {
        plan_id: None,
        description: input.description,
        amount: input.amount,
        quantity: input.quantity,
        billing_frequency: input.billing_frequency,
        billing_cycle_interval: input.billing_cycle_interval,
        billing_days: input.billing_days.change(),
        duration: input.duration,
        ends_on: input.ends_on.change(),
        add_ons,
        discounts,
        payment_method_id: input.payment_method_id.change(),
        business_day: input.business_day,
        holiday_calendar: input.holiday_calendar.change(),
        catch_up: input.catch_up,
        while_past_due: input.while_past_due,
        authorize_days_before: input.authorize_days_before,
        dunning_policy_id,
        timezone: input.timezone,
        metadata: input.metadata,
        keep_anchor: input.keep_anchor,
    });
    check(app, checks, subscription, ground, today, at_end, &mut change);
    Ok(change)
}

async fn plan_change(tx: &mut Tx, checks: &mut Checks, subscription: &Subscription, key: &str, anew: bool) -> Result<Change> {
    if !anew && subscription.plan_id.is_some_and(|id| id.to_string() == key) {
        // Repeated unchanged; the plan itself may be gone by now.
        return Ok(Change::default());
    }
    let Some(plan) = store::plans::find_in(tx, key).await? else {
        checks.fault("plan_id", format!("there is no plan {}", key.escape_debug()));
        return Ok(Change::default());
    };
    if !anew && subscription.plan_id == Some(plan.id) {
        return Ok(Change::default());
    }
    if plan.currency != subscription.currency {
        checks.fault("plan_id", format!("is in {}, and the subscription in {}", plan.currency, subscription.currency));
    }
    let before = match subscription.plan_id {
        Some(id) => store::plans::find_in(tx, &id.to_string()).await?,
        None => None,
    };
    // A description that was the old plan's name becomes the new one's.
    let inherited = before.is_some_and(|before: Plan| before.name == subscription.description);
    Ok(Change {
        plan_id: Some(plan.id),
        description: inherited.then_some(plan.name),
        amount: Some(plan.amount),
        billing_frequency: Some(plan.billing_frequency),
        billing_cycle_interval: Some(plan.billing_cycle_interval),
        billing_days: Some(plan.billing_days),
        duration: Some(plan.duration),
        add_ons: Some(plan.add_ons),
        discounts: Some(plan.discounts),
        ..Change::default()
    })
}

/// Checks the terms as they will be, and writes the days as they are kept.
fn check(
    app: &App,
    checks: &mut Checks,
    subscription: &Subscription,
    mut after: Subscription,
    today: NaiveDate,
    at_end: bool,
    change: &mut Change,
) {
    change.put_over(&mut after);
    let days = checks.terms(&Terms::of(&after), &app.rules);
    if change.billing_days.is_some() {
        change.billing_days = Some(days);
    }
    let billed = subscription.cycles_billed;
    if change.duration.is_some_and(|duration| duration != subscription.duration && (1..=billed).contains(&duration)) {
        checks.fault("duration", format!("must be 0 or more than the {billed} charges that were made already"));
    }
    if let Some(Some(end)) = change.ends_on.filter(|end| *end != subscription.ends_on)
        && end <= today
    {
        checks.fault("ends_on", format!("must be after today, {today}; to end now, cancel"));
    }
    // What waits for the period's end must still fit on top of this, or the subscription would stop there.
    if !at_end
        && let Some(pending) = &subscription.pending_change
        && after.recurrence().is_ok()
    {
        pending.put_over(&mut after);
        if after.recurrence().is_err() {
            checks
                .fault("billing_frequency", "does not fit the change that waits for the period's end: undo that with keep first");
        }
    }
}
