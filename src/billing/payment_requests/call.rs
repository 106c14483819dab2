//! One call about a request: the customer is asked, reminded or left alone, or the gateway is asked what was paid.

use std::sync::Arc;

use super::schedule;
use crate::{
    billing::{
        App, Result,
        gateway_operations::run::{GatewayCall, Purpose, make},
        gateways::Call,
    },
    domain::{
        payment::DeclineClass,
        payment_request::{
            PaymentRequest,
            transition::{RequestReply, RequestStep},
        },
    },
    gateway::{
        Configured,
        requests::{Ask, Asked, Outstanding, Polled, Requests, Withdrawn},
    },
    store,
};

struct RequestCall<'a> {
    app: &'a App,
    asks: &'a dyn Requests,
    request: PaymentRequest,
    step: RequestStep,
}

/// Makes the call. None: no call was made, since somebody else has the request by now, or the request is being closed.
pub(super) async fn ask(
    app: &App,
    gateway: &Arc<Configured>,
    asks: &dyn Requests,
    request: &PaymentRequest,
    step: RequestStep,
) -> Option<RequestReply> {
    make(app, gateway, RequestCall { app, asks, request: request.clone(), step }).await
}

impl GatewayCall for RequestCall<'_> {
    type Answer = RequestReply;

    fn subject(&self) -> String {
        self.request.id.to_string()
    }

    fn purpose(&self) -> Purpose {
        match self.step {
            RequestStep::Ask | RequestStep::Remind => Purpose::Message,
            RequestStep::Poll => Purpose::LookUp,
            RequestStep::Withdraw => Purpose::Void,
        }
    }

    async fn begin(&mut self, app: &App) -> Result<bool> {
        let begun = begin(app, &self.request, self.step).await?;
        Ok(begun.map(|begun| self.request = begun).is_some())
    }

    /// For a refusal of the account only: of no other step anything is learnt about charges.
    fn circuit_call(&self, app: &App) -> Option<Call> {
        (self.step == RequestStep::Ask).then(|| Call::asking(app, &self.request))
    }

    async fn call(&self, _gateway: &Configured) -> RequestReply {
        let Self { app, asks, request, step } = self;
        match step {
            RequestStep::Ask => RequestReply::Asked(asks.ask(&message(app, request)).await),
            RequestStep::Poll => RequestReply::Polled(asks.poll(&outstanding(request)).await),
            RequestStep::Remind => {
                RequestReply::Reminded(asks.remind(request.request_id.as_deref(), &message(app, request)).await)
            }
            RequestStep::Withdraw => RequestReply::Withdrawn(withdraw(*asks, request).await),
        }
    }

    fn refusal(&self, answer: &RequestReply) -> Option<String> {
        match answer {
            RequestReply::Asked(Asked::Refused(decline)) if decline.class == DeclineClass::AccountRefused => {
                Some(decline.reason())
            }
            _ => None,
        }
    }

    fn is_accepted(&self, answer: &RequestReply) -> bool {
        matches!(answer, RequestReply::Asked(Asked::Sent { .. }))
    }

    fn unknown(&self, message: String) -> RequestReply {
        match self.step {
            RequestStep::Ask => RequestReply::Asked(Asked::Unknown { message }),
            RequestStep::Poll => RequestReply::Polled(Polled::NoAnswer { message }),
            RequestStep::Remind => RequestReply::Reminded(Asked::Unknown { message }),
            RequestStep::Withdraw => RequestReply::Withdrawn(Withdrawn::NoAnswer { message }),
        }
    }
}

async fn withdraw(asks: &dyn Requests, request: &PaymentRequest) -> Withdrawn {
    match (&request.agreement_id, &request.request_id) {
        (Some(payment), _) => asks.stop(payment).await,
        (None, Some(id)) => asks.withdraw(id).await,
        (None, None) => Withdrawn::Gone,
    }
}

/// Writes down that the customer is being asked or reminded. None: somebody else has the request by now, or the request is being closed.
pub(super) async fn begin(app: &App, claimed: &PaymentRequest, step: RequestStep) -> Result<Option<PaymentRequest>> {
    let mut tx = app.db.begin().await?;
    // Not before: the transaction may have waited for long.
    let wall = app.clock.now();
    let Some(mut request) = store::payment_requests::lock(&mut tx, claimed.id).await? else { return Ok(None) };
    if request.lease_token != claimed.lease_token || !request.status.is_open() {
        return Ok(None);
    }
    let is_closing = request.ending.is_some();
    if is_closing {
        // The request is due at once for the call that withdraws the request. The claim ends here: that call must not wait for the
        // other requests of the run.
        request.lease_owner = None;
        request.look_by(wall);
    } else {
        if step == RequestStep::Ask {
            if request.asks == 0 {
                request.sent_at = wall;
            }
            request.asks += 1;
            // By the gateway's clock it runs as long as by ours, whatever clock the customer is on.
            request.gateway_expires_at = wall + app.config.collection.payment_request_expires;
        }
        request.next_check_at = Some(wall + app.config.collection.lease);
    }
    store::payment_requests::save(&mut tx, std::slice::from_ref(&request)).await?;
    tx.commit().await?;
    Ok((!is_closing).then_some(request))
}

fn message(app: &App, request: &PaymentRequest) -> Ask {
    let public = &app.config.admin.public_url;
    Ask {
        reference: request.reference.clone(),
        amount_minor: request.amount,
        currency: request.currency,
        description: request.description.clone(),
        channels: request.channels.clone(),
        name: request.name.clone(),
        email: request.email.clone(),
        phone: request.phone.clone(),
        locale: request.locale.clone(),
        expires_at: request.gateway_expires_at,
        schedule: schedule::asked(request),
        callback_url: (!public.is_empty()).then(|| format!("{public}/hooks/paysley/{}", request.gateway)),
    }
}

fn outstanding(request: &PaymentRequest) -> Outstanding {
    Outstanding {
        reference: request.reference.clone(),
        amount_minor: request.amount,
        currency: request.currency,
        sent_at: request.sent_at,
    }
}
