//! What must hold of one customer at every moment.

use rebilld::domain::{
    credit_note::CreditNote,
    customer::{Credit, Customer},
    id::{CustomerId, InvoiceId},
    invoice::{Invoice, InvoiceStatus},
    payment::Payment,
};

use crate::world::World;

/// What the last operation was, as far as a promise depends on it.
#[derive(Debug, Default)]
pub struct Observed {
    /// A dispute takes money away that had become credit before: that loss is nobody's fault.
    pub disputed: bool,
    /// Invoices that had to be tried at once, because another method is charged now.
    pub due_now: Vec<InvoiceId>,
}

/// The promises that do not hold.
pub async fn broken(world: &World, customer: CustomerId, observed: &Observed) -> Vec<String> {
    let db = &world.app.db;
    let payer: Customer = db.query("select * from customers where id = $1").bind(customer).one().await.expect("customer");
    let invoices: Vec<Invoice> =
        db.query("select * from invoices where customer_id = $1").bind(customer).all().await.expect("invoices");
    let payments: Vec<Payment> =
        db.query("select * from payments where customer_id = $1").bind(customer).all().await.expect("payments");
    let credits: Vec<Credit> =
        db.query("select * from credits where customer_id = $1").bind(customer).all().await.expect("credits");
    let notes: Vec<CreditNote> =
        db.query("select * from credit_notes where customer_id = $1").bind(customer).all().await.expect("notes");
    let mut broken = Vec::new();
    let mut holds = |rule: bool, words: String| {
        if !rule {
            broken.push(words);
        }
    };
    let balance = payer.balance;
    holds(balance >= 0, format!("the balance is {balance}"));
    holds(
        balance == credits.iter().map(|credit| credit.amount).sum::<i64>(),
        "the balance is not the sum of its ledger".to_owned(),
    );
    let granted: i64 = credits.iter().filter(|credit| credit.invoice_id.is_none()).map(|credit| credit.amount).sum();
    let received: i64 = payments.iter().map(|payment| payment.amount_captured).sum();
    let refunded: i64 = payments.iter().map(|payment| payment.amount_refunded).sum();
    let disputed: i64 = payments.iter().map(|payment| payment.amount_disputed).sum();
    let lost = if observed.disputed { 0 } else { disputed };
    holds(
        balance + refunded + lost <= received + granted,
        format!("{balance} of credit, {refunded} refunded, {disputed} disputed, but {received} came and {granted} was granted"),
    );
    for invoice in &invoices {
        let number = &invoice.number;
        let of_it = || notes.iter().filter(|note| note.invoice_id == invoice.id);
        holds(invoice.amount_kept() >= invoice.credit_given, format!("{number} gave back more than came: {invoice:?}"));
        holds(invoice.credited() <= invoice.charged(), format!("{number} was credited more than it charged: {invoice:?}"));
        let noted: i64 = of_it().map(|note| note.amount).sum();
        holds(noted == invoice.credited(), format!("the credit notes of {number} are {noted}: {invoice:?}"));
        let in_flight = payments.iter().any(|payment| payment.invoice_id == invoice.id && payment.status.is_open());
        let open = invoice.status == InvoiceStatus::Open;
        holds(!open || invoice.amount_due() > 0, format!("{number} is open and owes nothing: {invoice:?}"));
        holds(
            !open || in_flight || balance == 0 || invoice.currency != payer.currency,
            format!("{number} is open while there is credit of {balance}: {invoice:?}"),
        );
        let tried = !observed.due_now.contains(&invoice.id)
            || !open
            || in_flight
            || invoice.next_attempt_at.is_some_and(|at| at <= invoice.updated_at);
        holds(tried, format!("{number} was not tried at once with another method: {invoice:?}"));
    }
    broken
}
