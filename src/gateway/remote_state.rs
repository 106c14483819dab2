//! What a gateway's transaction says about its money, and whether it is the payment that was asked for.

use crate::domain::{money::Currency, payment::Decline};

/// Where a transaction's money is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteState {
    Taken {
        amount_minor: i64,
    },
    Authorized,
    Declined(Decline),
    /// Declined, with a code that may hide a charge until a lookup confirms it.
    Doubtful(Decline),
    /// Voided or reversed, by us or at the gateway.
    Voided,
    Unclear(String),
}

/// Compares a gateway's transaction with the payment that was asked for; the error names both sides. `amounts` are those that the
/// gateway gives for it: one must be ours. What the gateway leaves out agrees.
pub fn agrees(
    transaction: &str,
    amounts: &[i64],
    their_currency: Option<&str>,
    amount_minor: i64,
    currency: Currency,
) -> Result<(), String> {
    if let Some(theirs) = amounts.first().filter(|_| !amounts.contains(&amount_minor)) {
        return Err(format!("amounts differ: {amount_minor} here, {theirs} at the gateway (transaction {transaction})"));
    }
    match their_currency {
        Some(theirs) if theirs.parse() != Ok(currency) => {
            Err(format!("currencies differ: {currency} here, {theirs} at the gateway (transaction {transaction})"))
        }
        _ => Ok(()),
    }
}
