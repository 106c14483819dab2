//! Subscribe: a customer agrees to be billed again and again. The subscription gets its own copy of the terms.

use chrono::{DateTime, Days, NaiveDate, Utc};
use serde_json::{Value, json};
use utoipa::openapi::{RefOr, Schema};

use crate::{
    billing::{
        App, Result,
        checks::{Checks, MAX_COUNT, ModifierInput, Terms, copies, entries},
        customers::CustomerRef,
        dunning_policies,
        invoices::open::{Draft, open_invoices},
    },
    domain::{
        calendar::{self, BusinessDay, Zone},
        catalog::Entry,
        clock::Timeline,
        customer::{Customer, Metadata},
        event::Actor,
        frequency::Frequency,
        id::{AddOn, Discount, DunningPolicyId, PaymentMethodId},
        invoice::{Line, LineKind},
        money::{Currency, MAX_AMOUNT_MINOR},
        payment_method::PaymentMethod,
        plan::{CatchUp, Plan, WhilePastDue},
        proration::FirstPeriod,
        subscription::{Subscription, SubscriptionStatus},
    },
    input::{Faults, Input, body},
    store,
};

/// The first bill date, as a date or, as Paysley writes it, an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Date(NaiveDate),
    At(DateTime<Utc>),
}

impl Start {
    pub fn date(self, zone: Zone) -> NaiveDate {
        match self {
            Self::Date(date) => date,
            Self::At(at) => calendar::local_date(at, zone.0),
        }
    }
}

/// The first charge: `2026-11-21`, or an instant whose local date counts.
impl Input for Start {
    fn read(value: &Value, (): &(), at: &str, faults: &mut Faults) -> Option<Self> {
        match value.as_str() {
            Some(text) if text.contains(['T', 't', ' ']) => DateTime::<Utc>::read(value, &(), at, faults).map(Self::At),
            _ => NaiveDate::read(value, &(), at, faults).map(Self::Date),
        }
    }

    fn schema((): &()) -> RefOr<Schema> {
        NaiveDate::schema(&())
    }
}

body! {
    /// Left out: the plan's, else the default. Without a plan, amount and billing_frequency are required.
    #[derive(Default)]
    pub struct SubscribeInput {
        pub customer: CustomerRef,
        /// Id or reference of the plan whose terms are copied.
        pub plan_id: Option<String> line up to 255,
        /// Shown on invoices; left out: the plan's name.
        pub description: Option<String> up to 255,
        /// For one unit of quantity, minor units.
        pub amount: Option<i64> in 0..=MAX_AMOUNT_MINOR,
        pub quantity: Option<i64> in 1..=100_000,
        /// Left out: the plan's, else the customer's.
        pub currency: Option<Currency>,
        /// IANA name; left out: the customer's.
        pub timezone: Option<Zone>,
        pub billing_frequency | payment_frequency: Option<Frequency>,
        /// Every how many days, weeks, months … ; 1 if left out.
        pub billing_cycle_interval: Option<i64> in 1..=1000,
        /// Which days: `7` (every 7 days), `1,4` (weekdays), `1,15` or `31` (days of the month; 31 and 0 are its last).
        pub billing_days: Option<String> up to 100,
        /// Number of charges; 0 = until cancelled.
        pub duration | total_number_of_payments: Option<i64> in 0..=100_000,
        /// First charge: a date, or an instant as Paysley writes it. Left out: the end of the trial, else today.
        pub next_bill_date | payment_start_date: Option<Start>,
        /// Lets the first charge lie in the past; the catch-up policy says what is billed of it.
        pub backdated: bool = false,
        /// Exclusive: nothing is charged on or after it.
        pub ends_on: Option<NaiveDate>,
        pub trial_days: Option<i64> in 0..=100_000,
        /// What is charged between a start that is none of the billing days and the first of them.
        pub first_period: Option<FirstPeriod>,
        /// Charged at once, beside the schedule; minor units.
        pub initial_payment_amount: Option<i64> in 0..=MAX_AMOUNT_MINOR,
        /// In place of the plan's, also when empty.
        pub add_ons: Option<Vec<ModifierInput>>,
        /// In place of the plan's, also when empty.
        pub discounts: Option<Vec<ModifierInput>>,
        /// Left out: whatever is the customer's default when it is charged.
        pub payment_method_id: Option<PaymentMethodId>,
        pub business_day: Option<BusinessDay>,
        pub holiday_calendar: Option<String> line up to 100,
        pub catch_up: Option<CatchUp>,
        pub while_past_due: Option<WhilePastDue>,
        /// Id or reference of what follows a failed payment; left out: the plan's, else whichever is the default then.
        pub dunning_policy_id: Option<String> line up to 255,
        /// So many days before each bill date the charge is authorized, to be captured on it; null or 0: not before.
        pub authorize_days_before: Option<i64> in 0..=30,
        pub metadata: Option<Metadata>,
    }    internal {
        /// It was charged elsewhere up to and with this day: the first charge is the first of the schedule after it. Without a
        /// `next_bill_date` to lay the schedule from, that begins the day after; then no stub before the first billing day is
        /// charged. Only the import sets it.
        pub paid_through: Option<NaiveDate>,
    }
}

pub async fn subscribe(app: &App, actor: &Actor, input: SubscribeInput) -> Result<Subscription> {
    let mut checks = Checks::default();
    let mut tx = app.db.begin().await?;
    let customer = store::customers::lock(&mut tx, &input.customer.id).await?;
    let plan = match &input.plan_id {
        None => None,
        Some(key) => store::plans::find_in(&mut tx, key).await?,
    };
    let timeline = customer.as_ref().map_or(Timeline::Wall, |customer| customer.timeline);
    let now = app.now_in(&mut tx, timeline).await?;
    let amount = input.initial_payment_amount.unwrap_or(0);
    let methods = match (&customer, input.payment_method_id) {
        (Some(customer), Some(_)) => store::payment_methods::of_customer(&mut tx, customer.id).await?,
        _ => Vec::new(),
    };
    let named = Named {
        customer: customer.as_ref(),
        plan: plan.as_ref(),
        policy: dunning_policies::named(&mut tx, &mut checks, input.dunning_policy_id.as_deref()).await?,
        methods: &methods,
        add_ons: &entries(&mut tx, input.add_ons.as_deref().unwrap_or_default()).await?,
        discounts: &entries(&mut tx, input.discounts.as_deref().unwrap_or_default()).await?,
    };
    let subscription = draft(app, &mut checks, &named, input, now);
    checks.done()?;

    store::subscriptions::insert(&mut tx, std::slice::from_ref(&subscription)).await?;
    let mut events =
        vec![app.event(timeline, now, actor, "subscription.created", subscription.id, json!({ "after": subscription }))];
    if amount > 0 {
        let draft = initial_payment(&subscription, amount, now);
        let (_, opened) = open_invoices(&mut tx, app, now, actor, vec![draft]).await?;
        events.extend(opened);
    }
    store::events::append(&mut tx, &events).await?;
    tx.commit().await?;
    if amount > 0 {
        app.wakeups.collect.notify_one();
    }
    if subscription.due_at.is_some_and(|due| due <= now) {
        app.wakeups.bill.notify_one();
    }
    Ok(subscription)
}

/// The invoice of the initial payment, which belongs to no cycle of the schedule.
fn initial_payment(subscription: &Subscription, amount: i64, now: DateTime<Utc>) -> Draft {
    Draft {
        customer_id: subscription.customer_id,
        subscription_id: Some(subscription.id),
        installment: None,
        cycle: None,
        timeline: subscription.timeline,
        currency: subscription.currency,
        timezone: subscription.timezone,
        description: subscription.description.clone(),
        period: None,
        lines: vec![Line::new(LineKind::Initial, "Initial payment", amount)],
        due_at: now,
    }
}

/// What an input names, as the database has it.
pub(crate) struct Named<'a> {
    pub customer: Option<&'a Customer>,
    pub plan: Option<&'a Plan>,
    pub policy: Option<DunningPolicyId>,
    /// The customer's, if the input names one.
    pub methods: &'a [PaymentMethod],
    /// Those that the input names may be among more.
    pub add_ons: &'a [Entry<AddOn>],
    pub discounts: &'a [Entry<Discount>],
}

/// The subscription that the input asks for. It is worth something only if no fault was found.
pub(crate) fn draft(app: &App, checks: &mut Checks, named: &Named, input: SubscribeInput, now: DateTime<Utc>) -> Subscription {
    let basis = resolve_names(app, checks, named, &input, now);
    let start = resolve_start(checks, named, &input, &basis);
    let mut subscription = resolve_terms(app, checks, named, input, &basis, &start);
    first_charge(app, checks, &mut subscription, &start, basis.today);
    subscription
}

/// What the terms are read by.
struct Basis {
    timezone: Zone,
    currency: Currency,
    now: DateTime<Utc>,
    /// In the time zone.
    today: NaiveDate,
}

/// When billing begins, and what was charged elsewhere before.
struct FirstDates {
    starts_on: NaiveDate,
    trial_days: i64,
    paid_through: Option<NaiveDate>,
    /// Nothing else says when the schedule begins: it is the day after `paid_through`.
    is_laid_from_payment: bool,
    backdated: bool,
}

/// Checks that the customer and the plan are there, and takes from them what the input leaves out.
fn resolve_names(app: &App, checks: &mut Checks, named: &Named, input: &SubscribeInput, now: DateTime<Utc>) -> Basis {
    let &Named { customer, plan, .. } = named;
    if customer.is_none() {
        checks.fault("customer.id", format!("there is no customer {}", input.customer.id.escape_debug()));
    }
    if let Some(key) = input.plan_id.as_ref().filter(|_| plan.is_none()) {
        checks.fault("plan_id", format!("there is no plan {}", key.escape_debug()));
    }
    if input.plan_id.is_none() {
        for (field, missing) in [("amount", input.amount.is_none()), ("billing_frequency", input.billing_frequency.is_none())] {
            if missing {
                checks.fault(field, "is required without a plan_id");
            }
        }
    }
    let known = customer.map_or(Zone(app.config.billing.timezone), |customer| customer.timezone);
    let timezone = input.timezone.unwrap_or(known);
    let of_customer = customer.map_or(app.config.billing.currency, |customer| customer.currency);
    let currency = input.currency.or(plan.map(|plan| plan.currency)).unwrap_or(of_customer);
    if let Some(plan) = plan.filter(|plan| plan.currency != currency && input.amount.is_none()) {
        checks.fault("currency", format!("differs from the plan's, {}: say the amount, too", plan.currency));
    }
    Basis { timezone, currency, now, today: calendar::local_date(now, timezone.0) }
}

fn resolve_start(checks: &mut Checks, named: &Named, input: &SubscribeInput, basis: &Basis) -> FirstDates {
    let &Basis { timezone, today, .. } = basis;
    let day_after = input.paid_through.and_then(|day| day.succ_opt());
    let start = input.next_bill_date.or(day_after.map(Start::Date));
    let trial_days = trial(checks, named.plan, input.trial_days, start, today, timezone);
    let starts_on = match start {
        Some(start) => start.date(timezone),
        None => u64::try_from(trial_days).ok().and_then(|days| today.checked_add_days(Days::new(days))).unwrap_or(today),
    };
    if input.paid_through.is_none() {
        if starts_on < today && !input.backdated {
            checks.fault("next_bill_date", format!("lies before today, {today}; say backdated: true if that is meant"));
        }
        if input.ends_on.is_some_and(|end| end <= starts_on) {
            checks.fault("ends_on", format!("must be after the first bill date, {starts_on}"));
        }
    }
    FirstDates {
        starts_on,
        trial_days,
        paid_through: input.paid_through,
        is_laid_from_payment: input.paid_through.is_some() && input.next_bill_date.is_none(),
        backdated: input.backdated,
    }
}

/// Each term as the input gives it, else the plan's, else the default.
fn resolve_terms(
    app: &App,
    checks: &mut Checks,
    named: &Named,
    input: SubscribeInput,
    basis: &Basis,
    start: &FirstDates,
) -> Subscription {
    let &Named { customer, plan, .. } = named;
    checks.amount("initial_payment_amount", input.initial_payment_amount.unwrap_or(0));
    if let (Some(method), Some(_)) = (input.payment_method_id, customer)
        && !named.methods.iter().any(|known| known.id == method)
    {
        checks.fault("payment_method_id", "is no payment method of this customer");
    }
    let add_ons = match &input.add_ons {
        Some(inputs) => copies(checks, "add_ons", inputs, named.add_ons, plan.map_or(&[], |plan| &plan.add_ons)),
        None => plan.map(|plan| plan.add_ons.clone()).unwrap_or_default(),
    };
    let discounts = match &input.discounts {
        Some(inputs) => copies(checks, "discounts", inputs, named.discounts, plan.map_or(&[], |plan| &plan.discounts)),
        None => plan.map(|plan| plan.discounts.clone()).unwrap_or_default(),
    };
    let frequency = input.billing_frequency.or(plan.map(|plan| plan.billing_frequency)).unwrap_or(Frequency::Monthly);
    // The plan's days mean nothing to another frequency.
    let plan_days = plan.filter(|plan| plan.billing_frequency == frequency).and_then(|plan| plan.billing_days.clone());
    let explicit_days = input.billing_days.filter(|_| input.billing_frequency.is_some() || plan.is_some());
    let business_day = input.business_day.or(plan.map(|plan| plan.business_day)).unwrap_or_default();
    let plan_calendar = plan.filter(|_| business_day != BusinessDay::None).and_then(|plan| plan.holiday_calendar.clone());
    let default_first = if start.is_laid_from_payment { FirstPeriod::Free } else { FirstPeriod::default() };

    Subscription {
        plan_id: plan.map(|plan| plan.id),
        payment_method_id: input.payment_method_id,
        timeline: customer.map_or(Timeline::Wall, |customer| customer.timeline),
        status: if start.trial_days > 0 { SubscriptionStatus::Trialing } else { SubscriptionStatus::Active },
        description: input.description.or_else(|| plan.map(|plan| plan.name.clone())).unwrap_or_default(),
        amount: input.amount.or(plan.map(|plan| plan.amount)).unwrap_or(0),
        quantity: input.quantity.unwrap_or(1),
        billing_cycle_interval: input.billing_cycle_interval.or(plan.map(|plan| plan.billing_cycle_interval)).unwrap_or(1),
        billing_days: explicit_days.or(plan_days),
        duration: input.duration.or(plan.map(|plan| plan.duration)).unwrap_or(0),
        ends_on: input.ends_on,
        trial_ends_on: (start.trial_days > 0).then_some(start.starts_on),
        first_period: input.first_period.unwrap_or(default_first),
        catch_up: input.catch_up.or(plan.map(|plan| plan.catch_up)).unwrap_or(app.config.billing.catch_up),
        while_past_due: input.while_past_due.or(plan.map(|plan| plan.while_past_due)).unwrap_or(WhilePastDue::Bill),
        business_day,
        holiday_calendar: input.holiday_calendar.or(plan_calendar),
        initial_payment_amount: input.initial_payment_amount,
        authorize_days_before: input.authorize_days_before.filter(|&days| days != 0),
        dunning_policy_id: named.policy.or(plan.and_then(|plan| plan.dunning_policy_id)),
        add_ons,
        discounts,
        metadata: input.metadata.unwrap_or_default(),
        ..Subscription::beginning(
            app.id(),
            customer.map_or_else(|| app.id(), |customer| customer.id),
            basis.currency,
            basis.timezone,
            frequency,
            start.starts_on,
            basis.now,
        )
    }
}

/// Checks the terms together, and lays down the first charge: the first of the schedule that was not paid elsewhere.
fn first_charge(app: &App, checks: &mut Checks, subscription: &mut Subscription, start: &FirstDates, today: NaiveDate) {
    subscription.billing_days = checks.terms(&Terms::of(subscription), &app.rules);
    if let Some(schedule) = subscription.schedule() {
        let day_after = start.paid_through.and_then(|day| day.succ_opt()).filter(|_| !start.is_laid_from_payment);
        let slot = match day_after {
            Some(day) => schedule.slot_on_or_after(day),
            None => subscription.first_period.first_slot(&schedule),
        };
        subscription.next_slot = slot.and_then(|slot| i64::try_from(slot).ok()).unwrap_or(i64::MAX);
    }
    subscription.refresh(&app.rules);
    if start.paid_through.is_some() && subscription.schedule().is_some() {
        match subscription.next_bill_date {
            None => checks.fault("paid_through", "leaves nothing to charge by these terms"),
            Some(first) if first < today && !start.backdated => checks.fault(
                "paid_through",
                format!("would bring the first charge on {first}, before today, {today}: that must be asked for as backdated"),
            ),
            Some(_) => {}
        }
    }
}

/// Days of trial. A first bill date that is given outright leaves no room for a plan's trial.
fn trial(
    checks: &mut Checks,
    plan: Option<&Plan>,
    asked: Option<i64>,
    start: Option<Start>,
    today: NaiveDate,
    zone: Zone,
) -> i64 {
    let days = match (asked, start) {
        (Some(days), _) => days,
        (None, None) => plan.map_or(0, |plan| plan.trial_days),
        (None, Some(_)) => 0,
    };
    checks.within("trial_days", days, 0..=MAX_COUNT);
    if let (Some(days @ 1..), Some(start)) = (asked, start) {
        let end = u64::try_from(days).ok().and_then(|days| today.checked_add_days(Days::new(days)));
        if end != Some(start.date(zone)) {
            checks.fault("trial_days", "ends on another day than next_bill_date: leave one of them out");
        }
    }
    days
}
