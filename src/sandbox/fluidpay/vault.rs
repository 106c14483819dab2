//! The newer customer paths, `/vault…`: every answer is the whole customer, nested under `data.customer`; lines are `line_1`.

use axum::http::Method;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    super::{call::IncomingCall, state::State},
    account::USER_ID,
    customers::{StoredCustomer, read_address, read_instrument},
    envelope::{FluidpayRefusal, FluidpayResult, list, nothing, one},
    instrument::{Face, Instrument},
};

/// Kinds of payment methods that have a path of their own.
const KINDS: [&str; 3] = ["card", "ach", "token"];

pub fn answer(state: &mut State, call: &IncomingCall, path: &[&str], now: DateTime<Utc>) -> FluidpayResult {
    let body = || Value::Object(call.body.fields().clone());
    match (&call.method, path) {
        (&Method::POST, ["customer"]) => create(state, call, now),
        (&Method::POST, ["customer", "search"]) => {
            let (found, total) = state.fluidpay.customers.search(&call.body)?;
            list(&found.iter().map(show).collect::<Vec<_>>(), total)
        }
        // The SDKs read and delete without the word `customer`; both are accepted.
        (&Method::GET, [id] | ["customer", id]) => one(show(state.fluidpay.customers.find(id)?)),
        (&Method::DELETE, [id] | ["customer", id]) => {
            state.fluidpay.customers.remove(id)?;
            nothing()
        }
        (&Method::POST, ["customer", id]) => {
            let customer = state.fluidpay.customers.find_mut(id)?;
            update(customer, call)?;
            customer.updated_at = now;
            one(show(customer))
        }
        (&Method::POST, ["customer", id, "address"]) => {
            let address_id = state.ids.fluidpay(now);
            let customer = state.fluidpay.customers.find_mut(id)?;
            let address = read_address(body())?;
            if customer.addresses.iter().any(|stored| stored.address == address) {
                return Err(FluidpayRefusal::bad("address is a duplicate"));
            }
            customer.add_address(address_id.clone(), address, now);
            created(customer, "created_address_id", &address_id)
        }
        (&Method::POST, ["customer", id, "address", address]) => {
            let customer = state.fluidpay.customers.find_mut(id)?;
            let stored = customer.address_mut(address)?;
            stored.address = read_address(body())?;
            stored.updated_at = now;
            one(show(customer))
        }
        (&Method::DELETE, ["customer", id, "address", address]) => {
            state.fluidpay.customers.find_mut(id)?.remove_address(address)?;
            nothing()
        }
        (&Method::POST, ["customer", id, kind]) if KINDS.contains(kind) => {
            let instrument_id = state.ids.fluidpay(now);
            let customer = state.fluidpay.customers.find_mut(id)?;
            customer.add_instrument(instrument_id.clone(), read_instrument(kind, body())?, now);
            created(customer, "created_payment_method_id", &instrument_id)
        }
        (&Method::POST, ["customer", id, kind, instrument]) if KINDS.contains(kind) => {
            let (behaviour, face) = read_instrument(kind, body())?;
            let customer = state.fluidpay.customers.find_mut(id)?;
            let stored = customer.instrument_mut(instrument)?;
            (stored.behaviour, stored.face, stored.updated_at) = (behaviour, face, now);
            one(show(customer))
        }
        (&Method::DELETE, ["customer", id, kind, instrument]) if KINDS.contains(kind) => {
            state.fluidpay.customers.find_mut(id)?.remove_instrument(instrument)?;
            nothing()
        }
        _ => Err(FluidpayRefusal::missing("page")),
    }
}

fn create(state: &mut State, call: &IncomingCall, now: DateTime<Utc>) -> FluidpayResult {
    let text = |field| call.body.text(field).ok().flatten().unwrap_or_default().to_owned();
    let id = match text("id") {
        id if id.is_empty() => state.ids.fluidpay(now),
        id if (2..=40).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_^".contains(&b)) => id,
        _ => return Err(FluidpayRefusal::bad("id must be 2 to 40 letters, digits, dots, dashes, underscores or carets")),
    };
    let mut customer = StoredCustomer::new(id, now);
    customer.description = text("description");
    customer.flags = flags(call).unwrap_or_default();
    for (kind, method) in call.body.get("default_payment").and_then(Value::as_object).into_iter().flatten() {
        if !method.is_null() && *method != json!("") {
            customer.add_instrument(state.ids.fluidpay(now), read_instrument(kind, method.clone())?, now);
        }
    }
    for field in ["default_billing_address", "default_shipping_address"] {
        if let Some(address) = call.body.get(field) {
            customer.add_address(state.ids.fluidpay(now), read_address(address.clone())?, now);
        }
    }
    if customer.addresses.len() > 1 {
        customer.defaults.shipping_address_id.clone_from(&customer.addresses[1].id);
    }
    let shown = show(&customer);
    state.fluidpay.customers.add(customer)?;
    one(shown)
}

fn flags(call: &IncomingCall) -> Option<Vec<String>> {
    call.body.get("flags").and_then(|flags| serde_json::from_value(flags.clone()).ok())
}

fn update(customer: &mut StoredCustomer, call: &IncomingCall) -> Result<(), FluidpayRefusal> {
    let defaults = call.body.nested("defaults");
    let chosen = |field| defaults.text(field).ok().flatten().filter(|text| !text.is_empty());
    if let Some(id) = chosen("payment_method_id") {
        customer.instrument_mut(id)?;
        id.clone_into(&mut customer.defaults.payment_method_id);
    }
    if let Some(id) = chosen("billing_address_id") {
        customer.address_mut(id)?;
        id.clone_into(&mut customer.defaults.billing_address_id);
    }
    if let Some(id) = chosen("shipping_address_id") {
        customer.address_mut(id)?;
        id.clone_into(&mut customer.defaults.shipping_address_id);
    }
    if let Ok(Some(description)) = call.body.text("description") {
        description.clone_into(&mut customer.description);
    }
    if let Ok(Some(notes)) = call.body.text("notes") {
        notes.clone_into(&mut customer.notes);
    }
    if let Some(flags) = flags(call) {
        customer.flags = flags;
    }
    Ok(())
}

fn created(customer: &StoredCustomer, field: &str, id: &str) -> FluidpayResult {
    let mut shown = show(customer);
    shown[field] = json!(id);
    one(shown)
}

fn show(customer: &StoredCustomer) -> Value {
    let addresses: Vec<Value> = customer
        .addresses
        .iter()
        .map(|stored| {
            let mut shown = json!(stored.address);
            shown["id"] = json!(stored.id);
            shown["line_1"] = shown["address_line_1"].take();
            shown["line_2"] = shown["address_line_2"].take();
            if let Some(fields) = shown.as_object_mut() {
                fields.retain(|name, _| !name.starts_with("address_line"));
            }
            shown
        })
        .collect();
    let of_kind = |kind| {
        let shown: Vec<_> = customer.instruments.iter().filter(|i| i.kind() == kind).map(show_instrument).collect();
        // Clients choke on an empty list of bank accounts.
        if shown.is_empty() { Value::Null } else { Value::Array(shown) }
    };
    json!({
        "id": customer.id,
        "owner_id": USER_ID,
        "data": { "customer": {
            "id": customer.id,
            "description": customer.description,
            "notes": customer.notes,
            "flags": customer.flags,
            "addresses": addresses,
            "defaults": {
                "billing_address_id": customer.defaults.billing_address_id,
                "shipping_address_id": customer.defaults.shipping_address_id,
                "payment_method_id": customer.defaults.payment_method_id,
                "payment_method_type": customer.payer("").map_or("", Instrument::kind),
            },
            "payments": { "cards": of_kind("card"), "ach": of_kind("ach") },
        }},
        "created_at": customer.created_at,
        "updated_at": customer.updated_at,
    })
}

fn show_instrument(instrument: &Instrument) -> Value {
    let mut shown = super::customers::show_instrument(instrument);
    shown["flags"] = json!([]);
    shown["processor_id"] = json!("");
    if let Face::Card { masked_card, .. } = &instrument.face {
        shown["masked_number"] = json!(masked_card);
    }
    shown
}
