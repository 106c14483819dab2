//! What an operator does to an installment plan, each as one verb that can be previewed: the same work, and then no commit.

use chrono::NaiveDate;
use serde_json::{Value, json};

use super::{Overview, edit::InstallmentPlanEdit, pay};
use crate::{
    billing::{App, BillingError, Result},
    domain::{
        event::Actor,
        installment_plan::{change::Spread, restore::Arrears, shift::MAX_CYCLES},
    },
};

#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Moves an installment that is scheduled, gives it another amount, or both.
    Change { number: i64, date: Option<NaiveDate>, amount: Option<i64>, spread: Option<Spread> },
    /// Splits a scheduled installment into several.
    Split { number: i64, parts: Vec<(NaiveDate, i64)> },
    /// Collects one installment now: a scheduled one is invoiced, one that is due or has failed is charged again.
    Pay { number: i64 },
    /// Collects everything owed now: scheduled installments by one new invoice, invoiced ones by the invoices they have.
    PayOff,
    /// Moves every scheduled installment by this number of cycles.
    Skip { cycles: i64 },
    /// Moves the scheduled installments, so that the first of them has this date.
    Reschedule { next_date: NaiveDate },
    /// Lets a defaulted plan go on.
    Restore { arrears: Arrears },
    /// Ends the plan. What is paid stays; open invoices are voided, one with a payment under way is left to that payment.
    Cancel,
}

/// Carries the operation out, and answers the plan after the operation.
pub async fn operate(app: &App, actor: &Actor, key: &str, operation: &Operation) -> Result<Overview> {
    carry_out(InstallmentPlanEdit::lock(app, actor, key).await?, operation).await
}

/// What [`operate`] would answer now, but for the ids of invoices that it would open. Nothing is stored.
pub async fn preview(app: &App, actor: &Actor, key: &str, operation: &Operation) -> Result<Overview> {
    let mut edit = InstallmentPlanEdit::lock(app, actor, key).await?;
    edit.preview = true;
    carry_out(edit, operation).await
}

async fn carry_out(mut edit: InstallmentPlanEdit<'_>, operation: &Operation) -> Result<Overview> {
    let moment = edit.moment();
    let (what, data): (&str, Value) = match operation {
        Operation::Change { number, date, amount, spread } => {
            edit.schedule.payable(*number)?;
            if date.is_none() && amount.is_none() {
                return Err(BillingError::invalid("", "must have a date or an amount"));
            }
            if amount.is_none() && spread.is_some() {
                return Err(BillingError::invalid("spread", "needs an amount beside it"));
            }
            edit.schedule.change(*number, *date, *amount, spread.unwrap_or_default(), moment)?;
            ("changed", json!({ "number": number }))
        }
        Operation::Split { number, parts } => {
            edit.schedule.split(*number, parts, moment)?;
            ("changed", json!({ "number": number, "parts": parts.len() }))
        }
        Operation::Pay { number } => {
            pay::pay(&mut edit, *number).await?;
            ("changed", json!({ "number": number, "paid": "early" }))
        }
        Operation::PayOff => {
            let numbers = pay::pay_off(&mut edit).await?;
            ("changed", json!({ "numbers": numbers, "paid": "off" }))
        }
        Operation::Skip { cycles } => {
            if !(1..=MAX_CYCLES).contains(cycles) {
                return Err(BillingError::invalid("cycles", format!("must be from 1 to {MAX_CYCLES}")));
            }
            edit.schedule.skip(*cycles, moment)?;
            ("changed", json!({ "skipped": cycles }))
        }
        Operation::Reschedule { next_date } => {
            edit.schedule.reschedule(*next_date, moment)?;
            ("changed", json!({ "next_date": next_date }))
        }
        Operation::Restore { arrears } => {
            pay::restore(&mut edit, *arrears).await?;
            ("restored", json!({ "arrears": arrears }))
        }
        Operation::Cancel => {
            pay::cancel(&mut edit).await?;
            ("cancelled", json!({ "reason": "by the operator" }))
        }
    };
    edit.commit(&format!("installment_plan.{what}"), data).await
}
