//! What a charge is made of: priced lines, each rounded once, always summing to a subtotal that is not negative.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

mod account;
mod collection;

pub use account::Account;

use super::{
    calendar::Zone,
    clock::Timeline,
    dunning::Postponement,
    id::{CustomerId, InstallmentPlanId, InvoiceId, SubscriptionId},
    money::{Currency, MAX_AMOUNT_MINOR, Percentage},
    payment::DeclineClass,
    proration::Share,
    text_enum,
};

text_enum! {
    /// Where a refund goes.
    #[derive(Default)]
    pub enum RefundTo {
        /// The payment method that the money came from, through its gateway.
        #[default]
        Method = "method",
        /// The customer's credit with the merchant: no gateway is asked.
        Credit = "credit",
    }
}

text_enum! {
    /// Where an invoice stands.
    pub enum InvoiceStatus {
        /// Money is owed, and the daemon collects it.
        Open = "open",
        /// Nothing is owed any more.
        Paid = "paid",
        /// Somebody cancelled the invoice: the customer owes nothing for it.
        Void = "void",
        /// The daemon has given up on collecting what the customer owes.
        Uncollectible = "uncollectible",
    }
}

text_enum! {
    /// What is to be done at `next_attempt_at`.
    pub enum NextAction {
        /// The customer's payment method is charged, or the customer is asked.
        Charge = "charge",
        /// No charge can succeed, so the dunning ladder ends.
        GiveUp = "give_up",
    }
}

/// What is owed for one cycle, one installment or one change. The invoice is the unit of collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Invoice {
    /// Names the invoice.
    pub id: InvoiceId,
    /// A number for people, which rises without a gap.
    pub number: String,
    /// Who owes the money.
    pub customer_id: CustomerId,
    /// The subscription that is billed. None for an installment plan.
    pub subscription_id: Option<SubscriptionId>,
    /// The installment plan that is billed. None for a subscription.
    pub installment_plan_id: Option<InstallmentPlanId>,
    /// Number of the installment, or the lowest number where one invoice pays a plan off.
    pub installment_number: Option<i64>,
    /// Number of the subscription's cycle, from 0. None for what is owed beside the schedule.
    pub cycle: Option<i64>,
    /// The clock of the customer: the wall clock or a test clock.
    pub timeline: Timeline,
    /// Whether money is still owed, and whether the daemon collects it.
    pub status: InvoiceStatus,
    /// What the customer reads about the charge.
    pub description: String,
    /// The currency of all amounts of the invoice.
    pub currency: Currency,
    /// The zone of the invoice's local dates.
    pub timezone: Zone,
    /// First local day that the invoice pays for. None where the charge is for no period.
    pub period_start: Option<NaiveDate>,
    /// The local day after the last one that the invoice pays for. None where the charge is for no period.
    pub period_end: Option<NaiveDate>,
    /// What is charged and credited, in the order in which customers see it.
    #[sqlx(json)]
    pub lines: Vec<Line>,
    /// The sum of the lines, minor units.
    pub subtotal: i64,
    /// What the customer's balance paid before any gateway was asked, minor units.
    pub credit_applied: i64,
    /// What the gateway is asked for, minor units: `subtotal - credit_applied`.
    pub total: i64,
    /// What came for the invoice, without overpayments, minor units: through gateways, and from the customer's balance after the
    /// invoice was issued.
    pub amount_paid: i64,
    /// What went back through gateways, minor units.
    pub amount_refunded: i64,
    /// What went back as customer credit, minor units. No gateway knows of this money.
    pub amount_credited: i64,
    /// What credit notes took off what was still due, minor units.
    pub amount_reduced: i64,
    /// What credit notes put on the customer's balance or on another invoice out of what was paid, minor units. Refunds do not count
    /// here.
    pub credit_given: i64,
    /// The part of `amount_paid` that the customer's balance paid, minor units.
    pub credit_paid: i64,
    /// UTC instant from which the money is owed, by the clock of the timeline.
    pub due_at: DateTime<Utc>,
    /// UTC instant at which collection next has something to do. None while a payment is open and after the end.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// What collection does at `next_attempt_at`.
    pub next_action: NextAction,
    /// How many payments were made for the invoice so far.
    pub attempts: i64,
    /// Gateway faults in a row. These faults space the next attempt and spend no dunning step.
    pub gateway_faults: i64,
    /// How many declines the invoice has had so far.
    pub dunning_step: i64,
    /// UTC instant of the first decline, from which the dunning steps count. None before a decline.
    pub first_failed_at: Option<DateTime<Utc>>,
    /// Class of the latest decline, which says which ladder of the dunning policy holds. None before a decline.
    pub decline_class: Option<DeclineClass>,
    /// The gateway's own code of the latest decline. None before a decline.
    pub decline_code: Option<String>,
    /// Whether the next attempt charges the customer's next stored method.
    pub next_method: bool,
    /// Why an attempt that was due waits until `next_attempt_at`. None means that nothing holds the attempt back.
    pub postponed_by: Option<Postponement>,
    /// When the invoice was opened again after it had been given up, UTC, by the clock of the timeline. None: never.
    pub reopened_at: Option<DateTime<Utc>>,
    /// Why the gateway refuses this very charge, which no waiting mends: an operator decides. None once the charge is tried again.
    pub parked_reason: Option<String>,
    /// Since when the invoice has met nothing but refusals that are not the customer's, UTC, by the clock of the timeline. None
    /// where a customer's decline came after them.
    pub refused_at: Option<DateTime<Utc>>,
    /// The latest of these refusals, for people.
    pub refused_reason: Option<String>,
    /// UTC, by the clock of the timeline.
    pub created_at: DateTime<Utc>,
    /// Last change, UTC, by the clock of the timeline.
    pub updated_at: DateTime<Utc>,
}

/// No single line goes beyond this amount, minor units either way. Requests with larger terms are refused, and thousands of such
/// lines still sum without overflow.
const MAX_LINE_MINOR: i64 = MAX_AMOUNT_MINOR * 1000;

/// How a modifier changes a charge: an amount in minor units, or a percentage of the base charge. Never both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjustment {
    /// Minor units, not negative.
    Amount(i64),
    /// A part of the base charge.
    Percentage(Percentage),
}

impl Adjustment {
    /// The share of this adjustment of a base charge. The result is rounded once, half away from zero.
    fn of(self, base_minor: i64, share: Share) -> i64 {
        match self {
            Self::Amount(minor) => rounded(i128::from(minor), 1, share),
            Self::Percentage(percentage) => {
                rounded(i128::from(base_minor) * i128::from(percentage.thousandths()), 100_000, share)
            }
        }
    }
}

/// An add-on or a discount as a plan or subscription holds it: a copy of the catalog's terms, some of which may have been
/// replaced. In JSON `amount` and `percentage` stand side by side, and exactly one of them is not null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ModifierFields", into = "ModifierFields")]
pub struct Modifier {
    /// Id text of the catalog entry that was copied.
    pub id: String,
    /// What the customer reads on the line of the invoice.
    pub name: String,
    /// What the customer reads where the name is empty.
    pub description: String,
    /// Never negative: the list that the modifier stands in says whether it adds or takes away.
    pub adjustment: Adjustment,
    /// How many cycles the modifier applies to, 0 = always.
    pub duration: i64,
    /// The first cycle to which the modifier applies, and from which `duration` counts.
    pub applied_from: i64,
}

impl Modifier {
    /// Whether the modifier changes the charge of this cycle.
    pub fn applies_in(&self, cycle: i64) -> bool {
        cycle >= self.applied_from && (self.duration == 0 || cycle.saturating_sub(self.applied_from) < self.duration)
    }
}

#[derive(Serialize, Deserialize)]
struct ModifierFields {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    amount: Option<i64>,
    #[serde(default)]
    percentage: Option<Percentage>,
    #[serde(default)]
    duration: i64,
    #[serde(default)]
    applied_from: i64,
}

/// A modifier that has both or neither of `amount` and `percentage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must have exactly one of amount and percentage")]
pub struct BadModifier;

impl TryFrom<ModifierFields> for Modifier {
    type Error = BadModifier;

    fn try_from(fields: ModifierFields) -> Result<Self, BadModifier> {
        let ModifierFields { id, name, description, amount, percentage, duration, applied_from } = fields;
        let adjustment = match (amount, percentage) {
            (Some(amount), None) => Adjustment::Amount(amount),
            (None, Some(percentage)) => Adjustment::Percentage(percentage),
            _ => return Err(BadModifier),
        };
        Ok(Self { id, name, description, adjustment, duration, applied_from })
    }
}

impl From<Modifier> for ModifierFields {
    fn from(modifier: Modifier) -> Self {
        let Modifier { id, name, description, adjustment, duration, applied_from } = modifier;
        let (amount, percentage) = match adjustment {
            Adjustment::Amount(amount) => (Some(amount), None),
            Adjustment::Percentage(percentage) => (None, Some(percentage)),
        };
        Self { id, name, description, amount, percentage, duration, applied_from }
    }
}

/// What a cycle is priced from.
#[derive(Clone, Copy, Debug)]
pub struct ChargeTerms<'a> {
    /// What the customer reads on the line of the base charge.
    pub description: &'a str,
    /// Minor units, for one unit of quantity.
    pub amount_minor: i64,
    /// How many units are charged.
    pub quantity: i64,
    /// What raises the charge.
    pub add_ons: &'a [Modifier],
    /// What lowers the charge.
    pub discounts: &'a [Modifier],
}

impl ChargeTerms<'_> {
    /// The base charge, minor units: amount times quantity. Percentages are parts of this amount.
    pub fn base_minor(&self) -> i64 {
        limited(i128::from(self.amount_minor) * i128::from(self.quantity))
    }
}

text_enum! {
    /// What a line is for.
    pub enum LineKind {
        /// The subscription's amount times its quantity.
        Base = "base",
        /// What an add-on adds.
        AddOn = "add_on",
        /// What a discount takes away.
        Discount = "discount",
        /// Credit for days that were paid and not used.
        Credit = "credit",
        /// Credit beyond the new charge, which goes to the customer's balance.
        CreditCarried = "credit_carried",
        /// Days charged because terms changed inside a period.
        Proration = "proration",
        /// The initial payment beside the first cycle.
        Initial = "initial",
        /// The down payment of an installment plan.
        DownPayment = "down_payment",
        /// One installment of a plan.
        Installment = "installment",
        /// Brings a negative sum to zero, since discounts beyond the charge are not paid out.
        Floor = "floor",
    }
}

/// One line of an invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Line {
    /// What the line is for.
    pub kind: LineKind,
    /// What the customer reads.
    pub description: String,
    /// Signed, minor units: what takes away is negative.
    pub amount: i64,
    /// How many units the amount is for. None where units mean nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<i64>,
    /// Minor units, for one unit of quantity and a whole period, before proration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_amount: Option<i64>,
    /// The percentage of the modifier. None for a line that no percentage made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub percentage: Option<Percentage>,
    /// Id text of the add-on or discount that made the line. None for other lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modifier_id: Option<String>,
    /// How many days of a period the line is for. None means a whole period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<i64>,
    /// How many days the whole period of `days` has. None means a whole period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_days: Option<i64>,
    /// The local days that the line is for, where these are not the invoice's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<LinePeriod>,
}

/// Local days, half-open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LinePeriod {
    /// First local day.
    pub start: NaiveDate,
    /// The local day after the last one.
    pub end: NaiveDate,
}

impl Line {
    /// A line for a whole period, without a quantity. The amount is signed, minor units.
    pub fn new(kind: LineKind, description: impl Into<String>, amount: i64) -> Self {
        let description = description.into();
        Self {
            kind,
            description,
            amount,
            quantity: None,
            unit_amount: None,
            percentage: None,
            modifier_id: None,
            days: None,
            of_days: None,
            period: None,
        }
    }

    /// Shows which days the line is for, if these are not all days of the period. The amount stays as it is.
    pub fn for_share(mut self, share: Share) -> Self {
        if !share.is_whole() {
            (self.days, self.of_days) = (Some(share.days), Some(share.of));
        }
        self
    }

    fn modifier(kind: LineKind, sign: i64, modifier: &Modifier, base_minor: i64, share: Share) -> Self {
        let label = if modifier.name.is_empty() { &modifier.description } else { &modifier.name };
        let percentage = match modifier.adjustment {
            Adjustment::Percentage(percentage) => Some(percentage),
            Adjustment::Amount(_) => None,
        };
        let amount = sign * modifier.adjustment.of(base_minor, share);
        let line = Self::new(kind, label.as_str(), amount).for_share(share);
        let unit_amount = line.days.map(|_| sign * modifier.adjustment.of(base_minor, Share::WHOLE));
        Self { percentage, modifier_id: Some(modifier.id.clone()), unit_amount, ..line }
    }
}

/// Every line of the charge for one cycle: base, add-ons, discounts. Percentages are parts of the base charge. A share that is
/// not whole prorates each line on its own. A last line of kind `floor` brings a negative sum to zero.
pub fn price(charge: &ChargeTerms, cycle: i64, share: Share) -> Vec<Line> {
    let base = charge.base_minor();
    let line = Line::new(LineKind::Base, charge.description, rounded(i128::from(base), 1, share)).for_share(share);
    let mut lines = vec![Line { quantity: Some(charge.quantity), unit_amount: Some(charge.amount_minor), ..line }];
    for (kind, sign, modifiers) in [(LineKind::AddOn, 1, charge.add_ons), (LineKind::Discount, -1, charge.discounts)] {
        let applying = modifiers.iter().filter(|modifier| modifier.applies_in(cycle));
        lines.extend(applying.map(|modifier| Line::modifier(kind, sign, modifier, base, share)));
    }
    let sum = subtotal(&lines);
    if sum < 0 {
        lines.push(Line::new(LineKind::Floor, "Discounts beyond the charge", -sum));
    }
    lines
}

/// The sum of the lines, minor units.
pub fn subtotal(lines: &[Line]) -> i64 {
    within_i64(lines.iter().map(|line| i128::from(line.amount)).sum())
}

/// The sum of the add-ons or discounts that apply in a cycle, minor units and not signed: FluidPay's `total_add_ons` and
/// `total_discounts`.
pub fn total_of(modifiers: &[Modifier], base_minor: i64, cycle: i64) -> i64 {
    let applying = modifiers.iter().filter(|modifier| modifier.applies_in(cycle));
    within_i64(applying.map(|modifier| i128::from(modifier.adjustment.of(base_minor, Share::WHOLE))).sum())
}

/// `numerator / denominator`, of which a share is taken. The result is rounded once, half away from zero.
fn rounded(numerator: i128, denominator: i128, share: Share) -> i64 {
    let share = if share.is_whole() { Share::WHOLE } else { Share::new(share.days, share.of) };
    let numerator = numerator.saturating_mul(i128::from(share.days)).clamp(i128::MIN / 2, i128::MAX / 2);
    let denominator = denominator * i128::from(share.of);
    limited((numerator.abs() + denominator / 2) / denominator * numerator.signum())
}

fn limited(minor: i128) -> i64 {
    within_i64(minor.clamp(-i128::from(MAX_LINE_MINOR), i128::from(MAX_LINE_MINOR)))
}

/// Saturates one above the least `i64`, so that the negative number always exists.
fn within_i64(minor: i128) -> i64 {
    match i64::try_from(minor) {
        Ok(minor) => minor.max(-i64::MAX),
        Err(_) if minor < 0 => -i64::MAX,
        Err(_) => i64::MAX,
    }
}

#[cfg(test)]
mod tests;
