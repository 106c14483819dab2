//! What the days to come were billed. The invoices are the record, and the latest invoice wins, so no day is given back twice.

use std::collections::BTreeMap;

use chrono::{NaiveDate, TimeDelta};
use serde::{Deserialize, Serialize};

use crate::domain::{
    credit_note::{Destination, Reduction},
    id::InvoiceId,
    invoice::{Account, Invoice, InvoiceStatus, Line, LineKind, LinePeriod},
    money::fraction_of,
    proration::{Share, days_between},
};

/// Days that were billed, half-open, and what the whole period that these days are part of costs by the same terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BilledDays {
    /// First local day.
    pub start: NaiveDate,
    /// The local day after the last one.
    pub end: NaiveDate,
    /// What the whole period costs, minor units.
    pub price: i64,
    /// How many days the whole period has.
    pub of_days: i64,
    /// The invoice that billed the days. None for days that no invoice is known to have billed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoice_id: Option<InvoiceId>,
}

impl BilledDays {
    /// Whether both are the same days at the same price, whoever billed them.
    pub(super) fn costs_the_same(&self, other: &Self) -> bool {
        let terms = |days: &Self| (days.start, days.end, days.price, days.of_days);
        terms(self) == terms(other)
    }

    fn period(&self) -> LinePeriod {
        LinePeriod { start: self.start, end: self.end }
    }

    fn share(&self) -> Share {
        Share::new(days_between(self.start, self.end), self.of_days)
    }

    /// What these days cost: their share of the price, minor units.
    pub fn amount(&self) -> i64 {
        self.share().of_amount(self.price)
    }

    /// The line of unused days for this amount, minor units. None for nothing.
    fn unused_line(&self, amount: i64) -> Option<Line> {
        let line = Line::new(LineKind::Credit, "Unused days", amount).for_share(self.share());
        (amount != 0).then(|| Line { period: Some(self.period()), ..line })
    }

    /// The line that charges these days: the very amount that paid days give back.
    pub(super) fn charge_line(&self, description: &str) -> Line {
        let share = self.share();
        let line = Line::new(LineKind::Proration, description, self.amount());
        let period = Some(self.period());
        Line { unit_amount: Some(self.price), days: Some(share.days), of_days: Some(share.of), period, ..line }
    }
}

/// Days to come that were billed, and what their invoice can give for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusedDays {
    /// The days, as they were billed.
    pub days: BilledDays,
    /// The part that was never paid is not owed any more. The part that was paid becomes credit.
    pub reduction: Reduction,
}

impl UnusedDays {
    /// Days that were paid in full.
    pub fn paid(days: BilledDays) -> Self {
        let reduction = Reduction { pre_payment: 0, post_payment: days.amount() };
        Self { days, reduction }
    }

    /// The line that gives back what was paid for the days. None when nothing was paid.
    pub(super) fn credit_line(&self) -> Option<Line> {
        self.days.unused_line(-self.reduction.post_payment)
    }

    /// The line of a credit note, which has positive amounts. None when nothing is credited.
    pub fn credit_note_line(&self) -> Option<Line> {
        self.days.unused_line(self.reduction.amount())
    }
}

/// What the invoices of these days can give for them, in order. Days of an invoice without an account give nothing.
pub fn unused_days(accounts: &BTreeMap<InvoiceId, Account>, billed: Vec<BilledDays>) -> Vec<UnusedDays> {
    let mut accounts = accounts.clone();
    let reduce = |days: BilledDays| {
        let account = days.invoice_id.and_then(|id| accounts.get_mut(&id));
        let reduction = account.map_or_else(Reduction::default, |account| account.apply(days.amount(), Destination::Credit));
        UnusedDays { days, reduction }
    };
    billed.into_iter().map(reduce).collect()
}

/// What an invoice says about the cost of days.
#[derive(Debug, Clone, Copy)]
pub struct Bill<'a> {
    /// The invoice itself.
    pub invoice_id: InvoiceId,
    /// First local day, and the local day after the last one.
    pub period: (NaiveDate, NaiveDate),
    /// What the invoice is made of.
    pub lines: &'a [Line],
    /// What the invoice was for and still counts, minor units: nothing for a void one, what was paid for one that was given up, and
    /// all that refunds have not given back for any other.
    pub counts: i64,
}

impl<'a> Bill<'a> {
    /// The bill that an invoice is. None for an invoice that is for no period.
    pub fn of(invoice: &'a Invoice) -> Option<Self> {
        let counts = match invoice.status {
            InvoiceStatus::Open | InvoiceStatus::Paid => invoice.charged() - invoice.amount_refunded - invoice.amount_credited,
            InvoiceStatus::Uncollectible => invoice.amount_kept(),
            InvoiceStatus::Void => 0,
        };
        Some(Self {
            invoice_id: invoice.id,
            period: (invoice.period_start?, invoice.period_end?),
            lines: &invoice.lines,
            counts: counts.max(0),
        })
    }

    fn charged(&self) -> impl Iterator<Item = &Line> {
        let is_credit = |kind| matches!(kind, LineKind::Credit | LineKind::CreditCarried);
        self.lines.iter().filter(move |line| !is_credit(line.kind) && line.kind != LineKind::Floor)
    }

    /// The days of the invoice with their prices, in order and without a gap.
    fn days(&self) -> Vec<BilledDays> {
        let (start, end) = self.period;
        let invoice_id = Some(self.invoice_id);
        let mut found = Vec::new();
        let mut from = start;
        // Each line that was charged by day stands for the days after those of the line before it.
        for line in self.charged().filter(|line| line.kind == LineKind::Proration) {
            let days = line.days.unwrap_or_else(|| days_between(from, end));
            let until = from.checked_add_signed(TimeDelta::days(days)).unwrap_or(end).min(end);
            let of_days = line.of_days.unwrap_or(days).max(1);
            found.push(BilledDays { start: from, end: until, price: whole(line), of_days, invoice_id });
            from = until;
        }
        if found.is_empty() {
            let of_days = self.charged().find_map(|line| line.of_days).unwrap_or_else(|| days_between(start, end)).max(1);
            found.push(BilledDays { start, end, price: self.charged().map(whole).sum::<i64>().max(0), of_days, invoice_id });
        }
        let is_credit = |line: &&Line| matches!(line.kind, LineKind::Credit | LineKind::CreditCarried);
        let billed: i64 = self.lines.iter().filter(|line| !is_credit(line)).map(|line| line.amount).sum();
        for days in found.iter_mut().filter(|_| self.counts < billed) {
            // What is left of the price is spread over the days.
            days.price = fraction_of(days.price, self.counts, billed);
        }
        found
    }
}

/// A line's amount for the whole of its period.
fn whole(line: &Line) -> i64 {
    match (line.days, line.of_days, line.unit_amount) {
        (Some(_), Some(_), Some(unit)) => unit.saturating_mul(line.quantity.unwrap_or(1)),
        (Some(days @ 1..), Some(of_days), None) => fraction_of(line.amount, of_days, days),
        _ => line.amount,
    }
}

/// What the days from `today` up to `until` were billed, by these invoices, oldest first. From its first day on an invoice
/// replaces those before it.
pub fn billed_ahead<'a>(bills: impl IntoIterator<Item = Bill<'a>>, today: NaiveDate, until: NaiveDate) -> Vec<BilledDays> {
    let mut found: Vec<BilledDays> = Vec::new();
    for bill in bills {
        found.retain(|days| days.start < bill.period.0);
        if let Some(last) = found.last_mut() {
            last.end = last.end.min(bill.period.0);
        }
        found.extend(bill.days());
    }
    clip(found, today, until)
}

/// The part of these days that lies from one date up to another, half-open.
pub(super) fn clip(days: Vec<BilledDays>, from: NaiveDate, until: NaiveDate) -> Vec<BilledDays> {
    let clipped = days.into_iter().map(|days| BilledDays { start: days.start.max(from), end: days.end.min(until), ..days });
    clipped.filter(|days| days.start < days.end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_stretches_of_one_invoice_share_its_account() {
        let date = |text: &str| text.parse().expect("date");
        let id = InvoiceId::from_bits(7);
        let days = |start, end| BilledDays { start: date(start), end: date(end), price: 3000, of_days: 30, invoice_id: Some(id) };
        let billed = vec![days("2026-04-11", "2026-04-21"), days("2026-04-21", "2026-05-01")];
        let accounts = BTreeMap::from([(id, Account { due: 0, creditable: 1500, to_balance: 1500, to_method: 1500 })]);
        let given: Vec<i64> = unused_days(&accounts, billed).iter().map(|days| days.reduction.post_payment).collect();
        assert_eq!(given, [1000, 500]);
    }
}
