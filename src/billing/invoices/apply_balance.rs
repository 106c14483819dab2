//! Credit comes before the gateway, whenever the credit arrives: the balance of a customer pays open invoices, oldest first.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    billing::{App, Result, payments::SettlementBatch},
    domain::{
        customer::{Credit, Customer},
        event::Actor,
        id::{CustomerId, InvoiceId},
    },
    store::{self, Tx, invoices::OpenInvoice},
};

/// Pays open invoices of these customers out of their balances. Answers how many invoices got something. An invoice with a payment on
/// its way is left to that payment, and one that another transaction holds is left to its next claim: the claim asks again.
pub(crate) async fn apply_balance(tx: &mut Tx, app: &App, actor: &Actor, customers: &[CustomerId]) -> Result<usize> {
    if customers.is_empty() {
        return Ok(0);
    }
    let open = store::invoices::payable_by_balance(tx, customers).await?;
    let free = lock_free(tx, open).await?;
    if free.is_empty() {
        return Ok(0);
    }
    let payers: BTreeSet<CustomerId> = free.iter().map(|invoice| invoice.customer_id).collect();
    let funded = store::customers::lock_with_credit(tx, &payers.into_iter().collect::<Vec<_>>()).await?;
    let mut funded: BTreeMap<CustomerId, Customer> = funded.into_iter().map(|customer| (customer.id, customer)).collect();
    let mut batch = SettlementBatch::load_open(app, tx, &free).await?;
    let mut credits = Vec::new();
    for OpenInvoice { id, customer_id, timeline, .. } in free {
        let Some(customer) = funded.get_mut(&customer_id) else { continue };
        let Some((number, currency)) = batch.invoice(id).map(|invoice| (invoice.number.clone(), invoice.currency)) else {
            continue;
        };
        let used = if customer.currency == currency { batch.pay_from_balance(id, customer.balance, actor) } else { 0 };
        if used == 0 {
            continue;
        }
        let now = batch.now_of(timeline);
        customer.balance -= used;
        customer.updated_at = now;
        credits.push(Credit {
            id: app.id(),
            customer_id,
            amount: -used,
            currency,
            reason: format!("Used for {number}"),
            invoice_id: Some(id),
            created_at: now,
        });
    }
    let payers: BTreeSet<CustomerId> = credits.iter().map(|credit| credit.customer_id).collect();
    let changed: Vec<Customer> = funded.into_values().filter(|customer| payers.contains(&customer.id)).collect();
    store::customers::save_balances(tx, &changed, &credits).await?;
    batch.save(tx).await?;
    Ok(credits.len())
}

/// Those that nobody else holds, locked in the order subscription, installment plan, invoice. Nobody waits here: the caller may hold
/// the customer already, whom others lock last.
async fn lock_free(tx: &mut Tx, open: Vec<OpenInvoice>) -> Result<Vec<OpenInvoice>> {
    let mut open = open;
    if open.is_empty() {
        return Ok(open);
    }
    let subscriptions: BTreeSet<_> = open.iter().filter_map(|invoice| invoice.subscription_id).collect();
    if !subscriptions.is_empty() {
        let free = store::subscriptions::lock_free(tx, &subscriptions.into_iter().collect::<Vec<_>>()).await?;
        open.retain(|invoice| invoice.subscription_id.is_none_or(|id| free.contains(&id)));
    }
    let plans: BTreeSet<_> = open.iter().filter_map(|invoice| invoice.installment_plan_id).collect();
    if !plans.is_empty() {
        let free = store::installments::lock_free(tx, &plans.into_iter().collect::<Vec<_>>()).await?;
        open.retain(|invoice| invoice.installment_plan_id.is_none_or(|id| free.contains(&id)));
    }
    let ids: Vec<InvoiceId> = open.iter().map(|invoice| invoice.id).collect();
    let free = store::invoices::lock_free(tx, &ids).await?;
    let in_flight = store::payments::invoices_in_flight(tx, &free).await?;
    open.retain(|invoice| free.contains(&invoice.id) && !in_flight.contains(&invoice.id));
    Ok(open)
}
