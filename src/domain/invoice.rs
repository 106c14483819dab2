//! What a charge is made of: priced lines, each rounded once, always summing to a subtotal that is not negative.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

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
        Open = "open",
        Paid = "paid",
        Void = "void",
        Uncollectible = "uncollectible",
    }
}

text_enum! {
    /// What is to be done at `next_attempt_at`.
    pub enum NextAction {
        Charge = "charge",
        /// No charge can succeed: the dunning ladder just ends.
        GiveUp = "give_up",
    }
}

/// What is owed for one cycle, one installment or one change. The unit of collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Invoice {
    pub id: InvoiceId,
    /// For people: rises without a gap.
    pub number: String,
    pub customer_id: CustomerId,
    pub subscription_id: Option<SubscriptionId>,
    pub installment_plan_id: Option<InstallmentPlanId>,
    /// Which installment; the lowest where a plan is paid off, all in one invoice.
    pub installment_number: Option<i64>,
    /// The subscription's cycle; none for what is owed beside the schedule.
    pub cycle: Option<i64>,
    pub timeline: Timeline,
    pub status: InvoiceStatus,
    pub description: String,
    pub currency: Currency,
    pub timezone: Zone,
    pub period_start: Option<NaiveDate>,
    pub period_end: Option<NaiveDate>,
    #[sqlx(json)]
    pub lines: Vec<Line>,
    /// Sum of the lines, minor units.
    pub subtotal: i64,
    pub credit_applied: i64,
    /// `subtotal - credit_applied`: what the gateway is asked for.
    pub total: i64,
    pub amount_paid: i64,
    /// Given back through gateways, minor units.
    pub amount_refunded: i64,
    /// Given back as customer credit, minor units: no gateway knows of it.
    pub amount_credited: i64,
    pub due_at: DateTime<Utc>,
    /// When collection next has something to do; none while a payment is open and after the end.
    pub next_attempt_at: Option<DateTime<Utc>>,
    pub next_action: NextAction,
    /// Payments made for it so far.
    pub attempts: i64,
    /// Gateway faults in a row; they space the next attempt and spend no dunning step.
    pub gateway_faults: i64,
    /// Declines so far.
    pub dunning_step: i64,
    pub first_failed_at: Option<DateTime<Utc>>,
    /// Of the latest decline: it says which ladder of the dunning policy holds.
    pub decline_class: Option<DeclineClass>,
    pub decline_code: Option<String>,
    /// The next attempt charges the customer's next stored method.
    pub next_method: bool,
    /// Why an attempt that was due waits until `next_attempt_at`.
    pub postponed_by: Option<Postponement>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Invoice {
    /// Still owed, minor units.
    pub fn balance_due(&self) -> i64 {
        self.total - self.amount_paid
    }

    /// What can still be given back, minor units, so that no more goes back than came. `claimed`: what refunds that are on their
    /// way may bring. Credit that was used for it can only become credit again, and not before the invoice is paid.
    pub fn refundable(&self, to: RefundTo, claimed: i64) -> i64 {
        let used = if self.status == InvoiceStatus::Paid { self.credit_applied } else { 0 };
        let by_gateway = self.amount_paid - self.amount_refunded - claimed;
        let in_all = by_gateway + used - self.amount_credited;
        match to {
            RefundTo::Method => by_gateway.min(in_all),
            RefundTo::Credit => in_all,
        }
        .max(0)
    }
}

/// No single line goes beyond this, minor units either way: terms this large are refused where they are entered, and here
/// thousands of such lines still sum without overflow.
const MAX_LINE_MINOR: i64 = MAX_AMOUNT_MINOR * 1000;

/// How a modifier changes a charge: an amount in minor units, or a percentage of the base charge. Never both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjustment {
    Amount(i64),
    Percentage(Percentage),
}

impl Adjustment {
    /// This share of the adjustment of a base charge; one rounding, half away from zero.
    fn of(self, base_minor: i64, share: Share) -> i64 {
        match self {
            Self::Amount(minor) => rounded(i128::from(minor), 1, share),
            Self::Percentage(percentage) => {
                rounded(i128::from(base_minor) * i128::from(percentage.thousandths()), 100_000, share)
            }
        }
    }
}

/// An add-on or a discount as a plan or subscription holds it: a copy of the catalog's terms with its own overrides. In JSON
/// `amount` and `percentage` stand side by side and exactly one of them is not null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ModifierFields", into = "ModifierFields")]
pub struct Modifier {
    /// Id text of the catalog entry it was copied from.
    pub id: String,
    pub name: String,
    pub description: String,
    /// Not negative; whether it adds or takes away is said by the list it stands in.
    pub adjustment: Adjustment,
    /// To how many cycles it applies; 0 = always.
    pub duration: i64,
    /// The cycle at which it begins to apply and its `duration` to count.
    pub applied_from: i64,
}

impl Modifier {
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

/// Both or neither of `amount` and `percentage`.
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
    pub description: &'a str,
    /// For one unit, minor units.
    pub amount_minor: i64,
    pub quantity: i64,
    pub add_ons: &'a [Modifier],
    pub discounts: &'a [Modifier],
}

impl ChargeTerms<'_> {
    /// Amount times quantity: the base charge, which percentages are of.
    pub fn base_minor(&self) -> i64 {
        limited(i128::from(self.amount_minor) * i128::from(self.quantity))
    }
}

text_enum! {
    /// What a line is for.
    pub enum LineKind {
        /// The subscription's amount times its quantity.
        Base = "base",
        AddOn = "add_on",
        Discount = "discount",
        /// Customer credit used, or a credit given for days paid and not used.
        Credit = "credit",
        /// Days charged because terms changed inside a period.
        Proration = "proration",
        /// The initial payment beside the first cycle.
        Initial = "initial",
        DownPayment = "down_payment",
        Installment = "installment",
        /// Brings a negative sum to zero: discounts beyond the charge are not paid out.
        Floor = "floor",
    }
}

/// One line of an invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Line {
    pub kind: LineKind,
    pub description: String,
    /// Signed, minor units: what takes away is negative.
    pub amount: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<i64>,
    /// For one unit, before proration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit_amount: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>)]
    pub percentage: Option<Percentage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modifier_id: Option<String>,
    /// With `of_days`: the line is for that many days of a period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_days: Option<i64>,
}

impl Line {
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
        }
    }

    /// Shows which days the line is for, when they are not all of them. The amount stays.
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

/// Every line of the charge for one cycle: base, add-ons, discounts. Percentages are of the base charge. With less than a whole
/// share each line is prorated on its own. A last line of kind `floor` brings a negative sum to zero.
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

/// The sum of the add-ons or discounts that apply in a cycle, minor units and not signed: the seed's `total_add_ons` and
/// `total_discounts`.
pub fn total_of(modifiers: &[Modifier], base_minor: i64, cycle: i64) -> i64 {
    let applying = modifiers.iter().filter(|modifier| modifier.applies_in(cycle));
    within_i64(applying.map(|modifier| i128::from(modifier.adjustment.of(base_minor, Share::WHOLE))).sum())
}

/// `numerator / denominator` of which a share is taken, in one rounding, half away from zero.
fn rounded(numerator: i128, denominator: i128, share: Share) -> i64 {
    let share = if share.is_whole() { Share::WHOLE } else { Share::new(share.days, share.of) };
    let numerator = numerator.saturating_mul(i128::from(share.days)).clamp(i128::MIN / 2, i128::MAX / 2);
    let denominator = denominator * i128::from(share.of);
    limited((numerator.abs() + denominator / 2) / denominator * numerator.signum())
}

fn limited(minor: i128) -> i64 {
    within_i64(minor.clamp(-i128::from(MAX_LINE_MINOR), i128::from(MAX_LINE_MINOR)))
}

/// Saturates one above the least `i64`, so that the negative always exists.
fn within_i64(minor: i128) -> i64 {
    match i64::try_from(minor) {
        Ok(minor) => minor.max(-i64::MAX),
        Err(_) if minor < 0 => -i64::MAX,
        Err(_) => i64::MAX,
    }
}

#[cfg(test)]
mod tests;
