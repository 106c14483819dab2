//! A payment: one attempt to collect an invoice at a gateway, and what can come of it.

mod outcome;
pub mod transition;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{
    clock::Timeline,
    id::{AuthorizationId, CustomerId, InvoiceId, PaymentId, PaymentMethodId, PaymentRequestId},
    money::Currency,
    payment_method::MethodKind,
    text_enum,
};

pub use outcome::{Other, Outcome, ReturnOutcome};

text_enum! {
    /// Why a merchant charges without the customer being there: the stored-credential mark that card networks ask for.
    #[derive(Default)]
    pub enum Reason {
        #[default]
        Recurring = "recurring",
        Installment = "installment",
    }
}

text_enum! {
    /// Where a payment stands.
    pub enum PaymentStatus {
        /// Recorded; the gateway is being called.
        Pending = "pending",
        /// Money is reserved under `transaction_id`; the capture comes next.
        Authorized = "authorized",
        Succeeded = "succeeded",
        Declined = "declined",
        /// Certainly not processed.
        GatewayError = "gateway_error",
        /// Nobody knows: a lookup at the gateway must say before anything else is tried.
        Unknown = "unknown",
        /// The gateway could not say either; an operator decides.
        Parked = "parked",
        Refunded = "refunded",
    }
}

impl PaymentStatus {
    /// While a payment is in one of these, its invoice refuses another.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Authorized | Self::Unknown | Self::Parked)
    }

    /// Whether no answer is awaited any more: the payment has ended, or an operator decides.
    pub fn is_closed(self) -> bool {
        !self.is_open() || self == Self::Parked
    }
}

text_enum! {
    /// What a decline means for the next attempt.
    pub enum DeclineClass {
        /// This card will not pay, now or later.
        Hard = "hard",
        /// May pass in some days.
        Soft = "soft",
        /// Only another card helps.
        NewCardNeeded = "new_card_needed",
        /// A passing trouble at the issuer.
        TryLater = "try_later",
        /// The issuer ended the mandate: cancels.
        StopRecurring = "stop_recurring",
        /// The merchant's or gateway's fault: spends no dunning step, tells the customer nothing.
        GatewayFault = "gateway_fault",
    }
}

/// Why a gateway refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decline {
    pub class: DeclineClass,
    /// The gateway's own code, as text.
    pub code: String,
    pub message: String,
}

/// Why an invoice that is due is not sent to a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotCollectable {
    LadderEnded,
    NoMethod,
    GatewayNotConfigured,
    /// A test clock's customer must never be charged for real.
    LiveGateway,
    /// The issuer stopped recurring charges to the method.
    MandateEnded,
}

impl NotCollectable {
    pub fn class(self) -> DeclineClass {
        match self {
            Self::LadderEnded | Self::NoMethod | Self::MandateEnded => DeclineClass::NewCardNeeded,
            Self::GatewayNotConfigured | Self::LiveGateway => DeclineClass::GatewayFault,
        }
    }

    pub fn code(self) -> &'static str {
        match self {
            Self::LadderEnded => "ladder_ended",
            Self::NoMethod => "no_payment_method",
            Self::GatewayNotConfigured => "gateway_not_configured",
            Self::LiveGateway => "live_gateway_on_test_clock",
            Self::MandateEnded => "mandate_ended",
        }
    }
}

/// One attempt to collect an invoice. Holds its own copy of what it charges, so that sent again it is the same payment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Payment {
    pub id: PaymentId,
    pub invoice_id: InvoiceId,
    pub customer_id: CustomerId,
    pub payment_method_id: Option<PaymentMethodId>,
    /// The payment request that the customer paid.
    pub payment_request_id: Option<PaymentRequestId>,
    pub timeline: Timeline,
    /// From 1, for each invoice.
    pub attempt: i64,
    pub gateway: String,
    pub kind: MethodKind,
    /// FluidPay's `order_id`, Paylike's `custom.reference`.
    pub reference: String,
    pub idempotency_key: String,
    pub customer_token: Option<String>,
    pub payment_method_token: Option<String>,
    pub prior_transaction_id: Option<String>,
    /// Digest of what is charged at the gateway; caps count by it. None: made before they did.
    pub credential: Option<String>,
    pub reason: Reason,
    pub description: String,
    /// Asked for, minor units.
    pub amount: i64,
    /// Taken, minor units.
    pub amount_captured: i64,
    pub amount_refunded: i64,
    /// The part that the invoice did not need, since other money had come. A refund takes this part first.
    pub overpayment: i64,
    /// Taken back by the customer's bank, or held by it, minor units.
    pub amount_disputed: i64,
    pub currency: Currency,
    pub status: PaymentStatus,
    /// The gateway's id of this payment.
    pub transaction_id: Option<String>,
    /// The authorization that this payment captures. At the gateway both have the same reference.
    pub authorization_id: Option<AuthorizationId>,
    pub decline_class: Option<DeclineClass>,
    pub decline_code: Option<String>,
    pub decline_message: Option<String>,
    /// The daemon that is working on it.
    pub lease_owner: Option<String>,
    /// Rises with each claim. An answer that comes with an older token is too late.
    pub lease_token: i64,
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// Lookups that brought no answer, and times it was sent again.
    pub lookups: i64,
    /// Wall time.
    pub next_lookup_at: Option<DateTime<Utc>>,
    /// Wall time of the first call, whatever clock drives the invoice: gateways know no other.
    pub sent_at: DateTime<Utc>,
    /// Wall time of the latest call that asked for the whole payment; once it is unknown, until when it may have been sent.
    pub called_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub resolved_at: Option<DateTime<Utc>>,
    /// Wall time: when the overpayment is next tried to be given back.
    pub return_at: Option<DateTime<Utc>>,
}

impl Payment {
    /// Whether a call before the latest may have moved money: the gateway has answered one, or one was sent again.
    pub fn was_sent_before(&self) -> bool {
        self.transaction_id.is_some() || self.lookups > 0
    }

    /// Ends the payment. `now` is by the clock of its timeline.
    pub fn resolve(&mut self, status: PaymentStatus, transaction_id: Option<String>, now: DateTime<Utc>) {
        self.status = status;
        self.transaction_id = transaction_id.or_else(|| self.transaction_id.take());
        self.resolved_at = Some(now);
        self.release(None);
    }

    /// Lets go of the claim. Wall time: when the gateway is next asked what became of the payment, if it is.
    pub fn release(&mut self, next_lookup_at: Option<DateTime<Utc>>) {
        self.lease_owner = None;
        self.lease_expires_at = None;
        self.next_lookup_at = next_lookup_at;
    }

    /// What of the next refund is overpayment, which the invoice knows nothing of. `returned` is what had gone back before it.
    pub fn overpayment_in(&self, returned: i64, amount: i64) -> i64 {
        (self.overpayment - returned).clamp(0, amount)
    }

    /// What can be given back of what the invoice took, minor units.
    pub fn returnable(&self) -> i64 {
        (self.amount_captured - self.amount_disputed - self.overpayment.max(self.amount_refunded)).max(0)
    }
}

text_enum! {
    /// The outcome of a parked payment, as an operator found out.
    pub enum Resolution {
        /// The money was taken.
        Succeeded = "succeeded",
        /// The issuer refused it: the next step of the ladder.
        Declined = "declined",
        /// It never arrived: charge again.
        NotProcessed = "not_processed",
    }
}
