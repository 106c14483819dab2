//! What stops or starts the collection of an invoice, apart from its ladder.

use chrono::{DateTime, Utc};

use super::{Invoice, InvoiceStatus, NextAction};

impl Invoice {
    /// Notes a refusal that is not the customer's.
    pub fn refused(&mut self, reason: &str, now: DateTime<Utc>) {
        self.refused_at.get_or_insert(now);
        self.refused_reason = Some(reason.to_owned());
    }

    /// Stops collection until an operator decides.
    pub fn park(&mut self, reason: &str, now: DateTime<Utc>) {
        self.refused(reason, now);
        self.parked_reason = Some(reason.to_owned());
        (self.next_attempt_at, self.next_action) = (None, NextAction::Charge);
        (self.next_method, self.postponed_by) = (false, None);
        self.updated_at = now;
    }

    /// Makes an invoice without an open payment due at once, whatever its ladder says.
    pub fn collect_now(&mut self, now: DateTime<Utc>) {
        self.next_attempt_at = Some(now);
        self.next_action = NextAction::Charge;
        (self.next_method, self.postponed_by) = (false, None);
        self.parked_reason = None;
        self.gateway_faults = 0;
        self.updated_at = now;
    }

    /// Whether collection has stopped until an operator decides.
    pub fn is_parked(&self) -> bool {
        self.status == InvoiceStatus::Open && self.next_attempt_at.is_none() && self.parked_reason.is_some()
    }
}
