//! Paysley (also Kurv): keeps no cards for us to charge. It asks the customer by e-mail, SMS or link; what was paid is looked up by
//! our reference, never believed from its callback.

mod returns;
mod wire;

use async_trait::async_trait;
use chrono::SecondsFormat;
use serde_json::{Value, json};

use self::wire::{Payment, Refusal, amount, succeeded};
use super::{
    Capabilities, Charge, Disputed, Found, Gateway, Return, ReturnFound, ReturnOutcome, Sent,
    http::{Auth, Http, HttpAnswer, NoAnswer, Settings},
    json::{integer, text},
    requests::{Ask, Asked, Outstanding, Polled, Received, Requests, Withdrawn},
};
use crate::domain::{
    payment::{Decline, DeclineClass, Outcome},
    payment_method::MethodKind,
};

/// The history is read page by page.
const PAGE: &str = "100";
const MAX_PAGES: i64 = 50;

/// The adapter of one Paysley account.
pub struct Paysley {
    http: Http,
}

impl Paysley {
    /// Opens no connection. Refuses an address or a key that no request can hold, and says which.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        Ok(Self { http: Http::new(settings, Auth::Bearer)? })
    }

    fn body(ask: &Ask) -> Value {
        // A first name is needed in practice; fees are on unless they are switched off.
        let (first, last) = ask.name.trim().split_once(' ').unwrap_or((ask.name.trim(), ""));
        let mut body = json!({
            "request_methods": ask.channels,
            "reference_number": ask.reference,
            "email": ask.email.as_deref().unwrap_or_default(),
            "mobile_number": ask.phone.as_deref().unwrap_or_default(),
            "customer_first_name": if first.is_empty() { "Customer" } else { first },
            "customer_last_name": last,
            "fixed_amount": true,
            "currency": ask.currency.code(),
            "amount": amount(ask.amount_minor, ask.currency),
            "payment_type": "DB",
            "payment_frequency": "ONE-TIME",
            "response_url": ask.callback_url.as_deref().unwrap_or_default(),
            // The document's own format is refused by the live system, which wants ISO 8601.
            "expiry_date": ask.expires_at.to_rfc3339_opts(SecondsFormat::Millis, true),
            "payment_fee_enabled": false,
            "ach_fee_enabled": false,
            "surcharge_fee_enabled": false,
        });
        if let Some(schedule) = &ask.schedule {
            body["payment_frequency"] = json!(schedule.frequency.as_str().to_ascii_uppercase());
            body["payment_start_date"] = json!(schedule.starts_at.to_rfc3339_opts(SecondsFormat::Millis, true));
            body["total_number_of_payments"] = schedule.payments.map_or(json!(""), |payments| json!(payments));
            body["initial_payment_amount"] = schedule.initial_minor.map_or(json!(""), |minor| amount(minor, ask.currency));
        }
        body
    }

    fn asked(&self, answer: HttpAnswer, secrets: &[&str]) -> Asked {
        match answer {
            HttpAnswer::Done(body) if succeeded(&body) => match text(&body, "transaction_id") {
                Some(id) => {
                    let link = ["short_url", "long_url"].iter().find_map(|field| text(&body, field));
                    Asked::Sent { request_id: Some(id.to_owned()), link: link.map(str::to_owned) }
                }
                None => Asked::Unknown { message: "the answer shows no transaction_id".into() },
            },
            HttpAnswer::Done(body) => self.refused(400, Some(&body), secrets),
            HttpAnswer::Refused { status, body } => self.refused(status, body.as_ref(), secrets),
        }
    }

    fn refused(&self, status: u16, body: Option<&Value>, secrets: &[&str]) -> Asked {
        let refusal = Refusal::read(status, body);
        let message = self.http.clean(&refusal.message, secrets);
        // Not documented; on other gateways it is the answer to a repeat.
        if status == 409 {
            return Asked::Unknown { message };
        }
        Asked::Refused(Decline { class: refusal.class(), code: refusal.code, message })
    }

    /// Every payment and refund under exactly this reference, newest first.
    async fn history(&self, operation: &'static str, reference: &str) -> Result<Vec<Payment>, String> {
        let mut found: Vec<Payment> = Vec::new();
        for page in 1..=MAX_PAGES {
            let mut url = self.http.url(&["payments"]);
            url.query_pairs_mut()
                .append_pair("keywords", reference)
                .append_pair("limit", PAGE)
                .append_pair("page", &page.to_string());
            let body = self.read(self.http.get(operation, url).await)?;
            let items = body.get("payments").and_then(Value::as_array).ok_or("the answer lists no payments")?;
            for item in items {
                let payment = Payment::read(item).ok_or("the answer lists payments without an id")?;
                // Keywords are searched for anywhere, in e-mail and phone too; pages move while they are read.
                if payment.reference.as_deref() == Some(reference) && !found.iter().any(|known| known.id == payment.id) {
                    found.push(payment);
                }
            }
            let pages = body.get("page_count").and_then(integer).unwrap_or(i64::MAX);
            if items.is_empty() || page >= pages {
                return Ok(found);
            }
        }
        Err(format!("more than {MAX_PAGES} pages of payments look like {reference}"))
    }

    /// What one payment is by now.
    async fn standing(&self, operation: &'static str, id: &str) -> Result<Outcome, String> {
        let body = self.read(self.http.get(operation, self.http.url(&["payments", id])).await)?;
        let payment = Payment::read(&body).filter(|payment| payment.id == id);
        let payment = payment.ok_or("the answer does not show the payment asked for")?;
        let transaction_id = payment.id.clone();
        if !payment.succeeded {
            let decline = Decline { class: DeclineClass::Soft, code: "failed".into(), message: "the payment failed".into() };
            return Ok(Outcome::Declined { decline, transaction_id: Some(transaction_id) });
        }
        if payment.is_authorized() {
            return Ok(Outcome::Authorized { transaction_id });
        }
        match payment.amount_minor() {
            Some(amount_minor) if payment.is_charge() => Ok(Outcome::Succeeded { transaction_id, amount_minor }),
            _ => Err(format!("payment {id} is nothing that a customer paid")),
        }
    }

    fn read(&self, answer: Result<HttpAnswer, NoAnswer>) -> Result<Value, String> {
        match answer.map_err(NoAnswer::message)? {
            HttpAnswer::Done(body) => Ok(body),
            HttpAnswer::Refused { status, body } => {
                let refusal = Refusal::read(status, body.as_ref());
                Err(format!("status {status}: {}", self.http.clean(&refusal.message, &[])))
            }
        }
    }
}

#[async_trait]
impl Requests for Paysley {
    fn sends(&self) -> bool {
        true
    }

    fn runs_schedules(&self) -> bool {
        true
    }

    async fn ask(&self, ask: &Ask) -> Asked {
        let secrets = [ask.email.as_deref().unwrap_or_default(), ask.phone.as_deref().unwrap_or_default()];
        match self.http.post("ask", self.http.url(&["payment-requests"]), Some(&Self::body(ask))).await {
            Ok(answer) => self.asked(answer, &secrets),
            Err(no_answer) => no_answer.into(),
        }
    }

    /// An update sends the messages again.
    async fn remind(&self, request_id: Option<&str>, ask: &Ask) -> Asked {
        let secrets = [ask.email.as_deref().unwrap_or_default(), ask.phone.as_deref().unwrap_or_default()];
        let mut body = Self::body(ask);
        body["transaction_id"] = json!(request_id);
        match self.http.put("remind", self.http.url(&["payment-requests"]), &body).await {
            Ok(answer) => self.asked(answer, &secrets),
            Err(no_answer) => no_answer.into(),
        }
    }

    async fn poll(&self, outstanding: &Outstanding) -> Polled {
        let history = match self.history("hear", &outstanding.reference).await {
            Ok(history) => history,
            Err(message) => return Polled::NoAnswer { message },
        };
        let mut received = Vec::new();
        for payment in
            history.iter().rev().filter(|payment| payment.succeeded && (payment.is_charge() || payment.is_authorized()))
        {
            let (Some(currency), Some(amount_minor)) = (payment.currency, payment.amount_minor()) else {
                return Polled::NoAnswer { message: format!("the amount of payment {} cannot be read", payment.id) };
            };
            let authorized = payment.is_authorized();
            received.push(Received { transaction_id: payment.id.clone(), amount_minor, currency, authorized });
        }
        Polled::Payments(received)
    }

    async fn withdraw(&self, request_id: &str) -> Withdrawn {
        self.taken_back(self.http.delete("withdraw", self.http.url(&["payment-requests", request_id])).await)
    }

    async fn stop(&self, payment_id: &str) -> Withdrawn {
        self.taken_back(self.http.delete("stop", self.http.url(&["payments", "subscription", payment_id])).await)
    }
}

impl Paysley {
    fn taken_back(&self, answer: Result<HttpAnswer, NoAnswer>) -> Withdrawn {
        match answer {
            Ok(HttpAnswer::Done(body)) if succeeded(&body) => Withdrawn::Gone,
            Ok(HttpAnswer::Refused { status: 404, .. }) => Withdrawn::Gone,
            Ok(HttpAnswer::Done(body)) => {
                Withdrawn::Kept { message: self.http.clean(&Refusal::read(400, Some(&body)).message, &[]) }
            }
            Ok(HttpAnswer::Refused { status: 400 | 409 | 422, body }) => {
                Withdrawn::Kept { message: self.http.clean(&Refusal::read(400, body.as_ref()).message, &[]) }
            }
            Ok(HttpAnswer::Refused { status, .. }) => Withdrawn::NoAnswer { message: format!("status {status}") },
            Err(no_answer) => Withdrawn::NoAnswer { message: no_answer.message() },
        }
    }
}

/// Nothing is charged here without the customer: only giving back is the same as elsewhere.
#[async_trait]
impl Gateway for Paysley {
    fn capabilities(&self) -> Capabilities {
        Capabilities { kind: MethodKind::PaymentRequest, captures_in_part: false }
    }

    fn requests(&self) -> Option<&dyn Requests> {
        Some(self)
    }

    async fn charge(&self, _charge: &Charge) -> Outcome {
        let message = "Paysley cannot charge anybody: it asks the customer".to_owned();
        let decline = Decline { class: DeclineClass::GatewayFault, code: "wrong_method".into(), message };
        Outcome::Declined { decline, transaction_id: None }
    }

    async fn authorize(&self, charge: &Charge) -> Outcome {
        self.charge(charge).await
    }

    async fn capture(&self, transaction_id: &str, charge: &Charge) -> Outcome {
        let url = self.http.url(&["captures", transaction_id]);
        let body = json!({ "amount": amount(charge.amount_minor, charge.currency) });
        match self.http.post("capture", url, Some(&body)).await {
            Ok(HttpAnswer::Done(body)) if succeeded(&body) => {
                Outcome::Succeeded { transaction_id: transaction_id.to_owned(), amount_minor: charge.amount_minor }
            }
            // Refused for what it is, or since an earlier copy of it came through: the payment itself knows.
            Ok(HttpAnswer::Done(_) | HttpAnswer::Refused { .. }) => match self.standing("capture", transaction_id).await {
                Ok(Outcome::Authorized { .. }) => Outcome::Unknown { message: "the capture was refused".into() },
                Ok(outcome) => outcome,
                Err(message) => Outcome::Unknown { message },
            },
            Err(no_answer) => no_answer.into(),
        }
    }

    /// Only what a customer has paid can be looked up, by the gateway's own id.
    async fn look_up(&self, sent: &Sent) -> Found {
        let Some(id) = &sent.transaction_id else { return Found::Nothing };
        match self.standing("look_up", id).await {
            Ok(outcome) => Found::Outcome(outcome),
            Err(message) => Found::NoAnswer { message },
        }
    }

    async fn void(&self, _transaction_id: &str, _charge: &Charge) -> ReturnOutcome {
        ReturnOutcome::Refused {
            code: "wrong_method".into(),
            message: "Paysley gives nothing free: a reservation runs out".into(),
        }
    }

    async fn give_back(&self, order: &Return) -> ReturnOutcome {
        self.return_money(order).await
    }

    /// Chargebacks stand on the request.
    async fn disputed(&self, transaction_id: &str, request_id: Option<&str>) -> Result<Option<Disputed>, String> {
        let Some(id) = request_id else { return Ok(None) };
        let body = self.read(self.http.get("disputed", self.http.url(&["payment-requests", id])).await)?;
        let shown = body["transactions"].get(0).ok_or("the answer does not show the request asked for")?;
        let mut amount_minor = 0;
        for entry in shown["chargeback"].as_array().into_iter().flatten() {
            let back = Payment::read(entry).ok_or("the answer lists chargebacks without an id")?;
            if back.of.as_deref().is_none_or(|of| of == transaction_id) {
                amount_minor +=
                    back.amount_minor().ok_or_else(|| format!("the amount of chargeback {} cannot be read", back.id))?;
            }
        }
        Ok(Some(Disputed { amount_minor, reason: "chargeback".into() }))
    }

    async fn look_up_return(&self, order: &Return) -> ReturnFound {
        self.returned(order).await
    }
}
