//! An operator says what became of a refund that no gateway could say anything about.

use serde_json::json;

use super::settle::{OperatorStatement, close};
use crate::{
    billing::{App, BillingError, Result},
    domain::{
        event::Actor,
        id::RefundId,
        refund::{Refund, RefundFinding, transition::RefundReply},
    },
    gateway::ReturnOutcome,
    store,
};

/// Closes a refund that no gateway could say anything about.
pub async fn resolve(
    app: &App,
    actor: &Actor,
    id: RefundId,
    finding: RefundFinding,
    transaction_id: Option<String>,
    note: &str,
) -> Result<Refund> {
    let refund = store::refunds::get(&app.db, id).await?.ok_or_else(|| BillingError::not_found("refund", id))?;
    let outcome = match finding {
        RefundFinding::Succeeded => ReturnOutcome::Returned { transaction_id, voided: false },
        RefundFinding::NotProcessed if transaction_id.is_some() => {
            return Err(BillingError::invalid("transaction_id", "only goes with the outcome succeeded"));
        }
        RefundFinding::NotProcessed => ReturnOutcome::GatewayError { message: note.to_owned() },
    };
    let statement = OperatorStatement { actor, data: json!({ "outcome": finding, "note": note }) };
    match close(app, &refund, &RefundReply::Operator(outcome), Some(&statement)).await? {
        Ok(refund) => Ok(refund),
        Err(status) => Err(BillingError::WrongState(format!("the refund is {status}: only a parked one is resolved by hand"))),
    }
}
