//! Sums that must agree: of invoices, payments, refunds, credit notes and balances. Only what moved lately is added up.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{Db, Result};
use crate::domain::id::{Credit, CreditNote, CustomerId, Id, InvoiceId, Payment, PaymentId, Refund};

/// An invoice's own figures and what payments, refunds and credit notes add up to, minor units.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Sums {
    pub id: InvoiceId,
    pub amount_paid: i64,
    pub credit_paid: i64,
    pub amount_refunded: i64,
    pub amount_credited: i64,
    pub amount_reduced: i64,
    pub credit_given: i64,
    /// What the invoice took of its payments.
    pub taken: i64,
    /// What its payments gave back, without what the invoice never took.
    pub returned: i64,
    /// Of its payments, overpayments and all.
    pub given_back: i64,
    /// Of its refunds that succeeded.
    pub refunded: i64,
    /// Of its refunds that became credit.
    pub credited: i64,
    /// The sum of its credit notes, without those of refunds.
    pub noted: i64,
}

/// The sums of every invoice that has a payment, a refund or a credit note made since then.
pub async fn of_invoices(db: &Db, from: DateTime<Utc>) -> Result<Vec<Sums>> {
    // Statements of their own, in order: as subqueries SQLite would read all of a table instead of a range.
    let paid: Vec<(InvoiceId,)> =
        db.query("select invoice_id from payments where id >= $1 order by id").bind(Id::<Payment>::first_at(from)).all().await?;
    let refunded: Vec<(InvoiceId,)> =
        db.query("select invoice_id from refunds where id >= $1 order by id").bind(Id::<Refund>::first_at(from)).all().await?;
    let noted: Vec<(InvoiceId,)> = db
        .query("select invoice_id from credit_notes where id >= $1 order by id")
        .bind(Id::<CreditNote>::first_at(from))
        .all()
        .await?;
    let recent: BTreeSet<InvoiceId> = paid.into_iter().chain(refunded).chain(noted).map(|row| row.0).collect();
    db.query(
        "select i.id, i.amount_paid, i.credit_paid, i.amount_refunded, i.amount_credited, i.amount_reduced, i.credit_given,
             (select cast(coalesce(sum(p.amount_captured - p.overpayment), 0) as bigint) from payments p where p.invoice_id = i.id) as taken,
             (select cast(coalesce(sum(case when p.amount_refunded > p.overpayment then p.amount_refunded - p.overpayment else 0 end), 0) as bigint)
              from payments p where p.invoice_id = i.id) as returned,
             (select cast(coalesce(sum(p.amount_refunded), 0) as bigint) from payments p where p.invoice_id = i.id) as given_back,
             (select cast(coalesce(sum(r.amount), 0) as bigint) from refunds r
              where r.invoice_id = i.id and r.destination = 'method' and r.status = 'succeeded') as refunded,
             (select cast(coalesce(sum(r.amount), 0) as bigint) from refunds r
              where r.invoice_id = i.id and r.destination = 'credit' and r.status = 'succeeded') as credited,
             (select cast(coalesce(sum(n.amount), 0) as bigint) from credit_notes n
              where n.invoice_id = i.id and n.reason <> 'refunded') as noted
         from invoices i where i.id in list($1) order by i.id",
    )
    .bind_list(recent)
    .all()
    .await
}

/// What came from and went back to one customer in one currency, minor units.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct CustomerSums {
    pub id: CustomerId,
    /// The customer's credit, if it is kept in that currency.
    pub balance: i64,
    /// Credit that an operator granted or took back.
    pub granted: i64,
    /// Through gateways.
    pub received: i64,
    /// Through gateways.
    pub refunded: i64,
    /// Taken back by the customer's bank, or held by it.
    pub disputed: i64,
}

/// The sums of every customer with a credit booked since then, in the currency of the credit.
pub async fn of_customers(db: &Db, from: DateTime<Utc>) -> Result<Vec<CustomerSums>> {
    let recent: Vec<(CustomerId,)> =
        db.query("select customer_id from credits where id >= $1 order by id").bind(Id::<Credit>::first_at(from)).all().await?;
    let recent: BTreeSet<CustomerId> = recent.into_iter().map(|row| row.0).collect();
    db.query(
        "select c.id, c.balance,
             (select cast(coalesce(sum(k.amount), 0) as bigint) from credits k where k.customer_id = c.id and k.invoice_id is null) as granted,
             (select cast(coalesce(sum(p.amount_captured), 0) as bigint) from invoices i join payments p on p.invoice_id = i.id
              where i.customer_id = c.id and p.currency = c.currency) as received,
             (select cast(coalesce(sum(p.amount_refunded), 0) as bigint) from invoices i join payments p on p.invoice_id = i.id
              where i.customer_id = c.id and p.currency = c.currency) as refunded,
             (select cast(coalesce(sum(p.amount_disputed), 0) as bigint) from invoices i join payments p on p.invoice_id = i.id
              where i.customer_id = c.id and p.currency = c.currency) as disputed
         from customers c where c.id in list($1) order by c.id",
    )
    .bind_list(recent)
    .all()
    .await
}

/// Payments with a refund made since then that gave back another sum than their refunds.
pub async fn payments_misreturned(db: &Db, from: DateTime<Utc>) -> Result<Vec<PaymentId>> {
    let recent: Vec<(Option<PaymentId>,)> =
        db.query("select payment_id from refunds where id >= $1 order by id").bind(Id::<Refund>::first_at(from)).all().await?;
    let recent: BTreeSet<PaymentId> = recent.into_iter().filter_map(|row| row.0).collect();
    let rows: Vec<(PaymentId,)> = db
        .query(
            "select p.id from payments p where p.id in list($1) and p.amount_refunded <> (
                 select coalesce(sum(r.amount), 0) from refunds r
                 where r.invoice_id = p.invoice_id and r.payment_id = p.id and r.status = 'succeeded')
             order by p.id",
        )
        .bind_list(recent)
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

/// Customers with a credit booked since then whose balance is not the sum of their credits.
pub async fn balances_off(db: &Db, from: DateTime<Utc>) -> Result<Vec<CustomerId>> {
    let recent: Vec<(CustomerId,)> =
        db.query("select customer_id from credits where id >= $1 order by id").bind(Id::<Credit>::first_at(from)).all().await?;
    let recent: BTreeSet<CustomerId> = recent.into_iter().map(|row| row.0).collect();
    let rows: Vec<(CustomerId,)> = db
        .query(
            "select c.id from customers c where c.id in list($1)
             and c.balance <> (select coalesce(sum(k.amount), 0) from credits k where k.customer_id = c.id) order by c.id",
        )
        .bind_list(recent)
        .all()
        .await?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}
