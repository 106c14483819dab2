//! What can be done to a plan while it runs. Every change is made on a copy, and the copy is kept only if its parts still add up.

use chrono::{DateTime, NaiveDate, Utc};

use super::{Installment, InstallmentPlanStatus, InstallmentSchedule, InstallmentStatus, MAX_INSTALLMENTS, terms::equal_parts};
use crate::domain::{count, id::InvoiceId, money::MAX_AMOUNT_MINOR, subscription::Rules, text_enum};

text_enum! {
    /// Who makes up for an installment whose amount changes.
    #[derive(Default)]
    pub enum Spread {
        /// The last of the other open installments.
        #[default]
        Last = "last",
        /// All the other open installments, which become equal.
        Even = "even",
    }
}

/// Why nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The plan has no installment of this number.
    #[error("there is no installment {0}")]
    NoSuch(i64),
    /// The state of the plan or the installment does not allow the change. The text says why, for people.
    #[error("{0}")]
    State(String),
    /// A value of the request cannot be.
    #[error("{field} {message}")]
    Field {
        /// Path of the value in the request, such as `parts[0].date`.
        field: String,
        /// What the value may be, for people: continues a sentence that begins with the path.
        message: String,
    },
}

impl Refused {
    pub(super) fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Field { field: field.into(), message: message.into() }
    }
}

/// When a change is made, and what the change needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'r> {
    /// UTC, by the clock of the plan's timeline.
    pub now: DateTime<Utc>,
    /// What turns local dates into instants.
    pub rules: &'r Rules,
}

impl InstallmentSchedule {
    /// Makes a change on a copy, and keeps the copy if the promise holds.
    pub(super) fn attempt(&mut self, change: impl FnOnce(&mut Self) -> Result<(), Refused>) -> Result<(), Refused> {
        let mut changed = self.clone();
        change(&mut changed)?;
        changed.check().map_err(|unsound| Refused::State(unsound.to_string()))?;
        changed.refresh();
        *self = changed;
        Ok(())
    }

    /// Refuses a change of a plan that has ended.
    pub(super) fn running(&self, what: &str) -> Result<(), Refused> {
        if self.plan.is_running() {
            return Ok(());
        }
        Err(Refused::State(format!("an installment plan that is {} cannot be {what}", self.plan.status)))
    }

    /// The installment of this number, if the installment can still be changed.
    fn open(&mut self, number: i64, what: &str) -> Result<&mut Installment, Refused> {
        self.running("changed")?;
        let part = self.installments.iter_mut().find(|part| part.number == number).ok_or(Refused::NoSuch(number))?;
        if part.status != InstallmentStatus::Scheduled {
            return Err(Refused::State(format!("installment {number} is {}: only a scheduled one can be {what}", part.status)));
        }
        Ok(part)
    }

    /// Places of the scheduled installments except this one, in order of their dates.
    pub(super) fn others(&self, number: i64) -> Vec<usize> {
        let scheduled = |part: &Installment| part.status == InstallmentStatus::Scheduled && part.number != number;
        let mut others: Vec<usize> = (0..self.installments.len()).filter(|&i| scheduled(&self.installments[i])).collect();
        others.sort_by_key(|&i| (self.installments[i].date, self.installments[i].number));
        others
    }

    /// Gives an installment another local date, another amount in minor units, or both. `spread` says which installments make up
    /// for the amount.
    pub fn change(
        &mut self,
        number: i64,
        date: Option<NaiveDate>,
        amount: Option<i64>,
        spread: Spread,
        at: Moment,
    ) -> Result<(), Refused> {
        self.attempt(|schedule| {
            let before = schedule.open(number, "changed")?.clone();
            let amount = amount.filter(|amount| *amount != before.amount);
            if let Some(amount) = amount {
                schedule.make_up(&before, amount, spread)?;
            }
            let today = schedule.plan.today(at.now);
            if date.is_some_and(|date| date < today) {
                return Err(Refused::field("date", format!("lies before today, {today}")));
            }
            let due_at = date.map(|date| schedule.plan.instant(date, at.rules));
            let part = schedule.open(number, "changed")?;
            part.amount = amount.unwrap_or(part.amount);
            part.date = date.unwrap_or(part.date);
            part.due_at = due_at.unwrap_or(part.due_at);
            Ok(())
        })
    }

    /// Lets the other open installments take what this installment gives or leaves.
    fn make_up(&mut self, before: &Installment, amount: i64, spread: Spread) -> Result<(), Refused> {
        let others = self.others(before.number);
        let Some(&last) = others.last() else {
            let message = format!("must stay {}: no other installment is open that could make up for it", before.amount);
            return Err(Refused::field("amount", message));
        };
        let sum: i64 = others.iter().map(|&i| self.installments[i].amount).sum();
        let (rest, least) = match spread {
            Spread::Last => (self.installments[last].amount + before.amount - amount, 1),
            Spread::Even => (sum + before.amount - amount, count(others.len())),
        };
        if amount < 1 || rest < least {
            let most = (rest + amount - least).min(MAX_AMOUNT_MINOR);
            let message = if most < 1 {
                "cannot change: the others have nothing to give".to_owned()
            } else {
                format!("must be from 1 to {most}, so that something is left for the others")
            };
            return Err(Refused::field("amount", message));
        }
        match spread {
            Spread::Last => self.installments[last].amount = rest,
            Spread::Even => {
                let parts = equal_parts(rest, others.len()).unwrap_or_default();
                for (i, part) in others.into_iter().zip(parts) {
                    self.installments[i].amount = part;
                }
            }
        }
        Ok(())
    }

    /// Splits an installment into several. The first part keeps the number, the others get new numbers. The amounts, minor units,
    /// must add up to the old amount.
    pub fn split(&mut self, number: i64, parts: &[(NaiveDate, i64)], at: Moment) -> Result<(), Refused> {
        self.attempt(|schedule| {
            let whole = schedule.open(number, "split")?.amount;
            let (Some(&(first_date, first_amount)), true) = (parts.first(), parts.len() > 1) else {
                return Err(Refused::field("parts", "must be at least two"));
            };
            if schedule.installments.len() + parts.len() - 1 > MAX_INSTALLMENTS {
                return Err(Refused::field("parts", format!("would make more than {MAX_INSTALLMENTS} installments")));
            }
            let today = schedule.plan.today(at.now);
            for (i, &(date, amount)) in parts.iter().enumerate() {
                if date < today {
                    return Err(Refused::field(format!("parts[{i}].date"), format!("lies before today, {today}")));
                }
                if !(1..=MAX_AMOUNT_MINOR).contains(&amount) {
                    return Err(Refused::field(format!("parts[{i}].amount"), "must be more than nothing"));
                }
            }
            let sum: i128 = parts.iter().map(|part| i128::from(part.1)).sum();
            if sum != i128::from(whole) {
                return Err(Refused::field("parts", format!("must add up to {whole}, not {sum}")));
            }
            let first_due = schedule.plan.instant(first_date, at.rules);
            let kept = schedule.open(number, "split")?;
            (kept.date, kept.due_at, kept.amount) = (first_date, first_due, first_amount);
            schedule.append(&parts[1..], at.rules);
            Ok(())
        })
    }

    /// Adds scheduled installments, which get the next numbers.
    pub(super) fn append(&mut self, parts: &[(NaiveDate, i64)], rules: &Rules) {
        let next = self.installments.last().map_or(1, |part| part.number + 1);
        let plan = self.plan.id;
        for (number, &(date, amount)) in (next..).zip(parts) {
            let due_at = self.plan.instant(date, rules);
            self.installments.push(Installment::scheduled(plan, number, date, due_at, amount));
        }
    }

    /// Numbers of the installments that are to be invoiced at this instant.
    pub fn due(&self, now: DateTime<Utc>) -> Vec<i64> {
        if self.plan.status != InstallmentPlanStatus::Open {
            return Vec::new();
        }
        let due = |part: &&Installment| part.status == InstallmentStatus::Scheduled && part.due_at <= now;
        self.installments.iter().filter(due).map(|part| part.number).collect()
    }

    /// The installment, if it can be paid now. An installment that is due or has failed can be paid, too.
    pub fn payable(&self, number: i64) -> Result<&Installment, Refused> {
        self.running("paid")?;
        let part = self.installments.iter().find(|part| part.number == number).ok_or(Refused::NoSuch(number))?;
        if part.status.is_owed() {
            return Ok(part);
        }
        Err(Refused::State(format!("installment {number} is {} already", part.status)))
    }

    /// Numbers of all scheduled installments, for paying them off in one invoice.
    pub fn scheduled(&self) -> Result<Vec<i64>, Refused> {
        self.running("paid off")?;
        let scheduled = |part: &&Installment| part.status == InstallmentStatus::Scheduled;
        Ok(self.installments.iter().filter(scheduled).map(|part| part.number).collect())
    }

    /// Books that these installments have their invoice now, which the customer's balance may have paid already.
    pub fn invoiced(&mut self, numbers: &[i64], invoice: InvoiceId, paid: bool, now: DateTime<Utc>) {
        let status = if paid { InstallmentStatus::Paid } else { InstallmentStatus::Due };
        for part in self.installments.iter_mut().filter(|part| numbers.contains(&part.number)) {
            (part.status, part.invoice_id) = (status, Some(invoice));
        }
        if paid {
            self.plan.succeed(now);
        }
        self.plan.updated_at = now;
        self.refresh();
    }

    /// Books that an invoice which had failed is collected again.
    pub fn reopened(&mut self, invoice: InvoiceId) {
        let of_it = |part: &&mut Installment| part.invoice_id == Some(invoice) && part.status == InstallmentStatus::Failed;
        for part in self.installments.iter_mut().filter(of_it) {
            part.status = InstallmentStatus::Due;
        }
    }

    /// Ends the plan: nothing is owed any more except what the `kept` invoices are about to bring.
    pub fn cancel(&mut self, kept: &[InvoiceId], now: DateTime<Utc>) -> Result<(), Refused> {
        self.running("cancelled")?;
        self.attempt(|schedule| {
            let is_kept = |part: &Installment| part.invoice_id.is_some_and(|invoice| kept.contains(&invoice));
            for part in schedule.installments.iter_mut().filter(|part| part.status.is_owed() && !is_kept(part)) {
                part.status = InstallmentStatus::Cancelled;
            }
            schedule.plan.end(InstallmentPlanStatus::Cancelled, now);
            Ok(())
        })
    }

    /// Whether anything is owed, and whether anything is paid: the two facts that [`super::InstallmentPlan::settle`] needs.
    pub fn standing(&self) -> (bool, bool) {
        let any = |wanted: fn(InstallmentStatus) -> bool| self.installments.iter().any(|part| wanted(part.status));
        (
            any(InstallmentStatus::is_owed),
            any(|status| matches!(status, InstallmentStatus::Paid | InstallmentStatus::PaidElsewhere)),
        )
    }
}
