//! A roll-out: an edit of a plan, add-on or discount taken to the subscriptions that hold its terms. What it was asked for, the
//! states that the entry has been in, and how far it has come.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{id::RollOutId, invoice::Modifier, plan::Plan, text_enum};

mod inherit;
#[cfg(test)]
mod tests;
mod verdict;

pub use verdict::{SubscriptionFacts, Verdict};

text_enum! {
    /// What kind of catalog entry is rolled out.
    pub enum EntryType {
        Plan = "plan",
        AddOn = "add_on",
        Discount = "discount",
    }
}

text_enum! {
    /// From when on the new terms hold.
    pub enum Effect {
        /// From each subscription's next cycle on, without any charge now.
        NextCycle = "next_cycle",
        /// At once where a paid period is running and its price changes: credit for the unused days, charge for the rest.
        Now = "now",
    }
}

text_enum! {
    /// What becomes of a value that a subscription has of its own.
    pub enum Overrides {
        Keep = "keep",
        Replace = "replace",
    }
}

text_enum! {
    /// A field of a catalog entry that subscriptions hold a copy of.
    pub enum Field {
        /// A plan's name is its subscriptions' description.
        Name = "name",
        /// Of an add-on or discount.
        Description = "description",
        /// Of an add-on or discount: the amount or the percentage.
        Amount = "amount",
        /// Goes together with the interval, and brings the days along.
        BillingFrequency = "billing_frequency",
        BillingCycleInterval = "billing_cycle_interval",
        BillingDays = "billing_days",
        Duration = "duration",
        CatchUp = "catch_up",
        WhilePastDue = "while_past_due",
        /// Goes together with the calendar of bank holidays.
        BusinessDay = "business_day",
        HolidayCalendar = "holiday_calendar",
        AddOns = "add_ons",
        Discounts = "discounts",
    }
}

impl Field {
    /// Whether an entry of this type has it.
    pub fn is_of(self, entry: EntryType) -> bool {
        match entry {
            EntryType::Plan => self != Self::Description,
            EntryType::AddOn | EntryType::Discount => {
                matches!(self, Self::Name | Self::Description | Self::Amount | Self::Duration)
            }
        }
    }
}

text_enum! {
    pub enum RollOutStatus {
        Running = "running",
        Done = "done",
    }
}

text_enum! {
    /// Why a subscription is left alone.
    pub enum LeftAloneReason {
        /// It has these terms already.
        Unchanged = "unchanged",
        /// What would change are values of its own.
        Overridden = "overridden",
        Ended = "ended",
        /// Cycles were missed, and the new terms would be charged for them: unpark it first.
        Parked = "parked",
        /// It is cancelled at the period's end.
        Cancelling = "cancelling",
        /// It changes to another plan when the next cycle opens.
        ChangingPlan = "changing_plan",
        /// It is billed in another currency than the plan's.
        OtherCurrency = "other_currency",
        /// The new terms do not fit it: fewer charges than were made already, or an amount that its quantity makes too large.
        DoesNotFit = "does_not_fit",
        /// Credit would be owed to a customer whose credit is kept in another currency.
        CreditCurrency = "credit_currency",
    }
}

/// How many subscriptions are left alone, by reason.
pub type LeftAlone = BTreeMap<LeftAloneReason, i64>;

/// What a roll-out was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    pub when: Effect,
    /// In order; none: all.
    pub fields: Option<Vec<Field>>,
    pub overrides: Overrides,
    /// Only matters where the interval changes: whether the old anchor goes on.
    pub keep_anchor: bool,
}

impl Options {
    fn names(&self, field: Field) -> bool {
        self.fields.as_ref().is_none_or(|fields| fields.contains(&field))
    }
}

/// The states that an entry has been in, newest first; never empty.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "versions", rename_all = "snake_case")]
pub enum Versions {
    Plan(Vec<Plan>),
    AddOn(Vec<Modifier>),
    Discount(Vec<Modifier>),
}

impl Versions {
    pub fn entry_type(&self) -> EntryType {
        match self {
            Self::Plan(_) => EntryType::Plan,
            Self::AddOn(_) => EntryType::AddOn,
            Self::Discount(_) => EntryType::Discount,
        }
    }
}

/// A roll-out and how far it has come. Subscriptions are taken in order of their ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct RollOut {
    pub id: RollOutId,
    pub entry_type: EntryType,
    pub entry_id: String,
    /// Of the list that it was asked for by.
    pub revision: String,
    #[sqlx(json)]
    pub options: Options,
    /// As they were when it was asked for: a later edit does not change what is rolled out.
    #[sqlx(json)]
    pub versions: Versions,
    pub status: RollOutStatus,
    /// Who asked for it.
    pub actor: String,
    /// The id of the last subscription that was looked at.
    pub done_through: Option<String>,
    pub plans_changed: i64,
    pub subscriptions_changed: i64,
    #[sqlx(json)]
    pub left_alone: LeftAlone,
    pub created_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// Every state that something has been in, newest first: from how it is now back through the data of its edits, oldest first, each
/// with what was `before`. An edit that this version cannot read any more is passed over.
pub fn history<T: Serialize + DeserializeOwned>(now: T, edits: &[Value]) -> Vec<T> {
    let mut state = match serde_json::to_value(&now) {
        Ok(Value::Object(state)) => state,
        _ => Map::new(),
    };
    let mut states = vec![now];
    for before in edits.iter().rev().filter_map(|edit| edit["before"].as_object()) {
        state.extend(before.clone());
        states.extend(serde_json::from_value(Value::Object(state.clone())).ok());
    }
    states
}
