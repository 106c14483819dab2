//! `/_sandbox`: the ledger, the fault switches, the fixtures, settlement and tokens. No fault ever hits these calls.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    call::SandboxGateway,
    chaos::{Chaos, ChaosSettings},
    faults::Rule,
    fixtures, fluidpay,
    handle::Sandbox,
    paylike, paysley,
    scripts::Script,
};

/// The most tokens one request makes.
const MAX_TOKENS: usize = 1_000_000;

type AdminResult = Result<Json<Value>, AdminError>;

/// Why a call to the switches was refused.
pub struct AdminError(String);

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "error": self.0 }))).into_response()
    }
}

pub fn routes(sandbox: Arc<Sandbox>) -> Router {
    Router::new()
        .route("/ledger", get(ledger))
        .route("/faults", get(list_faults).post(add_fault).delete(clear_faults))
        .route("/chaos", get(show_chaos).post(start_chaos).delete(stop_chaos))
        .route("/fixtures", get(list_fixtures))
        .route("/settle", post(settle))
        .route("/paylike/pay", post(pay_link))
        .route("/paysley", get(asked))
        .route("/paysley/pay", post(pay))
        .route("/paysley/clock", post(run_schedules))
        .route("/disputes", post(dispute))
        .route("/tokens", post(make_tokens))
        .route("/tokens/{token}/script", post(set_script).delete(remove_script))
        .with_state(sandbox)
}

/// Reads a JSON body whatever its content type. No bytes at all count as an empty object.
fn read<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, AdminError> {
    let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(bytes).map_err(|error| AdminError(error.to_string()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LedgerQuery {
    #[serde(default)]
    summary: bool,
    gateway: Option<SandboxGateway>,
    reference: Option<String>,
    #[serde(default)]
    offset: usize,
    limit: Option<usize>,
}

async fn ledger(
    State(sandbox): State<Arc<Sandbox>>,
    query: Result<Query<LedgerQuery>, axum::extract::rejection::QueryRejection>,
) -> AdminResult {
    let Query(query) = query.map_err(|error| AdminError(error.body_text()))?;
    let state = sandbox.state();
    if query.summary {
        let summary = state.ledger.summary();
        drop(state);
        return Ok(Json(json!({ "data": summary })));
    }
    let entries: Vec<_> = state
        .ledger
        .entries()
        .iter()
        .filter(|entry| query.gateway.is_none_or(|gateway| gateway == entry.gateway))
        .filter(|entry| query.reference.as_ref().is_none_or(|reference| *reference == entry.reference))
        .skip(query.offset)
        .take(query.limit.unwrap_or(usize::MAX))
        .cloned()
        .collect();
    drop(state);
    Ok(Json(json!({ "data": entries })))
}

/// Everything a test or a person needs to know to use the sandbox.
async fn list_fixtures() -> Json<Value> {
    Json(json!({ "fluidpay": fluidpay::describe(), "paylike": paylike::describe(), "paysley": paysley::describe() }))
}

async fn list_faults(State(sandbox): State<Arc<Sandbox>>) -> Json<Value> {
    Json(json!({ "data": sandbox.state().faults.rules() }))
}

async fn add_fault(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> AdminResult {
    let rule: Rule = read(&body)?;
    let shown = json!({ "data": rule });
    sandbox.add_fault(rule);
    Ok(Json(shown))
}

async fn clear_faults(State(sandbox): State<Arc<Sandbox>>) -> Json<Value> {
    sandbox.clear_faults();
    Json(json!({ "data": [] }))
}

async fn show_chaos(State(sandbox): State<Arc<Sandbox>>) -> Json<Value> {
    let state = sandbox.state();
    let chaos = state.chaos.as_ref();
    Json(json!({ "data": chaos.map(|chaos| json!({ "settings": chaos.settings(), "struck": chaos.struck() })) }))
}

async fn start_chaos(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> AdminResult {
    let settings: ChaosSettings = read(&body)?;
    let shown = json!({ "data": settings });
    let chaos = Chaos::new(settings).map_err(AdminError)?;
    sandbox.state().chaos = Some(chaos);
    Ok(Json(shown))
}

async fn stop_chaos(State(sandbox): State<Arc<Sandbox>>) -> Json<Value> {
    let chaos = sandbox.state().chaos.take();
    Json(json!({ "data": chaos.map(|chaos| json!({ "settings": chaos.settings(), "struck": chaos.struck() })) }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settle {
    /// From now on FluidPay settles each transaction as it is made, or no longer does.
    at_once: Option<bool>,
}

async fn settle(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> AdminResult {
    let asked: Settle = read(&body)?;
    if let Some(at_once) = asked.at_once {
        sandbox.state().fluidpay.settle_at_once(at_once);
    }
    Ok(Json(json!({ "data": { "settled": sandbox.settle() } })))
}

async fn asked(State(sandbox): State<Arc<Sandbox>>) -> Json<Value> {
    Json(json!({ "data": sandbox.asked() }))
}

async fn pay(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> AdminResult {
    let payment_id = sandbox.pay(read(&body)?).await.map_err(AdminError)?;
    Ok(Json(json!({ "data": { "payment_id": payment_id } })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PayLink {
    link: String,
    /// The code that the card is declined with.
    decline: Option<u16>,
}

async fn pay_link(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> AdminResult {
    let PayLink { link, decline } = read(&body)?;
    let transaction_id = sandbox.pay_link(&link, decline).map_err(AdminError)?;
    Ok(Json(json!({ "data": { "transaction_id": transaction_id } })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockTo {
    now: DateTime<Utc>,
}

async fn run_schedules(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> AdminResult {
    let ClockTo { now } = read(&body)?;
    Ok(Json(json!({ "data": { "payments": sandbox.run_schedules(now).await } })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dispute {
    transaction_id: String,
    /// Minor units; 0 ends the dispute.
    amount: i64,
}

async fn dispute(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> AdminResult {
    let Dispute { transaction_id, amount } = read(&body)?;
    if !sandbox.dispute(&transaction_id, amount) {
        return Err(AdminError("no settled or captured transaction of this id has so much that can be disputed".to_owned()));
    }
    Ok(Json(json!({ "data": { "transaction_id": transaction_id, "amount": amount } })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tokens {
    #[serde(default = "default_gateway")]
    gateway: SandboxGateway,
    count: usize,
    /// FluidPay only: how the ids begin.
    #[serde(default)]
    prefix: String,
    /// FluidPay only: a test card.
    #[serde(default = "approved_card")]
    card: String,
    /// Set for each of the tokens.
    script: Option<Script>,
}

fn default_gateway() -> SandboxGateway {
    SandboxGateway::FluidPay
}

fn approved_card() -> String {
    fixtures::APPROVED_CARD.to_owned()
}

async fn make_tokens(State(sandbox): State<Arc<Sandbox>>, body: Bytes) -> AdminResult {
    let asked: Tokens = read(&body)?;
    if asked.count > MAX_TOKENS {
        return Err(AdminError(format!("count must be at most {MAX_TOKENS}")));
    }
    if !fluidpay::TEST_CARDS.iter().any(|(number, _)| *number == asked.card) {
        return Err(AdminError("card must be one of the test cards".to_owned()));
    }
    if asked.gateway == SandboxGateway::Paysley {
        return Err(AdminError("Paysley keeps no tokens: its customers are asked".to_owned()));
    }
    let now = (sandbox.now)();
    let mut state = sandbox.state();
    let ids = match asked.gateway {
        SandboxGateway::FluidPay => fluidpay::make_tokens(&mut state, asked.count, &asked.prefix, &asked.card, now),
        SandboxGateway::Paylike | SandboxGateway::Paysley => paylike::make_tokens(&mut state, asked.count, now),
    };
    if let Some(script) = asked.script {
        for id in &ids {
            state.scripts.set(id.clone(), script.clone());
        }
    }
    drop(state);
    Ok(Json(json!({ "data": ids })))
}

async fn set_script(State(sandbox): State<Arc<Sandbox>>, Path(token): Path<String>, body: Bytes) -> AdminResult {
    let script: Script = read(&body)?;
    sandbox.set_script(&token, script);
    Ok(Json(json!({ "data": { "token": token } })))
}

async fn remove_script(State(sandbox): State<Arc<Sandbox>>, Path(token): Path<String>) -> Json<Value> {
    let removed = sandbox.state().scripts.remove(&token);
    Json(json!({ "data": { "token": token, "removed": removed } }))
}
