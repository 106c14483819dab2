//! Create an installment plan from its terms, or show what it would be. The down payment is invoiced at once.

use chrono::{DateTime, NaiveDate, Utc};

use super::{Overview, edit::InstallmentPlanEdit};
use crate::{
    billing::{App, BillingError, Result, checks::Checks, customers::CustomerRef, dunning_policies},
    domain::{
        calendar::{self, BusinessDay, Zone},
        clock::Timeline,
        count,
        customer::{Customer, Metadata},
        event::Actor,
        frequency::{Frequency, Recurrence},
        id::{DunningPolicyId, InstallmentPlan as PlanKind, PaymentMethodId},
        installment_plan::{
            Installment, InstallmentPlan, InstallmentPlanStatus, InstallmentSchedule, InstallmentStatus, MAX_INSTALLMENTS,
            Unsound,
            terms::{InstallmentDates, TermUnits, equal_parts, installments_in},
        },
        money::{Currency, MAX_AMOUNT_MINOR, Percentage},
        payment_method::PaymentMethod,
    },
    input::body,
    store::{self, Tx},
};

body! {
    /// Exactly one of amount and percentage.
    #[derive(Copy, Default)]
    pub struct DownPaymentInput {
        /// Minor units.
        pub amount: Option<i64> in 0..=MAX_AMOUNT_MINOR,
        /// Of the total, with at most three decimals; rounded half away from zero.
        pub percentage: Option<Percentage>,
    }
}

body! {
    #[derive(Copy, PartialEq)]
    pub struct PartInput {
        /// Not before today.
        pub date: NaiveDate,
        /// Minor units.
        pub amount: i64 in 1..=MAX_AMOUNT_MINOR,
    }
}

body! {
    /// Either a recurrence with `installments`, `term` or `until`, or a `schedule`.
    #[derive(Default)]
    pub struct InstallmentPlanInput {
        pub customer: CustomerRef,
        /// The id of the record in another system. Requests may use this id in place of ours.
        pub reference: Option<String> line up to 255,
        /// Shown on invoices.
        pub description: Option<String> up to 255,
        /// The total, minor units, down payment included.
        pub amount: i64 in 1..=MAX_AMOUNT_MINOR,
        /// Left out: the customer's.
        pub currency: Option<Currency>,
        /// Part of the total that is due at once: installment number 0.
        pub down_payment: Option<DownPaymentInput>,
        /// How many, besides the down payment.
        pub installments: Option<i64> in 1..=1000,
        /// How long instead of how many: as many installments as whole billing periods fit in.
        pub term: Option<i64> in 1..=1000,
        pub term_units: Option<TermUnits>,
        /// Until when instead of how many: as many installments as have a date up to and with this one.
        pub until: Option<NaiveDate>,
        pub billing_frequency | payment_frequency: Option<Frequency>,
        /// Every how many days, weeks, months … ; 1 if left out.
        pub billing_cycle_interval: Option<i64> in 1..=1000,
        /// Which days: `7` (every 7 days), `1,4` (weekdays), `1,15` or `31` (days of the month; 31 and 0 are its last).
        pub billing_days: Option<String> up to 100,
        /// Left out: today, or after a down payment the next billing day.
        pub first_date: Option<NaiveDate>,
        /// Dates and amounts of every installment, adding up to the amount without the down payment.
        pub schedule: Option<Vec<PartInput>>,
        /// IANA name; left out: the customer's.
        pub timezone: Option<Zone>,
        /// Left out: whatever is the customer's default when it is charged.
        pub payment_method_id: Option<PaymentMethodId>,
        /// Id or reference of what follows a failed payment; left out: whichever is the default then.
        pub dunning_policy_id: Option<String> line up to 255,
        /// Where a charge goes that falls on a weekend or bank holiday.
        pub business_day: Option<BusinessDay>,
        /// A configured calendar of bank holidays.
        pub holiday_calendar: Option<String> line up to 100,
        /// So many failed installments in a row default the plan; 0 = never. Left out: the configured number.
        pub default_after: Option<i64> in 0..=1000,
        pub metadata: Option<Metadata>,
    } internal {
        /// Of a plan that was charged elsewhere before; none for one that begins here. Only the import sets it.
        pub taken_over: Option<TakenOver>,
    }
}

/// Each part as its date and minor units.
pub fn dated(parts: &[PartInput]) -> Vec<(NaiveDate, i64)> {
    parts.iter().map(|part| (part.date, part.amount)).collect()
}

/// What was paid of a plan before it came here, its down payment first: exactly one of the two.
#[derive(Debug, Clone, Copy, Default)]
pub struct TakenOver {
    /// Every installment of a date up to and with this one.
    pub paid_through: Option<NaiveDate>,
    /// The number of paid installments, the earliest first.
    pub installments_paid: Option<i64>,
    /// Lets what is not paid lie in the past: it is charged at once.
    pub backdated: bool,
}

/// What the input names, as far as it is there.
#[derive(Debug, Clone, Copy, Default)]
pub struct InstallmentPlanRefs<'a> {
    pub customer: Option<&'a Customer>,
    /// All of theirs.
    pub methods: &'a [PaymentMethod],
    pub policy: Option<DunningPolicyId>,
}

pub async fn create(app: &App, actor: &Actor, input: InstallmentPlanInput) -> Result<Overview> {
    let mut tx = app.db.begin().await?;
    let (schedule, now) = built(app, &mut tx, input).await?;
    store::installments::insert(&mut tx, &schedule).await.map_err(BillingError::reference_taken("installment plan"))?;
    let has_down_payment = schedule.plan.down_payment > 0;
    let mut edit = InstallmentPlanEdit::of(app, actor, tx, now, schedule);
    if has_down_payment {
        edit.open(&[0]).await?;
    }
    edit.commit_new().await
}

/// What [`create`] would make. Nothing is stored.
pub async fn preview(app: &App, input: InstallmentPlanInput) -> Result<Overview> {
    let mut tx = app.db.begin().await?;
    let (schedule, now) = built(app, &mut tx, input).await?;
    Ok(Overview::new(schedule, None, now))
}

async fn built(app: &App, tx: &mut Tx, input: InstallmentPlanInput) -> Result<(InstallmentSchedule, DateTime<Utc>)> {
    let customer = store::customers::lock(tx, &input.customer.id).await?;
    let timeline = customer.as_ref().map_or(Timeline::Wall, |customer| customer.timeline);
    let now = app.now_in(tx, timeline).await?;
    let methods = match (&customer, input.payment_method_id) {
        (Some(customer), Some(_)) => store::payment_methods::of_customer(tx, customer.id).await?,
        _ => Vec::new(),
    };
    let mut checks = Checks::default();
    let policy = dunning_policies::named(tx, &mut checks, input.dunning_policy_id.as_deref()).await?;
    let named = InstallmentPlanRefs { customer: customer.as_ref(), methods: &methods, policy };
    let schedule = draft(app, &mut checks, &named, input, now);
    checks.done()?;
    Ok((schedule?, now))
}

/// The plan that the input asks for. Use the plan only if `checks` has found no fault.
pub(in crate::billing) fn draft(
    app: &App,
    checks: &mut Checks,
    named: &InstallmentPlanRefs,
    input: InstallmentPlanInput,
    now: DateTime<Utc>,
) -> Result<InstallmentSchedule, Unsound> {
    let customer = named.customer;
    if customer.is_none() {
        checks.fault("customer.id", format!("there is no customer {}", input.customer.id.escape_debug()));
    }
    let zone = customer.map_or(Zone(app.config.billing.timezone), |customer| customer.timezone);
    let timezone = input.timezone.unwrap_or(zone);
    let today = calendar::local_date(now, timezone.0);

    checks.reference::<PlanKind>(input.reference.as_deref());
    checks.within("amount", input.amount, 1..=MAX_AMOUNT_MINOR);
    checks.within("default_after", input.default_after.unwrap_or(0), 0..=count(MAX_INSTALLMENTS));
    let business_day = input.business_day.unwrap_or_default();
    checks.calendar(business_day, input.holiday_calendar.as_deref(), &app.rules);
    if let (Some(method), Some(_)) = (input.payment_method_id, customer)
        && !named.methods.iter().any(|known| known.id == method)
    {
        checks.fault("payment_method_id", NOT_THEIRS);
    }
    let down_payment = input.down_payment.map_or(0, |down| down_payment(checks, down, input.amount));
    let rest = input.amount - down_payment;
    let (anchor_date, parts) = match &input.schedule {
        Some(schedule) => (None, explicit(checks, &input, schedule, rest, today)),
        None => even(checks, &input, rest, today),
    };

    // A recurrence is kept as a record of how the parts came about.
    let recurs = input.schedule.is_none();
    let plan = InstallmentPlan {
        id: app.id(),
        reference: input.reference,
        customer_id: customer.map_or_else(|| app.id(), |customer| customer.id),
        payment_method_id: input.payment_method_id,
        timeline: customer.map_or(Timeline::Wall, |customer| customer.timeline),
        status: InstallmentPlanStatus::Open,
        description: input.description.unwrap_or_default(),
        currency: input.currency.or(customer.map(|customer| customer.currency)).unwrap_or(app.config.billing.currency),
        amount: input.amount,
        down_payment,
        timezone,
        billing_frequency: input.billing_frequency.filter(|_| recurs),
        billing_cycle_interval: recurs.then(|| input.billing_cycle_interval.unwrap_or(1)),
        billing_days: input.billing_days.filter(|_| recurs),
        anchor_date,
        business_day,
        holiday_calendar: input.holiday_calendar,
        dunning_policy_id: named.policy,
        default_after: input.default_after.unwrap_or(i64::from(app.config.installments.default_after)),
        failed_in_a_row: 0,
        metadata: input.metadata.unwrap_or_default(),
        due_at: None,
        ended_at: None,
        created_at: now,
        updated_at: now,
    };
    let mut schedule = InstallmentSchedule::new(plan, &parts, now, &app.rules)?;
    if let Some(taken) = input.taken_over
        && !parts.is_empty()
    {
        take_over(checks, &mut schedule, taken, today);
    }
    Ok(schedule)
}

/// Marks what was paid before the plan came here.
fn take_over(checks: &mut Checks, schedule: &mut InstallmentSchedule, taken: TakenOver, today: NaiveDate) {
    let (field, through, count) = match (taken.paid_through, taken.installments_paid) {
        (Some(_), Some(_)) => return checks.fault("installments_paid", "must be left out beside paid_through"),
        (None, None) => {
            let message = "is required, or installments_paid: what was paid elsewhere; 0 installments, if nothing";
            return checks.fault("paid_through", message);
        }
        (Some(through), None) => ("paid_through", Some(through), None),
        (None, Some(count)) => ("installments_paid", None, Some(count)),
    };
    let mut dated: Vec<&mut Installment> = schedule.installments.iter_mut().collect();
    dated.sort_by_key(|part| (part.number != 0, part.date, part.number));
    let first_date = dated.iter().find(|part| part.number != 0).map_or(today, |part| part.date);
    let mut numbered = 0;
    for part in &mut dated {
        if part.number == 0 {
            // The down payment came first: without the down payment there would be no plan.
            (part.date, part.status) = (first_date.min(today), InstallmentStatus::PaidElsewhere);
            continue;
        }
        numbered += 1;
        if through.is_some_and(|through| part.date <= through) || count.is_some_and(|count| numbered <= count) {
            part.status = InstallmentStatus::PaidElsewhere;
        }
    }
    if count.is_some_and(|count| count > numbered) {
        return checks.fault(field, format!("must not be more than there are: {numbered}"));
    }
    match dated.iter().find(|part| part.status == InstallmentStatus::Scheduled) {
        None => checks.fault(field, "leaves nothing to charge by these terms"),
        Some(part) if part.date < today && !taken.backdated => checks.fault(
            field,
            format!("would bring the first charge on {}, before today, {today}: that must be asked for as backdated", part.date),
        ),
        Some(_) => {}
    }
    schedule.refresh();
}

const NOT_THEIRS: &str = "is no payment method of this customer";

pub(crate) async fn check_method(tx: &mut Tx, checks: &mut Checks, customer: &Customer, method: PaymentMethodId) -> Result<()> {
    let methods = store::payment_methods::of_customer(tx, customer.id).await?;
    if !methods.iter().any(|known| known.id == method) {
        checks.fault("payment_method_id", NOT_THEIRS);
    }
    Ok(())
}

/// Minor units.
fn down_payment(checks: &mut Checks, told: DownPaymentInput, amount: i64) -> i64 {
    let (field, down) = match (told.amount, told.percentage) {
        (Some(down), None) => ("down_payment.amount", down),
        (None, Some(percentage)) => ("down_payment.percentage", percentage.of(amount)),
        (Some(_), Some(_)) => {
            checks.fault("down_payment.percentage", "must be left out when amount is given");
            return 0;
        }
        (None, None) => {
            checks.fault("down_payment", "must have an amount or a percentage");
            return 0;
        }
    };
    if (0..amount).contains(&down) {
        return down;
    }
    if amount > 0 {
        checks.fault(field, "must leave something for the installments");
    }
    0
}

/// The parts as the input lists them, by date.
fn explicit(
    checks: &mut Checks,
    input: &InstallmentPlanInput,
    schedule: &[PartInput],
    rest: i64,
    today: NaiveDate,
) -> Vec<(NaiveDate, i64)> {
    for (field, given) in [
        ("installments", input.installments.is_some()),
        ("term", input.term.is_some()),
        ("term_units", input.term_units.is_some()),
        ("until", input.until.is_some()),
        ("billing_frequency", input.billing_frequency.is_some()),
        ("billing_cycle_interval", input.billing_cycle_interval.is_some()),
        ("billing_days", input.billing_days.is_some()),
        ("first_date", input.first_date.is_some()),
    ] {
        if given {
            checks.fault(field, "must be left out beside a schedule");
        }
    }
    if schedule.is_empty() || schedule.len() > MAX_INSTALLMENTS {
        checks.fault("schedule", format!("must have from 1 to {MAX_INSTALLMENTS} parts"));
        return Vec::new();
    }
    for (i, &PartInput { date, amount }) in schedule.iter().enumerate() {
        if date < today && input.taken_over.is_none() {
            checks.fault(format!("schedule[{i}].date"), format!("lies before today, {today}"));
        }
        checks.within(&format!("schedule[{i}].amount"), amount, 1..=MAX_AMOUNT_MINOR);
    }
    let sum: i128 = schedule.iter().map(|part| i128::from(part.amount)).sum();
    if sum != i128::from(rest) {
        checks.fault("schedule", format!("must add up to {rest}, the amount without the down payment, not {sum}"));
    }
    let mut parts = dated(schedule);
    parts.sort_by_key(|part| part.0);
    parts
}

/// Equal parts on the dates of a recurrence, and the date from which the recurrence is laid.
fn even(
    checks: &mut Checks,
    input: &InstallmentPlanInput,
    rest: i64,
    today: NaiveDate,
) -> (Option<NaiveDate>, Vec<(NaiveDate, i64)>) {
    let nothing = (None, Vec::new());
    let told = [("installments", input.installments.is_some()), ("term", input.term.is_some()), ("until", input.until.is_some())];
    let mut told = told.iter().filter(|told| told.1).map(|told| told.0);
    let counted_by = told.next();
    for other in told {
        checks.fault(other, format!("must be left out when {} is given", counted_by.unwrap_or_default()));
    }
    if counted_by.is_none() {
        checks.fault("installments", "is required, unless there is a term, a date until which, or a schedule");
    }
    let limits = 1..=count(MAX_INSTALLMENTS);
    if let Some(count) = input.installments {
        checks.within("installments", count, limits.clone());
    }
    if let Some(term) = input.term {
        checks.within("term", term, limits.clone());
    }
    if input.term.is_some() != input.term_units.is_some() {
        checks.fault("term_units", if input.term.is_some() { "is required with a term" } else { "needs a term beside it" });
    }
    let interval = u32::try_from(input.billing_cycle_interval.unwrap_or(1)).unwrap_or(0);
    let recurrence = match input.billing_frequency {
        None => {
            checks.fault("billing_frequency", "is required without a schedule");
            None
        }
        Some(frequency) => Recurrence::new(frequency, interval, input.billing_days.as_deref())
            .map_err(|bad| checks.fault(bad.field, bad.message))
            .ok(),
    };
    if let Some(date) = input.first_date.filter(|date| *date < today && input.taken_over.is_none()) {
        checks.fault("first_date", format!("{date} lies before today, {today}"));
    }
    if input.taken_over.is_some() && input.first_date.is_none() {
        checks.fault("first_date", "is required without a schedule");
        return nothing;
    }
    let (Some(field), Some(recurrence)) = (counted_by, recurrence) else { return nothing };
    let dates = match input.first_date {
        // The down payment is due today, so the first installment follows one step later.
        None if input.down_payment.is_some() => InstallmentDates::after_down_payment(recurrence.clone(), today),
        first_date => InstallmentDates::from_first(recurrence.clone(), first_date.unwrap_or(today)),
    };
    let first_date = dates.first_date();
    let count = match (input.installments, input.term, input.term_units, input.until) {
        (Some(count), _, _, _) => count,
        (_, Some(term), Some(units), _) => installments_in(term.clamp(0, 1_000_000), units, &recurrence, first_date),
        (_, _, _, Some(until)) => dates.until(until),
        _ => return nothing,
    };
    if count < 1 && field == "term" {
        checks.fault(field, "is shorter than one billing period");
    }
    if count < 1 && field == "until" {
        checks.fault(field, format!("lies before the first date, {first_date}"));
    }
    if !limits.contains(&count) {
        if count > 0 && field != "installments" {
            checks.fault(field, format!("makes more than {MAX_INSTALLMENTS} installments"));
        }
        return nothing;
    }
    let Ok(count) = usize::try_from(count) else { return nothing };
    let Some(days) = dates.first_of(count) else {
        checks.fault(field, "is more than the billing frequency gives");
        return nothing;
    };
    match equal_parts(rest, count) {
        Some(parts) => (Some(dates.anchor()), days.into_iter().zip(parts).collect()),
        None => {
            checks.fault(field, format!("is more than the {rest} minor units that are to be split"));
            nothing
        }
    }
}
