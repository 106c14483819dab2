//! A plan: the template that a subscription's terms are copied from, and the words those terms use.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    calendar::BusinessDay,
    frequency::Frequency,
    id::{DunningPolicyId, PlanId},
    invoice::Modifier,
    money::Currency,
    text_enum,
};

text_enum! {
    /// What happens with cycles that the bill run missed.
    pub enum CatchUp {
        /// Every missed cycle gets its invoice.
        BillAll = "bill_all",
        /// Only the cycle that is running now gets an invoice.
        BillCurrent = "bill_current",
        /// No missed cycle is billed: the next charge is the first one still to come.
        Skip = "skip",
    }
}

text_enum! {
    /// Whether new cycles are opened while an earlier one is unpaid.
    pub enum WhilePastDue {
        /// The bill run opens new cycles on time, whatever is owed.
        Bill = "bill",
        /// The bill run waits with new cycles until the debt is paid.
        Hold = "hold",
    }
}

/// A template for subscriptions. Each subscription copies these terms when it begins, so an edit changes no running one by
/// itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Plan {
    /// Names the plan.
    pub id: PlanId,
    /// The merchant's own id; requests may use this in place of `id`. None means that the merchant gave none.
    pub reference: Option<String>,
    /// What subscriptions get as their description.
    pub name: String,
    /// For the merchant's own use; customers do not see it.
    pub description: String,
    /// Minor units, for one unit of quantity.
    pub amount: i64,
    /// The currency of the amount and of the modifiers.
    pub currency: Currency,
    /// The unit in which the interval is counted.
    pub billing_frequency: Frequency,
    /// How many units of the frequency lie between two cycles, at least 1.
    pub billing_cycle_interval: i64,
    /// On which days cycles begin, as [`Recurrence::new`](super::frequency::Recurrence::new) reads them. None means that the
    /// first bill date says so.
    pub billing_days: Option<String>,
    /// Number of charges, 0 = until cancelled.
    pub duration: i64,
    /// Local days from the beginning of a subscription to its first charge, 0 = no trial.
    pub trial_days: i64,
    /// What happens with cycles that the bill run missed.
    pub catch_up: CatchUp,
    /// Whether cycles go on opening while an invoice is unpaid after a decline.
    pub while_past_due: WhilePastDue,
    /// How a charge moves that falls on a weekend or a bank holiday.
    pub business_day: BusinessDay,
    /// Name of a configured calendar of bank holidays. None means that weekends alone count.
    pub holiday_calendar: Option<String>,
    /// What follows a failed payment. None means the default policy.
    pub dunning_policy_id: Option<DunningPolicyId>,
    /// What raises the charge of every subscription to the plan.
    #[sqlx(json)]
    pub add_ons: Vec<Modifier>,
    /// What lowers the charge of every subscription to the plan.
    #[sqlx(json)]
    pub discounts: Vec<Modifier>,
    /// UTC.
    pub created_at: DateTime<Utc>,
    /// Last change, UTC.
    pub updated_at: DateTime<Utc>,
}
