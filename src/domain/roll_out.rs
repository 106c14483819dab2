//! A roll-out takes an edit of a plan, add-on or discount to the subscriptions that have a copy of its terms. A roll-out has its
//! options, the states that the entry has been in, and how far the work has come.

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
        /// A plan, whose subscriptions are found by their `plan_id`.
        Plan = "plan",
        /// An add-on, found in the lists of subscriptions and plans.
        AddOn = "add_on",
        /// A discount, found in the lists of subscriptions and plans.
        Discount = "discount",
    }
}

text_enum! {
    /// From when the new terms hold.
    pub enum Effect {
        /// The new terms hold from each subscription's next cycle on, without any charge now.
        PeriodEnd = "period_end" | "next_cycle",
        /// The new terms hold at once where a paid period is running and its price changes: the unused days are credited, and the
        /// rest is charged.
        Now = "now",
    }
}

text_enum! {
    /// What becomes of a value that a subscription has of its own.
    pub enum Overrides {
        /// The subscription keeps the value.
        Keep = "keep",
        /// The value of the entry takes its place.
        Replace = "replace",
    }
}

text_enum! {
    /// A field of a catalog entry that subscriptions hold a copy of.
    pub enum Field {
        /// A plan's name, which subscriptions have as their description, or the name of an add-on or discount.
        Name = "name",
        /// The description of an add-on or discount.
        Description = "description",
        /// A plan's amount, or the amount or percentage of an add-on or discount.
        Amount = "amount",
        /// The frequency, which goes together with the interval and brings the days along.
        BillingFrequency = "billing_frequency",
        /// The interval, which goes together with the frequency.
        BillingCycleInterval = "billing_cycle_interval",
        /// The days on which cycles begin.
        BillingDays = "billing_days",
        /// The number of charges, or how many cycles an add-on or discount applies to.
        Duration = "duration",
        /// What happens with cycles that the bill run missed.
        CatchUp = "catch_up",
        /// Whether cycles go on opening while an invoice is unpaid after a decline.
        WhilePastDue = "while_past_due",
        /// How charges move, which goes together with the calendar of bank holidays.
        BusinessDay = "business_day",
        /// The calendar of bank holidays, which goes together with the business-day rule.
        HolidayCalendar = "holiday_calendar",
        /// A plan's list of add-ons.
        AddOns = "add_ons",
        /// A plan's list of discounts.
        Discounts = "discounts",
    }
}

impl Field {
    /// Whether an entry of this type has the field.
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
    /// Where a roll-out stands.
    pub enum RollOutStatus {
        /// Subscriptions are still to be looked at.
        Running = "running",
        /// Every subscription was changed or left alone.
        Done = "done",
    }
}

text_enum! {
    /// Why a subscription is left alone.
    pub enum LeftAloneReason {
        /// The subscription has these terms already.
        Unchanged = "unchanged",
        /// Only values that are the subscription's own would change.
        Overridden = "overridden",
        /// The subscription never bills again.
        Ended = "ended",
        /// Cycles were missed, and the new terms would be charged for these cycles: an operator must unpark the subscription
        /// first.
        Parked = "parked",
        /// The subscription is cancelled at the period's end.
        Cancelling = "cancelling",
        /// The subscription changes to another plan when the next cycle opens.
        ChangingPlan = "changing_plan",
        /// The subscription is billed in another currency than the plan's.
        OtherCurrency = "other_currency",
        /// The new terms do not fit the subscription: fewer charges than were made already, or an amount that the quantity makes
        /// too large.
        DoesNotFit = "does_not_fit",
        /// Credit would be owed to a customer whose balance is kept in another currency.
        CreditCurrency = "credit_currency",
    }
}

/// How many subscriptions are left alone, by reason.
pub type LeftAlone = BTreeMap<LeftAloneReason, i64>;

/// How an operator wants a roll-out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// From when the new terms hold.
    pub when: Effect,
    /// The fields to take, in order. None means all fields.
    pub fields: Option<Vec<Field>>,
    /// What becomes of values that a subscription has of its own.
    pub overrides: Overrides,
    /// Whether the old anchor goes on where the interval changes.
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
    /// A plan's states.
    Plan(Vec<Plan>),
    /// An add-on's states, as the copies that subscriptions have.
    AddOn(Vec<Modifier>),
    /// A discount's states, as the copies that subscriptions have.
    Discount(Vec<Modifier>),
}

impl Versions {
    /// The kind of the entry.
    pub fn entry_type(&self) -> EntryType {
        match self {
            Self::Plan(_) => EntryType::Plan,
            Self::AddOn(_) => EntryType::AddOn,
            Self::Discount(_) => EntryType::Discount,
        }
    }
}

/// A roll-out and how far the work has come. Subscriptions are taken in order of their ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct RollOut {
    /// Names the roll-out.
    pub id: RollOutId,
    /// The kind of the catalog entry.
    pub entry_type: EntryType,
    /// Id text of the catalog entry.
    pub entry_id: String,
    /// Digest of the entry, its states and the options, hex. An operator confirms the list of this revision, and any other edit
    /// makes another one.
    pub revision: String,
    /// How the operator wants the roll-out.
    #[sqlx(json)]
    pub options: Options,
    /// The states of the entry when the roll-out began: a later edit does not change what is rolled out.
    #[sqlx(json)]
    pub versions: Versions,
    /// Whether subscriptions are still to be looked at.
    pub status: RollOutStatus,
    /// Who asked for the roll-out, as [`Actor::text`](super::event::Actor::text) writes it.
    pub actor: String,
    /// Id of the last subscription that was looked at. None before the first one.
    pub done_through: Option<String>,
    /// How many plans have a changed list of add-ons or discounts.
    pub plans_changed: i64,
    /// How many subscriptions were changed so far.
    pub subscriptions_changed: i64,
    /// How many subscriptions were left alone so far, by reason.
    #[sqlx(json)]
    pub left_alone: LeftAlone,
    /// UTC.
    pub created_at: DateTime<Utc>,
    /// When the last subscription was looked at, UTC. None means that the roll-out is running.
    pub finished_at: Option<DateTime<Utc>>,
}

/// Every state that something has been in, newest first. `edits` are the data of the edits, oldest first, each with what was
/// `before`; the states are found by going back from the state now. An edit that this version cannot read any more is passed
/// over.
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
