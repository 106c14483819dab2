//! An authorization: money that the gateway holds from some days before the bill date, and whether the coming charge still needs it.
//!
//! It takes no money. What was authorized in vain is voided, and what could not be authorized is charged on the bill date as ever.

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
        /// Recorded; the gateway is being asked.
        Pending = "pending",
        /// The gateway holds the money.
        Authorized = "authorized",
        /// Nobody knows: a lookup must say before anything else is tried.
        Unknown = "unknown",
        /// Not needed any more: the gateway is asked to void it.
        Voiding = "voiding",
        /// Handed to a payment on the bill date, which captures it.
        Used = "used",
        /// Refused: the customer can be warned, and the bill date charges all the same.
        Declined = "declined",
        /// Certainly not processed.
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

/// Money authorized for the coming cycle of a subscription. Holds its own copy of what it asks for, so that sent again it is the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Authorization {
    pub id: AuthorizationId,
    pub subscription_id: SubscriptionId,
    pub customer_id: CustomerId,
    pub cycle: i64,
    pub payment_method_id: Option<PaymentMethodId>,
    pub timeline: Timeline,
    pub gateway: String,
    pub kind: MethodKind,
    /// FluidPay's `order_id`, Paylike's `custom.reference`; that of the payment that captures it, too.
    pub reference: String,
    pub idempotency_key: String,
    pub customer_token: Option<String>,
    pub payment_method_token: Option<String>,
    pub prior_transaction_id: Option<String>,
    /// What is charged, as caps count it.
    pub credential: String,
    pub description: String,
    /// Minor units.
    pub amount: i64,
    pub currency: Currency,
    /// When it was to be captured.
    pub bill_at: DateTime<Utc>,
    pub status: AuthorizationStatus,
    pub transaction_id: Option<String>,
    /// The payment that captures the authorization.
    pub payment_id: Option<PaymentId>,
    pub decline_class: Option<DeclineClass>,
    pub decline_code: Option<String>,
    pub decline_message: Option<String>,
    pub void_reason: Option<String>,
    pub lease_owner: Option<String>,
    /// Rises with each claim. An answer that comes with an older token is too late.
    pub lease_token: i64,
    pub lease_expires_at: Option<DateTime<Utc>>,
    /// Lookups that brought no answer, and times it was sent again.
    pub lookups: i64,
    /// Wall time.
    pub next_lookup_at: Option<DateTime<Utc>>,
    /// Wall time of the first call: gateways know no other.
    pub sent_at: DateTime<Utc>,
    /// Wall time of the latest call that asked for it, or for its end.
    pub called_at: DateTime<Utc>,
    /// When the gateway lets go of the money, by the subscription's clock.
    pub expires_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub resolved_at: Option<DateTime<Utc>>,
    /// Money that the gateway took although the authorization was no longer needed, minor units. No invoice counts it.
    pub amount_taken: Option<i64>,
}

/// Whom a gateway is to charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    pub payment_method_id: Option<PaymentMethodId>,
    pub gateway: String,
    pub kind: MethodKind,
    pub customer_token: Option<String>,
    pub payment_method_token: Option<String>,
    pub prior_transaction_id: Option<String>,
    /// Whether its gateway can be trusted with capturing less than was authorized.
    pub in_part: bool,
}

/// An authorization is renewed this long before it runs out.
const RENEWED_AHEAD: TimeDelta = TimeDelta::hours(12);
/// After a fault that is not the customer's, and for a charge that waits to be collected.
const LOOKED_AT_AGAIN: TimeDelta = TimeDelta::hours(1);

impl Authorization {
    /// Whether it is of this card.
    pub fn is_of(&self, credential: &Credential) -> bool {
        self.gateway == credential.gateway
            && self.customer_token == credential.customer_token
            && self.payment_method_token == credential.payment_method_token
            && self.prior_transaction_id == credential.prior_transaction_id
    }

    /// Whether it can pay this; else why not. More than was authorized cannot be captured; less only where a second capture, of which
    /// nobody here would know, takes nothing.
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

/// All that is known when a subscription is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    pub subscription: &'a Subscription,
    pub now: DateTime<Utc>,
    pub rules: &'a Rules,
    /// The open authorization, if there is one.
    pub open: Option<&'a Authorization>,
    /// Whether the invoice of the open one's cycle waits for its first charge.
    pub waits: bool,
    /// The latest authorization for the coming cycle that has ended.
    pub last: Option<&'a Authorization>,
    /// Whom to charge, where that can be authorized early.
    pub credential: Option<&'a Credential>,
    /// The customer's credit that will be used first, minor units.
    pub credit: i64,
}

/// What to do about the authorization of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing now; at this instant it is looked at again, if no change comes first.
    Nothing(Option<DateTime<Utc>>),
    /// Void the open one, for this reason.
    Void(&'static str),
    Authorize {
        cycle: i64,
        amount: i64,
        bill_at: DateTime<Utc>,
    },
}

/// The coming charge, and from when on it may be authorized.
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

/// What is to be done about a subscription's authorization. Asked again after each change and each answer, so that it need not know
/// what has happened.
pub fn decide(look: &Look) -> Decision {
    let Look { subscription, now, open, .. } = *look;
    if open.is_some_and(|open| open.status != AuthorizationStatus::Authorized) {
        // Its answer brings the next look.
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
        // Billing takes over.
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
    if let Some(last) = look.last {
        match last.status {
            // The customer is warned once. The bill date charges; another card, or less to pay, may be tried before.
            AuthorizationStatus::Declined if last.is_of(credential) && amount >= last.amount => return Decision::Nothing(None),
            AuthorizationStatus::GatewayError | AuthorizationStatus::Lost => {
                let again_at = last.resolved_at.unwrap_or(last.created_at) + LOOKED_AT_AGAIN;
                if again_at > look.now {
                    return Decision::Nothing(Some(again_at).filter(|at| *at < bill_at));
                }
            }
            _ => {}
        }
    }
    Decision::Authorize { cycle, amount, bill_at }
}

#[cfg(test)]
mod tests;
