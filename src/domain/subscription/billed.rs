//! What the days to come were billed. The invoices are the record and the last of them has the word, so no day is given back twice.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::domain::{
    invoice::{Line, LineKind},
    money::fraction_of,
    proration::{Share, days_between},
};

/// Days that were billed, half-open, and what the whole period that they are part of costs by the same terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BilledDays {
    pub start: NaiveDate,
    pub end: NaiveDate,
    /// Of the whole period, minor units.
    pub price: i64,
    /// Days of the whole period.
    pub of_days: i64,
}

impl BilledDays {
    fn share(&self) -> Share {
        Share::new(days_between(self.start, self.end), self.of_days)
    }

    /// What these days come to, minor units.
    pub fn amount(&self) -> i64 {
        self.share().of_amount(self.price)
    }

    /// Gives these days back. None when they were free.
    pub(super) fn credit_line(&self) -> Option<Line> {
        let amount = self.amount();
        (amount > 0).then(|| Line::new(LineKind::Credit, "Unused days", -amount).for_share(self.share()))
    }

    /// Charges these days: the very amount that [`BilledDays::credit_line`] gives back.
    pub(super) fn charge_line(&self, description: &str) -> Line {
        let line = Line::new(LineKind::Proration, description, self.amount()).for_share(self.share());
        Line { unit_amount: Some(self.price), ..line }
    }
}

/// An invoice, as far as it says what days cost.
#[derive(Debug, Clone, Copy)]
pub struct Bill<'a> {
    /// Half-open.
    pub period: (NaiveDate, NaiveDate),
    pub lines: &'a [Line],
    /// Paid, or to be paid: not voided and not given up.
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

    fn days(&self) -> BilledDays {
        let (start, end) = self.period;
        let mut of_days = self.charged().find_map(|line| line.of_days).unwrap_or_else(|| days_between(start, end));
        let mut price: i64 = self.charged().map(whole).sum::<i64>().max(0);
        if self.charged().filter(|line| line.kind == LineKind::Proration).count() > 1 {
            // Days of several periods at once: the average is what the record says.
            price = self.charged().map(|line| line.amount).sum();
            of_days = days_between(start, end);
        }
        let billed: i64 = self.lines.iter().filter(|line| line.kind != LineKind::Credit).map(|line| line.amount).sum();
        if self.refunded > 0 && billed > 0 {
            price = fraction_of(price, (billed - self.refunded).max(0), billed);
        }
        BilledDays { start, end, price: if self.counts { price } else { 0 }, of_days: of_days.max(1) }
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

/// What the days from `today` up to `until` were billed, by these invoices, oldest first. A later one replaces those before it from
/// its first day on; but where one that gave credit does not count, neither does that credit.
pub fn billed_ahead<'a>(bills: impl IntoIterator<Item = Bill<'a>>, today: NaiveDate, until: NaiveDate) -> Vec<BilledDays> {
    let mut found: Vec<BilledDays> = Vec::new();
    for bill in bills.into_iter().filter(|bill| bill.counts || !bill.gives_credit()) {
        found.retain(|days| days.start < bill.period.0);
        if let Some(last) = found.last_mut() {
            last.end = last.end.min(bill.period.0);
        }
        found.push(bill.days());
    }
    clip(found, today, until)
}

/// The part of these days from one date up to another.
pub(super) fn clip(days: Vec<BilledDays>, from: NaiveDate, until: NaiveDate) -> Vec<BilledDays> {
    let clipped = days.into_iter().map(|days| BilledDays { start: days.start.max(from), end: days.end.min(until), ..days });
    clipped.filter(|days| days.start < days.end).collect()
}
