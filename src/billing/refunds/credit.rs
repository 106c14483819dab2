//! A refund that becomes credit: no gateway is asked, so refund, credit and invoice are one transaction.

use serde_json::json;

use super::refund::wanted;
use crate::{
    billing::{
        App, BillingError, Result,
        credit_notes::{NewCreditNote, issue},
        customers,
        invoices::apply_balance::apply_balance,
    },
    domain::{
        credit_note::CreditReason,
        customer::Credit,
        event::Actor,
        id::InvoiceId,
        invoice::{Line, LineKind},
        money::MAX_AMOUNT_MINOR,
        refund::{Refund, RefundStatus, RefundTo},
    },
    store,
};

/// Gives back `amount` (minor units; all that is left if none) of what was paid for an invoice as credit of its customer. What
/// credit had paid of it can be given back, too.
pub async fn to_credit(app: &App, actor: &Actor, invoice_id: InvoiceId, amount: Option<i64>, reason: &str) -> Result<Refund> {
    let mut tx = app.db.begin().await?;
    let Some(mut invoice) = store::invoices::lock(&mut tx, invoice_id).await? else {
        return Err(BillingError::not_found("invoice", invoice_id));
    };
    let now = app.now_in(&mut tx, invoice.timeline).await?;
    let claimed = store::refunds::claimed(&mut tx, invoice.id).await?;
    let amount = wanted(&invoice, RefundTo::Credit, claimed, amount)?;
    let mut customer = customers::locked(&mut tx, &invoice.customer_id.to_string()).await?;
    if customer.currency != invoice.currency {
        return Err(BillingError::WrongState(format!(
            "the customer's credit is in {} and this invoice in {}: it can be given back to its payment method only",
            customer.currency, invoice.currency
        )));
    }
    if customer.balance.saturating_add(amount) > MAX_AMOUNT_MINOR {
        return Err(BillingError::WrongState(format!("it would bring the customer's credit beyond {MAX_AMOUNT_MINOR}")));
    }
    let refund = Refund {
        id: app.id(),
        payment_id: None,
        invoice_id: invoice.id,
        timeline: invoice.timeline,
        destination: RefundTo::Credit,
        amount,
        returned_before: 0,
        currency: invoice.currency,
        reason: reason.to_owned(),
        status: RefundStatus::Succeeded,
        voided: false,
        transaction_id: None,
        message: None,
        lease_owner: None,
        lease_token: 0,
        lease_expires_at: None,
        lookups: 0,
        next_lookup_at: None,
        sent_at: app.clock.now(),
        created_at: now,
        resolved_at: Some(now),
    };
    invoice.amount_credited += amount;
    invoice.updated_at = now;
    let credit = Credit {
        id: app.id(),
        customer_id: customer.id,
        amount,
        currency: invoice.currency,
        reason: format!("Refund of {}: {reason}", invoice.number),
        invoice_id: Some(invoice.id),
        created_at: now,
    };
    let credited = customers::book_credit(&mut tx, app, actor, &mut customer, &credit).await?;
    let new = NewCreditNote {
        lines: vec![Line::new(LineKind::Credit, invoice.description.clone(), amount)],
        to_balance: amount,
        refund_id: Some(refund.id),
        ..NewCreditNote::of(&invoice, CreditReason::Refunded, reason)
    };
    let data = json!({ "to": RefundTo::Credit, "invoice_id": invoice.id, "amount": amount, "reason": reason });
    let event = |kind: &str| app.event(refund.timeline, now, actor, kind, refund.id, data.clone());
    let mut events = vec![event("refund.created"), event("refund.succeeded"), credited];
    store::invoices::save(&mut tx, &[invoice]).await?;
    store::refunds::insert(&mut tx, refund.clone()).await?;
    events.extend(issue(&mut tx, app, now, actor, vec![new]).await?.1);
    store::events::append(&mut tx, &events).await?;
    apply_balance(&mut tx, app, actor, &[customer.id]).await?;
    tx.commit().await?;
    Ok(refund)
}
