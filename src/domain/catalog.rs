//! The catalog's modifiers: add-ons raise a charge, discounts lower it. A subscription holds copies, so that an edit here
//! changes no running one.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    id::{AddOn, Discount, Id, Kind},
    invoice::{Adjustment, Modifier},
    money::Percentage,
};

/// An add-on or a discount: the same shape, told apart by its kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
#[serde(bound = "")]
pub struct Entry<K: Kind> {
    pub id: Id<K>,
    /// The id that another system knows it by; requests may use it in place of `id`.
    pub reference: Option<String>,
    pub name: String,
    pub description: String,
    /// Minor units. Exactly one of `amount` and `percentage` is set.
    pub amount: Option<i64>,
    /// Thousandths of a percent.
    pub percentage: Option<i64>,
    /// Cycles it applies to, 0 = always.
    pub duration: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

pub type AddOnEntry = Entry<AddOn>;
pub type DiscountEntry = Entry<Discount>;

impl<K: Kind> Entry<K> {
    pub fn adjustment(&self) -> Adjustment {
        match (self.amount, self.percentage.map(Percentage::from_thousandths)) {
            (None, Some(Ok(percentage))) => Adjustment::Percentage(percentage),
            (amount, _) => Adjustment::Amount(amount.unwrap_or_default()),
        }
    }

    /// The copy that a plan or subscription holds.
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
