//! The sandbox's own ledger: every movement of money, in order. Tests compare the daemon's payments with it.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::call::SandboxGateway;
use crate::domain::money::Currency;

/// How money moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Movement {
    /// A FluidPay sale, or a Paysley request that was paid.
    Charge,
    /// An authorization turned into money.
    Capture,
    Refund,
    /// An unsettled FluidPay sale or capture, taken back whole. Voiding an authorization moves no money and is not recorded.
    Void,
    /// The customer's bank took the money back.
    Dispute,
    /// The merchant won the dispute, and the money came back.
    DisputeWon,
    /// Money sent to a card without a sale before it.
    Credit,
}

impl Movement {
    fn sign(self) -> i64 {
        match self {
            Self::Charge | Self::Capture | Self::DisputeWon => 1,
            Self::Refund | Self::Void | Self::Dispute | Self::Credit => -1,
        }
    }
}

/// One movement of money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LedgerEntry {
    pub gateway: SandboxGateway,
    pub kind: Movement,
    /// The transaction that was charged. Its refunds and voids carry this id too.
    pub transaction_id: String,
    /// The caller's own reference: FluidPay's `order_id`, Paylike's `custom.reference`, Paysley's `reference_number`; empty when
    /// none was sent.
    pub reference: String,
    /// Minor units, always positive.
    pub amount: i64,
    pub currency: Currency,
    pub at: DateTime<Utc>,
}

/// The ledger in figures, for runs too big to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub entries: usize,
    pub counts: BTreeMap<Movement, u64>,
    /// Charges and captures less refunds, voids and credits, in minor units.
    pub net: BTreeMap<String, i64>,
    /// References that more than one transaction charged. Each is a double charge.
    pub charged_twice: Vec<String>,
}

/// Entries in the order in which money moved.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Vec<LedgerEntry>,
}

impl Ledger {
    pub fn record(&mut self, entry: LedgerEntry) {
        self.entries.push(entry);
    }

    pub fn entries(&self) -> &[LedgerEntry] {
        &self.entries
    }

    pub fn summary(&self) -> Summary {
        let mut summary = Summary { entries: self.entries.len(), ..Summary::default() };
        let mut charged: HashMap<&str, &str> = HashMap::new();
        for entry in &self.entries {
            *summary.counts.entry(entry.kind).or_default() += 1;
            *summary.net.entry(entry.currency.to_string()).or_default() += entry.kind.sign() * entry.amount;
            if matches!(entry.kind, Movement::Charge | Movement::Capture) && !entry.reference.is_empty() {
                let first = charged.entry(&entry.reference).or_insert(&entry.transaction_id);
                if *first != entry.transaction_id {
                    summary.charged_twice.push(entry.reference.clone());
                }
            }
        }
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_nets_and_names_double_charges() {
        let mut ledger = Ledger::default();
        let mut record = |kind, transaction_id: &str, reference: &str, amount| {
            ledger.record(LedgerEntry {
                gateway: SandboxGateway::FluidPay,
                kind,
                transaction_id: transaction_id.to_owned(),
                reference: reference.to_owned(),
                amount,
                currency: Currency::USD,
                at: DateTime::UNIX_EPOCH,
            });
        };
        record(Movement::Charge, "t1", "A", 100);
        record(Movement::Charge, "t2", "A", 100);
        record(Movement::Capture, "t3", "B", 60);
        record(Movement::Capture, "t3", "B", 40);
        record(Movement::Void, "t2", "A", 100);
        record(Movement::Refund, "t3", "B", 30);
        let summary = ledger.summary();
        assert_eq!((summary.entries, summary.net["USD"]), (6, 170));
        assert_eq!(summary.charged_twice, ["A"]);
        assert_eq!(serde_json::to_string(&summary.counts).expect("json"), r#"{"charge":2,"capture":2,"refund":1,"void":1}"#);
    }
}
