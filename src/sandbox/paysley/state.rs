//! What Paysley keeps: payment requests, and the payments made through their links.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Map, Number, Value, json};

use crate::domain::money::Currency;

/// What Paysley remembers.
#[derive(Debug, Default)]
pub struct PaysleyState {
    /// Payment requests by the number in their transaction id.
    pub requests: BTreeMap<u64, PaysleyRequest>,
    /// Oldest first.
    pub payments: Vec<PaysleyPayment>,
    pub last: u64,
}

/// A payment request: a link that a customer was sent.
#[derive(Debug)]
pub struct PaysleyRequest {
    /// The fields of the request as they were sent, to be echoed.
    pub fields: Map<String, Value>,
    pub reference: String,
    pub amount: i64,
    pub currency: Currency,
    pub preauthorized: bool,
    pub response_url: String,
    pub expires: Option<DateTime<Utc>>,
    pub created: DateTime<Utc>,
    pub modified: Option<DateTime<Utc>>,
    /// Messages sent, over all channels.
    pub messages: u64,
    pub schedule: Option<PaysleySchedule>,
    pub deleted: bool,
}

/// Payments that the gateway makes by itself once the customer has agreed.
#[derive(Debug, Clone)]
pub struct PaysleySchedule {
    pub frequency: String,
    pub start: DateTime<Utc>,
    pub initial: Option<i64>,
    /// The number of payments; none: until somebody stops them.
    pub total: Option<u32>,
    pub made: u32,
    /// The customer has agreed, and nobody has stopped it.
    pub running: bool,
}

/// An entry of the payment history.
#[derive(Debug, Clone)]
pub struct PaysleyPayment {
    pub id: String,
    pub request: u64,
    pub reference: String,
    /// `CC.DB`, `CC.PA`, `CC.RF`.
    pub kind: &'static str,
    pub amount: i64,
    pub currency: Currency,
    pub approved: bool,
    pub captured: i64,
    pub refunded: i64,
    /// The amount that the customer's bank took back.
    pub charged_back: i64,
    /// The payment that this entry refunds; none if it is no refund.
    pub of: Option<String>,
    pub scheduled: bool,
    pub at: DateTime<Utc>,
}

/// A payment request as `/_sandbox/paysley` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AskedPayment {
    pub transaction_id: String,
    pub reference: String,
    /// Minor units.
    pub amount: i64,
    pub currency: Currency,
    pub channels: Vec<String>,
    /// Messages sent over every channel but WEB.
    pub messages: u64,
    pub deleted: bool,
    pub paid: bool,
    /// Whether recurring payments are still to come.
    pub recurring: bool,
}

pub fn transaction_id(number: u64) -> String {
    format!("{number}OO")
}

pub fn date(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// An amount as the JSON number that Paysley writes, in major units.
pub fn major(amount: i64, currency: Currency) -> Value {
    currency.major(amount).parse::<Number>().map_or(Value::Null, Value::Number)
}

impl PaysleyState {
    pub fn number(&self, transaction_id: &str) -> Option<u64> {
        let number = transaction_id.strip_suffix("OO")?.parse().ok()?;
        self.requests.get(&number).filter(|request| !request.deleted).map(|_| number)
    }

    pub fn request(&self, transaction_id: &str) -> Option<&PaysleyRequest> {
        self.requests.get(&self.number(transaction_id)?)
    }

    pub fn payment(&self, id: &str) -> Option<&PaysleyPayment> {
        self.payments.iter().find(|payment| payment.id == id)
    }

    pub fn payment_mut(&mut self, id: &str) -> Option<&mut PaysleyPayment> {
        self.payments.iter_mut().find(|payment| payment.id == id)
    }

    pub fn of_request(&self, number: u64) -> impl DoubleEndedIterator<Item = &PaysleyPayment> {
        self.payments.iter().filter(move |payment| payment.request == number)
    }

    /// Whether this link was paid. It takes no second payment.
    pub fn is_paid(&self, number: u64) -> bool {
        self.of_request(number).any(|payment| payment.approved && payment.of.is_none())
    }

    pub fn asked(&self) -> Vec<AskedPayment> {
        let one = |(number, request): (&u64, &PaysleyRequest)| AskedPayment {
            transaction_id: transaction_id(*number),
            reference: request.reference.clone(),
            amount: request.amount,
            currency: request.currency,
            channels: request.channels().map(str::to_owned).collect(),
            messages: request.messages,
            deleted: request.deleted,
            paid: self.is_paid(*number),
            recurring: request.schedule.as_ref().is_some_and(|schedule| schedule.running),
        };
        self.requests.iter().map(one).collect()
    }
}

impl PaysleyRequest {
    pub fn channels(&self) -> impl Iterator<Item = &str> {
        self.fields.get("request_methods").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    pub fn text(&self, field: &str) -> &str {
        self.fields.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// The answer to a create or an update: the fields as sent, with the amount as a text.
    pub fn show_created(&self, number: u64) -> Value {
        let mut shown = self.fields.clone();
        let id = transaction_id(number);
        for (field, value) in [
            ("amount", json!(self.currency.major(self.amount))),
            ("short_url", json!(format!("https://pay.sandbox.example/s/{id}"))),
            ("long_url", json!(format!("https://pay.sandbox.example/payment/{id}"))),
            ("qrcode_link", json!(format!("https://pay.sandbox.example/qr/{id}.png"))),
            ("created_at", json!(date(self.created))),
            ("modified_at", json!(self.modified.map(date).unwrap_or_default())),
            ("transaction_id", json!(id)),
        ] {
            shown.insert(field.to_owned(), value);
        }
        Value::Object(shown)
    }
}

impl PaysleyPayment {
    pub fn show(&self, request: &PaysleyRequest) -> Value {
        let captured = self.kind == "CC.PA" && self.captured > 0;
        json!({
            "captured_amount": captured.then(|| major(self.captured, self.currency)),
            "payment_id": self.id,
            "transaction_id": transaction_id(self.request),
            "transaction_type": if self.scheduled { "scheduled" } else { "once-off" },
            "reference_number": self.reference,
            "reference_payment_id": self.of,
            "payment_type": self.kind,
            "amount": major(self.amount, self.currency),
            "currency": self.currency,
            "email": request.text("email"),
            "customer_phone_number": request.text("mobile_number"),
            "payment_date": date(self.at),
            "transaction_date": date(request.created),
            "shipping_information": false,
            "status": if self.approved { "success" } else { "failed" },
            "result_description": if self.approved { "Transaction success." } else { "Transaction declined." },
        })
    }
}
