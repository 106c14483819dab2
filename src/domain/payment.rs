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
        /// The charge is for a cycle of a subscription.
        #[default]
        Recurring = "recurring",
        /// The charge is for a part of an installment plan.
        Installment = "installment",
    }
}

text_enum! {
    /// Where a payment stands.
    pub enum PaymentStatus {
        /// The payment is recorded, and the gateway is being called.
        Pending = "pending",
        /// The gateway holds the money under `transaction_id`, and the capture comes next.
        Authorized = "authorized",
        /// The gateway took the money.
        Succeeded = "succeeded",
        /// The gateway refused by its own word, and no money moved.
        Declined = "declined",
        /// The gateway certainly did not process the call, and no money moved.
        GatewayError = "gateway_error",
        /// Nobody knows whether money moved: a lookup at the gateway must say before anything else is tried.
        Unknown = "unknown",
        /// The gateway could not say either, and an operator decides.
        Parked = "parked",
        /// The gateway gave all of the money back.
        Refunded = "refunded",
    }
}

impl PaymentStatus {
    /// Whether the invoice of the payment refuses another payment for now.
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
        /// The same charge may pass in some days.
        Soft = "soft",
        /// Only another card helps.
        NewCardNeeded = "new_card_needed",
        /// A passing trouble at the issuer, or a rule of the merchant's that stops this customer for now. At the end of the ladder
        /// an operator decides.
        TryLater = "try_later",
        /// The issuer ended the mandate, so the subscription is cancelled.
        StopRecurring = "stop_recurring",
        /// The gateway or the processor is at fault: the decline spends no dunning step, and the customer hears nothing.
        GatewayFault = "gateway_fault",
        /// The gateway refuses the merchant's account, whoever is charged: the gateway rests until that is mended.
        AccountRefused = "account_refused",
        /// This charge is refused for what it is, and no waiting mends that: an operator decides.
        ChargeRefused = "charge_refused",
    }
}

impl DeclineClass {
    /// Whether the refusal is about the customer or the customer's method. Any other refusal spends no dunning step and counts for
    /// no cap, and the customer hears nothing.
    pub fn is_customers(self) -> bool {
        !matches!(self, Self::GatewayFault | Self::AccountRefused | Self::ChargeRefused)
    }
}

/// Why a gateway refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decline {
    /// What the refusal means for the next attempt.
    pub class: DeclineClass,
    /// The gateway's own code, as text.
    pub code: String,
    /// The gateway's own words, for people.
    pub message: String,
}

impl Decline {
    /// Words and code in one line, for people.
    pub fn reason(&self) -> String {
        format!("{} ({})", self.message, self.code)
    }
}

/// Why an invoice that is due is not sent to a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotCollectable {
    /// The dunning ladder is over.
    LadderEnded,
    /// The customer has no stored method that could be charged.
    NoMethod,
    /// The settings do not name the gateway of the method.
    GatewayNotConfigured,
    /// The gateway takes real money, which a test clock's customer must never pay.
    LiveGateway,
    /// The issuer stopped recurring charges to the method.
    MandateEnded,
}

impl NotCollectable {
    /// The decline class by which dunning treats the refusal.
    pub fn class(self) -> DeclineClass {
        match self {
            Self::LadderEnded | Self::NoMethod | Self::MandateEnded => DeclineClass::NewCardNeeded,
            Self::GatewayNotConfigured | Self::LiveGateway => DeclineClass::GatewayFault,
        }
    }

    /// The code that stands in place of a gateway's code in `decline_code`.
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

/// One attempt to collect an invoice. The row has a copy of all that the call says, so that a call sent again is the same
/// payment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Payment {
    /// Names the payment.
    pub id: PaymentId,
    /// The invoice that the payment collects.
    pub invoice_id: InvoiceId,
    /// Who pays.
    pub customer_id: CustomerId,
    /// The stored method that is charged. None where the customer paid a request that no stored method stands behind.
    pub payment_method_id: Option<PaymentMethodId>,
    /// The payment request that the customer paid. None where the daemon charged a stored method.
    pub payment_request_id: Option<PaymentRequestId>,
    /// The clock of the customer: the wall clock or a test clock.
    pub timeline: Timeline,
    /// Number of the attempt, from 1 for each invoice.
    pub attempt: i64,
    /// Name of the configured gateway.
    pub gateway: String,
    /// Which of the tokens below say what is charged.
    pub kind: MethodKind,
    /// FluidPay's `order_id`, Paylike's `custom.reference`.
    pub reference: String,
    /// Makes a repeat harmless where the gateway offers that.
    pub idempotency_key: String,
    /// A vault token: the gateway's id of the customer.
    pub customer_token: Option<String>,
    /// A vault token: the gateway's id of one method of the customer. None means the default method at the gateway.
    pub payment_method_token: Option<String>,
    /// An earlier transaction: the gateway's id of the transaction whose card is charged.
    pub prior_transaction_id: Option<String>,
    /// Digest of what is charged at the gateway; caps count declines by this digest. None for payments that are older than the
    /// caps.
    pub credential: Option<String>,
    /// Why the merchant charges without the customer being there.
    pub reason: Reason,
    /// What the customer may read on a receipt.
    pub description: String,
    /// What the gateway is asked for, minor units.
    pub amount: i64,
    /// What the gateway took, minor units.
    pub amount_captured: i64,
    /// What went back through the gateway, minor units.
    pub amount_refunded: i64,
    /// The part that the invoice did not need because other money had come, minor units. A refund takes this part first.
    pub overpayment: i64,
    /// What the customer's bank took back or holds, minor units.
    pub amount_disputed: i64,
    /// The currency of all amounts of the payment.
    pub currency: Currency,
    /// How far the payment has come.
    pub status: PaymentStatus,
    /// The gateway's id of this payment. None before an answer that has one.
    pub transaction_id: Option<String>,
    /// The authorization that this payment captures. At the gateway both have the same reference. None where nothing was
    /// authorized early.
    pub authorization_id: Option<AuthorizationId>,
    /// What the refusal means for the next attempt. None means that the gateway did not refuse.
    pub decline_class: Option<DeclineClass>,
    /// The gateway's own code of the refusal.
    pub decline_code: Option<String>,
    /// Why the gateway refused, or what went wrong in the latest call.
    pub decline_message: Option<String>,
    /// The daemon that is working on the payment. None means that no daemon has it.
    pub lease_owner: Option<String>,
    /// Rises with each claim. An answer that comes with an older token is too late.
    pub lease_token: i64,
    /// When another daemon may take the payment over, wall time, UTC.
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// How many lookups brought no answer, and how often the payment was sent again.
    pub lookups: i64,
    /// When the gateway is next asked what became of the payment, wall time, UTC. None means that no lookup is planned.
    pub next_lookup_at: Option<DateTime<Utc>>,
    /// Wall time of the first call, UTC, whatever clock drives the invoice: gateways know no other time.
    pub sent_at: DateTime<Utc>,
    /// Wall time of the latest call that asked for the whole payment, UTC. For an unknown payment, the latest time at which the
    /// call may have been sent.
    pub called_at: DateTime<Utc>,
    /// UTC, by the clock of the timeline.
    pub created_at: DateTime<Utc>,
    /// When the outcome was known, UTC, by the clock of the timeline. None means that the outcome is not known.
    pub resolved_at: Option<DateTime<Utc>>,
    /// When the daemon next tries to give the overpayment back, wall time, UTC. None means that no try is planned.
    pub return_at: Option<DateTime<Utc>>,
}

impl Payment {
    /// Whether a call before the latest one may have moved money: the gateway answered one, or one was sent again.
    pub fn was_sent_before(&self) -> bool {
        self.transaction_id.is_some() || self.lookups > 0
    }

    /// Ends the payment. `now` is by the clock of the payment's timeline.
    pub fn resolve(&mut self, status: PaymentStatus, transaction_id: Option<String>, now: DateTime<Utc>) {
        self.status = status;
        self.transaction_id = transaction_id.or_else(|| self.transaction_id.take());
        self.resolved_at = Some(now);
        self.release(None);
    }

    /// Lets go of the claim. `next_lookup_at` is the wall time at which the gateway is next asked about the payment, or None.
    pub fn release(&mut self, next_lookup_at: Option<DateTime<Utc>>) {
        self.lease_owner = None;
        self.lease_expires_at = None;
        self.next_lookup_at = next_lookup_at;
    }

    /// How much of the next refund is overpayment, which the invoice knows nothing of. `returned` is what had gone back before
    /// that refund. All amounts are minor units.
    pub fn overpayment_in(&self, returned: i64, amount: i64) -> i64 {
        (self.overpayment - returned).clamp(0, amount)
    }

    /// What can be given back of the money that the invoice took, minor units.
    pub fn returnable(&self) -> i64 {
        (self.amount_captured - self.amount_disputed - self.overpayment.max(self.amount_refunded)).max(0)
    }
}

text_enum! {
    /// The outcome of a parked payment, as an operator found out.
    pub enum Resolution {
        /// The gateway took the money.
        Succeeded = "succeeded",
        /// The issuer refused, so the next step of the ladder follows.
        Declined = "declined",
        /// The payment never arrived, so the invoice is charged again.
        NotProcessed = "not_processed",
    }
}
