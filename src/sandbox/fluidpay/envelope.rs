//! FluidPay's envelope `{status, msg, data, total_count}` around answers and failures.

use axum::http::{HeaderName, StatusCode};
use serde::Serialize;

use super::super::reply::Reply;

/// A request that failed, as opposed to a payment that was declined.
#[derive(Debug, PartialEq, Eq)]
pub struct FluidpayRefusal {
    status: StatusCode,
    msg: String,
}

pub type FluidpayResult = Result<Reply, FluidpayRefusal>;

#[derive(Serialize)]
struct Envelope<'a, T: Serialize> {
    status: &'a str,
    msg: &'a str,
    data: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_count: Option<usize>,
    /// Lists at the old customer paths name the total `count`.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
}

fn envelope(data: impl Serialize, total: Option<usize>) -> Reply {
    let body = Envelope { status: "success", msg: "success", data, total_count: total, count: total };
    Reply::json(StatusCode::OK, &body)
}

pub fn one(data: impl Serialize) -> FluidpayResult {
    Ok(envelope(data, None))
}

/// An array with one element, for clients that decode an array.
pub fn array_of_one(data: impl Serialize) -> FluidpayResult {
    Ok(envelope([data], Some(1)))
}

/// A page of a list. Without any match, `data` is `null`.
pub fn list<T: Serialize>(data: &[T], total: usize) -> FluidpayResult {
    Ok(envelope(if total == 0 { None } else { Some(data) }, Some(total)))
}

pub fn nothing() -> FluidpayResult {
    one(())
}

impl FluidpayRefusal {
    pub fn bad(msg: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, msg: msg.into() }
    }

    pub fn unauthorized() -> Self {
        Self { status: StatusCode::UNAUTHORIZED, msg: "unauthorized".to_owned() }
    }

    pub fn missing(what: &str) -> Self {
        Self { status: StatusCode::NOT_FOUND, msg: format!("{what} not found") }
    }

    pub fn into_reply(self) -> Reply {
        let body = Envelope { status: "failed", msg: &self.msg, data: (), total_count: None, count: None };
        Reply::json(self.status, &body)
    }
}

pub const CORRELATION: HeaderName = HeaderName::from_static("x-correlation-id");
