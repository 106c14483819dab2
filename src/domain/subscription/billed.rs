//! What the days to come were billed. The invoices are the record, and the latest invoice wins, so no day is given back twice.

use chrono::{NaiveDate, TimeDelta};
use serde::{Deserialize, Serialize};

use crate::domain::{
    invoice::{Line, LineKind},
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
}

impl BilledDays {
    fn share(&self) -> Share {
        Share::new(days_between(self.start, self.end), self.of_days)
    }

    /// What these days cost: their share of the price, minor units.
    pub fn amount(&self) -> i64 {
        self.share().of_amount(self.price)
    }

    /// The line that gives these days back. None when the days were free.
    pub(super) fn credit_line(&self) -> Option<Line> {
        let amount = self.amount();
        (amount > 0).then(|| Line::new(LineKind::Credit, "Unused days", -amount).for_share(self.share()))
    }

    /// The line that charges these days: the very amount that [`BilledDays::credit_line`] gives back.
    pub(super) fn charge_line(&self, description: &str) -> Line {
        let share = self.share();
        let line = Line::new(LineKind::Proration, description, self.amount());
        Line { unit_amount: Some(self.price), days: Some(share.days), of_days: Some(share.of), ..line }
    }
}

/// What an invoice says about the cost of days.
#[derive(Debug, Clone, Copy)]
pub struct Bill<'a> {
    /// First local day, and the local day after the last one.
    pub period: (NaiveDate, NaiveDate),
    /// What the invoice is made of.
    pub lines: &'a [Line],
    /// Whether the invoice is paid or still to be paid. False for a void and for an uncollectible invoice.
    pub counts: bool,
    /// Given back by refunds, minor units.
    pub refunded: i64,
}

impl Bill<'_> {
    fn charged(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| !matches!(line.kind, LineKind::Credit | LineKind::Floor))
    }

    fn gives_credit(&self) -> bool {
        self.lines.iter().any(|line| line.kind == LineKind::Credit)
    }

    /// The days of the invoice with their prices, in order and without a gap.
    fn days(&self) -> Vec<BilledDays> {
        let (start, end) = self.period;
        let mut found = Vec::new();
        let mut from = start;
        // Each line that was charged by day stands for the days after those of the line before it.
        for line in self.charged().filter(|line| line.kind == LineKind::Proration) {
            let days = line.days.unwrap_or_else(|| days_between(from, end));
            let until = from.checked_add_signed(TimeDelta::days(days)).unwrap_or(end).min(end);
            found.push(BilledDays { start: from, end: until, price: whole(line), of_days: line.of_days.unwrap_or(days).max(1) });
            from = until;
        }
        if found.is_empty() {
            let of_days = self.charged().find_map(|line| line.of_days).unwrap_or_else(|| days_between(start, end)).max(1);
            found.push(BilledDays { start, end, price: self.charged().map(whole).sum::<i64>().max(0), of_days });
        }
        let billed: i64 = self.lines.iter().filter(|line| line.kind != LineKind::Credit).map(|line| line.amount).sum();
        for days in &mut found {
            if !self.counts {
                days.price = 0;
            } else if self.refunded > 0 && billed > 0 {
                // What is left of the price is spread over the days.
                days.price = fraction_of(days.price, (billed - self.refunded).max(0), billed);
            }
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
/// replaces those before it. An invoice that gave credit and does not count takes its credit with it.
pub fn billed_ahead<'a>(bills: impl IntoIterator<Item = Bill<'a>>, today: NaiveDate, until: NaiveDate) -> Vec<BilledDays> {
    let mut found: Vec<BilledDays> = Vec::new();
    for bill in bills.into_iter().filter(|bill| bill.counts || !bill.gives_credit()) {
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
