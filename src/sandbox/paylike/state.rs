//! What Paylike keeps: apps, merchants, transactions, balance lines and saved cards, each under its rising id.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::{
    super::ids::{RawId, object_id},
    refusal::ProcessingError,
};
use crate::domain::money::Currency;

/// What Paylike remembers.
#[derive(Debug, Default)]
pub struct PaylikeState {
    pub apps: HashMap<RawId, PaylikeApp>,
    pub keys: HashMap<String, RawId>,
    pub merchants: HashMap<RawId, Merchant>,
    pub transactions: HashMap<RawId, PaylikeTransaction>,
    pub lines: HashMap<RawId, BalanceLine>,
    pub cards: HashMap<RawId, SavedCard>,
}

/// A program that calls Paylike with a key.
#[derive(Debug)]
pub struct PaylikeApp {
    pub name: Option<String>,
    pub created: DateTime<Utc>,
    pub merchants: BTreeSet<RawId>,
}

/// A merchant account, its users, and the ids of what belongs to it.
#[derive(Debug)]
pub struct Merchant {
    pub name: Option<String>,
    pub currency: Currency,
    pub test: bool,
    pub email: String,
    pub website: String,
    pub descriptor: String,
    pub company: Value,
    pub bank: Value,
    pub created: DateTime<Utc>,
    pub apps: BTreeSet<RawId>,
    pub users: BTreeMap<RawId, String>,
    pub user_ids: BTreeSet<RawId>,
    pub transactions: BTreeSet<RawId>,
    pub lines: BTreeSet<RawId>,
}

/// The parts of a card that may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardDetails {
    pub bin: &'static str,
    pub last4: &'static str,
    pub expiry: &'static str,
    pub scheme: &'static str,
}

/// The one card behind every transaction of the sandbox.
pub const CARD: CardDetails = CardDetails { bin: "410000", last4: "0000", expiry: "2066-08-31T23:59:59.999Z", scheme: "visa" };

/// A saved card: the transaction that it was saved from, which pays for it.
#[derive(Debug)]
pub struct SavedCard {
    pub merchant: RawId,
    pub transaction: RawId,
    pub notes: Option<String>,
}

/// An authorization, and what was captured, refunded, voided and disputed of it.
#[derive(Debug)]
pub struct PaylikeTransaction {
    pub merchant: RawId,
    pub test: bool,
    pub created: DateTime<Utc>,
    pub currency: Currency,
    pub amount: i64,
    pub descriptor: String,
    pub captured: i64,
    pub refunded: i64,
    pub voided: i64,
    pub disputed: i64,
    pub custom: Option<Value>,
    pub recurring: bool,
    pub error: Option<ProcessingError>,
    /// The code that later transactions from this one are declined with, if neither fault, script nor amount decides.
    pub decline: Option<u16>,
    pub trail: Vec<Trail>,
}

/// What happened to an authorization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Capture,
    Refund,
    Void,
}

/// A record of one action on an authorization.
#[derive(Debug)]
pub struct Trail {
    pub action: Action,
    pub amount: i64,
    pub created: DateTime<Utc>,
    pub descriptor: Option<String>,
    pub line: Option<RawId>,
}

/// An entry on a merchant's balance.
#[derive(Debug)]
pub struct BalanceLine {
    pub merchant: RawId,
    pub transaction: RawId,
    pub action: Action,
    pub test: bool,
    pub created: DateTime<Utc>,
    pub amount: i64,
}

impl PaylikeState {
    /// Authorizations with a reference that are neither captured nor voided: reference and amount, oldest first.
    pub fn authorized(&self) -> Vec<(String, i64)> {
        let mut found: Vec<_> = self.transactions.iter().filter(|(_, transaction)| transaction.pending() > 0).collect();
        found.sort_unstable_by_key(|(id, _)| **id);
        let named = found.into_iter().map(|(_, transaction)| (transaction.reference(), transaction.pending()));
        named.filter(|(reference, _)| !reference.is_empty()).collect()
    }
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Refund => "refund",
            Self::Void => "void",
        }
    }

    /// The change to the merchant's balance. The sandbox takes no fees.
    fn balance(self, amount: i64) -> i64 {
        match self {
            Self::Capture => amount,
            Self::Refund => -amount,
            Self::Void => 0,
        }
    }
}

pub fn date(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl PaylikeApp {
    pub fn show(&self, id: &RawId) -> Value {
        json!({ "id": object_id(*id), "name": self.name, "created": date(self.created) })
    }
}

impl Merchant {
    /// Shows a merchant. Its public key is made from its id.
    pub fn show(&self, id: &RawId) -> Value {
        let id = object_id(*id);
        json!({
            "id": id,
            "key": format!("{}-{}-4000-8000-{}", &id[..8], &id[8..12], &id[12..]),
            "name": self.name,
            "currency": self.currency,
            "test": self.test,
            "email": self.email,
            "website": self.website,
            "descriptor": self.descriptor,
            "company": self.company,
            "bank": self.bank,
            "balance": 0,
            "created": date(self.created),
        })
    }
}

impl SavedCard {
    pub fn show(&self, id: &RawId) -> Value {
        json!({
            "id": object_id(*id),
            "merchantId": object_id(self.merchant),
            "bin": CARD.bin,
            "last4": CARD.last4,
            "scheme": CARD.scheme,
            "expiry": CARD.expiry,
            "notes": self.notes,
            "deleted": null,
        })
    }
}

impl BalanceLine {
    pub fn show(&self, id: &RawId) -> Value {
        let mut shown = json!({
            "id": object_id(*id),
            "merchantId": object_id(self.merchant),
            "transactionId": object_id(self.transaction),
            "test": self.test,
            "created": date(self.created),
            "amount": self.amount,
            "balance": self.action.balance(self.amount),
            "fee": 0,
        });
        shown[self.action.name()] = json!(true);
        shown
    }
}

impl PaylikeTransaction {
    /// What can still be captured or voided.
    pub fn pending(&self) -> i64 {
        if self.error.is_some() { 0 } else { self.amount - self.captured - self.voided }
    }

    /// What can still be refunded.
    pub fn refundable(&self) -> i64 {
        self.captured - self.refunded - self.disputed
    }

    /// The caller's own reference: `custom.reference`.
    pub fn reference(&self) -> String {
        match self.custom.as_ref().map(|custom| &custom["reference"]) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        }
    }

    pub fn show(&self, id: &RawId) -> Value {
        let trail: Vec<Value> = self.trail.iter().map(Trail::show).collect();
        json!({
            "id": object_id(*id),
            "merchantId": object_id(self.merchant),
            "test": self.test,
            "created": date(self.created),
            "currency": self.currency,
            "amount": self.amount,
            "descriptor": self.descriptor,
            "pendingAmount": self.pending(),
            "capturedAmount": self.captured,
            "refundedAmount": self.refunded,
            "voidedAmount": self.voided,
            "disputedAmount": self.disputed,
            "card": { "bin": CARD.bin, "last4": CARD.last4, "expiry": CARD.expiry, "scheme": CARD.scheme },
            "custom": self.custom,
            "tds": null,
            "recurring": self.recurring,
            "successful": self.error.is_none(),
            "error": self.error.map_or_else(|| json!(false), |error| json!(error)),
            "trail": trail,
        })
    }
}

impl Trail {
    fn show(&self) -> Value {
        let mut shown = Map::new();
        shown.insert(self.action.name().to_owned(), json!(true));
        shown.insert("amount".to_owned(), json!(self.amount));
        shown.insert("created".to_owned(), json!(date(self.created)));
        shown.insert("balance".to_owned(), json!(self.action.balance(self.amount)));
        shown.insert("fee".to_owned(), json!({ "flat": 0, "rate": 0 }));
        if let Some(descriptor) = &self.descriptor {
            shown.insert("descriptor".to_owned(), json!(descriptor));
        }
        if let Some(line) = self.line {
            shown.insert("lineId".to_owned(), json!(object_id(line)));
        }
        Value::Object(shown)
    }
}
