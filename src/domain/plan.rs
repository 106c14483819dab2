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
    /// What happens to cycles missed while nothing ran.
    pub enum CatchUp {
        BillAll = "bill_all",
        /// Only the cycle that is running now.
        BillCurrent = "bill_current",
        /// None of them: the next charge is the next one to come.
        Skip = "skip",
    }
}

text_enum! {
    /// Whether new cycles are opened while an earlier one is unpaid.
    pub enum WhilePastDue {
        Bill = "bill",
        Hold = "hold",
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Plan {
    pub id: PlanId,
    pub reference: Option<String>,
    pub name: String,
    pub description: String,
    /// Minor units, for one unit of quantity.
    pub amount: i64,
    pub currency: Currency,
    pub billing_frequency: Frequency,
    pub billing_cycle_interval: i64,
    pub billing_days: Option<String>,
    /// Number of charges, 0 = until cancelled.
    pub duration: i64,
    pub trial_days: i64,
    pub catch_up: CatchUp,
    pub while_past_due: WhilePastDue,
    pub business_day: BusinessDay,
    pub holiday_calendar: Option<String>,
    /// None: the default one.
    pub dunning_policy_id: Option<DunningPolicyId>,
    #[sqlx(json)]
    pub add_ons: Vec<Modifier>,
    #[sqlx(json)]
    pub discounts: Vec<Modifier>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}
