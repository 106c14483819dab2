//! Rows about money and about what happened.

use rebilld::{
    domain::{
        clock::Timeline,
        credit_note::{CreditNote, CreditReason},
        dunning::Postponement,
        event::Event,
        id::{CustomerId, InvoiceId, PaymentId},
        invoice::{Invoice, InvoiceStatus, Line, LineKind, LinePeriod, NextAction},
        money::Currency,
        payment::{DeclineClass, Payment, PaymentStatus, Reason},
        payment_method::MethodKind,
        refund::{Refund, RefundStatus, RefundTo},
        roll_out::{self, Effect, EntryType, Field, LeftAlone, Options, Overrides, RollOut, RollOutStatus, Versions},
        subscription::Subscription,
    },
    store::runs::JobRun,
};
use serde_json::{Map, json};

use super::{edges, first, hard, id, last, noon};

pub fn invoice(customer: CustomerId) -> Invoice {
    let id = id();
    Invoice {
        id,
        number: id.to_string(),
        customer_id: customer,
        subscription_id: None,
        installment_plan_id: None,
        installment_number: None,
        cycle: None,
        timeline: Timeline::Wall,
        status: InvoiceStatus::Open,
        description: String::new(),
        currency: Currency::USD,
        timezone: "UTC".parse().expect("zone"),
        period_start: None,
        period_end: None,
        lines: vec![],
        subtotal: 1000,
        credit_applied: 0,
        total: 1000,
        amount_paid: 0,
        amount_refunded: 0,
        amount_credited: 0,
        amount_reduced: 0,
        credit_given: 0,
        credit_paid: 0,
        due_at: noon(),
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
        created_at: noon(),
        updated_at: noon(),
    }
}

pub fn full_invoice(of: &Subscription) -> Invoice {
    let (first_day, last_day) = edges();
    Invoice {
        number: hard(),
        subscription_id: Some(of.id),
        installment_plan_id: Some(id()),
        installment_number: Some(i64::MAX),
        cycle: Some(i64::MAX),
        timeline: Timeline::Test(id()),
        description: hard(),
        currency: "JPY".parse().expect("currency"),
        timezone: "Europe/Berlin".parse().expect("zone"),
        period_start: Some(first_day),
        period_end: Some(last_day),
        lines: vec![
            Line::new(LineKind::Floor, hard(), i64::MIN),
            Line {
                quantity: Some(i64::MAX),
                unit_amount: Some(i64::MAX),
                percentage: Some("0.001".parse().expect("percentage")),
                modifier_id: Some(hard()),
                days: Some(14),
                of_days: Some(28),
                period: Some(LinePeriod { start: first_day, end: last_day }),
                ..Line::new(LineKind::AddOn, "", i64::MAX)
            },
        ],
        subtotal: i64::MAX,
        credit_applied: 1,
        total: i64::MAX - 1,
        amount_paid: i64::MAX - 1,
        amount_refunded: i64::MAX - 7,
        amount_credited: 7,
        amount_reduced: i64::MAX,
        credit_given: i64::MAX,
        credit_paid: i64::MAX - 1,
        due_at: first(),
        next_attempt_at: Some(last()),
        next_action: NextAction::GiveUp,
        attempts: i64::MAX,
        gateway_faults: i64::MAX,
        dunning_step: i64::MAX,
        first_failed_at: Some(first()),
        decline_class: Some(DeclineClass::StopRecurring),
        decline_code: Some(hard()),
        next_method: true,
        postponed_by: Some(Postponement::Cap),
        reopened_at: Some(last()),
        parked_reason: Some(hard()),
        refused_at: Some(last()),
        refused_reason: Some(hard()),
        created_at: first(),
        updated_at: last(),
        ..invoice(of.customer_id)
    }
}

pub fn payment(of: &Invoice) -> Payment {
    let id: PaymentId = id();
    Payment {
        id,
        invoice_id: of.id,
        customer_id: of.customer_id,
        payment_method_id: None,
        payment_request_id: None,
        timeline: of.timeline,
        attempt: 1,
        gateway: "fluid".into(),
        kind: MethodKind::VaultToken,
        reference: id.to_string(),
        idempotency_key: String::new(),
        customer_token: None,
        payment_method_token: None,
        prior_transaction_id: None,
        credential: None,
        reason: Reason::Recurring,
        description: String::new(),
        amount: 1,
        amount_captured: 0,
        amount_refunded: 0,
        amount_disputed: 0,
        overpayment: 0,
        currency: Currency::USD,
        status: PaymentStatus::Pending,
        transaction_id: None,
        authorization_id: None,
        decline_class: None,
        decline_code: None,
        decline_message: None,
        lease_owner: None,
        lease_token: 0,
        lease_expires_at: None,
        lookups: 0,
        next_lookup_at: None,
        sent_at: noon(),
        called_at: noon(),
        created_at: noon(),
        resolved_at: None,
        return_at: None,
    }
}

pub fn full_payment(of: &Invoice) -> Payment {
    Payment {
        payment_method_id: Some(id()),
        payment_request_id: Some(id()),
        timeline: Timeline::Test(id()),
        attempt: i64::MIN,
        gateway: hard(),
        kind: MethodKind::PriorTransaction,
        reason: Reason::Installment,
        reference: hard(),
        idempotency_key: hard(),
        customer_token: Some(hard()),
        payment_method_token: Some(hard()),
        prior_transaction_id: Some(hard()),
        credential: Some(hard()),
        description: hard(),
        amount: i64::MAX,
        amount_captured: i64::MAX,
        amount_refunded: i64::MAX,
        overpayment: i64::MAX,
        return_at: Some(first()),
        amount_disputed: i64::MAX,
        currency: "JPY".parse().expect("currency"),
        status: PaymentStatus::Refunded,
        transaction_id: Some(hard()),
        authorization_id: Some(id()),
        decline_class: Some(DeclineClass::StopRecurring),
        decline_code: Some(hard()),
        decline_message: Some(hard()),
        lease_owner: Some(hard()),
        lease_token: i64::MIN,
        lease_expires_at: Some(last()),
        lookups: i64::MAX,
        next_lookup_at: Some(first()),
        sent_at: first(),
        created_at: first(),
        resolved_at: Some(last()),
        called_at: last(),
        ..payment(of)
    }
}

pub fn refund(payment: PaymentId, invoice: InvoiceId) -> Refund {
    Refund {
        id: id(),
        payment_id: Some(payment),
        invoice_id: invoice,
        timeline: Timeline::Wall,
        destination: RefundTo::Method,
        amount: 1,
        returned_before: 0,
        currency: Currency::USD,
        reason: String::new(),
        status: RefundStatus::Pending,
        voided: false,
        transaction_id: None,
        message: None,
        lease_owner: None,
        lease_token: 0,
        lease_expires_at: None,
        lookups: 0,
        next_lookup_at: None,
        sent_at: noon(),
        created_at: noon(),
        resolved_at: None,
    }
}

pub fn full_refund(payment: PaymentId, invoice: InvoiceId) -> Refund {
    Refund {
        timeline: Timeline::Test(id()),
        amount: i64::MAX,
        returned_before: i64::MAX,
        currency: "JPY".parse().expect("currency"),
        reason: hard(),
        status: RefundStatus::GatewayError,
        voided: true,
        transaction_id: Some(hard()),
        message: Some(hard()),
        lease_owner: Some(hard()),
        lease_token: i64::MIN,
        lease_expires_at: Some(last()),
        lookups: i64::MIN,
        next_lookup_at: Some(first()),
        sent_at: first(),
        created_at: first(),
        resolved_at: Some(last()),
        ..refund(payment, invoice)
    }
}

pub fn event(kind: &str, subject: &str) -> Event {
    Event {
        id: id(),
        timeline: Timeline::Wall,
        kind: kind.into(),
        subject: subject.into(),
        actor: "system".into(),
        data: json!({}),
        occurred_at: noon(),
    }
}

pub fn job_run() -> JobRun {
    JobRun {
        id: id(),
        job: "bill".into(),
        instance: String::new(),
        result: "ok".into(),
        counts: Map::new(),
        error: None,
        started_at: noon(),
        ended_at: None,
    }
}

pub fn roll_out() -> RollOut {
    RollOut {
        id: id(),
        entry_type: EntryType::Plan,
        entry_id: id::<rebilld::domain::id::Plan>().to_string(),
        revision: String::new(),
        options: Options { when: Effect::PeriodEnd, fields: None, overrides: Overrides::Keep, keep_anchor: false },
        versions: Versions::Plan(vec![super::plan(), super::full_plan()]),
        status: RollOutStatus::Running,
        actor: "system".into(),
        done_through: None,
        plans_changed: 0,
        subscriptions_changed: 0,
        left_alone: LeftAlone::new(),
        created_at: noon(),
        finished_at: None,
    }
}

pub fn full_roll_out() -> RollOut {
    RollOut {
        entry_type: EntryType::Discount,
        entry_id: hard(),
        revision: hard(),
        options: Options {
            when: Effect::Now,
            fields: Some(Field::ALL.to_vec()),
            overrides: Overrides::Replace,
            keep_anchor: true,
        },
        versions: Versions::Discount(super::full_plan().discounts),
        status: RollOutStatus::Done,
        actor: hard(),
        done_through: Some(hard()),
        plans_changed: i64::MAX,
        subscriptions_changed: i64::MAX,
        left_alone: roll_out::LeftAloneReason::ALL.iter().map(|reason| (*reason, i64::MAX)).collect(),
        created_at: first(),
        finished_at: Some(last()),
        ..roll_out()
    }
}

/// Half of it was due, half of it goes to the balance.
pub fn credit_note(of: &Invoice) -> CreditNote {
    let id = id();
    CreditNote {
        id,
        number: id.to_string(),
        invoice_id: of.id,
        customer_id: of.customer_id,
        timeline: of.timeline,
        currency: of.currency,
        reason: CreditReason::Goodwill,
        note: String::new(),
        lines: vec![],
        amount: 200,
        pre_payment_amount: 100,
        to_balance: 100,
        to_method: 0,
        to_invoice: 0,
        refund_id: None,
        created_at: noon(),
    }
}

pub fn full_credit_note(of: &Invoice) -> CreditNote {
    CreditNote {
        number: hard(),
        reason: CreditReason::Refunded,
        note: hard(),
        lines: vec![Line::new(LineKind::Credit, hard(), i64::MAX)],
        amount: i64::MAX,
        pre_payment_amount: i64::MAX - 6,
        to_balance: 1,
        to_method: 2,
        to_invoice: 3,
        refund_id: Some(self::id()),
        created_at: last(),
        ..credit_note(of)
    }
}
