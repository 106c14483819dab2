//! The newer customer paths, `/vault…`: every answer is the whole customer, nested under `data.customer`; lines are `line_1`.

use axum::http::Method;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    super::{body::WireBody, call::IncomingCall, state::State},
    account::USER_ID,
    customers::{StoredCustomer, read_address, read_instrument},
    envelope::{FluidpayRefusal, FluidpayResult, list, nothing, one},
    instrument::{Face, Instrument},
};

/// Kinds of payment methods that have a path of their own.
const KINDS: [&str; 3] = ["card", "ach", "token"];

pub fn answer(state: &mut State, call: &IncomingCall, path: &[&str], now: DateTime<Utc>) -> FluidpayResult {
    let body = &call.body;
    match (&call.method, path) {
        (&Method::POST, ["customer"]) => create(state, body, now),
        (&Method::POST, ["customer", "search"]) => search(state, body),
        // The SDKs read and delete without the word `customer`; the gateway accepts both.
        (&Method::GET, [id] | ["customer", id]) => one(show(state.fluidpay.customers.find(id)?)),
        (&Method::DELETE, [id] | ["customer", id]) => remove(state, id),
        (&Method::POST, ["customer", id]) => change(state, id, body, now),
        (&Method::POST, ["customer", id, "address"]) => add_address(state, id, body, now),
        (&Method::POST, ["customer", id, "address", address]) => replace_address(state, (id, address), body, now),
        (&Method::DELETE, ["customer", id, "address", address]) => remove_address(state, id, address),
        (&Method::POST, ["customer", id, kind]) if KINDS.contains(kind) => add_instrument(state, id, kind, body, now),
        (&Method::POST, ["customer", id, kind, instrument]) if KINDS.contains(kind) => {
            replace_instrument(state, (id, instrument), kind, body, now)
        }
        (&Method::DELETE, ["customer", id, kind, instrument]) if KINDS.contains(kind) => remove_instrument(state, id, instrument),
        _ => Err(FluidpayRefusal::missing("page")),
    }
}

fn search(state: &State, body: &WireBody) -> FluidpayResult {
    let (found, total) = state.fluidpay.customers.search(body)?;
    list(&found.iter().map(show).collect::<Vec<_>>(), total)
}

fn remove(state: &mut State, id: &str) -> FluidpayResult {
    state.fluidpay.customers.remove(id)?;
    nothing()
}

fn change(state: &mut State, id: &str, body: &WireBody, now: DateTime<Utc>) -> FluidpayResult {
    let customer = state.fluidpay.customers.find_mut(id)?;
    update(customer, body)?;
    customer.updated_at = now;
    one(show(customer))
}

fn add_address(state: &mut State, id: &str, body: &WireBody, now: DateTime<Utc>) -> FluidpayResult {
    let address_id = state.ids.fluidpay(now);
    let customer = state.fluidpay.customers.find_mut(id)?;
    let address = read_address(body.value())?;
    if customer.addresses.iter().any(|stored| stored.address == address) {
        return Err(FluidpayRefusal::bad("address is a duplicate"));
    }
    customer.add_address(address_id.clone(), address, now);
    created(customer, "created_address_id", &address_id)
}

fn replace_address(state: &mut State, (id, address): (&str, &str), body: &WireBody, now: DateTime<Utc>) -> FluidpayResult {
    let customer = state.fluidpay.customers.find_mut(id)?;
    customer.replace_address(address, body.value(), now)?;
    one(show(customer))
}

fn remove_address(state: &mut State, id: &str, address: &str) -> FluidpayResult {
    state.fluidpay.customers.find_mut(id)?.remove_address(address)?;
    nothing()
}

fn add_instrument(state: &mut State, id: &str, kind: &str, body: &WireBody, now: DateTime<Utc>) -> FluidpayResult {
    let instrument_id = state.ids.fluidpay(now);
    let customer = state.fluidpay.customers.find_mut(id)?;
    customer.add_instrument(instrument_id.clone(), read_instrument(kind, body.value())?, now);
    created(customer, "created_payment_method_id", &instrument_id)
}

fn replace_instrument(
    state: &mut State,
    (id, instrument): (&str, &str),
    kind: &str,
    body: &WireBody,
    now: DateTime<Utc>,
) -> FluidpayResult {
    let read = read_instrument(kind, body.value())?;
    let customer = state.fluidpay.customers.find_mut(id)?;
    customer.replace_instrument(instrument, read, now)?;
    one(show(customer))
}

fn remove_instrument(state: &mut State, id: &str, instrument: &str) -> FluidpayResult {
    state.fluidpay.customers.find_mut(id)?.remove_instrument(instrument)?;
    nothing()
}

fn create(state: &mut State, body: &WireBody, now: DateTime<Utc>) -> FluidpayResult {
    let text = |field| body.text(field).ok().flatten().unwrap_or_default().to_owned();
    let id = match text("id") {
        id if id.is_empty() => state.ids.fluidpay(now),
        id if (2..=40).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_^".contains(&b)) => id,
        _ => return Err(FluidpayRefusal::bad("id must be 2 to 40 letters, digits, dots, dashes, underscores or carets")),
    };
    let mut customer = StoredCustomer::new(id, now);
    customer.description = text("description");
    customer.flags = flags(body).unwrap_or_default();
    for (kind, method) in body.get("default_payment").and_then(Value::as_object).into_iter().flatten() {
        if !method.is_null() && *method != json!("") {
            customer.add_instrument(state.ids.fluidpay(now), read_instrument(kind, method.clone())?, now);
        }
    }
    for field in ["default_billing_address", "default_shipping_address"] {
        if let Some(address) = body.get(field) {
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

fn flags(body: &WireBody) -> Option<Vec<String>> {
    body.get("flags").and_then(|flags| serde_json::from_value(flags.clone()).ok())
}

fn update(customer: &mut StoredCustomer, body: &WireBody) -> Result<(), FluidpayRefusal> {
    let defaults = body.nested("defaults");
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
    if let Ok(Some(description)) = body.text("description") {
        description.clone_into(&mut customer.description);
    }
    if let Ok(Some(notes)) = body.text("notes") {
        notes.clone_into(&mut customer.notes);
    }
    if let Some(flags) = flags(body) {
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
        // Clients fail on an empty list of bank accounts.
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
