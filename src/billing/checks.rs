//! Checks of a request beyond what each field can hold, which `input` checks. All errors are collected before a request is
//! refused.

use std::ops::RangeInclusive;

use super::{BillingError, Result};
use crate::{
    domain::{
        calendar::BusinessDay,
        catalog::Entry,
        frequency::{Frequency, Recurrence},
        id::Kind,
        invoice::{Adjustment, Modifier},
        money::{MAX_AMOUNT_MINOR, Percentage},
        subscription::{Rules, Subscription},
    },
    input::{FieldError, body},
    store::{self, Tx, catalog::CatalogKind, db::Record},
};

/// No duration, number of days or priority goes beyond this.
pub const MAX_COUNT: i64 = 100_000;

pub(crate) const MAX_MODIFIERS: usize = 100;

/// The faults found so far.
#[derive(Debug, Default)]
pub struct Checks(Vec<FieldError>);

impl Checks {
    pub fn fault(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldError::new(field, message));
    }

    pub fn is_clean(&self) -> bool {
        self.0.is_empty()
    }

    /// What was found.
    pub fn into_faults(self) -> Vec<FieldError> {
        self.0
    }

    /// Refuses with all faults, if there are any.
    pub fn done(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(BillingError::Invalid(self.0)) }
    }

    pub fn within(&mut self, field: &str, value: i64, range: RangeInclusive<i64>) {
        if !range.contains(&value) {
            self.fault(field, format!("must be from {} to {}", range.start(), range.end()));
        }
    }

    /// Minor units.
    pub fn amount(&mut self, field: &str, minor: i64) {
        self.within(field, minor, 0..=MAX_AMOUNT_MINOR);
    }

    /// A reference stands where an id may stand, so it must not look like one.
    pub fn reference<K: Kind>(&mut self, reference: Option<&str>) {
        let Some(reference) = reference else { return };
        if reference.is_empty() || reference.chars().any(|c| c.is_whitespace() || c == '/') {
            self.fault("reference", "must not be empty, nor hold blanks or slashes");
        }
        if reference.strip_prefix(K::PREFIX).is_some_and(|rest| rest.starts_with('_')) {
            self.fault("reference", format!("must not begin with {}_, as ids do", K::PREFIX));
        }
    }

    /// What both plans and subscriptions say about when and how much. Answers the billing days as they are kept.
    pub fn terms(&mut self, terms: &Terms, rules: &Rules) -> Option<String> {
        self.amount("amount", terms.amount);
        let in_bounds = (0..=MAX_AMOUNT_MINOR).contains(&terms.amount);
        if !(1..=MAX_COUNT).contains(&terms.quantity) {
            self.fault("quantity", format!("must be from 1 to {MAX_COUNT}"));
        } else if in_bounds && terms.amount.saturating_mul(terms.quantity) > MAX_AMOUNT_MINOR {
            self.fault("quantity", format!("times amount must not be more than {MAX_AMOUNT_MINOR}"));
        }
        let interval = u32::try_from(terms.interval).unwrap_or(0);
        let recurrence = Recurrence::new(terms.frequency, interval, terms.days);
        if let Err(bad) = &recurrence {
            self.fault(bad.field, &bad.message);
        }
        self.within("duration", terms.duration, 0..=MAX_COUNT);
        self.calendar(terms.business_day, terms.holiday_calendar, rules);
        recurrence.ok()?.billing_days().map(str::to_owned)
    }

    /// What a holiday calendar needs.
    pub fn calendar(&mut self, business_day: BusinessDay, holiday_calendar: Option<&str>, rules: &Rules) {
        let Some(name) = holiday_calendar else { return };
        if business_day == BusinessDay::None {
            self.fault("holiday_calendar", "needs a business_day rule beside it");
        } else if !rules.holidays.contains_key(name) {
            let known = rules.holidays.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "none are configured".to_owned() } else { format!("there are {known}") };
            self.fault("holiday_calendar", format!("is no configured calendar: {known}"));
        }
    }
}

/// Terms to be checked together.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    pub amount: i64,
    pub quantity: i64,
    pub frequency: Frequency,
    pub interval: i64,
    pub days: Option<&'a str>,
    pub duration: i64,
    pub business_day: BusinessDay,
    pub holiday_calendar: Option<&'a str>,
}

impl<'a> Terms<'a> {
    pub fn of(subscription: &'a Subscription) -> Self {
        Self {
            amount: subscription.amount,
            quantity: subscription.quantity,
            frequency: subscription.billing_frequency,
            interval: subscription.billing_cycle_interval,
            days: subscription.billing_days.as_deref(),
            duration: subscription.duration,
            business_day: subscription.business_day,
            holiday_calendar: subscription.holiday_calendar.as_deref(),
        }
    }
}

body! {
    /// An add-on or discount of a plan or subscription. What is given here takes the place of the entry's own value.
    #[derive(Default, PartialEq)]
    pub struct ModifierInput {
        /// Id or reference of the add-on or discount.
        pub id: String line up to 255,
        pub name: Option<String> up to 255,
        pub description: Option<String> up to 1000,
        /// Minor units.
        pub amount: Option<i64> in 0..=MAX_AMOUNT_MINOR,
        /// Percent of the base charge, with at most three decimals.
        pub percentage: Option<Percentage>,
        /// To how many charges it applies; 0 = always.
        pub duration: Option<i64> in 0..=100_000,
    }
}

/// The copies that a plan or subscription will hold. `held` is what it holds already: that stays known after the catalog has
/// forgotten it.
pub async fn modifiers<K: CatalogKind>(
    tx: &mut Tx,
    checks: &mut Checks,
    list: &str,
    inputs: &[ModifierInput],
    held: &[Modifier],
) -> Result<Vec<Modifier>>
where
    Entry<K>: Record,
{
    let entries = entries::<K>(tx, inputs).await?;
    Ok(copies(checks, list, inputs, &entries, held))
}

/// The catalog entries that a list names.
pub async fn entries<K: CatalogKind>(tx: &mut Tx, inputs: &[ModifierInput]) -> Result<Vec<Entry<K>>>
where
    Entry<K>: Record,
{
    if inputs.is_empty() || inputs.len() > MAX_MODIFIERS {
        return Ok(Vec::new());
    }
    let keys: Vec<&str> = inputs.iter().map(|input| input.id.as_str()).collect();
    Ok(store::catalog::find_many::<K>(tx, &keys).await?)
}

/// [`modifiers`] of entries that were read before.
pub fn copies<K: CatalogKind>(
    checks: &mut Checks,
    list: &str,
    inputs: &[ModifierInput],
    entries: &[Entry<K>],
    held: &[Modifier],
) -> Vec<Modifier> {
    if inputs.len() > MAX_MODIFIERS {
        checks.fault(list, format!("must not have more than {MAX_MODIFIERS} items"));
        return Vec::new();
    }
    let mut found = Vec::with_capacity(inputs.len());
    for (i, input) in inputs.iter().enumerate() {
        let field = |name: &str| format!("{list}[{i}].{name}");
        let adjustment = adjustment(checks, &field(""), input.amount, input.percentage);
        if let Some(duration) = input.duration {
            checks.within(&field("duration"), duration, 0..=MAX_COUNT);
        }
        let entry = entries.iter().find(|entry| entry.id.to_string() == input.id || entry.reference.as_ref() == Some(&input.id));
        let base = entry.map(Entry::as_modifier).or_else(|| held.iter().find(|modifier| modifier.id == input.id).cloned());
        let Some(base) = base else {
            checks.fault(field("id"), format!("there is no {} {}", K::NOUN, input.id.escape_debug()));
            continue;
        };
        found.push(Modifier {
            name: input.name.clone().unwrap_or(base.name),
            description: input.description.clone().unwrap_or(base.description),
            adjustment: adjustment.unwrap_or(base.adjustment),
            duration: input.duration.unwrap_or(base.duration),
            id: base.id,
            applied_from: 0,
        });
    }
    found
}

/// What amount and percentage say together; `prefix` stands before the field names. None when neither is given.
pub fn adjustment(checks: &mut Checks, prefix: &str, amount: Option<i64>, percentage: Option<Percentage>) -> Option<Adjustment> {
    if let Some(amount) = amount {
        checks.amount(&format!("{prefix}amount"), amount);
    }
    match (amount, percentage) {
        (Some(_), Some(_)) => {
            checks.fault(format!("{prefix}percentage"), "must be left out when amount is given");
            None
        }
        (Some(amount), None) => Some(Adjustment::Amount(amount)),
        (None, Some(percentage)) => Some(Adjustment::Percentage(percentage)),
        (None, None) => None,
    }
}
