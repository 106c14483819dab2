//! Authorizing early: the coming charge is authorized some days before its bill date, and voided where it is not wanted any more.
//! Recorded before the call, and looked up when the answer is lost.
//!
//! Guards "never two authorizations kept": a subscription has one open authorization, and gets the next only once that has ended.

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
    authorization::Authorization,
    event::{Actor, Event},
};

/// What an event tells of an authorization, with what `more` adds.
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
