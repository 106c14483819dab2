//! FluidPay (also gotnpgateway, MyWell): charges a customer stored in its vault. A charge that may have happened is never resent:
//! it is looked up by `order_id`.

mod codes;
mod gone;
mod returns;
mod wire;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};

use self::{
    codes::{CodeVerdict, verdict},
    wire::{Envelope, FIELDS, PARTIAL, Transaction, open},
};
use super::{
    Capabilities, Charge, Disputed, Found, Gateway, Other, Reason, Return, ReturnFound, ReturnOutcome, Sent, Source, circuit,
    fault::GatewayFault,
    http::{Auth, Http, NoAnswer, Settings, Wire},
    remote_state::RemoteState,
    statuses,
};
use crate::domain::{
    payment::{Decline, DeclineClass, Outcome},
    payment_method::MethodKind,
};

/// How long the gateway answers a repeated idempotency key with the first transaction. Its default of 300 s would be over before the
/// second lookup; a day covers every quick resend. Longer outages are covered by the lookup, not by this.
const IDEMPOTENCY: Duration = Duration::from_hours(24);
/// The gateway cuts nothing off by itself: a longer `order_id` is refused, or worse, cannot be found again.
const MAX_REFERENCE: usize = 17;
const MAX_DESCRIPTION: usize = 255;
const SEARCH_LIMIT: usize = 100;

/// The adapter of one FluidPay account.
pub struct FluidPay {
    http: Http,
}

impl FluidPay {
    /// Opens no connection. Refuses an address or a key that no request can hold, and says which.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        Ok(Self { http: Http::new(settings, Auth::Raw)?.reading(FIELDS) })
    }

    /// Its calls travel by this instead of a network.
    #[doc(hidden)]
    pub fn through(settings: &Settings, wire: Arc<dyn Wire>) -> Result<Self, String> {
        Ok(Self { http: Http::through(settings, wire)?.reading(FIELDS) })
    }

    async fn get(&self, operation: &'static str, id: &str) -> Result<Transaction, String> {
        let answer = self.http.get(operation, self.http.url(&["transaction", id])).await.map_err(NoAnswer::message)?;
        match open(answer) {
            Envelope::Data(data) => match Transaction::read(&data) {
                Some(transaction) if transaction.id == id => Ok(transaction),
                Some(_) => Err("the gateway answered with another transaction".into()),
                None => Err(format!("the gateway has no transaction {id}")),
            },
            Envelope::Failed { status, message } => Err(format!("status {status}: {}", self.http.clean(&message, &[]))),
            Envelope::Strange => Err("the answer is not in the gateway's format".into()),
        }
    }

    async fn post(&self, operation: &'static str, path: &[&str], body: Option<&Value>) -> Result<Envelope, NoAnswer> {
        self.http.post(operation, self.http.url(path), body).await.map(open)
    }

    /// Sends a charge or an authorization.
    async fn submit(&self, charge: &Charge, body: &Value) -> Outcome {
        let Source::VaultToken { customer_token, payment_method_token } = &charge.source else {
            return misuse("wrong_method", "FluidPay charges a stored customer, not an earlier transaction");
        };
        let findable = charge.reference.len() <= MAX_REFERENCE && charge.reference.chars().all(|c| c.is_ascii_alphanumeric());
        if !findable || charge.reference.is_empty() {
            return misuse("bad_reference", "a reference must be 1 to 17 letters and digits");
        }
        match self.post("charge", &["transaction"], Some(body)).await {
            Ok(Envelope::Failed { status: 404, message }) => {
                self.not_found(charge, customer_token, payment_method_token.as_deref(), &message).await
            }
            Ok(envelope) => self.charged(charge, customer_token, envelope),
            Err(no_answer) => no_answer.into(),
        }
    }

    /// What the answer to a charge comes to.
    fn charged(&self, charge: &Charge, customer_token: &str, envelope: Envelope) -> Outcome {
        let data = match envelope {
            Envelope::Data(data) => data,
            Envelope::Failed { status, message } => return self.refused(status, &message, &[customer_token]),
            Envelope::Strange => return unknown("the answer is not in the gateway's format"),
        };
        let Some(transaction) = Transaction::read(&data) else {
            return unknown("the answer shows no transaction");
        };
        if transaction.order_id.as_deref().is_some_and(|theirs| !theirs.is_empty() && theirs != charge.reference) {
            return unknown("the answer is about another order");
        }
        if let Err(message) = transaction.agrees(charge.amount_minor, charge.currency) {
            return unknown(self.http.clean(&message, &[]));
        }
        let state = transaction.state(charge.amount_minor);
        match state {
            RemoteState::Doubtful(decline) => {
                if transaction.code.map(verdict) == Some(CodeVerdict::Away) {
                    circuit::note(Err(GatewayFault { message: decline.reason(), retry_after: None }));
                }
                unknown(format!("code {}: {}", decline.code, self.http.clean(&decline.message, &[])))
            }
            RemoteState::Voided => unknown(format!("the gateway says {} (transaction {})", transaction.status, transaction.id)),
            RemoteState::Unclear(message) => unknown(self.http.clean(&message, &[])),
            settled => self.outcome(transaction, settled),
        }
    }

    /// Voids an authorization of a part at once.
    async fn whole_or_nothing(&self, outcome: Outcome) -> Outcome {
        let part = match &outcome {
            Outcome::Declined { decline, transaction_id } if decline.code == PARTIAL => transaction_id.clone(),
            _ => None,
        };
        match part {
            Some(id) if !matches!(self.void("release", &id).await, ReturnOutcome::Returned { .. }) => {
                unknown(format!("only a part was reserved, and it could not be given free (transaction {id})"))
            }
            _ => outcome,
        }
    }

    /// A refused request: nothing was processed, and it is no decline of the customer's card.
    fn refused(&self, status: u16, message: &str, secrets: &[&str]) -> Outcome {
        let said = message.to_ascii_lowercase();
        // A clash over our own key or order means that an earlier copy may be under way.
        if status == 409 || said.contains("duplicate") || said.contains("idempoten") {
            return unknown(format!("status {status}: {}", self.http.clean(message, secrets)));
        }
        Outcome::Declined { decline: refusal(status, self.http.clean(message, secrets)), transaction_id: None }
    }

    /// A state that a lookup may take as final.
    fn outcome(&self, transaction: Transaction, state: RemoteState) -> Outcome {
        match state {
            RemoteState::Taken { amount_minor } => Outcome::Succeeded { transaction_id: transaction.id, amount_minor },
            RemoteState::Authorized => Outcome::Authorized { transaction_id: transaction.id },
            RemoteState::Declined(decline) | RemoteState::Doubtful(decline) => {
                let message = self.http.clean(&decline.message, &[]);
                Outcome::Declined { decline: Decline { message, ..decline }, transaction_id: Some(transaction.id) }
            }
            // Somebody took it back at the gateway. Charging again by ourselves would overrule them.
            RemoteState::Voided => {
                unknown(format!("it was {} at the gateway (transaction {})", transaction.status, transaction.id))
            }
            RemoteState::Unclear(message) => unknown(self.http.clean(&message, &[])),
        }
    }

    fn found(&self, sent: &Sent, transaction: Transaction) -> Found {
        // More may have been reserved than is captured. What its id was given us for is ours, whatever its amount.
        let known = transaction.amounts.first().copied().filter(|_| sent.transaction_id.is_some());
        if let Err(message) = transaction.agrees(known.unwrap_or(sent.amount_minor), sent.currency) {
            return Found::Disagrees { message: self.http.clean(&message, &[]) };
        }
        let state = match transaction.state(sent.amount_minor) {
            // An authorization that was voided or expired: nothing was ever taken.
            RemoteState::Voided if transaction.was_only_reserved() => {
                let message = format!("the authorization was {}", transaction.status);
                RemoteState::Declined(Decline { class: DeclineClass::TryLater, code: transaction.status.clone(), message })
            }
            state => state,
        };
        match self.outcome(transaction, state) {
            Outcome::Unknown { message } => Found::NoAnswer { message },
            outcome => Found::Outcome(outcome),
        }
    }

    /// Picks from everything the gateway has under our reference: money taken, then reserved, then unclear, then the newest decline.
    fn pick(&self, sent: &Sent, data: &Value) -> Found {
        let items = match data {
            Value::Null => return Found::Nothing,
            Value::Array(items) => items,
            _ => return no_answer("the answer is not a list"),
        };
        if items.is_empty() {
            return Found::Nothing;
        }
        let Some(all) = items.iter().map(Transaction::read).collect::<Option<Vec<_>>>() else {
            return no_answer("the answer shows transactions without an id");
        };
        let ours = |transaction: &Transaction| transaction.order_id.as_deref() == Some(sent.reference.as_str());
        if !all.iter().all(ours) {
            // A filter that was not obeyed proves nothing about what is missing.
            return no_answer("the gateway answered with other orders than the one asked for");
        }
        let rank = |transaction: &Transaction| match transaction.state(sent.amount_minor) {
            RemoteState::Taken { .. } => 4,
            RemoteState::Authorized => 3,
            RemoteState::Unclear(_) => 2,
            RemoteState::Voided => 1,
            RemoteState::Declined(_) | RemoteState::Doubtful(_) => 0,
        };
        let charges: Vec<Transaction> =
            all.into_iter().filter(|transaction| matches!(transaction.kind.as_str(), "" | "sale" | "authorize")).collect();
        let Some(best) = charges.iter().max_by_key(|transaction| (rank(transaction), transaction.created_at)) else {
            return Found::Nothing;
        };
        let others = charges.iter().filter(|other| other.id != best.id);
        let others = others.filter_map(|other| {
            let taken_minor = match other.state(sent.amount_minor) {
                RemoteState::Taken { amount_minor } => Some(amount_minor),
                RemoteState::Authorized => None,
                _ => return None,
            };
            Some(Other { transaction_id: other.id.clone(), taken_minor })
        });
        let others: Vec<Other> = others.collect();
        self.found(sent, best.clone()).among(others)
    }

    async fn search(&self, sent: &Sent) -> Found {
        let found = self.http.search("look_up", self.http.url(&["transaction", "search"]), &search(sent)).await;
        match found.map(open) {
            Ok(Envelope::Data(data)) => self.pick(sent, &data),
            Ok(Envelope::Failed { status, message }) => no_answer(format!("status {status}: {}", self.http.clean(&message, &[]))),
            Ok(Envelope::Strange) => no_answer("the answer is not in the gateway's format"),
            Err(no_answer) => no_answer.into(),
        }
    }

    /// After a capture that was refused or said nothing: the transaction itself decides.
    async fn captured(&self, id: &str, charge: &Charge, refusal: Option<Decline>) -> Outcome {
        let transaction = match self.get("capture", id).await {
            Ok(transaction) => transaction,
            Err(message) => return unknown(message),
        };
        let declined = |decline| Outcome::Declined { decline, transaction_id: Some(id.to_owned()) };
        match (transaction.state(charge.amount_minor), refusal) {
            (RemoteState::Authorized, Some(refusal)) => declined(refusal),
            (RemoteState::Authorized, None) => unknown("the capture was accepted, but the money is still only reserved"),
            // An authorization that was voided or expired: nothing was taken, so an ordinary charge may follow.
            (RemoteState::Voided, _) => {
                let message = format!("the authorization was {}", transaction.status);
                declined(Decline { class: DeclineClass::TryLater, code: transaction.status, message })
            }
            (state, _) => self.outcome(transaction, state),
        }
    }
}

#[async_trait]
impl Gateway for FluidPay {
    fn capabilities(&self) -> Capabilities {
        Capabilities { kind: MethodKind::VaultToken, captures_in_part: true }
    }

    async fn charge(&self, charge: &Charge) -> Outcome {
        self.submit(charge, &sale(charge)).await
    }

    async fn authorize(&self, charge: &Charge) -> Outcome {
        let mut body = sale(charge);
        body["type"] = json!("authorize");
        match self.submit(charge, &body).await {
            // An older account has no authorizations: a charge before the bill date must be reported.
            Outcome::Succeeded { transaction_id, .. } => {
                unknown(format!("it was taken instead of reserved (transaction {transaction_id})"))
            }
            outcome => self.whole_or_nothing(outcome).await,
        }
    }

    async fn capture(&self, transaction_id: &str, charge: &Charge) -> Outcome {
        let path = ["transaction", transaction_id, "capture"];
        match self.post("capture", &path, Some(&json!({ "amount": charge.amount_minor }))).await {
            Ok(Envelope::Data(data)) => match Transaction::read(&data).filter(|transaction| transaction.id == transaction_id) {
                Some(transaction) => match transaction.state(charge.amount_minor) {
                    taken @ RemoteState::Taken { .. } => self.outcome(transaction, taken),
                    _ => self.captured(transaction_id, charge, None).await,
                },
                None => self.captured(transaction_id, charge, None).await,
            },
            Ok(Envelope::Failed { status, message }) => {
                let refusal = refusal(status, self.http.clean(&message, &[]));
                self.captured(transaction_id, charge, Some(refusal)).await
            }
            Ok(Envelope::Strange) => self.captured(transaction_id, charge, None).await,
            Err(no_answer) => no_answer.into(),
        }
    }

    async fn look_up(&self, sent: &Sent) -> Found {
        if let Some(id) = &sent.transaction_id {
            return match self.get("look_up", id).await {
                Ok(transaction) => self.found(sent, transaction),
                Err(message) => Found::NoAnswer { message },
            };
        }
        match self.search(sent).await {
            Found::Outcome(outcome) => match self.whole_or_nothing(outcome).await {
                Outcome::Unknown { message } => Found::NoAnswer { message },
                outcome => Found::Outcome(outcome),
            },
            found => found,
        }
    }

    async fn void(&self, transaction_id: &str, _charge: &Charge) -> ReturnOutcome {
        // A void would take back what was captured, too.
        match self.get("release", transaction_id).await {
            Ok(transaction) => match transaction.state(0) {
                RemoteState::Voided => ReturnOutcome::Returned { transaction_id: None, voided: true },
                RemoteState::Taken { .. } => ReturnOutcome::Refused {
                    code: "captured".into(),
                    message: "the money has been captured: give it back instead".into(),
                },
                _ => self.void("release", transaction_id).await,
            },
            // Only a read so far: certainly nothing was voided.
            Err(message) => ReturnOutcome::GatewayError { message },
        }
    }

    async fn give_back(&self, order: &Return) -> ReturnOutcome {
        self.return_money(order).await
    }

    async fn disputed(&self, transaction_id: &str, _: Option<&str>) -> Result<Option<Disputed>, String> {
        let transaction = self.get("disputed", transaction_id).await?;
        let taken_back = matches!(transaction.status.as_str(), "returned" | "late_return" | "reversed");
        let whole =
            transaction.captured.filter(|&amount| amount > 0).or(transaction.authorized).or(transaction.amounts.first().copied());
        let amount_minor = if taken_back { whole.unwrap_or(i64::MAX) } else { 0 };
        Ok(Some(Disputed { amount_minor, reason: transaction.status }))
    }

    async fn look_up_return(&self, order: &Return) -> ReturnFound {
        self.returned(order).await
    }
}

/// The body of `POST /transaction`.
pub fn sale(charge: &Charge) -> Value {
    let (customer_token, method_token) = match &charge.source {
        Source::VaultToken { customer_token, payment_method_token } => (customer_token.as_str(), payment_method_token.as_deref()),
        Source::PriorTransaction { .. } => ("", None),
    };
    let mut customer = json!({ "id": customer_token });
    if let Some(token) = method_token {
        customer["payment_method_type"] = json!("card");
        customer["payment_method_id"] = json!(token);
    }
    let mut body = json!({
        "type": "sale",
        "amount": charge.amount_minor,
        "currency": charge.currency.code(),
        "description": charge.description.chars().take(MAX_DESCRIPTION).collect::<String>(),
        "order_id": charge.reference,
        "idempotency_key": charge.idempotency_key,
        "idempotency_time": IDEMPOTENCY.as_secs(),
        "payment_method": { "customer": customer },
        // Stored-credential marks of the newer API; the older one ignores fields that it does not know.
        "initiated_by": "merchant",
        "stored_credential_indicator": "used",
        "card_on_file_indicator": match charge.mandate.reason { Reason::Recurring => "R", Reason::Installment => "I" },
        "billing_method": "recurring",
    });
    if let Some(id) = &charge.mandate.initial_transaction_id {
        body["initial_transaction_id"] = json!(id);
    }
    body
}

/// The body of `POST /transaction/search`. Without dates the gateway searches its last four months only, and says nothing about it.
fn search(sent: &Sent) -> Value {
    let day = |days: i64| (sent.sent_at + chrono::TimeDelta::days(days)).format("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({
        "order_id": { "operator": "=", "value": sent.reference },
        // A day back for clocks that differ; a year on, since the same payment may be sent again much later.
        "created_at": { "start_date": day(-1), "end_date": day(366) },
        "limit": SEARCH_LIMIT,
        "offset": 0,
    })
}

fn unknown(message: impl Into<String>) -> Outcome {
    Outcome::Unknown { message: message.into() }
}

fn no_answer(message: impl Into<String>) -> Found {
    Found::NoAnswer { message: message.into() }
}

fn refusal(status: u16, message: String) -> Decline {
    Decline { class: statuses::class(status), code: format!("http_{status}"), message }
}

/// A charge that this adapter cannot send: nothing left the house.
fn misuse(code: &str, message: &str) -> Outcome {
    let decline = Decline { class: DeclineClass::ChargeRefused, code: code.into(), message: message.into() };
    Outcome::Declined { decline, transaction_id: None }
}

#[cfg(test)]
mod tests;
