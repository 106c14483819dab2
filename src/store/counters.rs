//! Numbers for people that rise without a gap: each series has one row, which a transaction holds until it ends.

use super::{Result, Tx};
use crate::domain;

/// A series of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series {
    Invoice,
    CreditNote,
}

impl Series {
    const fn name(self) -> &'static str {
        match self {
            Self::Invoice => "invoice",
            Self::CreditNote => "credit_note",
        }
    }
}

/// Takes the next `count` numbers; returns the first. The numbers of a transaction that fails are given out again.
pub async fn take(tx: &mut Tx, series: Series, count: usize) -> Result<i64> {
    let count = domain::count(count);
    let row: (i64,) = tx
        .query("update counters set value = value + $1 where name = $2 returning value")
        .bind(count)
        .bind(series.name())
        .one()
        .await?;
    Ok(row.0 - count + 1)
}
