//! The paths of FluidPay's recurring objects, `/recurring…`.

use axum::http::Method;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    super::{call::IncomingCall, state::State},
    envelope::{FluidpayRefusal, FluidpayResult, array_of_one, list, nothing, one},
    recurring::{ObjectKind, check_date, read},
    search,
};

const STATUSES: [&str; 5] = ["active", "paused", "past_due", "cancelled", "completed"];

pub fn answer(state: &mut State, call: &IncomingCall, path: &[&str], now: DateTime<Utc>) -> FluidpayResult {
    let [word, rest @ ..] = path else { return Err(FluidpayRefusal::missing("page")) };
    let (kind, plural) = ObjectKind::named(word).ok_or_else(|| FluidpayRefusal::missing("page"))?;
    let customers = &state.fluidpay.customers;
    let objects = &mut state.fluidpay.recurring;
    match (&call.method, rest) {
        // The seed's samples send POST where its text says GET.
        (&Method::GET | &Method::POST, []) if plural => {
            let all: Vec<&Value> = objects.all(kind).rev().collect();
            list(&all, all.len())
        }
        (&Method::POST, ["search"]) => {
            let (limit, offset) = search::page(&call.body)?;
            let wanted = |field: &str| call.body.get(field).and_then(|test| test["value"].as_str()).filter(|v| !v.is_empty());
            let (id, customer, plan) = (wanted("id"), wanted("customer_id"), wanted("plan_id"));
            let same = |wanted: Option<&str>, found: &Value| wanted.is_none_or(|wanted| found == wanted);
            let all: Vec<&Value> = objects
                .all(kind)
                .rev()
                .filter(|o| same(id, &o["id"]) && same(customer, &o["customer"]["id"]) && same(plan, &o["plan_id"]))
                .collect();
            list(&all.iter().skip(offset).take(limit).collect::<Vec<_>>(), all.len())
        }
        (&Method::POST, []) => {
            let mut object = read(objects, kind, &call.body, None)?;
            if kind == ObjectKind::Subscription {
                customers.find(object["customer"]["id"].as_str().unwrap_or_default())?;
            }
            let id = state.ids.fluidpay(now);
            object["id"] = json!(id);
            object["created_at"] = json!(now);
            object["updated_at"] = json!(now);
            objects.objects.entry(kind).or_default().insert(id, object.clone());
            one(object)
        }
        (&Method::POST, [id]) => {
            let before = objects.find(kind, id)?.clone();
            let mut object = read(objects, kind, &call.body, Some(&before))?;
            object["id"] = json!(id);
            object["created_at"] = before["created_at"].clone();
            object["updated_at"] = json!(now);
            *objects.find(kind, id)? = object.clone();
            one(object)
        }
        (&Method::GET, [id]) => {
            let object = objects.find(kind, id)?.clone();
            // The old Go client decodes a subscription as an array, the Java client as an object.
            let object_wanted = kind == ObjectKind::Subscription && !call.user_agent.starts_with("Go-http-client");
            if object_wanted { one(object) } else { array_of_one(object) }
        }
        (&Method::DELETE, [id]) => {
            objects.find(kind, id)?;
            objects.objects.entry(kind).or_default().remove(*id);
            nothing()
        }
        // A GET that changes things: so the gateway's clients do it.
        (&Method::GET, [id, "status", status]) if kind == ObjectKind::Subscription && STATUSES.contains(status) => {
            let subscription = objects.find(kind, id)?;
            if let Ok(Some(date)) = call.query.text("next_bill_date") {
                subscription["next_bill_date"] = json!(check_date(date)?);
            }
            subscription["status"] = json!(status);
            subscription["updated_at"] = json!(now);
            one(subscription.clone())
        }
        _ => Err(FluidpayRefusal::missing("page")),
    }
}
