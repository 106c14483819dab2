//! Credit notes: what reduced invoices after they were issued. Written once and never changed.

use super::{Db, Result, Tx, db::Row};
use crate::domain::{
    credit_note::CreditNote,
    id::{CreditNoteId, InvoiceId},
};

impl Row for CreditNote {
    const TABLE: &'static str = "credit_notes";
}

pub async fn insert(tx: &mut Tx, credit_notes: &[CreditNote]) -> Result<()> {
    tx.insert_rows(credit_notes).await
}

pub async fn get(db: &Db, id: CreditNoteId) -> Result<Option<CreditNote>> {
    db.query("select * from credit_notes where id = $1").bind(id).optional().await
}

/// Oldest first.
pub async fn of_invoice(db: &Db, invoice: InvoiceId) -> Result<Vec<CreditNote>> {
    db.query("select * from credit_notes where invoice_id = $1 order by id").bind(invoice).all().await
}
