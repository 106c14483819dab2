//! The paths of FluidPay's recurring objects, `/recurring…`.

use axum::http::Method;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    super::{body::WireBody, call::IncomingCall, state::State},
    envelope::{FluidpayRefusal, FluidpayResult, array_of_one, list, nothing, one},
    recurring::{ObjectKind, Recurring, check_date, read},
    search,
};

const STATUSES: [&str; 5] = ["active", "paused", "past_due", "cancelled", "completed"];

pub fn answer(state: &mut State, call: &IncomingCall, path: &[&str], now: DateTime<Utc>) -> FluidpayResult {
    let [word, rest @ ..] = path else { return Err(FluidpayRefusal::missing("page")) };
    let (kind, plural) = ObjectKind::named(word).ok_or_else(|| FluidpayRefusal::missing("page"))?;
    let objects = &mut state.fluidpay.recurring;
    match (&call.method, rest) {
        // The seed's samples send POST where its text says GET.
        (&Method::GET | &Method::POST, []) if plural => list_all(objects, kind),
        (&Method::POST, ["search"]) => search_for(objects, kind, &call.body),
        (&Method::POST, []) => create(state, kind, &call.body, now),
        (&Method::POST, [id]) => update(objects, kind, id, &call.body, now),
        (&Method::GET, [id]) => get(objects, kind, id, &call.user_agent),
        (&Method::DELETE, [id]) => remove(objects, kind, id),
        // The gateway's clients change the status with a GET.
        (&Method::GET, [id, "status", status]) if kind == ObjectKind::Subscription && STATUSES.contains(status) => {
            set_status(objects, id, status, &call.query, now)
        }
        _ => Err(FluidpayRefusal::missing("page")),
    }
}

fn list_all(objects: &Recurring, kind: ObjectKind) -> FluidpayResult {
    let all: Vec<&Value> = objects.all(kind).rev().collect();
    list(&all, all.len())
}

fn search_for(objects: &Recurring, kind: ObjectKind, body: &WireBody) -> FluidpayResult {
    let (limit, offset) = search::page(body)?;
    let wanted = |field: &str| body.get(field).and_then(|test| test["value"].as_str()).filter(|value| !value.is_empty());
    let (id, customer, plan) = (wanted("id"), wanted("customer_id"), wanted("plan_id"));
    let same = |wanted: Option<&str>, found: &Value| wanted.is_none_or(|wanted| found == wanted);
    let all: Vec<&Value> = objects
        .all(kind)
        .rev()
        .filter(|o| same(id, &o["id"]) && same(customer, &o["customer"]["id"]) && same(plan, &o["plan_id"]))
        .collect();
    list(&all.iter().skip(offset).take(limit).collect::<Vec<_>>(), all.len())
}

fn create(state: &mut State, kind: ObjectKind, body: &WireBody, now: DateTime<Utc>) -> FluidpayResult {
    let mut object = read(&state.fluidpay.recurring, kind, body, None)?;
    if kind == ObjectKind::Subscription {
        state.fluidpay.customers.find(object["customer"]["id"].as_str().unwrap_or_default())?;
    }
    let id = state.ids.fluidpay(now);
    object["id"] = json!(id);
    object["created_at"] = json!(now);
    object["updated_at"] = json!(now);
    state.fluidpay.recurring.objects.entry(kind).or_default().insert(id, object.clone());
    one(object)
}

fn update(objects: &mut Recurring, kind: ObjectKind, id: &str, body: &WireBody, now: DateTime<Utc>) -> FluidpayResult {
    let before = objects.find(kind, id)?.clone();
    let mut object = read(objects, kind, body, Some(&before))?;
    object["id"] = json!(id);
    object["created_at"] = before["created_at"].clone();
    object["updated_at"] = json!(now);
    *objects.find(kind, id)? = object.clone();
    one(object)
}

fn get(objects: &mut Recurring, kind: ObjectKind, id: &str, user_agent: &str) -> FluidpayResult {
    let object = objects.find(kind, id)?.clone();
    // The old Go client decodes a subscription as an array, the Java client as an object.
    let object_wanted = kind == ObjectKind::Subscription && !user_agent.starts_with("Go-http-client");
    if object_wanted { one(object) } else { array_of_one(object) }
}

fn remove(objects: &mut Recurring, kind: ObjectKind, id: &str) -> FluidpayResult {
    objects.find(kind, id)?;
    objects.objects.entry(kind).or_default().remove(id);
    nothing()
}

fn set_status(objects: &mut Recurring, id: &str, status: &str, query: &WireBody, now: DateTime<Utc>) -> FluidpayResult {
    let subscription = objects.find(ObjectKind::Subscription, id)?;
    if let Ok(Some(date)) = query.text("next_bill_date") {
        subscription["next_bill_date"] = json!(check_date(date)?);
    }
    subscription["status"] = json!(status);
    subscription["updated_at"] = json!(now);
    one(subscription.clone())
}
