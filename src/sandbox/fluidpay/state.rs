//! What FluidPay keeps: transactions, stored customers, its own recurring objects.

use chrono::{DateTime, Utc};

use super::{
    customers::Customers,
    recurring::Recurring,
    transaction::{FluidpayTransaction, TransactionKind, TransactionStatus, Transactions},
};

/// What FluidPay remembers.
#[derive(Debug, Default)]
pub struct FluidpayState {
    pub transactions: Transactions,
    pub customers: Customers,
    pub recurring: Recurring,
}

impl FluidpayState {
    /// Authorizations that are neither captured nor voided: reference and amount, oldest first.
    pub fn authorized(&self) -> Vec<(String, i64)> {
        let held = |transaction: &&FluidpayTransaction| {
            transaction.kind == TransactionKind::Authorize && transaction.status == TransactionStatus::Authorized
        };
        let all = self.transactions.all.iter().filter(held);
        all.map(|transaction| (transaction.particulars.order_id.clone(), transaction.amount_authorized)).collect()
    }

    pub fn settle_at_once(&mut self, at_once: bool) {
        self.transactions.settle_at_once = at_once;
    }

    pub fn settle(&mut self, now: DateTime<Utc>) -> usize {
        self.transactions.settle(now)
    }
}
