//! Paylike: charges an earlier transaction in two steps. An authorization takes no money, so a lost one costs nothing; the capture
//! takes it, and an unknown capture is decided by reading the transaction.

mod codes;
mod link;
mod returns;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use serde_json::{Value, json};

use self::wire::{Refusal, Transaction};
use super::{
    Capabilities, Charge, Disputed, Found, Gateway, Other, Return, ReturnFound, ReturnOutcome, Sent, Source,
    http::{Auth, Http, HttpAnswer, NoAnswer, Settings, Wire},
    json::text,
    remote_state::RemoteState,
    requests::Requests,
};
use crate::domain::{
    payment::{Decline, DeclineClass, Outcome},
    payment_method::MethodKind,
};

/// A list is read page by page, newest first; more than this many transactions since the payment and a lookup gives up.
const PAGE: usize = 100;
const MAX_PAGES: usize = 250;
/// How far the gateway's clock and ours may differ.
const SKEW: TimeDelta = TimeDelta::minutes(15);

/// The adapter of one Paylike account.
pub struct Paylike {
    http: Http,
    merchant_id: String,
}

/// What the gateway does not have.
enum Missing {
    /// The customer's earlier transaction.
    Prior,
    /// The merchant of the settings.
    Merchant,
    /// Neither of them.
    Nothing,
    /// The gateway could not say.
    NoAnswer,
}

impl Paylike {
    /// Opens no connection. Refuses an address or a key that no request can hold, and says which.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        if settings.merchant_id.is_empty() {
            return Err("merchant_id: Paylike needs one".into());
        }
        let http = Http::new(settings, Auth::BasicPassword)?;
        Ok(Self { http, merchant_id: settings.merchant_id.clone() })
    }

    /// Its calls travel by this instead of a network.
    #[doc(hidden)]
    pub fn through(settings: &Settings, wire: Arc<dyn Wire>) -> Result<Self, String> {
        Ok(Self { http: Http::through(settings, wire)?, merchant_id: settings.merchant_id.clone() })
    }

    async fn get(&self, operation: &'static str, id: &str) -> Result<Transaction, String> {
        match self.http.get(operation, self.http.url(&["transactions", id])).await.map_err(NoAnswer::message)? {
            HttpAnswer::Done(body) => Transaction::read(&body)
                .filter(|transaction| transaction.id == id)
                .ok_or_else(|| "the answer does not show the transaction asked for".into()),
            HttpAnswer::Refused { status, body } => Err(self.refusal_text(status, body.as_ref())),
        }
    }

    fn refusal_text(&self, status: u16, body: Option<&Value>) -> String {
        format!("status {status}: {}", self.cleaned(Refusal::read(status, body).decline(), &[]).message)
    }

    fn cleaned(&self, decline: Decline, secrets: &[&str]) -> Decline {
        Decline { message: self.http.clean(&decline.message, secrets), ..decline }
    }

    /// What a refused authorization comes to.
    async fn refused(&self, prior: &str, status: u16, body: Option<&Value>) -> Outcome {
        if status == 409 {
            return unknown(self.refusal_text(status, body));
        }
        let refusal = Refusal::read(status, body);
        let about_prior = status == 404 || refusal.is_about("transactionId");
        let mut decline = self.cleaned(refusal.decline(), &[prior]);
        if about_prior {
            match self.missing(prior).await {
                Missing::Prior => {
                    let message = "the gateway no longer has the customer's earlier transaction".into();
                    decline = Decline { class: DeclineClass::NewCardNeeded, message, ..decline };
                }
                Missing::Merchant => {
                    let message = format!("the gateway does not know the merchant: {}", decline.message);
                    decline = Decline { class: DeclineClass::AccountRefused, message, ..decline };
                }
                Missing::Nothing => {}
                Missing::NoAnswer => decline.class = DeclineClass::GatewayFault,
            }
        }
        Outcome::Declined { decline, transaction_id: None }
    }

    /// What a "not found" was about. A customer's earlier transaction that is gone for good, while address, key and merchant are
    /// right, is brought back by no retry and no operator: only a new first transaction helps. Without this proof a mistyped address
    /// or merchant would tell every customer that their card is no good.
    async fn missing(&self, prior: &str) -> Missing {
        match self.http.get("charge_refused", self.http.url(&["transactions", prior])).await {
            Ok(HttpAnswer::Refused { status: 404, .. }) => {}
            Ok(HttpAnswer::Done(_)) => return Missing::Nothing,
            _ => return Missing::NoAnswer,
        }
        match self.http.get("charge_refused", self.http.url(&["merchants", &self.merchant_id])).await {
            Ok(HttpAnswer::Done(_)) => Missing::Prior,
            Ok(HttpAnswer::Refused { .. }) => Missing::Merchant,
            Err(_) => Missing::NoAnswer,
        }
    }

    /// After a capture whose answer did not settle it: the transaction itself decides.
    async fn captured(&self, id: &str, charge: &Charge, refusal: Option<Decline>) -> Outcome {
        let transaction = match self.get("capture", id).await {
            Ok(transaction) => transaction,
            Err(message) => return unknown(message),
        };
        match (transaction.state(charge.amount_minor), refusal) {
            (RemoteState::Authorized, Some(decline)) => Outcome::Declined { decline, transaction_id: Some(id.to_owned()) },
            (RemoteState::Authorized, None) => unknown("the capture was not refused, but the money is still only reserved"),
            (state, _) => self.outcome(id, state),
        }
    }

    fn outcome(&self, id: &str, state: RemoteState) -> Outcome {
        let declined = |decline| Outcome::Declined { decline, transaction_id: Some(id.to_owned()) };
        match state {
            RemoteState::Taken { amount_minor } => Outcome::Succeeded { transaction_id: id.to_owned(), amount_minor },
            RemoteState::Authorized => Outcome::Authorized { transaction_id: id.to_owned() },
            RemoteState::Declined(decline) | RemoteState::Doubtful(decline) => declined(self.cleaned(decline, &[])),
            // Nothing was taken and nothing is reserved: an ordinary charge may follow.
            RemoteState::Voided => declined(Decline {
                class: DeclineClass::TryLater,
                code: "voided".into(),
                message: "the authorization was voided".into(),
            }),
            RemoteState::Unclear(message) => unknown(self.http.clean(&message, &[])),
        }
    }

    fn found(&self, sent: &Sent, transaction: &Transaction) -> Found {
        // More may have been reserved than is captured. What its id was given us for is ours, whatever its amount.
        let asked = transaction.amount.filter(|_| sent.transaction_id.is_some()).unwrap_or(sent.amount_minor);
        if let Err(message) = transaction.agrees(asked, sent.currency) {
            return Found::Disagrees { message: self.http.clean(&message, &[]) };
        }
        match self.outcome(&transaction.id, transaction.state(sent.amount_minor)) {
            Outcome::Unknown { message } => Found::NoAnswer { message },
            outcome => Found::Outcome(outcome),
        }
    }

    async fn search(&self, sent: &Sent) -> Result<Found, String> {
        Ok(self.pick(sent, self.matches(sent).await?))
    }

    /// Looks for our reference in everything newer than the payment.
    async fn matches(&self, sent: &Sent) -> Result<Vec<Transaction>, String> {
        let oldest = sent.sent_at - SKEW;
        let mut matches: Vec<Transaction> = Vec::new();
        let mut before: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let page = self.page(before.as_deref()).await?;
            let Some(last) = page.last().map(|transaction| transaction.id.clone()) else {
                return Ok(matches);
            };
            if before.as_deref() == Some(last.as_str()) {
                return Err("the gateway's list does not move on".into());
            }
            // The whole page must be older: one odd time in it proves nothing.
            let past = page.iter().all(|transaction| transaction.created.is_some_and(|created| created < oldest));
            matches.extend(page.into_iter().filter(|transaction| transaction.reference.as_deref() == Some(&*sent.reference)));
            if past {
                return Ok(matches);
            }
            before = Some(last);
        }
        Err(format!("more than {} transactions since the payment", PAGE * MAX_PAGES))
    }

    async fn page(&self, before: Option<&str>) -> Result<Vec<Transaction>, String> {
        let mut url = self.http.url(&["merchants", &self.merchant_id, "transactions"]);
        url.query_pairs_mut().append_pair("limit", &PAGE.to_string());
        if let Some(id) = before {
            url.query_pairs_mut().append_pair("before", id);
        }
        let body = match self.http.get("look_up", url).await.map_err(NoAnswer::message)? {
            HttpAnswer::Done(body) => body,
            HttpAnswer::Refused { status, body } => return Err(self.refusal_text(status, body.as_ref())),
        };
        let items = body.as_array().or_else(|| body.get("transactions")?.as_array()).ok_or("the answer is not a list")?;
        let page: Option<Vec<_>> = items.iter().map(Transaction::read).collect();
        page.ok_or_else(|| "the answer lists transactions without an id".into())
    }

    /// Money taken counts first, then money reserved (the newest: a lost authorization runs out by itself), then the rest.
    fn pick(&self, sent: &Sent, matches: Vec<Transaction>) -> Found {
        let rank = |transaction: &Transaction| match transaction.state(sent.amount_minor) {
            RemoteState::Taken { .. } => 4,
            RemoteState::Authorized => 3,
            RemoteState::Unclear(_) => 2,
            RemoteState::Declined(_) | RemoteState::Doubtful(_) => 1,
            RemoteState::Voided => 0,
        };
        let Some(best) = matches.iter().max_by_key(|transaction| (rank(transaction), transaction.created)) else {
            return Found::Nothing;
        };
        let others = matches.iter().filter(|other| other.id != best.id && rank(other) >= 3);
        let others: Vec<Other> = others
            .map(|other| Other {
                transaction_id: other.id.clone(),
                taken_minor: Some(other.captured).filter(|&captured| captured > 0),
            })
            .collect();
        self.found(sent, best).among(others)
    }
}

#[async_trait]
impl Gateway for Paylike {
    fn capabilities(&self) -> Capabilities {
        Capabilities { kind: MethodKind::PriorTransaction, captures_in_part: false }
    }

    fn requests(&self) -> Option<&dyn Requests> {
        Some(self)
    }

    /// Only reserves: answers `Authorized`.
    async fn charge(&self, charge: &Charge) -> Outcome {
        let Source::PriorTransaction { transaction_id: prior } = &charge.source else {
            let message = "Paylike charges an earlier transaction, not a stored customer".into();
            let decline = Decline { class: DeclineClass::ChargeRefused, code: "wrong_method".into(), message };
            return Outcome::Declined { decline, transaction_id: None };
        };
        // No descriptor: the gateway's rules for it are strict, and without one the merchant's own is shown to the customer.
        let body = json!({
            "transactionId": prior,
            "currency": charge.currency.code(),
            "amount": charge.amount_minor,
            "custom": { "reference": charge.reference },
        });
        let url = self.http.url(&["merchants", &self.merchant_id, "transactions"]);
        match self.http.post("charge", url, Some(&body)).await {
            Ok(HttpAnswer::Done(body)) => match body.get("transaction").and_then(|transaction| text(transaction, "id")) {
                Some(id) if id != prior => Outcome::Authorized { transaction_id: id.to_owned() },
                _ => unknown("the answer shows no new transaction"),
            },
            Ok(HttpAnswer::Refused { status, body }) => self.refused(prior, status, body.as_ref()).await,
            Err(no_answer) => no_answer.into(),
        }
    }

    async fn authorize(&self, charge: &Charge) -> Outcome {
        self.charge(charge).await
    }

    async fn capture(&self, transaction_id: &str, charge: &Charge) -> Outcome {
        let url = self.http.url(&["transactions", transaction_id, "captures"]);
        let body = json!({ "amount": charge.amount_minor, "currency": charge.currency.code() });
        match self.http.post("capture", url, Some(&body)).await {
            Ok(HttpAnswer::Done(body)) => match Transaction::read(&body) {
                Some(transaction) if transaction.id == transaction_id && transaction.captured >= charge.amount_minor => {
                    self.outcome(transaction_id, transaction.state(charge.amount_minor))
                }
                _ => self.captured(transaction_id, charge, None).await,
            },
            // 409 is the answer to a second capture, and then the first one counts. Whatever was refused, the transaction knows.
            Ok(HttpAnswer::Refused { status: 409, .. }) => self.captured(transaction_id, charge, None).await,
            Ok(HttpAnswer::Refused { status, body }) => {
                let decline = self.cleaned(Refusal::read(status, body.as_ref()).decline(), &[]);
                self.captured(transaction_id, charge, Some(decline)).await
            }
            Err(no_answer) => no_answer.into(),
        }
    }

    async fn look_up(&self, sent: &Sent) -> Found {
        let found = match &sent.transaction_id {
            Some(id) => self.get("look_up", id).await.map(|transaction| self.found(sent, &transaction)),
            None => self.search(sent).await,
        };
        found.unwrap_or_else(|message| Found::NoAnswer { message })
    }

    async fn void(&self, transaction_id: &str, _charge: &Charge) -> ReturnOutcome {
        self.void_reserved(transaction_id).await
    }

    async fn give_back(&self, order: &Return) -> ReturnOutcome {
        self.return_money(order).await
    }

    async fn disputed(&self, transaction_id: &str, _: Option<&str>) -> Result<Option<Disputed>, String> {
        let transaction = self.get("disputed", transaction_id).await?;
        Ok(transaction.disputed.map(|amount_minor| Disputed { amount_minor, reason: "disputed".into() }))
    }

    async fn look_up_return(&self, order: &Return) -> ReturnFound {
        self.returned(order).await
    }
}

fn unknown(message: impl Into<String>) -> Outcome {
    Outcome::Unknown { message: message.into() }
}

#[cfg(test)]
mod tests;
