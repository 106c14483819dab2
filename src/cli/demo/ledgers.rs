//! The proof: every movement in the sandbox's ledger against every payment in ours, one by one, not only the sums.

use std::{collections::BTreeMap, fmt};

use crate::{
    domain::money::Currency,
    sandbox::{Entry, Kind},
    store::reports::Taken,
};

/// What a comparison came to.
#[derive(Debug, Default)]
pub struct Verdict {
    charges: usize,
    totals: BTreeMap<Currency, i64>,
    /// One sentence for each.
    differences: Vec<String>,
}

/// The most differences that are worth reading.
const SHOWN: usize = 10;

/// Compares by reference, transaction, amount and currency. A payment that stands in a ledger twice is a difference, too.
pub fn compare(ours: &[Taken], theirs: &[Entry]) -> Verdict {
    type Line<'a> = (&'a str, &'a str, i64, Currency);
    let mut verdict = Verdict { charges: ours.len(), ..Verdict::default() };
    let mut counts: BTreeMap<Line, (usize, usize)> = BTreeMap::new();
    for taken in ours {
        *verdict.totals.entry(taken.currency).or_default() += taken.amount_captured;
        let transaction = taken.transaction_id.as_deref().unwrap_or_default();
        counts.entry((&taken.reference, transaction, taken.amount_captured, taken.currency)).or_default().0 += 1;
    }
    for entry in theirs {
        if matches!(entry.kind, Kind::Charge | Kind::Capture) {
            counts.entry((&entry.reference, &entry.transaction_id, entry.amount, entry.currency)).or_default().1 += 1;
        } else {
            verdict
                .differences
                .push(format!("the gateway's ledger has a {:?} of {} that nobody asked for", entry.kind, entry.reference));
        }
    }
    for ((reference, transaction, amount, currency), (here, there)) in counts {
        if (here, there) != (1, 1) {
            let amount = currency.major(amount);
            verdict.differences.push(format!(
                "{amount} {currency} with reference {reference}, transaction {transaction}: {here} times in our records, {there} times in the gateway's ledger"
            ));
        }
    }
    verdict
}

impl Verdict {
    pub fn agrees(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.agrees() {
            let totals: Vec<String> =
                self.totals.iter().map(|(currency, total)| format!("{} {currency}", currency.major(*total))).collect();
            let totals = if totals.is_empty() { "nothing".to_owned() } else { totals.join(" and ") };
            return write!(f, "ledgers agree: {} charges, {totals} on both sides", self.charges);
        }
        write!(f, "ledgers differ in {} places:", self.differences.len())?;
        for difference in self.differences.iter().take(SHOWN) {
            write!(f, "\n  - {difference}")?;
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

    fn entry(reference: &str, amount: i64) -> Entry {
        Entry {
            gateway: crate::sandbox::Gateway::FluidPay,
            kind: Kind::Charge,
            transaction_id: format!("t-{reference}"),
            reference: reference.into(),
            amount,
            currency: Currency::USD,
            at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn equal_sums_are_not_enough() {
        let text = |ours: &[Taken], theirs: &[Entry]| compare(ours, theirs).to_string();
        assert_eq!(
            text(&[taken("a", 100), taken("b", 250)], &[entry("b", 250), entry("a", 100)]),
            "ledgers agree: 2 charges, 3.50 USD on both sides"
        );
        assert!(
            text(&[taken("a", 100), taken("b", 250)], &[entry("a", 250), entry("b", 100)])
                .starts_with("ledgers differ in 4 places:")
        );
        assert!(text(&[taken("a", 100)], &[entry("a", 100), entry("a", 100)]).contains("1 times in our records, 2 times"));
        assert!(!compare(&[taken("a", 100)], &[]).agrees());
        assert!(!compare(&[], &[entry("a", 100)]).agrees());
    }
}
