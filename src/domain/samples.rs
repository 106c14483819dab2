//! Rows for the tests of decisions: each test changes the fields that it is about.

use chrono::{DateTime, Utc};

use super::{
    clock::Timeline,
    id::Id,
    invoice::{Invoice, InvoiceStatus, NextAction},
    money::Currency,
    payment::{Payment, PaymentStatus, Reason},
    payment_method::MethodKind,
};

pub fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

/// A card payment of 10.00 that succeeded.
pub fn payment() -> Payment {
    Payment {
        id: Id::from_bits(1),
        invoice_id: Id::from_bits(2),
        customer_id: Id::from_bits(3),
        payment_method_id: None,
        payment_request_id: None,
        timeline: Timeline::Wall,
        attempt: 1,
        gateway: "fluid".to_owned(),
        kind: MethodKind::VaultToken,
        reference: "R".to_owned(),
        idempotency_key: "K".to_owned(),
        customer_token: None,
        payment_method_token: None,
        prior_transaction_id: None,
        credential: None,
        reason: Reason::Recurring,
        description: String::new(),
        amount: 1000,
        amount_captured: 1000,
        amount_refunded: 0,
        overpayment: 0,
        amount_disputed: 0,
        currency: Currency::USD,
        status: PaymentStatus::Succeeded,
        transaction_id: Some("t".to_owned()),
        authorization_id: None,
        decline_class: None,
        decline_code: None,
        decline_message: None,
        lease_owner: None,
        lease_token: 0,
        lease_expires_at: None,
        lookups: 0,
        next_lookup_at: None,
        sent_at: at("2026-02-01T00:00:00Z"),
        called_at: at("2026-02-01T00:00:00Z"),
        created_at: at("2026-02-01T00:00:00Z"),
        resolved_at: None,
        return_at: None,
    }
}

/// An open invoice of 10.00 for which nothing has come.
pub fn invoice() -> Invoice {
    Invoice {
        id: Id::from_bits(2),
        number: "INV-1".to_owned(),
        customer_id: Id::from_bits(3),
        subscription_id: None,
        installment_plan_id: None,
        installment_number: None,
        cycle: None,
        timeline: Timeline::Wall,
        status: InvoiceStatus::Open,
        description: String::new(),
        currency: Currency::USD,
        timezone: "America/New_York".parse().expect("a zone"),
        period_start: None,
        period_end: None,
        lines: Vec::new(),
        subtotal: 1000,
        credit_applied: 0,
        total: 1000,
        amount_paid: 0,
        amount_refunded: 0,
        amount_credited: 0,
        amount_reduced: 0,
        credit_given: 0,
        credit_paid: 0,
        due_at: at("2026-02-01T00:00:00Z"),
        next_attempt_at: None,
        next_action: NextAction::Charge,
        attempts: 0,
        gateway_faults: 0,
        dunning_step: 0,
        first_failed_at: None,
        decline_class: None,
        decline_code: None,
        next_method: false,
        postponed_by: None,
        reopened_at: None,
        parked_reason: None,
        refused_at: None,
        refused_reason: None,
        created_at: at("2026-02-01T00:00:00Z"),
        updated_at: at("2026-02-01T00:00:00Z"),
    }
}
