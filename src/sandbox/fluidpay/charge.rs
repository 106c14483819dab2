//! `POST /transaction`: sale, authorize, credit and verification, with idempotent replay.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::{
    super::{
        body::{WireBody, or_default},
        call::SandboxGateway,
        fixtures,
        ledger::{LedgerEntry, Movement},
        state::State,
    },
    envelope::FluidpayRefusal,
    instrument::{AchBody, Behaviour, CardBody, Face},
    tokens,
    transaction::{Address, FluidpayTransaction, Particulars, TransactionKind, TransactionStatus},
};
use crate::domain::money::Currency;

/// How long an idempotency key replays if the request does not say.
const IDEMPOTENCY_SECONDS: i64 = 300;
/// The longest that an idempotency key replays, whatever the request asks for: a year.
const MAX_IDEMPOTENCY_SECONDS: i64 = 31_536_000;
/// The longest `order_id` and `po_number`.
const MAX_REFERENCE: usize = 17;
const MAX_DESCRIPTION: usize = 255;

/// The request. Unknown fields are ignored, as the gateway ignores them.
#[derive(Deserialize)]
struct TransactionBody {
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    kind: String,
    amount: Option<i64>,
    currency: Option<String>,
    idempotency_key: Option<String>,
    idempotency_time: Option<i64>,
    #[serde(flatten)]
    particulars: Particulars,
    #[serde(default, deserialize_with = "or_default")]
    payment_adjustment: Adjustment,
    #[serde(default, deserialize_with = "or_default")]
    payment_method: MethodBody,
    #[serde(default, deserialize_with = "or_default")]
    billing_address: Address,
    #[serde(default, deserialize_with = "or_default")]
    shipping_address: Address,
    #[serde(default, deserialize_with = "or_default")]
    create_vault_record: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Adjustment {
    #[serde(rename = "type", deserialize_with = "or_default")]
    kind: String,
    #[serde(deserialize_with = "or_default")]
    value: i64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct MethodBody {
    card: Option<CardBody>,
    customer: Option<CustomerBody>,
    terminal: Option<Value>,
    token: Option<String>,
    ach: Option<AchBody>,
}

#[derive(Deserialize)]
struct CustomerBody {
    /// One client spells the field `Id`.
    #[serde(alias = "Id")]
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    payment_method_id: String,
}

/// The payment method that pays, and whose it is.
struct Payer {
    behaviour: Behaviour,
    face: Option<Face>,
    method: &'static str,
    kind: &'static str,
    customer_id: String,
}

/// Makes the transaction, or returns the one that the same idempotency key has already made.
pub fn submit(
    state: &mut State,
    body: &WireBody,
    forced: Option<u16>,
    now: DateTime<Utc>,
) -> Result<FluidpayTransaction, FluidpayRefusal> {
    let sent: TransactionBody = body.read().map_err(FluidpayRefusal::bad)?;
    let key = sent.idempotency_key.clone().unwrap_or_default();
    if let Some(original) = state.fluidpay.transactions.replay(&key, now) {
        return Ok(original.clone());
    }
    let kind = match sent.kind.as_str() {
        "sale" => TransactionKind::Sale,
        "authorize" => TransactionKind::Authorize,
        "credit" => TransactionKind::Credit,
        "verification" => TransactionKind::Verification,
        _ => return Err(FluidpayRefusal::bad("type must be sale, authorize, credit or verification")),
    };
    let amount = sent.amount.ok_or_else(|| FluidpayRefusal::bad("amount is required"))?;
    if amount < 0 || (amount == 0 && kind != TransactionKind::Verification) {
        return Err(FluidpayRefusal::bad("amount must be a positive number of cents"));
    }
    let currency = match sent.currency.as_deref() {
        None | Some("") => Currency::USD,
        Some(code) => code.parse().map_err(|_| FluidpayRefusal::bad("currency is invalid"))?,
    };
    check(&sent)?;
    let payer = find_payer(state, &sent.payment_method)?;

    let mut transaction = FluidpayTransaction::blank(state.ids.fluidpay(now), kind, amount, currency, now);
    transaction.idempotency_key = key;
    transaction.idempotency_time = match sent.idempotency_time {
        Some(seconds) if seconds > 0 => seconds.min(MAX_IDEMPOTENCY_SECONDS),
        _ => IDEMPOTENCY_SECONDS,
    };
    transaction.payment_adjustment_type = sent.payment_adjustment.kind;
    transaction.payment_adjustment_value = sent.payment_adjustment.value;
    transaction.particulars = sent.particulars;
    transaction.payment_method = payer.method;
    transaction.payment_type = payer.kind;
    transaction.customer_id = payer.customer_id;
    transaction.billing_address = sent.billing_address;
    transaction.shipping_address = sent.shipping_address;
    transaction.refuses_refunds = payer.behaviour == Behaviour::RefuseRefunds;

    decide(state, &mut transaction, payer.behaviour, forced);
    let part_id = state.ids.fluidpay(now);
    let auth_code = format!("TAS{}", &part_id[17..]).to_ascii_uppercase();
    transaction.describe_response(payer.face.as_ref(), (&part_id, &auth_code));
    if sent.create_vault_record
        && transaction.response == "approved"
        && transaction.customer_id.is_empty()
        && let Some(face) = payer.face
    {
        transaction.customer_id = tokens::store(state, payer.behaviour, face, now);
    }
    record(state, &transaction, now);
    Ok(state.fluidpay.transactions.add(transaction).clone())
}

fn check(sent: &TransactionBody) -> Result<(), FluidpayRefusal> {
    let particulars = &sent.particulars;
    for (field, value) in [("order_id", &particulars.order_id), ("po_number", &particulars.po_number)] {
        check_reference(field, value)?;
    }
    if particulars.description.chars().count() > MAX_DESCRIPTION {
        return Err(FluidpayRefusal::bad("description must have at most 255 characters"));
    }
    let method = &sent.payment_method;
    let given = [
        method.card.is_some(),
        method.customer.is_some(),
        method.terminal.is_some(),
        method.token.as_ref().is_some_and(|token| !token.is_empty()),
        method.ach.is_some(),
    ];
    if given.iter().filter(|given| **given).count() != 1 {
        return Err(FluidpayRefusal::bad("payment_method must hold exactly one of card, customer, terminal, token or ach"));
    }
    Ok(())
}

pub fn check_reference(field: &str, value: &str) -> Result<(), FluidpayRefusal> {
    if value.len() > MAX_REFERENCE || !value.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(FluidpayRefusal::bad(format!("{field} must be at most 17 alphanumeric characters")));
    }
    Ok(())
}

fn find_payer(state: &State, sent: &MethodBody) -> Result<Payer, FluidpayRefusal> {
    let direct =
        |(behaviour, face), method| Payer { behaviour, face: Some(face), method, kind: method, customer_id: String::new() };
    if let Some(card) = &sent.card {
        return Ok(direct(card.read()?, "card"));
    }
    if let Some(ach) = &sent.ach {
        return Ok(direct(ach.read()?, "ach"));
    }
    if let Some(wanted) = sent.customer.as_ref().filter(|_| state.scripts.knows_anyone()) {
        let customer_id = wanted.id.clone();
        return Ok(Payer { behaviour: Behaviour::Approve, face: None, method: "customer", kind: "card", customer_id });
    }
    if let Some(wanted) = &sent.customer {
        let customer = state.fluidpay.customers.get(&wanted.id).ok_or_else(|| FluidpayRefusal::missing("customer"))?;
        let instrument = customer.payer(&wanted.payment_method_id)?;
        return Ok(Payer {
            behaviour: instrument.behaviour,
            face: Some(instrument.face.clone()),
            method: "customer",
            kind: instrument.kind(),
            customer_id: wanted.id.clone(),
        });
    }
    let method = if sent.terminal.is_some() { "terminal" } else { "token" };
    Ok(Payer { behaviour: Behaviour::Approve, face: None, method, kind: "card", customer_id: String::new() })
}

/// Decides the response code: a decline fault wins over a script, a script over
/// a declined amount, a declined amount over the card.
fn decide(state: &mut State, transaction: &mut FluidpayTransaction, behaviour: Behaviour, forced: Option<u16>) {
    let scripted = || state.scripts.next(&transaction.customer_id, transaction.amount, 202);
    let code = match forced.or_else(scripted) {
        Some(0) => 100,
        Some(code) => code,
        None => match (fixtures::fluidpay_magic(transaction.amount), behaviour) {
            (Some(code), _) | (None, Behaviour::Decline(code)) => code,
            (None, Behaviour::Partial) => 110,
            (None, Behaviour::Approve | Behaviour::RefuseRefunds) => 100,
        },
    };
    transaction.response_code = code;
    if !(100..200).contains(&code) {
        return;
    }
    let approved = if code == 110 { transaction.amount / 2 } else { transaction.amount };
    transaction.amount_authorized = approved;
    match transaction.kind {
        TransactionKind::Authorize | TransactionKind::Verification => transaction.status = TransactionStatus::Authorized,
        TransactionKind::Sale | TransactionKind::Credit | TransactionKind::Refund => {
            transaction.status = TransactionStatus::PendingSettlement;
            transaction.amount_captured = approved;
            transaction.captured_at = Some(transaction.created_at);
        }
    }
}

fn record(state: &mut State, transaction: &FluidpayTransaction, now: DateTime<Utc>) {
    let kind = match transaction.kind {
        TransactionKind::Sale => Movement::Charge,
        TransactionKind::Credit => Movement::Credit,
        _ => return,
    };
    if transaction.amount_captured > 0 {
        write(state, transaction, kind, transaction.amount_captured, now);
    }
}

/// Writes a movement of this transaction's money into the ledger.
pub fn write(state: &mut State, transaction: &FluidpayTransaction, kind: Movement, amount: i64, now: DateTime<Utc>) {
    state.ledger.record(LedgerEntry {
        gateway: SandboxGateway::FluidPay,
        kind,
        transaction_id: transaction.id.clone(),
        reference: transaction.particulars.order_id.clone(),
        amount,
        currency: transaction.currency,
        at: now,
    });
}
