//! An authorization: money that the gateway holds from some days before the bill date, and whether the coming charge still needs it.
//!
//! An authorization takes no money. What was authorized in vain is voided, and what could not be authorized is charged on the
//! bill date all the same.

pub mod transition;

use chrono::{DateTime, Days, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{
    calendar,
    clock::Timeline,
    id::{AuthorizationId, CustomerId, PaymentId, PaymentMethodId, SubscriptionId},
    money::Currency,
    payment::DeclineClass,
    payment_method::MethodKind,
    subscription::{CycleDue, Rules, Subscription, SubscriptionStatus},
    text_enum,
};

text_enum! {
    /// Where an authorization stands.
    pub enum AuthorizationStatus {
        /// The authorization is recorded, and the gateway is being asked.
        Pending = "pending",
        /// The gateway holds the money.
        Authorized = "authorized",
        /// Nobody knows whether the gateway holds money: a lookup must say before anything else is tried.
        Unknown = "unknown",
        /// No charge needs the authorization any more, and the gateway is asked to void it.
        Voiding = "voiding",
        /// The authorization belongs to a payment, which captures it on the bill date.
        Used = "used",
        /// The gateway refused: the customer can be warned, and the bill date charges all the same.
        Declined = "declined",
        /// The gateway certainly did not process the call.
        GatewayError = "gateway_error",
        /// The gateway has let go of the money.
        Voided = "voided",
        /// The gateway could not say, or did not void the authorization. The authorization expires by itself.
        Lost = "lost",
    }
}

impl AuthorizationStatus {
    /// While an authorization has one of these statuses, its subscription gets no other authorization.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Authorized | Self::Unknown | Self::Voiding)
    }
}

/// Money authorized for the coming cycle of a subscription. The row has a copy of all that the call says, so that a call sent
/// again is the same call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Authorization {
    /// Names the authorization.
    pub id: AuthorizationId,
    /// The subscription whose coming charge needs the money.
    pub subscription_id: SubscriptionId,
    /// Whose money the gateway holds.
    pub customer_id: CustomerId,
    /// Number of the coming cycle, from 0.
    pub cycle: i64,
    /// Number of the try for the cycle, from 1.
    pub attempt: i64,
    /// The stored method that was asked.
    pub payment_method_id: Option<PaymentMethodId>,
    /// The clock of the customer: the wall clock or a test clock.
    pub timeline: Timeline,
    /// Name of the configured gateway.
    pub gateway: String,
    /// Which of the tokens below say what is charged.
    pub kind: MethodKind,
    /// FluidPay's `order_id`, Paylike's `custom.reference`. The payment that captures the authorization has the same reference.
    pub reference: String,
    /// Makes a repeat harmless where the gateway offers that.
    pub idempotency_key: String,
    /// A vault token: the gateway's id of the customer.
    pub customer_token: Option<String>,
    /// A vault token: the gateway's id of one method of the customer. None means the default method at the gateway.
    pub payment_method_token: Option<String>,
    /// An earlier transaction: the gateway's id of the transaction whose card is charged.
    pub prior_transaction_id: Option<String>,
    /// Digest of what is charged at the gateway; caps count declines by this digest.
    pub credential: String,
    /// What the customer may read on a receipt.
    pub description: String,
    /// What the gateway is asked to hold, minor units, more than 0.
    pub amount: i64,
    /// The currency of all amounts of the authorization.
    pub currency: Currency,
    /// UTC instant of the charge for which the money was authorized.
    pub bill_at: DateTime<Utc>,
    /// Whether the gateway holds the money.
    pub status: AuthorizationStatus,
    /// The gateway's id of the authorization. None before an answer that has one.
    pub transaction_id: Option<String>,
    /// The payment that captures the authorization. None before the bill date.
    pub payment_id: Option<PaymentId>,
    /// What a refusal means for the next attempt. None means that the gateway did not refuse.
    pub decline_class: Option<DeclineClass>,
    /// The gateway's own code of a refusal.
    pub decline_code: Option<String>,
    /// Why the gateway refused, or what went wrong in the latest call.
    pub decline_message: Option<String>,
    /// Why no charge needs the authorization any more. None means that nobody has asked for a void.
    pub void_reason: Option<String>,
    /// The daemon that is calling. None means that no daemon has the authorization.
    pub lease_owner: Option<String>,
    /// Rises with each claim. An answer that comes with an older token is too late.
    pub lease_token: i64,
    /// When another daemon may take the authorization over, wall time, UTC.
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// How many lookups brought no answer, and how often the call was sent again.
    pub lookups: i64,
    /// When the gateway is next asked about the authorization, wall time, UTC. None means that no lookup is planned.
    pub next_lookup_at: Option<DateTime<Utc>>,
    /// Wall time of the first call, UTC: gateways know no other time.
    pub sent_at: DateTime<Utc>,
    /// Wall time of the latest call that asked for the authorization or for its void, UTC.
    pub called_at: DateTime<Utc>,
    /// When the gateway lets go of the money, UTC, by the clock of the timeline. None before the gateway holds it.
    pub expires_at: Option<DateTime<Utc>>,
    /// UTC, by the clock of the timeline.
    pub created_at: DateTime<Utc>,
    /// When the authorization came to an end, UTC, by the clock of the timeline. None means that the authorization has not ended.
    pub resolved_at: Option<DateTime<Utc>>,
    /// Money that the gateway took although no charge needed the authorization any more, minor units. No invoice counts this
    /// money.
    pub amount_taken: Option<i64>,
}

/// Whom a gateway is to charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The stored method that the tokens belong to.
    pub payment_method_id: Option<PaymentMethodId>,
    /// Name of the configured gateway.
    pub gateway: String,
    /// Which of the tokens below say what is charged.
    pub kind: MethodKind,
    /// A vault token: the gateway's id of the customer.
    pub customer_token: Option<String>,
    /// A vault token: the gateway's id of one method of the customer. None means the default method at the gateway.
    pub payment_method_token: Option<String>,
    /// An earlier transaction: the gateway's id of the transaction whose card is charged.
    pub prior_transaction_id: Option<String>,
    /// Whether the gateway can be trusted with capturing less than was authorized.
    pub in_part: bool,
}

/// A new authorization replaces one that runs out, this long before the end.
const RENEWED_AHEAD: TimeDelta = TimeDelta::hours(12);
/// How long a new look waits while a charge waits to be collected.
const LOOKED_AT_AGAIN: TimeDelta = TimeDelta::hours(1);

impl Authorization {
    /// Whether the authorization is of this card at this gateway.
    pub fn is_of(&self, credential: &Credential) -> bool {
        self.gateway == credential.gateway
            && self.customer_token == credential.customer_token
            && self.payment_method_token == credential.payment_method_token
            && self.prior_transaction_id == credential.prior_transaction_id
    }

    /// Whether the authorization can pay for this charge, `amount` in minor units. An error says why not. More than was
    /// authorized cannot be captured. Less can be captured only where a second capture, of which nobody here would know, takes
    /// nothing.
    pub fn covers(
        &self,
        amount: i64,
        currency: Currency,
        credential: &Credential,
        now: DateTime<Utc>,
    ) -> Result<(), &'static str> {
        if !self.is_of(credential) {
            return Err("another payment method is to be charged");
        }
        if self.currency != currency {
            return Err("another currency is to be charged");
        }
        if self.amount < amount {
            return Err("more is to be charged");
        }
        if self.amount > amount && !credential.in_part {
            return Err("less is to be charged");
        }
        if self.expires_at.is_some_and(|expires| expires <= now) {
            return Err("it has expired");
        }
        Ok(())
    }
}

/// All that is known when somebody looks at the authorization of a subscription.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// The subscription whose coming charge counts.
    pub subscription: &'a Subscription,
    /// UTC, by the clock of the subscription's timeline.
    pub now: DateTime<Utc>,
    /// What turns bill dates into instants.
    pub rules: &'a Rules,
    /// The open authorization. None means that the subscription has none.
    pub open: Option<&'a Authorization>,
    /// Whether the invoice for the cycle of the open authorization waits for its first charge.
    pub waits: bool,
    /// The latest authorization for the coming cycle that has ended.
    pub last: Option<&'a Authorization>,
    /// Whom to charge. None where the customer's method cannot be authorized early.
    pub credential: Option<&'a Credential>,
    /// The customer's balance, which is used first, minor units.
    pub credit: i64,
    /// How long a new try waits after a refusal that may pass, longer each time. The last wait repeats.
    pub try_waits: &'a [TimeDelta],
}

/// What to do about the authorization of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// There is nothing to do now. The next look comes at this instant, if no change comes first.
    Nothing(Option<DateTime<Utc>>),
    /// The open authorization is to be voided, for this reason.
    Void(&'static str),
    /// The gateway is to be asked to hold the money for the coming charge.
    Authorize {
        /// Number of the coming cycle.
        cycle: i64,
        /// Number of the try for the cycle, from 1.
        attempt: i64,
        /// Minor units, more than 0.
        amount: i64,
        /// UTC instant of the coming charge.
        bill_at: DateTime<Utc>,
    },
}

/// The coming charge, the number of its cycle, and the instant from which the charge may be authorized.
fn coming(subscription: &Subscription, rules: &Rules) -> Option<(CycleDue, i64, DateTime<Utc>)> {
    use SubscriptionStatus::{Active, PastDue, Trialing};
    let days = u64::try_from(subscription.authorize_days_before?).ok().filter(|&days| days > 0)?;
    let running = matches!(subscription.status, Active | Trialing | PastDue) && !subscription.pause_at_period_end;
    subscription.next_bill_at.filter(|_| running)?;
    let charge = subscription.upcoming(rules, 1).pop()?;
    let cycle = charge.cycle?;
    let from = charge.bill_date.checked_sub_days(Days::new(days))?;
    let from = calendar::instant(from, rules.bill_at, subscription.timezone.0);
    Some((charge, cycle, from))
}

/// Decides what is to be done about a subscription's authorization. Callers ask again after each change and each answer, so the
/// decision need not know what has happened.
pub fn decide(look: &Look) -> Decision {
    let Look { subscription, now, open, .. } = *look;
    if open.is_some_and(|open| open.status != AuthorizationStatus::Authorized) {
        // The answer of the gateway brings the next look.
        return Decision::Nothing(None);
    }
    if let Some(open) = open.filter(|open| open.cycle < subscription.next_cycle) {
        return if look.waits && open.expires_at.is_none_or(|expires| expires > now) {
            Decision::Nothing(Some(now + LOOKED_AT_AGAIN))
        } else {
            Decision::Void("the charge is not to be collected by it any more")
        };
    }
    let without = |reason, again_at| if open.is_some() { Decision::Void(reason) } else { Decision::Nothing(again_at) };
    let Some((charge, cycle, from)) = coming(subscription, look.rules) else {
        return without("no charge is to come", None);
    };
    if from > now {
        return without("the charge was moved", Some(from));
    }
    if charge.bill_at <= now {
        // The bill run takes the charge over.
        return Decision::Nothing(None);
    }
    let amount = charge.amount - look.credit;
    if amount <= 0 {
        return without("nothing is left to be charged", None);
    }
    let Some(credential) = look.credential else {
        return without("there is no payment method to be charged", None);
    };
    let Some(open) = open else { return anew(look, credential, cycle, amount, charge.bill_at) };
    if let Err(reason) = open.covers(amount, subscription.currency, credential, now) {
        return Decision::Void(reason);
    }
    match open.expires_at.filter(|expires| *expires <= charge.bill_at).map(|expires| expires - RENEWED_AHEAD) {
        Some(renewed) if renewed <= now => Decision::Void("it would expire before the bill date"),
        renewed => Decision::Nothing(renewed),
    }
}

fn anew(look: &Look, credential: &Credential, cycle: i64, amount: i64, bill_at: DateTime<Utc>) -> Decision {
    let Some(last) = look.last else { return Decision::Authorize { cycle, attempt: 1, amount, bill_at } };
    let is_same = last.is_of(credential) && amount >= last.amount;
    let may_pass = match last.status {
        // Another card, or less to pay, may be tried at once.
        AuthorizationStatus::Declined if !is_same => false,
        AuthorizationStatus::Declined => match last.decline_class {
            Some(DeclineClass::TryLater) => true,
            // The customer is warned once, and the bill date charges.
            _ => return Decision::Nothing(None),
        },
        // No waiting mends that, and the bill date tells an operator.
        AuthorizationStatus::GatewayError if is_same && last.decline_class == Some(DeclineClass::ChargeRefused) => {
            return Decision::Nothing(None);
        }
        AuthorizationStatus::GatewayError | AuthorizationStatus::Lost => true,
        _ => false,
    };
    if may_pass {
        let again_at = last.resolved_at.unwrap_or(last.created_at) + wait_after(last.attempt, look.try_waits);
        if again_at > look.now {
            return Decision::Nothing(Some(again_at).filter(|at| *at < bill_at));
        }
    }
    // After another card was tried, or less, the waits begin anew.
    Decision::Authorize { cycle, attempt: if may_pass { last.attempt + 1 } else { 1 }, amount, bill_at }
}

/// How long the next try waits after the try of this number, from 1.
fn wait_after(attempt: i64, waits: &[TimeDelta]) -> TimeDelta {
    let index = usize::try_from(attempt - 1).unwrap_or(0);
    waits.get(index).or(waits.last()).copied().unwrap_or(LOOKED_AT_AGAIN)
}

#[cfg(test)]
mod tests;
