//! The account of an invoice: what is due, what can be credited, and what can go back. One answer for every verb.

use chrono::{DateTime, Utc};

use super::{Invoice, InvoiceStatus, LineKind, RefundTo};

/// What of an invoice can still be credited, and where that can go. All amounts are minor units and not negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// What is still to be paid.
    pub due: i64,
    /// What was charged and is not credited yet.
    pub creditable: i64,
    /// What was paid, in whatever way, and has not gone back: this much can become credit of the customer.
    pub to_balance: i64,
    /// What was paid through gateways and has not gone back.
    pub to_method: i64,
}

impl Invoice {
    /// Opens an invoice again that was given up: the ladder begins anew, as if the invoice were due for the first time.
    pub fn reopen(&mut self, now: DateTime<Utc>) {
        self.status = InvoiceStatus::Open;
        (self.dunning_step, self.first_failed_at) = (0, None);
        self.reopened_at = Some(now);
        self.updated_at = now;
    }

    /// What is still owed, minor units. An overpayment makes the amount no less than 0.
    pub fn amount_due(&self) -> i64 {
        (self.total - self.amount_reduced - self.amount_paid).max(0)
    }

    /// The sum of all credit notes and refunds, minor units.
    pub fn credited(&self) -> i64 {
        self.amount_reduced + self.credit_given + self.amount_credited + self.amount_refunded
    }

    /// What was charged, minor units: the sum of the lines without what earlier charges had paid for already.
    pub fn charged(&self) -> i64 {
        self.subtotal + self.credit_moved_in()
    }

    /// What earlier charges had paid and a change moved here, minor units.
    fn credit_moved_in(&self) -> i64 {
        let credit = self.lines.iter().filter(|line| matches!(line.kind, LineKind::Credit | LineKind::CreditCarried));
        (-credit.map(|line| line.amount).sum::<i64>()).max(0)
    }

    /// What was paid without any gateway, minor units: by the customer's balance, or moved here from another invoice.
    fn paid_by_credit(&self) -> i64 {
        self.credit_applied + self.credit_paid + self.credit_moved_in()
    }

    /// What came through gateways, without overpayments, minor units.
    pub fn paid_by_gateways(&self) -> i64 {
        self.amount_paid - self.credit_paid
    }

    /// What was paid in whatever way and not refunded, minor units.
    pub fn amount_kept(&self) -> i64 {
        self.paid_by_gateways() + self.paid_by_credit() - self.amount_refunded - self.amount_credited
    }

    /// The account as it stands. `claimed` cannot be given away: refunds on their way and disputes, minor units.
    pub fn account(&self, claimed: i64) -> Account {
        let by_gateways = self.paid_by_gateways() - self.amount_refunded - claimed;
        let to_balance = (by_gateways + self.paid_by_credit() - self.amount_credited - self.credit_given).max(0);
        Account {
            due: if self.status == InvoiceStatus::Void { 0 } else { self.amount_due() },
            creditable: (self.charged() - self.credited()).max(0),
            to_balance,
            to_method: by_gateways.clamp(0, to_balance),
        }
    }

    /// What a refund can still give back, minor units, so that no more goes back than came. `claimed` is what refunds on their way and
    /// disputes hold. Credit that paid for the invoice can only become credit again, and not before the invoice is paid.
    pub fn refundable(&self, to: RefundTo, claimed: i64) -> i64 {
        let account = self.account(claimed);
        let by_credit = if self.status == InvoiceStatus::Paid { 0 } else { self.paid_by_credit() };
        let to_balance = account.to_balance - by_credit;
        // What was moved here from another invoice stays beyond the reach of a refund of this one.
        let of_own = self.subtotal - self.amount_refunded - self.amount_credited - claimed;
        let most = match to {
            RefundTo::Method => account.to_method.min(to_balance),
            RefundTo::Credit => to_balance,
        };
        most.min(of_own).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{invoice::Line, samples};

    fn paid(total: i64) -> Invoice {
        Invoice { status: InvoiceStatus::Paid, subtotal: total, total, amount_paid: total, ..samples::invoice() }
    }

    #[test]
    fn credit_for_unused_days_leaves_less_to_refund() {
        let invoice = Invoice { credit_given: 2100, ..paid(3100) };
        assert_eq!(invoice.account(0), Account { due: 0, creditable: 1000, to_balance: 1000, to_method: 1000 });
        assert_eq!((invoice.refundable(RefundTo::Method, 0), invoice.refundable(RefundTo::Credit, 0)), (1000, 1000));
        assert_eq!(invoice.refundable(RefundTo::Method, 400), 600, "what is disputed or on its way is not there");
    }

    #[test]
    fn a_reduction_and_a_part_payment_leave_the_rest_due() {
        let invoice =
            Invoice { amount_reduced: 70, amount_paid: 20, ..Invoice { subtotal: 100, total: 100, ..samples::invoice() } };
        assert_eq!((invoice.amount_due(), invoice.credited()), (10, 70));
        assert_eq!(Invoice { amount_paid: 50, ..invoice }.amount_due(), 0);
    }

    #[test]
    fn what_a_balance_paid_goes_back_to_the_balance_only() {
        let invoice = Invoice { amount_paid: 100, credit_paid: 60, ..paid(100) };
        assert_eq!(invoice.account(0), Account { due: 0, creditable: 100, to_balance: 100, to_method: 40 });
        let open = Invoice { status: InvoiceStatus::Open, amount_paid: 60, ..invoice };
        assert_eq!((open.refundable(RefundTo::Credit, 0), open.amount_due()), (0, 40));
    }

    #[test]
    fn what_was_moved_here_counts_as_paid() {
        let lines = vec![Line::new(LineKind::Credit, "Unused days", -2000), Line::new(LineKind::Proration, "Gold", 3000)];
        let invoice = Invoice { lines, ..paid(1000) };
        assert_eq!((invoice.charged(), invoice.account(0).to_balance, invoice.account(0).to_method), (3000, 3000, 1000));
        assert_eq!(invoice.refundable(RefundTo::Credit, 0), 1000);
        // A refund that is on its way, or credit that was given, leaves less of the invoice's own.
        assert_eq!((invoice.refundable(RefundTo::Credit, 400), invoice.refundable(RefundTo::Method, 400)), (600, 600));
        let credited = Invoice { amount_credited: 700, ..invoice };
        assert_eq!((credited.refundable(RefundTo::Credit, 0), credited.refundable(RefundTo::Method, 0)), (300, 300));
        let carried = Line::new(LineKind::CreditCarried, "Kept as customer credit", 1500);
        let lines =
            vec![Line::new(LineKind::Credit, "Unused days", -2000), Line::new(LineKind::Proration, "Bronze", 500), carried];
        let record = Invoice { lines, ..paid(0) };
        assert_eq!((record.charged(), record.account(0).creditable, record.account(0).to_balance), (500, 500, 500));
    }
}
