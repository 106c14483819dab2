//! What became of a refund: an answer is written down, and what nobody knows is looked up.

use serde_json::{Value, json};

use crate::{
    billing::{
        App, Result,
        credit_notes::{NewCreditNote, issue},
        gateway_operations::retry,
    },
    domain::{
        credit_note::CreditReason,
        event::{Actor, Event},
        invoice::{Line, LineKind},
        refund::{
            Refund, RefundStatus,
            transition::{Effect, Facts, RefundReply, RefundRows, Transition, decide},
        },
    },
    gateway::ReturnOutcome,
    store::{self, Tx},
};

/// Writes an answer of the gateway down.
pub(super) async fn settle(app: &App, refund: Refund, outcome: ReturnOutcome) -> Result<Refund> {
    let answer = RefundReply::Gateway(outcome);
    let closed = retry::settle(app, refund.id, || close(app, &refund, &answer, None)).await?;
    // A refund that has ended meanwhile is left as it was seen.
    Ok(closed.unwrap_or(refund))
}

/// What an operator says about a refund.
pub(super) struct OperatorStatement<'a> {
    pub actor: &'a Actor,
    pub data: Value,
}

/// Writes an answer down. Refused with the status where the refund waits for no such answer.
pub(super) async fn close(
    app: &App,
    seen: &Refund,
    answer: &RefundReply,
    statement: Option<&OperatorStatement<'_>>,
) -> Result<Result<Refund, RefundStatus>> {
    let mut tx = app.db.begin().await?;
    let now = app.now_in(&mut tx, seen.timeline).await?;
    let Some(rows) = lock(&mut tx, seen).await? else { return Ok(Err(seen.status)) };
    let nothing_claimed = rows.needs_claims(answer.outcome()) && store::refunds::claimed(&mut tx, rows.invoice.id).await? == 0;
    let is_gateway_down = app.gateways.health(&rows.payment.gateway).is_some_and(|health| health.is_down(seen.timeline));
    let lookups = &app.config.collection.lookup_policy();
    let facts = Facts { now, wall: app.clock.now(), lookups, is_gateway_down, nothing_claimed };
    let (status, refunded_before) = (rows.refund.status, rows.invoice.amount_refunded);
    let Some(Transition { mut rows, effects }) = decide(rows, answer, &facts) else { return Ok(Err(status)) };
    let kept = if effects.contains(&Effect::RetryOverpayment) {
        retry_overpayment(app, &mut tx, &mut rows, &facts).await?
    } else {
        None
    };
    let mut events = Vec::with_capacity(3);
    events.extend(statement.map(|said| app.event(seen.timeline, now, said.actor, "refund.resolved", seen.id, said.data.clone())));
    events.push(closed_event(app, &rows, &facts));
    events.extend(kept);
    let refund = rows.refund.clone();
    let given_back = rows.invoice.amount_refunded - refunded_before;
    if given_back > 0 {
        let new = NewCreditNote {
            lines: vec![Line::new(LineKind::Credit, rows.invoice.description.clone(), given_back)],
            to_method: given_back,
            refund_id: Some(refund.id),
            ..NewCreditNote::of(&rows.invoice, CreditReason::Refunded, &refund.reason)
        };
        events.extend(issue(&mut tx, app, now, &Actor::System, vec![new]).await?.1);
    }
    save(&mut tx, rows, &events).await?;
    tx.commit().await?;
    Ok(Ok(refund))
}

/// Invoice before payment before refund: the order in which everyone locks.
async fn lock(tx: &mut Tx, seen: &Refund) -> Result<Option<RefundRows>> {
    let invoice = store::invoices::lock(tx, seen.invoice_id).await?;
    let payment = match seen.payment_id {
        Some(payment) => store::payments::lock(tx, payment).await?,
        None => None,
    };
    let refund = store::refunds::lock(tx, seen.id).await?;
    Ok(match (invoice, payment, refund) {
        (Some(invoice), Some(payment), Some(refund)) => Some(RefundRows { refund, payment, invoice }),
        _ => None,
    })
}

/// Plans when an overpayment that the gateway did not take back is tried again. Once the backoff is used up, it is not: the event tells
/// that it is kept, and an operator sees it among the overpaid invoices.
async fn retry_overpayment(app: &App, tx: &mut Tx, rows: &mut RefundRows, facts: &Facts<'_>) -> Result<Option<Event>> {
    let RefundRows { refund, payment, invoice } = rows;
    let failures = store::refunds::failures(tx, payment.invoice_id, payment.id).await?;
    let wait = usize::try_from(failures).ok().and_then(|index| app.config.collection.gateway_fault_backoff.get(index));
    payment.return_at = wait.map(|wait| facts.wall + *wait);
    let data = json!({ "invoice_id": invoice.id, "overpayment": payment.overpayment, "message": refund.message });
    let event = || app.event(payment.timeline, facts.now, &Actor::System, "payment.overpayment_kept", payment.id, data);
    Ok(payment.return_at.is_none().then(event))
}

fn closed_event(app: &App, rows: &RefundRows, facts: &Facts<'_>) -> Event {
    let RefundRows { refund, payment, invoice } = rows;
    let data = json!({
        "to": refund.destination, "payment_id": payment.id, "invoice_id": invoice.id, "amount": refund.amount,
        "voided": refund.voided, "message": refund.message,
    });
    let kind = format!("refund.{}", refund.status);
    app.event(refund.timeline, facts.now, &Actor::System, &kind, refund.id, data)
}

async fn save(tx: &mut Tx, rows: RefundRows, events: &[Event]) -> Result<()> {
    let RefundRows { refund, payment, invoice } = rows;
    store::invoices::save(tx, &[invoice]).await?;
    store::payments::save(tx, &[payment]).await?;
    store::refunds::save(tx, refund).await?;
    store::events::append(tx, events).await?;
    Ok(())
}
