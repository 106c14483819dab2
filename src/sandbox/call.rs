//! One request to a pretend gateway, read to its end first, so that it is processed even if the client disconnects.

use std::fmt;

use axum::{
    body::{Body, to_bytes},
    http::{Method, Request, header},
};
use serde::{Deserialize, Serialize};

use super::body::WireBody;

/// Which gateway's wire format was spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SandboxGateway {
    FluidPay,
    Paylike,
    Paysley,
}

/// What a call does to money. A fault can be limited to one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallOperation {
    Charge,
    Authorize,
    Capture,
    Refund,
    Void,
    Lookup,
    /// Sends, changes or withdraws a payment request.
    Request,
    /// The gateway's own call to the merchant.
    Callback,
    /// Everything else: customers, merchants, plans.
    Account,
}

/// What a call is about. A fault can be limited to calls about one token, transaction, reference or amount.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Target {
    pub token: Option<String>,
    pub transaction_id: Option<String>,
    pub reference: Option<String>,
    pub amount: Option<i64>,
}

/// A request as the gateways see it.
#[derive(Debug)]
pub struct IncomingCall {
    pub gateway: SandboxGateway,
    pub method: Method,
    /// The path as sent, prefix and all.
    pub path: String,
    pub query: WireBody,
    pub body: WireBody,
    /// Why the body could not be read.
    pub malformed: Option<String>,
    pub authorization: String,
    pub user_agent: String,
}

/// No gateway call is longer than this.
const MAX_BODY_BYTES: usize = 1 << 20;

impl IncomingCall {
    pub async fn read(gateway: SandboxGateway, request: Request<Body>) -> Self {
        let (parts, body) = request.into_parts();
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let content_type = header(header::CONTENT_TYPE);
        let body = match to_bytes(body, MAX_BODY_BYTES).await {
            // Some clients send `{}` with a GET. A GET has no body here.
            Ok(_) if parts.method == Method::GET => Ok(WireBody::default()),
            Ok(bytes) => WireBody::parse(&content_type, &bytes),
            Err(_) => Err("the body could not be read".to_owned()),
        };
        let (body, malformed) = match body {
            Ok(body) => (body, None),
            Err(reason) => (WireBody::default(), Some(reason)),
        };
        Self {
            gateway,
            path: parts.uri.path().to_owned(),
            query: WireBody::form(parts.uri.query().unwrap_or_default().as_bytes()),
            body,
            malformed,
            authorization: header(header::AUTHORIZATION),
            user_agent: header(header::USER_AGENT),
            method: parts.method,
        }
    }

    /// The parts of the path below the gateway's prefix. Empty parts are left out, so a trailing slash changes nothing.
    pub fn segments(&self) -> Vec<&str> {
        let mut parts: Vec<&str> = self.path.split('/').filter(|part| !part.is_empty()).collect();
        let prefix = match self.gateway {
            SandboxGateway::FluidPay => Some(&"api"),
            SandboxGateway::Paysley => Some(&"v2"),
            SandboxGateway::Paylike => None,
        };
        if prefix.is_some() && parts.first() == prefix {
            parts.remove(0);
        }
        parts
    }
}

impl fmt::Display for SandboxGateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FluidPay => "fluidpay",
            Self::Paylike => "paylike",
            Self::Paysley => "paysley",
        })
    }
}
