//! Credit notes: an issued invoice is never edited, but reduced. Every reduction goes the same way: it first lowers what is still due,
//! and then gives back what was paid.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    clock::Timeline,
    id::{CreditNoteId, CustomerId, InvoiceId, RefundId},
    invoice::{Account, Line},
    money::Currency,
    text_enum,
};

text_enum! {
    /// Why an invoice was reduced.
    pub enum CreditReason {
        /// Days that were billed are not used: a pause or a cancellation with credit.
        UnusedDays = "unused_days",
        /// Days that were billed are charged by new terms: a change at once or a roll-out.
        Changed = "changed",
        /// Money went back by a refund, to the payment method or to the balance.
        Refunded = "refunded",
        /// Somebody decided that less is owed.
        Goodwill = "goodwill",
        /// The invoice was voided.
        Void = "void",
        /// The customer's bank took the money back.
        Dispute = "dispute",
    }
}

/// A reduction of one invoice, and where the reduction went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct CreditNote {
    /// Names the credit note.
    pub id: CreditNoteId,
    /// A number for people, which rises without a gap.
    pub number: String,
    /// The invoice that is reduced.
    pub invoice_id: InvoiceId,
    /// Whose invoice it is.
    pub customer_id: CustomerId,
    /// The clock of the customer.
    pub timeline: Timeline,
    /// The currency of all amounts.
    pub currency: Currency,
    /// What made the credit note.
    pub reason: CreditReason,
    /// Why, in the words of whoever asked for it; may be empty.
    pub note: String,
    /// What is taken off, in positive amounts that add up to `amount`.
    #[sqlx(json)]
    pub lines: Vec<Line>,
    /// Minor units, more than 0: the sum of the four amounts below.
    pub amount: i64,
    /// Taken off what was still due, minor units.
    pub pre_payment_amount: i64,
    /// Put on the customer's balance, minor units.
    pub to_balance: i64,
    /// Given back to the payment method through a gateway, minor units.
    pub to_method: i64,
    /// Paid for the new charge of the same change, minor units.
    pub to_invoice: i64,
    /// The refund that gave the money back. None without a refund.
    pub refund_id: Option<RefundId>,
    /// UTC, by the clock of the timeline.
    pub created_at: DateTime<Utc>,
}

/// What a reduction comes to, minor units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reduction {
    /// Taken off what is still due.
    pub pre_payment: i64,
    /// Given back out of what was paid.
    pub post_payment: i64,
}

impl Reduction {
    /// Both parts together, minor units.
    pub fn amount(self) -> i64 {
        self.pre_payment + self.post_payment
    }
}

/// Where the paid part of a reduction goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// The customer's balance, or the new charge of the same change.
    Credit,
    /// The payment method.
    Method,
}

impl Account {
    /// Reduces an invoice by up to `amount`, minor units, and says how much of this was still due and how much was paid. What was
    /// neither due nor paid is not given.
    pub fn apply(&mut self, amount: i64, destination: Destination) -> Reduction {
        let wanted = amount.clamp(0, self.creditable);
        let pre_payment = wanted.min(self.due);
        let most = match destination {
            Destination::Credit => self.to_balance,
            Destination::Method => self.to_method,
        };
        let post_payment = (wanted - pre_payment).min(most);
        self.due -= pre_payment;
        self.creditable -= pre_payment + post_payment;
        self.to_balance -= post_payment;
        self.to_method = match destination {
            Destination::Credit => self.to_method.min(self.to_balance),
            Destination::Method => self.to_method - post_payment,
        };
        Reduction { pre_payment, post_payment }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(due: i64, paid: i64) -> Account {
        Account { due, creditable: due + paid, to_balance: paid, to_method: paid }
    }

    #[test]
    fn what_is_due_is_lowered_before_anything_is_given_back() {
        for (due, paid, amount, pre_payment, post_payment) in [
            (120_000, 0, 118_474, 118_474, 0),
            (0, 3100, 2100, 0, 2100),
            (60, 40, 70, 60, 10),
            (60, 40, 1000, 60, 40),
            (0, 0, 5, 0, 0),
            (10, 10, -5, 0, 0),
        ] {
            let mut account = account(due, paid);
            let reduction = account.apply(amount, Destination::Credit);
            assert_eq!(reduction, Reduction { pre_payment, post_payment }, "{due} due, {paid} paid, {amount}");
            let left = due + paid - reduction.amount();
            assert_eq!((account.creditable, account.due + account.to_balance), (left, left));
        }
    }

    #[test]
    fn what_a_balance_paid_never_goes_to_a_method() {
        let mut account = Account { due: 0, creditable: 100, to_balance: 100, to_method: 40 };
        assert_eq!(account.apply(70, Destination::Method).post_payment, 40);
        assert_eq!(account, Account { due: 0, creditable: 60, to_balance: 60, to_method: 0 });
        assert_eq!(account.apply(70, Destination::Credit).post_payment, 60);
    }
}
