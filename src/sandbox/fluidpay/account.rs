//! The merchant's own account: its user and its terminal. Clients ask for them first.

use axum::http::Method;
use serde_json::{Value, json};

use super::{
    super::{call::IncomingCall, fixtures},
    envelope::{FluidpayRefusal, FluidpayResult, list, one},
};

/// The merchant's only user.
pub const USER_ID: &str = "testmerchant12345678";

/// When the merchant was created.
const SINCE: &str = "2017-11-20T00:26:06Z";

pub fn answer(call: &IncomingCall, path: &[&str]) -> FluidpayResult {
    match (&call.method, path) {
        (&Method::GET, ["user"] | ["user", USER_ID]) => one(user()),
        (&Method::GET, ["users"]) => list(&[user()], 1),
        // The seed's sample sends POST where its text says GET.
        (&Method::GET | &Method::POST, ["terminals"]) => list(&[terminal()], 1),
        _ => Err(FluidpayRefusal::missing("page")),
    }
}

fn user() -> Value {
    json!({
        "id": USER_ID,
        "username": "testmerchant",
        "name": "Sandbox Merchant",
        "phone": "6305555555",
        "email": "merchant@example.com",
        "timezone": "ETC/UTC",
        "status": "active",
        "role": "admin",
        "account_type": "merchant",
        "account_type_id": fixtures::FLUIDPAY_MERCHANT,
        "created_at": SINCE,
        "updated_at": SINCE,
    })
}

fn terminal() -> Value {
    json!({
        "id": fixtures::FLUIDPAY_TERMINAL,
        "merchant_id": fixtures::FLUIDPAY_MERCHANT,
        "manufacturer": "dejavoo",
        "model": "z11",
        "serial_number": "1811000XXXX",
        "tpn": "1811000XXXX",
        "description": "front counter",
        "status": "active",
        "auth_key": "sandbox",
        "register_id": "1",
        "auto_settle": true,
        "settle_at": "00:00:00",
        "created_at": SINCE,
        "updated_at": SINCE,
    })
}
