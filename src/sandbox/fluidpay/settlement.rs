//! What happens to a transaction after it was made: capture, void before settlement, refund after settlement, dispute.

use chrono::{DateTime, Utc};

use super::{
    super::{body::WireBody, ledger::Movement, state::State},
    charge::{check_reference, write},
    envelope::FluidpayRefusal,
    transaction::{FluidpayTransaction, TransactionKind, TransactionStatus},
};

fn amount_asked(body: &WireBody) -> Result<Option<i64>, FluidpayRefusal> {
    let amount = body.integer("amount").map_err(|wrong| FluidpayRefusal::bad(format!("amount {}", wrong.0)))?;
    match amount {
        Some(amount) if amount <= 0 => Err(FluidpayRefusal::bad("amount must be a positive number of cents")),
        amount => Ok(amount),
    }
}

fn index_of(state: &State, id: &str) -> Result<usize, FluidpayRefusal> {
    state.fluidpay.transactions.index_of(id).ok_or_else(|| FluidpayRefusal::missing("transaction"))
}

/// Captures an authorization, once, whole or in part.
pub fn capture(state: &mut State, id: &str, body: &WireBody, now: DateTime<Utc>) -> Result<FluidpayTransaction, FluidpayRefusal> {
    let index = index_of(state, id)?;
    let asked = amount_asked(body)?;
    let order_id = body.text("order_id").ok().flatten().unwrap_or_default().to_owned();
    check_reference("order_id", &order_id)?;
    let transactions = &mut state.fluidpay.transactions;
    let transaction = &mut transactions.all[index];
    if transaction.kind != TransactionKind::Authorize || transaction.status != TransactionStatus::Authorized {
        return Err(FluidpayRefusal::bad("only an authorized transaction can be captured"));
    }
    let amount = asked.unwrap_or(transaction.amount_authorized);
    if amount > transaction.amount_authorized {
        return Err(FluidpayRefusal::bad("capture amount is more than the authorized amount"));
    }
    transaction.status = TransactionStatus::PendingSettlement;
    transaction.amount_captured = amount;
    transaction.captured_at = Some(now);
    transaction.updated_at = now;
    if !order_id.is_empty() && order_id != transaction.particulars.order_id {
        transaction.particulars.order_id.clone_from(&order_id);
        transactions.index_order(&order_id, index);
    }
    transactions.settle_or_queue(index);
    let transaction = transactions.all[index].clone();
    write(state, &transaction, Movement::Capture, amount, now);
    Ok(transaction)
}

/// Voids a transaction that has not settled. The ledger records captured money only: an authorization moved none.
pub fn void(state: &mut State, id: &str, now: DateTime<Utc>) -> Result<FluidpayTransaction, FluidpayRefusal> {
    let index = index_of(state, id)?;
    let transaction = &mut state.fluidpay.transactions.all[index];
    if !matches!(transaction.kind, TransactionKind::Sale | TransactionKind::Authorize | TransactionKind::Verification) {
        return Err(FluidpayRefusal::bad("only sales and authorizations can be voided"));
    }
    if !matches!(transaction.status, TransactionStatus::PendingSettlement | TransactionStatus::Authorized) {
        return Err(FluidpayRefusal::bad("only a transaction that is pending settlement can be voided"));
    }
    transaction.status = TransactionStatus::Voided;
    transaction.updated_at = now;
    let transaction = transaction.clone();
    if transaction.amount_captured > 0 {
        write(state, &transaction, Movement::Void, transaction.amount_captured, now);
    }
    Ok(transaction)
}

/// Refunds settled money, whole or in parts. Returns the new transaction of type refund.
pub fn refund(state: &mut State, id: &str, body: &WireBody, now: DateTime<Utc>) -> Result<FluidpayTransaction, FluidpayRefusal> {
    let index = index_of(state, id)?;
    let asked = amount_asked(body)?;
    let refund_id = state.ids.fluidpay(now);
    let part_id = state.ids.fluidpay(now);
    let original = &mut state.fluidpay.transactions.all[index];
    let refundable = matches!(original.kind, TransactionKind::Sale | TransactionKind::Authorize);
    if !refundable || !matches!(original.status, TransactionStatus::Settled | TransactionStatus::PartiallyRefunded) {
        return Err(FluidpayRefusal::bad("only a settled transaction can be refunded"));
    }
    let left = original.amount_settled - original.amount_refunded;
    let amount = asked.unwrap_or(left);
    if amount > left {
        return Err(FluidpayRefusal::bad("refund amount is more than the settled amount that is left"));
    }
    let mut refund = FluidpayTransaction::blank(refund_id, TransactionKind::Refund, amount, original.currency, now);
    refund.particulars = original.particulars.clone();
    refund.payment_method = original.payment_method;
    refund.payment_type = original.payment_type;
    refund.customer_id.clone_from(&original.customer_id);
    refund.referenced_transaction_id.clone_from(&original.id);
    refund.billing_address = original.billing_address.clone();
    let approved = !original.refuses_refunds;
    if approved {
        original.amount_refunded += amount;
        original.status = if original.amount_refunded == original.amount_settled {
            TransactionStatus::Refunded
        } else {
            TransactionStatus::PartiallyRefunded
        };
        original.updated_at = now;
        refund.response_code = 100;
        refund.status = TransactionStatus::PendingSettlement;
        refund.amount_authorized = amount;
        refund.amount_captured = amount;
        refund.captured_at = Some(now);
    }
    let original = original.clone();
    refund.describe_response(None, (&part_id, "REFUND"));
    if approved {
        write(state, &original, Movement::Refund, amount, now);
    }
    Ok(state.fluidpay.transactions.add(refund).clone())
}

/// Disputes the whole amount of a settled transaction; 0 ends the dispute in the merchant's favour.
pub fn dispute(state: &mut State, id: &str, amount: i64, now: DateTime<Utc>) -> bool {
    let Some(index) = state.fluidpay.transactions.index_of(id) else { return false };
    let transaction = &mut state.fluidpay.transactions.all[index];
    let (kind, status) = match (transaction.status, amount) {
        (TransactionStatus::Settled, amount) if amount == transaction.amount_settled => {
            (Movement::Dispute, TransactionStatus::Returned)
        }
        (TransactionStatus::Returned, 0) => (Movement::DisputeWon, TransactionStatus::Settled),
        _ => return false,
    };
    transaction.status = status;
    transaction.updated_at = now;
    let transaction = transaction.clone();
    write(state, &transaction, kind, transaction.amount_settled, now);
    true
}
