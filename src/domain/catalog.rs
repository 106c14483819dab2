//! The catalog's modifiers: add-ons raise a charge, discounts lower it. A subscription holds copies, so that an edit here
//! changes no running one.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    id::{AddOn, Discount, Id, Kind},
    invoice::{Adjustment, Modifier},
    money::Percentage,
};

/// An add-on or a discount. Both have the same shape, and the kind tells one from the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
#[serde(bound = "")]
pub struct Entry<K: Kind> {
    /// Names the entry.
    pub id: Id<K>,
    /// The merchant's own id; requests may use this in place of `id`. None means that the merchant gave none.
    pub reference: Option<String>,
    /// What the customer reads on the line of the invoice.
    pub name: String,
    /// What the customer reads where the name is empty.
    pub description: String,
    /// Minor units, not negative. Exactly one of `amount` and `percentage` is set.
    pub amount: Option<i64>,
    /// Thousandths of a percent of the base charge: 2500 is 2.5 %.
    pub percentage: Option<i64>,
    /// How many cycles the entry applies to, 0 = always.
    pub duration: i64,
    /// UTC.
    pub created_at: DateTime<Utc>,
    /// Last change, UTC.
    pub updated_at: DateTime<Utc>,
}

/// An entry that raises a charge.
pub type AddOnEntry = Entry<AddOn>;
/// An entry that lowers a charge.
pub type DiscountEntry = Entry<Discount>;

impl<K: Kind> Entry<K> {
    /// The amount or the percentage, whichever is set. An entry with neither adjusts by nothing.
    pub fn adjustment(&self) -> Adjustment {
        match (self.amount, self.percentage.map(Percentage::from_thousandths)) {
            (None, Some(Ok(percentage))) => Adjustment::Percentage(percentage),
            (amount, _) => Adjustment::Amount(amount.unwrap_or_default()),
        }
    }

    /// The copy that a plan or subscription holds. The copy applies from cycle 0 on.
    pub fn as_modifier(&self) -> Modifier {
        Modifier {
            id: self.id.to_string(),
            name: self.name.clone(),
            description: self.description.clone(),
            adjustment: self.adjustment(),
            duration: self.duration,
            applied_from: 0,
        }
    }
}
