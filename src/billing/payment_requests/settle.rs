//! What a gateway's answer about a request does to it, to its invoice and to the batch, in one transaction.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{event, soonest_look};
use crate::{
    billing::{App, Result, payments::SettlementBatch},
    domain::{
        event::Actor,
        id::InvoiceId,
        invoice::InvoiceStatus,
        payment::{Decline, DeclineClass, Payment, PaymentStatus, Reason},
        payment_method::MethodKind,
        payment_request::{Ending, PaymentRequest, RequestStatus, Role},
    },
    gateway::requests::{Asked, Polled, Received, Withdrawn},
    store::{self, Tx},
    telemetry,
};

/// How often the last step of the look-up backoff is repeated before a human is needed.
const LAST_STEP_REPEATS: i64 = 7;

/// What is asked of a gateway next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Ask,
    Poll,
    Remind,
    Withdraw,
}

/// What came back.
#[derive(Debug)]
pub(crate) enum RequestAnswer {
    Asked(Asked),
    Reminded(Asked),
    Polled(Polled),
    Withdrawn(Withdrawn),
}

/// Settles an answer; says what to do next, if anything. `sends`: the gateway keeps requests and sends them, so that copies we do not
/// know of may be about.
pub(crate) async fn settle(
    app: &App,
    claimed: &PaymentRequest,
    sends: bool,
    news: RequestAnswer,
) -> Result<Option<(Step, PaymentRequest)>> {
    let mut tries = 0;
    loop {
        match once(app, claimed, sends, &news).await {
            Err(error) if tries < 5 => {
                // Money may have moved: the answer must not be lost to a passing fault such as a deadlock.
                tries += 1;
                tracing::warn!(%error, tries, "settling an answer about a payment request failed, trying again");
                tokio::time::sleep(Duration::from_millis(50 << tries)).await;
            }
            done => return done,
        }
    }
}

async fn once(app: &App, claimed: &PaymentRequest, sends: bool, news: &RequestAnswer) -> Result<Option<(Step, PaymentRequest)>> {
    // Before the transaction: who asks for a second connection while all hold their first waits for ever.
    let invoice = match claimed.invoice_id {
        Some(id) => match store::invoices::get(&app.db, id).await? {
            Some(invoice) => Some(invoice),
            None => return Ok(None),
        },
        None => None,
    };
    let mut tx = app.db.begin().await?;
    let batch = match &invoice {
        Some(invoice) => SettlementBatch::open_invoice(app, &mut tx, invoice).await?,
        None => SettlementBatch::open_none(app, &mut tx, claimed.timeline).await?,
    };
    let Some(request) = store::payment_requests::lock(&mut tx, claimed.id).await? else { return Ok(None) };
    let ours = request.lease_token == claimed.lease_token;
    // Whoever has it by now asks the gateway again; only money that came is true whoever brings it.
    if !ours && !matches!(news, RequestAnswer::Polled(Polled::Payments(received)) if !received.is_empty()) {
        return Ok(None);
    }
    let ids: Vec<InvoiceId> = claimed.invoice_id.into_iter().collect();
    let in_flight = !store::payments::invoices_in_flight(&mut tx, &ids).await?.is_empty();
    let mut settlement = RequestSettlement { app, now: batch.now(), wall: app.clock.now(), sends, in_flight, batch, request };
    settlement.request.lease_owner = None;
    let next = match news {
        RequestAnswer::Asked(asked) => settlement.asked(asked),
        RequestAnswer::Reminded(asked) => settlement.reminded(asked),
        RequestAnswer::Polled(Polled::Payments(received)) => match settlement.request.invoice_id {
            Some(id) => settlement.received(&mut tx, id, received).await?,
            None => settlement.received_by_schedule(&mut tx, received).await?,
        },
        RequestAnswer::Polled(Polled::NoAnswer { message }) => settlement.silence(message),
        RequestAnswer::Withdrawn(withdrawn) => settlement.withdrawn(withdrawn),
    };
    let RequestSettlement { batch, mut request, .. } = settlement;
    if next.is_none() && request.is_to_be_heard() {
        let soonest = soonest_look(app, &request, app.clock.now());
        request.look_by(soonest);
    }
    store::payment_requests::save(&mut tx, std::slice::from_ref(&request)).await?;
    batch.close(&mut tx).await?;
    tx.commit().await?;
    Ok(next.filter(|_| ours).map(|step| (step, request)))
}

/// One request and what it belongs to, all locked.
pub(crate) struct RequestSettlement<'a> {
    pub app: &'a App,
    pub now: DateTime<Utc>,
    pub wall: DateTime<Utc>,
    sends: bool,
    /// A payment of the invoice is on its way or undecided.
    in_flight: bool,
    pub batch: SettlementBatch<'a>,
    pub request: PaymentRequest,
}

impl RequestSettlement<'_> {
    pub fn tell(&mut self, kind: &'static str) {
        metrics::counter!(telemetry::PAYMENT_REQUESTS, "gateway" => self.request.gateway.clone(), "status" => kind).increment(1);
        let event = event(self.app, self.now, &Actor::System, kind, &self.request);
        self.batch.tell(event);
    }

    /// A schedule is wanted until somebody takes it back.
    fn is_wanted(&self) -> bool {
        self.request.invoice_id.is_none_or(|id| self.batch.invoice(id).is_some_and(|invoice| self.batch.is_wanted(invoice)))
    }

    fn asked(&mut self, asked: &Asked) -> Option<Step> {
        match asked {
            Asked::Sent { request_id, link } => {
                self.request.status = RequestStatus::Sent;
                self.request.request_id.clone_from(request_id);
                self.request.link.clone_from(link);
                self.request.message = None;
                // Whoever is asked now needs no reminder now.
                self.request.remind = false;
                self.request.checks = 0;
                self.poll_later();
                self.tell("sent");
                if self.request.ending.is_none() && !self.is_wanted() {
                    self.request.ending = Some(Ending::Withdrawn);
                }
                self.request.ending.map(|_| Step::Withdraw)
            }
            Asked::Refused(decline) => {
                self.request.message = Some(format!("{} ({})", decline.message, decline.code));
                self.refused(decline, None);
                None
            }
            Asked::GatewayError { message, retry_after } => {
                self.request.message = Some(message.clone());
                if self.request.asks > 1 {
                    // This call was not processed; an earlier one, whose answer was lost, may be on its way still.
                    self.request.status = RequestStatus::Unknown;
                    self.later(message);
                } else if matches!(self.request.role, Role::Extra | Role::Schedule) {
                    // Nobody else would ask again.
                    self.request.asks = 0;
                    self.later(message);
                } else {
                    self.request.asks = 0;
                    let class = DeclineClass::GatewayFault;
                    let decline = Decline { class, code: "gateway_error".to_owned(), message: message.clone() };
                    self.refused(&decline, *retry_after);
                }
                None
            }
            Asked::Unknown { message } => {
                if self.request.status != RequestStatus::Unknown {
                    self.request.message = Some(message.clone());
                    self.tell("unknown");
                }
                self.request.status = RequestStatus::Unknown;
                self.later(message);
                None
            }
        }
    }

    /// Nobody was asked. The invoice goes its way: the next step of the ladder, a short wait, or the end.
    fn refused(&mut self, decline: &Decline, retry_after: Option<Duration>) {
        let ending = self.request.ending.take();
        self.request.status = RequestStatus::Refused;
        self.end();
        self.tell("refused");
        let Some(id) = self.decides().filter(|_| ending != Some(Ending::Withdrawn)) else { return };
        let fault = decline.class == DeclineClass::GatewayFault;
        match self.request.role {
            Role::Attempt if fault => self.batch.gateway_fault(id, retry_after.and_then(|wait| TimeDelta::from_std(wait).ok())),
            Role::Attempt => self.batch.decline(id, decline),
            Role::Last if fault => self.batch.last_request_fault(id),
            Role::Last => self.batch.give_up_for_good(id),
            Role::Extra | Role::Schedule => {}
        }
    }

    /// The invoice, if this request's end is its business: it is open, nothing is under way and nothing else is planned.
    fn decides(&self) -> Option<InvoiceId> {
        let planned = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at != self.request.expires_at);
        let id = self.request.invoice_id.filter(|_| self.request.role != Role::Extra && !self.in_flight)?;
        let invoice = self.batch.invoice(id)?;
        (invoice.status == InvoiceStatus::Open && !planned(invoice.next_attempt_at)).then_some(id)
    }

    fn reminded(&mut self, asked: &Asked) -> Option<Step> {
        match asked {
            Asked::Sent { link, .. } => {
                self.request.link = link.clone().or_else(|| self.request.link.take());
                self.reminder_went_out();
            }
            // A reminder that may have gone out is not sent again: the customer is told once.
            Asked::Unknown { message } => {
                self.request.message = Some(message.clone());
                self.reminder_went_out();
            }
            // As after an attempt to pay: then nothing can be sent again, and what came is heard of at the next look.
            Asked::Refused(decline) => {
                self.request.message = Some(format!("{} ({})", decline.message, decline.code));
                self.request.remind = false;
                self.request.checks = 0;
                self.poll_later();
            }
            Asked::GatewayError { message, .. } => self.later(message),
        }
        None
    }

    fn reminder_went_out(&mut self) {
        self.request.remind = false;
        self.request.reminders += 1;
        self.request.checks = 0;
        self.poll_later();
        self.tell("reminded");
    }

    async fn received(&mut self, tx: &mut Tx, invoice: InvoiceId, received: &[Received]) -> Result<Option<Step>> {
        let mut booked = store::payments::of_request(tx, self.request.id).await?;
        let known =
            |money: &&Received| booked.iter().any(|payment| payment.transaction_id.as_ref() == Some(&money.transaction_id));
        let fresh: Vec<&Received> = received.iter().filter(|money| !known(money)).collect();
        let mut foreign = None;
        for money in fresh.iter().filter(|money| !money.reserved) {
            let payment = self.payment(invoice, money, booked.is_empty(), PaymentStatus::Succeeded);
            if money.currency != self.request.currency {
                foreign = Some(money);
            } else if money.amount_minor < self.request.amount && self.request.role == Role::Attempt {
                // The rest is asked for.
                self.batch.plan_at_once(invoice);
            }
            booked.push(payment.clone());
            self.batch.receive(payment);
        }
        let paid = booked.iter().any(|payment| payment.amount_captured > 0 && payment.currency == self.request.currency);
        if paid && self.request.status != RequestStatus::Paid {
            self.request.status = RequestStatus::Paid;
            self.request.ending = None;
            self.request.message = None;
            self.end();
            self.tell("paid");
        } else if let Some(money) = foreign.filter(|_| self.request.status.is_open()) {
            let (asked, sum) = (self.request.currency.major(self.request.amount), money.currency.major(money.amount_minor));
            self.park(format!("{sum} {} was paid, not {asked} {}: it goes back", money.currency, self.request.currency));
        }
        if !self.request.status.is_open() {
            self.watch();
            return Ok(None);
        }
        let wanted = self.is_wanted() && self.request.ending != Some(Ending::Withdrawn);
        if wanted && let Some(money) = fresh.iter().find(|money| money.reserved) {
            self.capture(invoice, money, booked.is_empty());
            return Ok(None);
        }
        if let Some(payment) = booked.iter().find(|payment| payment.status.is_open()) {
            // It is being captured: what comes of that decides.
            if payment.status == PaymentStatus::Parked {
                self.park(format!("payment {} waits for an operator: resolve it, then check this request", payment.id));
            } else {
                self.wait();
            }
            return Ok(None);
        }
        if self.request.ending.is_none() && !self.is_wanted() {
            self.request.ending = Some(Ending::Withdrawn);
        }
        if self.request.ending.is_some() {
            return Ok(Some(Step::Withdraw));
        }
        Ok(match self.request.status {
            // Nothing was paid, so asking again cannot cost anybody anything.
            RequestStatus::Pending | RequestStatus::Unknown => Some(Step::Ask),
            _ => self.remind_or_poll(),
        })
    }

    pub fn remind_or_poll(&mut self) -> Option<Step> {
        if self.request.remind {
            return Some(Step::Remind);
        }
        self.poll_later();
        None
    }

    /// A reservation becomes money as any other payment does: recorded first, then looked up, found reserved, and captured. Never while
    /// another payment of the invoice is under way.
    fn capture(&mut self, invoice: InvoiceId, money: &Received, first: bool) {
        if self.in_flight {
            self.later("another payment of the invoice is under way");
            return;
        }
        let payment = self.payment(invoice, money, first, PaymentStatus::Unknown);
        self.request.checks = 0;
        self.wait();
        self.tell("reserved");
        self.batch.reserve(payment);
        self.app.wakeups.look_up.notify_one();
    }

    pub fn park(&mut self, message: String) {
        self.request.status = RequestStatus::Parked;
        self.request.ending = None;
        self.request.message = Some(message);
        self.end();
        self.tell("parked");
    }

    /// What a customer has paid, or reserved where `status` is unknown.
    pub fn payment(&self, invoice_id: InvoiceId, money: &Received, first: bool, status: PaymentStatus) -> Payment {
        let request = &self.request;
        let taken = status == PaymentStatus::Succeeded;
        let id = self.app.ids.next(self.wall);
        let invoice = self.batch.invoice(invoice_id);
        let installment = invoice.is_some_and(|invoice| invoice.installment_plan_id.is_some());
        Payment {
            id,
            invoice_id,
            customer_id: request.customer_id,
            payment_method_id: request.payment_method_id,
            payment_request_id: Some(request.id),
            authorization_id: None,
            amount_disputed: 0,
            credential: None,
            timeline: request.timeline,
            attempt: 0,
            gateway: request.gateway.clone(),
            kind: MethodKind::PaymentRequest,
            // Two links of one request may both be paid, and references are unique.
            reference: if first { request.reference.clone() } else { id.short_reference() },
            idempotency_key: id.to_string(),
            customer_token: None,
            payment_method_token: None,
            prior_transaction_id: None,
            reason: if installment { Reason::Installment } else { Reason::Recurring },
            description: request.description.clone(),
            amount: money.amount_minor,
            amount_captured: if taken { money.amount_minor } else { 0 },
            amount_refunded: 0,
            overpayment: 0,
            currency: money.currency,
            status,
            transaction_id: Some(money.transaction_id.clone()),
            decline_class: None,
            decline_code: None,
            decline_message: None,
            lease_owner: None,
            lease_token: 0,
            lease_expires_at: None,
            lookups: 0,
            next_lookup_at: (!taken).then_some(self.wall),
            sent_at: request.sent_at,
            called_at: self.wall,
            created_at: self.now,
            resolved_at: taken.then_some(self.now),
            return_at: None,
        }
    }

    fn silence(&mut self, message: &str) -> Option<Step> {
        if !self.request.status.is_open() {
            self.watch();
        } else if self.request.status == RequestStatus::Sent && self.request.ending.is_none() && !self.request.remind {
            self.poll_later();
        } else {
            self.later(message);
        }
        None
    }

    fn withdrawn(&mut self, withdrawn: &Withdrawn) -> Option<Step> {
        let ending = self.request.ending?;
        match withdrawn {
            Withdrawn::NoAnswer { message } => {
                self.later(message);
                return None;
            }
            // Somebody has tried to pay: until the gateway lets it run out, they may try again.
            Withdrawn::Kept { message } => self.request.message = Some(message.clone()),
            Withdrawn::Gone => {}
        }
        let decides = self.decides();
        self.request.ending = None;
        self.request.status = if ending == Ending::Expired { RequestStatus::Expired } else { RequestStatus::Withdrawn };
        self.end();
        self.request.kept = matches!(withdrawn, Withdrawn::Kept { .. });
        if self.request.agreement_id.is_some() {
            // A payment of it may have been on its way.
            self.request.kept = true;
            self.request.gateway_expires_at = self.wall + TimeDelta::days(1);
        }
        self.watch();
        self.tell(self.request.status.as_str());
        if let Some(id) = decides {
            match (ending, self.request.role) {
                (Ending::Expired, Role::Attempt) => {
                    let message = "the payment request expired unpaid".to_owned();
                    self.batch.decline(id, &Decline { class: DeclineClass::Soft, code: "request_expired".to_owned(), message });
                }
                (Ending::Expired, Role::Last) => self.batch.give_up_for_good(id),
                (Ending::Withdrawn, _) => self.batch.plan_now(id),
                (_, Role::Extra | Role::Schedule) => {}
            }
        }
        None
    }

    pub fn end(&mut self) {
        self.request.remind = false;
        self.request.next_reminder_at = None;
        self.request.next_check_at = None;
        self.request.resolved_at = Some(self.now);
        self.request.checks = 0;
        self.watch();
    }

    /// A closed request may still be paid by a link that we do not know of or that the gateway kept: it is looked at until none can be.
    pub fn watch(&mut self) {
        let strays = self.sends && self.request.may_stray();
        let over = self.wall >= self.request.gateway_expires_at + TimeDelta::hours(1);
        self.request.next_check_at =
            (strays && !over).then(|| self.wall + self.pause(&self.app.config.collection.payment_request_poll));
        self.request.checks += i64::from(strays);
    }

    /// The next look at a request that is out: often at first, then seldom.
    fn poll_later(&mut self) {
        self.request.next_check_at = Some(self.wall + self.pause(&self.app.config.collection.payment_request_poll));
        self.request.checks += 1;
    }

    /// Something else has to end first.
    fn wait(&mut self) {
        self.request.next_check_at = Some(self.wall + self.pause(&self.app.config.collection.lookup_backoff));
        self.request.checks += 1;
    }

    fn pause(&self, waits: &[Duration]) -> TimeDelta {
        let index = usize::try_from(self.request.checks).unwrap_or(0).min(waits.len().saturating_sub(1));
        waits.get(index).and_then(|wait| TimeDelta::from_std(*wait).ok()).unwrap_or(TimeDelta::days(1))
    }

    /// Something is to be done and the gateway does not answer: tried again, longer and longer, and in the end left to a human.
    fn later(&mut self, message: &str) {
        let backoff = &self.app.config.collection.lookup_backoff;
        if self.request.checks >= backoff.len() as i64 + LAST_STEP_REPEATS {
            if self.request.status == RequestStatus::Sent && self.request.ending.is_none() {
                // Only a reminder: not worth a human's time.
                self.request.remind = false;
                self.request.checks = 0;
                self.poll_later();
            } else {
                self.park(message.to_owned());
            }
            return;
        }
        self.request.message = Some(message.to_owned());
        self.wait();
    }
}
