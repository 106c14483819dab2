//! Credit notes: recorded in the transaction that reduces the invoice, whoever asks for that.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{App, Result};
use crate::{
    domain::{
        clock::Timeline,
        credit_note::{CreditNote, CreditReason},
        event::{Actor, Event},
        id::{CustomerId, InvoiceId, RefundId},
        invoice::{Account, Invoice, Line},
        money::Currency,
        subscription::UnusedDays,
    },
    store::{
        self, Tx,
        counters::{self, Series},
    },
};

/// A credit note to be recorded. All amounts are minor units.
#[derive(Debug, Clone)]
pub struct NewCreditNote {
    pub invoice_id: InvoiceId,
    pub customer_id: CustomerId,
    pub timeline: Timeline,
    pub currency: Currency,
    pub reason: CreditReason,
    pub note: String,
    pub lines: Vec<Line>,
    pub pre_payment_amount: i64,
    pub to_balance: i64,
    pub to_method: i64,
    pub to_invoice: i64,
    pub refund_id: Option<RefundId>,
}

impl NewCreditNote {
    /// Without any amount yet.
    pub fn of(invoice: &Invoice, reason: CreditReason, note: &str) -> Self {
        Self {
            invoice_id: invoice.id,
            customer_id: invoice.customer_id,
            timeline: invoice.timeline,
            currency: invoice.currency,
            reason,
            note: note.to_owned(),
            lines: Vec::new(),
            pre_payment_amount: 0,
            to_balance: 0,
            to_method: 0,
            to_invoice: 0,
            refund_id: None,
        }
    }

    pub fn amount(&self) -> i64 {
        self.pre_payment_amount + self.to_balance + self.to_method + self.to_invoice
    }
}

/// Stores the credit notes that are worth anything, whatever their number by the same few statements. Answers them with their events,
/// which the caller appends.
pub(crate) async fn issue(
    tx: &mut Tx,
    app: &App,
    now: DateTime<Utc>,
    actor: &Actor,
    new: Vec<NewCreditNote>,
) -> Result<(Vec<CreditNote>, Vec<Event>)> {
    let new: Vec<NewCreditNote> = new.into_iter().filter(|new| new.amount() > 0).collect();
    if new.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let first = counters::take(tx, Series::CreditNote, new.len()).await?;
    let issued: Vec<CreditNote> = (first..).zip(new).map(|(number, new)| issued(app, now, number, new)).collect();
    store::credit_notes::insert(tx, &issued).await?;
    let event = |note: &CreditNote| {
        let data = json!({
            "number": note.number, "invoice_id": note.invoice_id, "customer_id": note.customer_id, "reason": note.reason,
            "currency": note.currency, "amount": note.amount, "pre_payment_amount": note.pre_payment_amount,
            "to_balance": note.to_balance, "to_method": note.to_method, "to_invoice": note.to_invoice,
        });
        app.event(note.timeline, now, actor, "credit_note.created", note.id, data)
    };
    let events = issued.iter().map(event).collect();
    Ok((issued, events))
}

fn issued(app: &App, now: DateTime<Utc>, number: i64, new: NewCreditNote) -> CreditNote {
    let amount = new.amount();
    CreditNote {
        id: app.id(),
        number: format!("CN-{number:06}"),
        invoice_id: new.invoice_id,
        customer_id: new.customer_id,
        timeline: new.timeline,
        currency: new.currency,
        reason: new.reason,
        note: new.note,
        lines: new.lines,
        amount,
        pre_payment_amount: new.pre_payment_amount,
        to_balance: new.to_balance,
        to_method: new.to_method,
        to_invoice: new.to_invoice,
        refund_id: new.refund_id,
        created_at: now,
    }
}

/// The accounts of locked invoices.
pub(crate) async fn accounts(tx: &mut Tx, invoices: &[Invoice]) -> Result<BTreeMap<InvoiceId, Account>> {
    if invoices.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids: Vec<InvoiceId> = invoices.iter().map(|invoice| invoice.id).collect();
    let claimed: BTreeMap<InvoiceId, i64> = store::refunds::claimed_of(tx, &ids).await?.into_iter().collect();
    let account = |invoice: &Invoice| invoice.account(claimed.get(&invoice.id).copied().unwrap_or(0));
    Ok(invoices.iter().map(|invoice| (invoice.id, account(invoice))).collect())
}

/// The credit notes for days that are not used, one for each invoice. `carried` of what was paid goes to the balance, minor units; the
/// rest pays for the new charge of the same change.
pub(crate) fn of_unused_days(
    invoices: &[Invoice],
    unused: &[UnusedDays],
    carried: i64,
    reason: CreditReason,
    note: &str,
) -> Vec<NewCreditNote> {
    let mut carried = carried;
    let mut notes = Vec::new();
    // The latest days are the first to go to the balance.
    for invoice in invoices.iter().rev() {
        let of_it = unused.iter().filter(|unused| unused.days.invoice_id == Some(invoice.id));
        let mut new = NewCreditNote::of(invoice, reason, note);
        for days in of_it {
            new.pre_payment_amount += days.reduction.pre_payment;
            new.to_invoice += days.reduction.post_payment;
            new.lines.extend(days.credit_note_line());
        }
        new.to_balance = new.to_invoice.min(carried);
        new.to_invoice -= new.to_balance;
        carried -= new.to_balance;
        notes.push(new);
    }
    notes.reverse();
    notes
}
