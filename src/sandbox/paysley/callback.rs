//! Paysley's call to the merchant: a form whose one field, `response`, holds JSON. It is not signed, like the real one.

use std::time::Duration;

use serde_json::json;

use super::state::{PaysleyPayment, PaysleyRequest, major, transaction_id};

/// A call to the merchant, ready to be sent.
#[derive(Debug, Clone)]
pub struct Callback {
    pub url: String,
    pub reference: String,
    body: String,
}

impl Callback {
    /// The call about a payment. None if the request names no address.
    pub fn about(payment: &PaysleyPayment, request: &PaysleyRequest) -> Option<Self> {
        if request.response_url.is_empty() {
            return None;
        }
        let word = if payment.approved { "ACK" } else { "NOK" };
        let response = json!({
            "status": word,
            "result": word,
            "payment_id": payment.id,
            "transaction_id": transaction_id(payment.request),
            "reference_number": payment.reference,
            "payment_type": payment.kind,
            "currency": payment.currency,
            "amount": major(payment.amount, payment.currency),
            "result_code": if payment.approved { 100 } else { 200 },
            "result_description": if payment.approved { "Transaction success." } else { "Transaction declined." },
            "payment_frequency": request.schedule.as_ref().map_or("one-time", |schedule| schedule.frequency.as_str()),
            "email": request.text("email"),
            "mobile_no": request.text("mobile_number"),
        });
        // The documents show the JSON wrapped in quotes.
        let body = form_urlencoded::Serializer::new(String::new()).append_pair("response", &format!("'{response}'")).finish();
        Some(Self { url: request.response_url.clone(), reference: payment.reference.clone(), body })
    }

    /// Sends the call once, and ignores whether it arrives.
    pub async fn send(&self) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let Ok(client) = reqwest::Client::builder().timeout(Duration::from_secs(5)).build() else { return };
        let request = client.post(&self.url).header("content-type", "application/x-www-form-urlencoded");
        let _ = request.body(self.body.clone()).send().await;
    }
}
