//! Compares every movement in the sandbox's ledger with every payment in ours, one by one, not only the sums.

use std::{collections::BTreeMap, fmt};

use crate::{
    domain::money::Currency,
    sandbox::{LedgerEntry, Movement},
    store::reports::Taken,
};

/// The result of a comparison.
#[derive(Debug, Default)]
pub struct Comparison {
    charges: usize,
    totals: BTreeMap<Currency, i64>,
    /// One sentence for each difference.
    differences: Vec<String>,
}

/// The most differences that are printed.
const SHOWN: usize = 10;

/// Compares by reference, transaction, amount and currency. A payment that is in a ledger twice is a difference too.
pub fn compare(ours: &[Taken], theirs: &[LedgerEntry]) -> Comparison {
    type Line<'a> = (&'a str, &'a str, i64, Currency);
    let mut comparison = Comparison { charges: ours.len(), ..Comparison::default() };
    let mut counts: BTreeMap<Line, (usize, usize)> = BTreeMap::new();
    for taken in ours {
        *comparison.totals.entry(taken.currency).or_default() += taken.amount_captured;
        let transaction = taken.transaction_id.as_deref().unwrap_or_default();
        counts.entry((&taken.reference, transaction, taken.amount_captured, taken.currency)).or_default().0 += 1;
    }
    for entry in theirs {
        if matches!(entry.kind, Movement::Charge | Movement::Capture) {
            counts.entry((&entry.reference, &entry.transaction_id, entry.amount, entry.currency)).or_default().1 += 1;
        } else {
            comparison.differences.push(format!(
                "the gateway's ledger has a {} of {} that nobody asked for",
                kind(entry.kind),
                entry.reference
            ));
        }
    }
    for ((reference, transaction, amount, currency), (here, there)) in counts {
        if (here, there) != (1, 1) {
            let amount = currency.major(amount);
            comparison.differences.push(format!(
                "{amount} {currency} with reference {reference}, transaction {transaction}: {} in our records, {} in the gateway's ledger",
                times(here),
                times(there)
            ));
        }
    }
    comparison
}

fn times(count: usize) -> String {
    match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        _ => format!("{count} times"),
    }
}

fn kind(kind: Movement) -> String {
    format!("{kind:?}").to_lowercase()
}

impl Comparison {
    pub fn agrees(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.agrees() {
            let totals: Vec<String> =
                self.totals.iter().map(|(currency, total)| format!("{} {currency}", currency.major(*total))).collect();
            let totals = if totals.is_empty() { "nothing".to_owned() } else { totals.join(" and ") };
            return write!(f, "ledgers agree: {} charges, {totals} on both sides", self.charges);
        }
        let count = self.differences.len();
        write!(f, "ledgers differ in {count} place{}:", if count == 1 { "" } else { "s" })?;
        for difference in self.differences.iter().take(SHOWN) {
            write!(f, "\n  - {difference}")?;
        }
        if count > SHOWN {
            write!(f, "\n  - and {} more", count - SHOWN)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn taken(reference: &str, amount_captured: i64) -> Taken {
        Taken {
            reference: reference.into(),
            transaction_id: Some(format!("t-{reference}")),
            amount_captured,
            currency: Currency::USD,
        }
    }

    fn entry(reference: &str, amount: i64) -> LedgerEntry {
        LedgerEntry {
            gateway: crate::sandbox::SandboxGateway::FluidPay,
            kind: Movement::Charge,
            transaction_id: format!("t-{reference}"),
            reference: reference.into(),
            amount,
            currency: Currency::USD,
            at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn equal_sums_are_not_enough() {
        let text = |ours: &[Taken], theirs: &[LedgerEntry]| compare(ours, theirs).to_string();
        assert_eq!(
            text(&[taken("a", 100), taken("b", 250)], &[entry("b", 250), entry("a", 100)]),
            "ledgers agree: 2 charges, 3.50 USD on both sides"
        );
        assert!(
            text(&[taken("a", 100), taken("b", 250)], &[entry("a", 250), entry("b", 100)])
                .starts_with("ledgers differ in 4 places:")
        );
        assert!(text(&[taken("a", 100)], &[entry("a", 100), entry("a", 100)]).contains("once in our records, 2 times"));
        assert_eq!(
            text(&[taken("a", 100)], &[]),
            "ledgers differ in 1 place:\n  - 1.00 USD with reference a, transaction t-a: once in our records, never in the gateway's ledger"
        );
        assert_eq!(
            text(&[], &[entry("a", 100)]),
            "ledgers differ in 1 place:\n  - 1.00 USD with reference a, transaction t-a: never in our records, once in the gateway's ledger"
        );
        assert_eq!(text(&[taken("a", 100)], &[entry("a", 101)]).lines().count(), 3, "a changed amount is missing here and there");
        assert!(!compare(&[taken("a", 100)], &[]).agrees());
    }

    #[test]
    fn other_kinds_currencies_and_transactions_are_differences() {
        let refund = LedgerEntry { kind: Movement::Refund, ..entry("a", 100) };
        let said = compare(&[taken("a", 100)], &[entry("a", 100), refund]).to_string();
        assert_eq!(said, "ledgers differ in 1 place:\n  - the gateway's ledger has a refund of a that nobody asked for");
        let euro = LedgerEntry { currency: "EUR".parse().expect("currency"), ..entry("a", 100) };
        assert!(!compare(&[taken("a", 100)], &[euro]).agrees());
        let other = LedgerEntry { transaction_id: "t-b".into(), ..entry("a", 100) };
        assert!(!compare(&[taken("a", 100)], &[other]).agrees());
        assert_eq!(compare(&[], &[]).to_string(), "ledgers agree: 0 charges, nothing on both sides");
        let many: Vec<Taken> = (0..15).map(|n| taken(&n.to_string(), 1)).collect();
        let said = compare(&many, &[]).to_string();
        assert!(said.lines().count() == 12 && said.ends_with("\n  - and 5 more"), "{said}");
    }
}
