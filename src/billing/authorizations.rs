//! Authorizing early: the coming charge is reserved some days before its bill date, and given free again where it is not wanted any
//! more. Recorded before the call, and looked up when the answer is lost.
//!
//! Guards "never two reservations kept": a subscription has one open authorization, and gets the next only once that has ended.

use chrono::{DateTime, Utc};
use serde_json::json;

mod ask;
mod authorize_due;
mod look_up;
mod settle;

pub use authorize_due::{Looked, authorize_due};
pub use look_up::look_up;

use super::App;
use crate::domain::{
    authorization::{Authorization, AuthorizationStatus},
    event::{Actor, Event},
};

/// The same, about to be given free. Should nobody come to that, it falls due with the look-ups.
pub(crate) fn to_void(app: &App, authorization: Authorization, reason: &str, wall: DateTime<Utc>) -> Authorization {
    Authorization {
        status: AuthorizationStatus::Voiding,
        void_reason: Some(reason.to_owned()),
        lease_token: authorization.lease_token + 1,
        lookups: 0,
        called_at: wall,
        next_lookup_at: Some(wall + app.config.collection.lease),
        ..authorization
    }
}

fn event(app: &App, authorization: &Authorization, now: DateTime<Utc>, kind: &str, more: serde_json::Value) -> Event {
    let mut data = json!({
        "subscription_id": authorization.subscription_id, "customer_id": authorization.customer_id,
        "payment_method_id": authorization.payment_method_id, "cycle": authorization.cycle, "amount": authorization.amount,
        "currency": authorization.currency, "bill_at": authorization.bill_at,
    });
    if let (Some(data), serde_json::Value::Object(more)) = (data.as_object_mut(), more) {
        data.extend(more);
    }
    app.event(authorization.timeline, now, &Actor::System, kind, authorization.id, data)
}
