//! What happens to one call: a fault strikes it or not, then its gateway answers.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::http::{StatusCode, header};
use serde_json::json;

use super::{
    call::{IncomingCall, SandboxGateway},
    faults::{Aim, Fault},
    fluidpay,
    handle::Sandbox,
    paylike, paysley,
    reply::{CallEnding, Reply},
};

impl Sandbox {
    fn fault_for(&self, call: &IncomingCall) -> Option<Fault> {
        let mut state = self.state();
        if state.faults.is_empty() && state.chaos.is_none() {
            return None;
        }
        let (operation, target) = match call.gateway {
            SandboxGateway::FluidPay => fluidpay::aim(&state.fluidpay, call),
            SandboxGateway::Paylike => paylike::aim(&state.paylike, call),
            SandboxGateway::Paysley => paysley::aim(&state.paysley, call),
        };
        let aim = Aim { gateway: call.gateway, operation, path: &call.path, target };
        let chosen = state.faults.strike(&aim);
        chosen.or_else(|| state.chaos.as_mut().and_then(|chaos| chaos.strike(call.gateway, operation)))
    }

    /// `decline` is the code of a decline fault.
    fn answer(&self, call: &IncomingCall, decline: Option<u16>) -> Reply {
        let (mut state, now) = (self.state(), (self.now)());
        match call.gateway {
            SandboxGateway::FluidPay => fluidpay::answer(&mut state, call, decline, now),
            SandboxGateway::Paylike => paylike::answer(&mut state, call, decline, now),
            SandboxGateway::Paysley => paysley::answer(&mut state, call, now),
        }
    }

    /// Answers one call, or loses it, as the fault that strikes it says.
    pub async fn process(self: Arc<Self>, call: IncomingCall) -> CallEnding {
        let fault = self.fault_for(&call);
        match fault {
            Some(Fault::DropBefore) => return CallEnding::Dropped,
            Some(Fault::Status { status, retry_after }) => return CallEnding::Answer(fault_reply(status, retry_after)),
            Some(Fault::Delay { ms }) => tokio::time::sleep(Duration::from_millis(ms)).await,
            _ => {}
        }
        let wait = self.options.latency.of(self.called.fetch_add(1, Ordering::Relaxed));
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let decline = if let Some(Fault::Decline { code }) = fault { Some(code) } else { None };
        let reply = self.answer(&call, decline);
        match fault {
            Some(Fault::DropAfter) => CallEnding::Dropped,
            Some(Fault::StatusAfter { status }) => CallEnding::Answer(fault_reply(status, None)),
            _ => CallEnding::Answer(reply),
        }
    }
}

/// A body that every gateway's clients can read: FluidPay's `status` and `msg`, Paylike's `message`, Paysley's `result`.
fn fault_reply(status: u16, retry_after: Option<u64>) -> Reply {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let reason = status.canonical_reason().unwrap_or("fault");
    let reply =
        Reply::json(status, &json!({ "status": "failed", "msg": reason, "message": reason, "result": "failed", "data": null }));
    match retry_after {
        Some(seconds) => reply.with_header(header::RETRY_AFTER, seconds.to_string()),
        None => reply,
    }
}
