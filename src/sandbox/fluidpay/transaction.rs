//! FluidPay transactions as they are stored and answered, with indexes, so that no lookup reads them all.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use super::{super::body::or_default, account::USER_ID, instrument::Face};
use crate::domain::money::Currency;

/// The type of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TransactionKind {
    Sale,
    Authorize,
    Credit,
    Refund,
    Verification,
}

/// The status of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TransactionStatus {
    Declined,
    Authorized,
    PendingSettlement,
    Settled,
    Voided,
    Refunded,
    PartiallyRefunded,
    /// The customer's bank took the money back.
    Returned,
}

/// A postal address on a transaction. The vault calls the lines `line_1` and `line_2`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Address {
    #[serde(deserialize_with = "or_default")]
    pub first_name: String,
    #[serde(deserialize_with = "or_default")]
    pub last_name: String,
    #[serde(deserialize_with = "or_default")]
    pub company: String,
    #[serde(alias = "line_1", deserialize_with = "or_default")]
    pub address_line_1: String,
    #[serde(alias = "line_2", deserialize_with = "or_default")]
    pub address_line_2: String,
    #[serde(deserialize_with = "or_default")]
    pub city: String,
    #[serde(deserialize_with = "or_default")]
    pub state: String,
    #[serde(deserialize_with = "or_default")]
    pub postal_code: String,
    #[serde(deserialize_with = "or_default")]
    pub country: String,
    #[serde(deserialize_with = "or_default")]
    pub phone: String,
    #[serde(deserialize_with = "or_default")]
    pub fax: String,
    #[serde(deserialize_with = "or_default")]
    pub email: String,
}

/// The fields of a transaction that are stored and echoed as they were sent.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Particulars {
    #[serde(deserialize_with = "or_default")]
    pub tax_amount: i64,
    #[serde(deserialize_with = "or_default")]
    pub tax_exempt: bool,
    #[serde(deserialize_with = "or_default")]
    pub shipping_amount: i64,
    #[serde(deserialize_with = "or_default")]
    pub discount_amount: i64,
    #[serde(deserialize_with = "or_default")]
    pub tip_amount: i64,
    #[serde(deserialize_with = "or_default")]
    pub description: String,
    #[serde(deserialize_with = "or_default")]
    pub order_id: String,
    #[serde(deserialize_with = "or_default")]
    pub po_number: String,
    #[serde(deserialize_with = "or_default")]
    pub processor_id: String,
    #[serde(deserialize_with = "or_default")]
    pub ip_address: String,
    #[serde(deserialize_with = "or_default")]
    pub email_receipt: bool,
    #[serde(deserialize_with = "or_default")]
    pub email_address: String,
    #[serde(deserialize_with = "or_default")]
    pub card_on_file_indicator: String,
    #[serde(deserialize_with = "or_default")]
    pub initiated_by: String,
    #[serde(deserialize_with = "or_default")]
    pub initial_transaction_id: String,
    #[serde(deserialize_with = "or_default")]
    pub stored_credential_indicator: String,
    #[serde(deserialize_with = "or_default")]
    pub billing_method: String,
}

/// A stored transaction. Its serialized form is the gateway's answer.
#[derive(Debug, Clone, Serialize)]
pub struct FluidpayTransaction {
    pub id: String,
    pub user_id: &'static str,
    pub idempotency_key: String,
    pub idempotency_time: i64,
    #[serde(rename = "type")]
    pub kind: TransactionKind,
    pub amount: i64,
    pub amount_authorized: i64,
    pub amount_captured: i64,
    pub amount_settled: i64,
    pub amount_refunded: i64,
    pub payment_adjustment_type: String,
    pub payment_adjustment_value: i64,
    pub processor_type: &'static str,
    pub processor_name: &'static str,
    pub payment_method: &'static str,
    pub payment_type: &'static str,
    #[serde(serialize_with = "lower_case")]
    pub currency: Currency,
    #[serde(flatten)]
    pub particulars: Particulars,
    pub transaction_source: &'static str,
    pub customer_id: String,
    pub subscription_id: String,
    pub referenced_transaction_id: String,
    pub response_body: Value,
    pub status: TransactionStatus,
    pub response: &'static str,
    pub response_code: u16,
    pub billing_address: Address,
    pub shipping_address: Address,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub captured_at: Option<DateTime<Utc>>,
    pub settled_at: Option<DateTime<Utc>>,
    /// Refunds of this transaction are declined.
    #[serde(skip)]
    pub refuses_refunds: bool,
}

fn lower_case<S: Serializer>(currency: &Currency, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&currency.code().to_ascii_lowercase())
}

impl FluidpayTransaction {
    /// A new transaction before it is decided: declined, without any money.
    pub fn blank(id: String, kind: TransactionKind, amount: i64, currency: Currency, now: DateTime<Utc>) -> Self {
        Self {
            id,
            user_id: USER_ID,
            idempotency_key: String::new(),
            idempotency_time: 0,
            kind,
            amount,
            amount_authorized: 0,
            amount_captured: 0,
            amount_settled: 0,
            amount_refunded: 0,
            payment_adjustment_type: String::new(),
            payment_adjustment_value: 0,
            processor_type: "sandbox",
            processor_name: "sandbox",
            payment_method: "card",
            payment_type: "card",
            currency,
            particulars: Particulars::default(),
            transaction_source: "api",
            customer_id: String::new(),
            subscription_id: String::new(),
            referenced_transaction_id: String::new(),
            response_body: Value::Null,
            status: TransactionStatus::Declined,
            response: "declined",
            response_code: 200,
            billing_address: Address::default(),
            shipping_address: Address::default(),
            created_at: now,
            updated_at: now,
            captured_at: None,
            settled_at: None,
            refuses_refunds: false,
        }
    }

    /// Writes the processor's part of the answer, once `response_code` is known.
    pub fn describe_response(&mut self, face: Option<&Face>, ids: (&str, &str)) {
        let approved = self.response_code < 200;
        self.response = if approved { "approved" } else { "declined" };
        let (id, auth_code) = ids;
        let mut part = face.map_or_else(|| json!({}), |face| json!(face));
        part["id"] = json!(id);
        part["response"] = json!(self.response);
        part["response_code"] = json!(self.response_code);
        part["auth_code"] = json!(if approved { auth_code } else { "" });
        part["processor_response_code"] = json!(if approved { "00".to_owned() } else { self.response_code.to_string() });
        part["processor_response_text"] = json!(meaning(self.response_code));
        part["processor_type"] = json!(self.processor_type);
        part["processor_specific"] = json!({});
        part["created_at"] = json!(self.created_at);
        part["updated_at"] = json!(self.updated_at);
        self.response_body = match self.payment_type {
            "ach" => json!({ "ach": part }),
            _ => json!({ "card": part }),
        };
    }
}

/// Response codes of the seed document.
pub const RESPONSE_CODES: [(u16, &str); 29] = [
    (0, "UNKNOWN"),
    (100, "APPROVAL"),
    (101, "APPROVED, PENDING CUSTOMER"),
    (110, "PARTIAL APPROVAL"),
    (200, "DECLINE"),
    (201, "DO NOT HONOR"),
    (202, "INSUFFICIENT FUNDS"),
    (203, "WITHDRAWAL LIMIT EXCEEDED"),
    (204, "INVALID TRANSACTION"),
    (220, "INVALID AMOUNT"),
    (221, "NO SUCH ISSUER"),
    (222, "NO CREDIT ACCOUNT"),
    (223, "EXPIRED CARD"),
    (225, "INVALID CVC"),
    (226, "CANNOT VERIFY PIN"),
    (240, "REFER TO ISSUER"),
    (250, "PICK UP CARD"),
    (251, "LOST CARD"),
    (252, "STOLEN CARD"),
    (253, "PICK UP CARD, SPECIAL"),
    (261, "STOP RECURRING"),
    (262, "STOP RECURRING"),
    (300, "GATEWAY DECLINE"),
    (310, "RULE ENGINE DECLINE"),
    (400, "PROCESSOR ERROR"),
    (410, "MERCHANT CONFIGURATION"),
    (421, "PROCESSOR UNREACHABLE"),
    (430, "DUPLICATE TRANSACTION"),
    (440, "PROCESSOR FORMAT ERROR"),
];

fn meaning(code: u16) -> &'static str {
    RESPONSE_CODES.iter().find(|(known, _)| *known == code).map_or("DECLINE", |(_, text)| text)
}

/// All transactions, oldest first, with indexes by id, order, customer and idempotency key.
#[derive(Debug, Default)]
pub struct Transactions {
    pub all: Vec<FluidpayTransaction>,
    by_id: HashMap<String, usize>,
    by_order: HashMap<String, Vec<usize>>,
    by_customer: HashMap<String, Vec<usize>>,
    by_key: HashMap<String, (usize, DateTime<Utc>)>,
    unsettled: Vec<usize>,
    pub settle_at_once: bool,
}

impl Transactions {
    /// Adds a transaction. From now on its idempotency key, if it has one, replays it.
    pub fn add(&mut self, mut transaction: FluidpayTransaction) -> &FluidpayTransaction {
        // `all` is searched by date, so dates must never fall, even if the wall clock steps back.
        if let Some(last) = self.all.last() {
            transaction.created_at = transaction.created_at.max(last.created_at);
        }
        let index = self.all.len();
        self.by_id.insert(transaction.id.clone(), index);
        self.index_order(&transaction.particulars.order_id, index);
        if !transaction.customer_id.is_empty() {
            self.by_customer.entry(transaction.customer_id.clone()).or_default().push(index);
        }
        if !transaction.idempotency_key.is_empty() {
            let ends = transaction.created_at + TimeDelta::seconds(transaction.idempotency_time);
            self.by_key.insert(transaction.idempotency_key.clone(), (index, ends));
        }
        self.all.push(transaction);
        self.settle_or_queue(index);
        &self.all[index]
    }

    /// The transaction that this idempotency key made, as long as the key replays.
    pub fn replay(&self, key: &str, now: DateTime<Utc>) -> Option<&FluidpayTransaction> {
        let (index, ends) = self.by_key.get(key)?;
        (now < *ends).then(|| &self.all[*index])
    }

    pub fn index_of(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    pub fn get(&self, id: &str) -> Option<&FluidpayTransaction> {
        self.index_of(id).map(|index| &self.all[index])
    }

    pub fn of_order(&self, order_id: &str) -> &[usize] {
        self.by_order.get(order_id).map_or(&[], Vec::as_slice)
    }

    pub fn of_customer(&self, customer_id: &str) -> &[usize] {
        self.by_customer.get(customer_id).map_or(&[], Vec::as_slice)
    }

    pub fn index_order(&mut self, order_id: &str, index: usize) {
        if !order_id.is_empty() {
            self.by_order.entry(order_id.to_owned()).or_default().push(index);
        }
    }

    /// To be called after each change that may have made a transaction pending settlement.
    pub fn settle_or_queue(&mut self, index: usize) {
        if self.all[index].status != TransactionStatus::PendingSettlement {
            return;
        }
        if self.settle_at_once {
            let at = self.all[index].updated_at;
            settle(&mut self.all[index], at);
        } else {
            self.unsettled.push(index);
        }
    }

    /// Settles everything that is pending settlement; returns the number.
    pub fn settle(&mut self, now: DateTime<Utc>) -> usize {
        let mut settled = 0;
        for index in std::mem::take(&mut self.unsettled) {
            let transaction = &mut self.all[index];
            // Otherwise it was voided after it was queued.
            if transaction.status == TransactionStatus::PendingSettlement {
                settle(transaction, now);
                settled += 1;
            }
        }
        settled
    }
}

fn settle(transaction: &mut FluidpayTransaction, now: DateTime<Utc>) {
    transaction.status = TransactionStatus::Settled;
    transaction.amount_settled = transaction.amount_captured;
    transaction.settled_at = Some(now);
    transaction.updated_at = now;
}
