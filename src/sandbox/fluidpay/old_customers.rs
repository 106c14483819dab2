//! The seed's own customer paths, `/customer…`: flat customers, `card_number`, `address_line_1`, lists with `count`.

use axum::http::Method;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    super::{body::WireBody, call::IncomingCall, state::State},
    customers::{StoredAddress, StoredCustomer, read_address, read_instrument, show_instrument},
    envelope::{FluidpayRefusal, FluidpayResult, list, nothing, one},
};

pub fn answer(state: &mut State, call: &IncomingCall, path: &[&str], now: DateTime<Utc>) -> FluidpayResult {
    let body = &call.body;
    match (&call.method, path) {
        (&Method::POST, []) => create(state, body, now),
        (&Method::POST, ["search"]) => search(state, body),
        (&Method::GET, [id]) => one(show(state.fluidpay.customers.find(id)?)),
        (&Method::POST, [id]) => change(state, id, body, now),
        (&Method::DELETE, [id]) => remove(state, id),
        (&Method::GET, [id, "addresses"]) => list_addresses(state, id),
        (&Method::POST, [id, "address"]) => add_address(state, id, body, now),
        (&Method::GET, [id, "address", address]) => find_address(state, id, address),
        (&Method::POST, [id, "address", address]) => replace_address(state, (id, address), body, now),
        (&Method::DELETE, [id, "address", address]) => remove_address(state, id, address),
        (&Method::GET, [id, "paymentmethod", kind]) => list_instruments(state, id, kind),
        (&Method::POST, [id, "paymentmethod", kind]) => add_instrument(state, id, kind, body, now),
        (&Method::GET, [id, "paymentmethod", _, instrument]) => find_instrument(state, id, instrument),
        (&Method::POST, [id, "paymentmethod", kind, instrument]) => replace_instrument(state, (id, instrument), kind, body, now),
        (&Method::DELETE, [id, "paymentmethod", _, instrument]) => remove_instrument(state, id, instrument),
        _ => Err(FluidpayRefusal::missing("page")),
    }
}

fn create(state: &mut State, body: &WireBody, now: DateTime<Utc>) -> FluidpayResult {
    let mut customer = StoredCustomer::new(state.ids.fluidpay(now), now);
    let description = body.text("description").ok().flatten();
    description.unwrap_or_default().clone_into(&mut customer.description);
    for (kind, method) in body.get("payment_method").and_then(Value::as_object).into_iter().flatten() {
        if !method.is_null() {
            customer.add_instrument(state.ids.fluidpay(now), read_instrument(kind, method.clone())?, now);
        }
    }
    for field in ["billing_address", "shipping_address"] {
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

fn search(state: &State, body: &WireBody) -> FluidpayResult {
    let (found, total) = state.fluidpay.customers.search(body)?;
    list(&found.iter().map(show).collect::<Vec<_>>(), total)
}

fn change(state: &mut State, id: &str, body: &WireBody, now: DateTime<Utc>) -> FluidpayResult {
    let customer = state.fluidpay.customers.find_mut(id)?;
    update(customer, body)?;
    customer.updated_at = now;
    nothing()
}

fn remove(state: &mut State, id: &str) -> FluidpayResult {
    state.fluidpay.customers.remove(id)?;
    nothing()
}

fn list_addresses(state: &State, id: &str) -> FluidpayResult {
    let customer = state.fluidpay.customers.find(id)?;
    let addresses: Vec<_> = customer.addresses.iter().map(|stored| show_address(&customer.id, stored)).collect();
    list(&addresses, addresses.len())
}

fn add_address(state: &mut State, id: &str, body: &WireBody, now: DateTime<Utc>) -> FluidpayResult {
    let address_id = state.ids.fluidpay(now);
    let customer = state.fluidpay.customers.find_mut(id)?;
    customer.add_address(address_id.clone(), read_address(body.value())?, now);
    one(show_address(id, customer.address_mut(&address_id)?))
}

fn find_address(state: &mut State, id: &str, address: &str) -> FluidpayResult {
    let customer = state.fluidpay.customers.find_mut(id)?;
    list(&[show_address(id, customer.address_mut(address)?)], 1)
}

fn replace_address(state: &mut State, (id, address): (&str, &str), body: &WireBody, now: DateTime<Utc>) -> FluidpayResult {
    state.fluidpay.customers.find_mut(id)?.replace_address(address, body.value(), now)?;
    nothing()
}

fn remove_address(state: &mut State, id: &str, address: &str) -> FluidpayResult {
    state.fluidpay.customers.find_mut(id)?.remove_address(address)?;
    nothing()
}

fn list_instruments(state: &State, id: &str, kind: &str) -> FluidpayResult {
    let customer = state.fluidpay.customers.find(id)?;
    let of_kind = customer.instruments.iter().filter(|instrument| instrument.kind() == kind);
    let shown: Vec<_> = of_kind.map(show_instrument).collect();
    list(&shown, shown.len())
}

fn add_instrument(state: &mut State, id: &str, kind: &str, body: &WireBody, now: DateTime<Utc>) -> FluidpayResult {
    let instrument_id = state.ids.fluidpay(now);
    let customer = state.fluidpay.customers.find_mut(id)?;
    customer.add_instrument(instrument_id.clone(), read_instrument(kind, nested(body.value(), kind))?, now);
    one(json!({ (kind): show_instrument(customer.instrument_mut(&instrument_id)?) }))
}

fn find_instrument(state: &mut State, id: &str, instrument: &str) -> FluidpayResult {
    let instrument = state.fluidpay.customers.find_mut(id)?.instrument_mut(instrument)?;
    list(&[show_instrument(instrument)], 1)
}

fn replace_instrument(
    state: &mut State,
    (id, instrument): (&str, &str),
    kind: &str,
    body: &WireBody,
    now: DateTime<Utc>,
) -> FluidpayResult {
    let read = read_instrument(kind, nested(body.value(), kind))?;
    state.fluidpay.customers.find_mut(id)?.replace_instrument(instrument, read, now)?;
    nothing()
}

fn remove_instrument(state: &mut State, id: &str, instrument: &str) -> FluidpayResult {
    state.fluidpay.customers.find_mut(id)?.remove_instrument(instrument)?;
    nothing()
}

/// The body is the card itself, or `{"card": {…}}` in the update sample.
fn nested(mut body: Value, kind: &str) -> Value {
    if body[kind].is_object() { body[kind].take() } else { body }
}

fn update(customer: &mut StoredCustomer, body: &WireBody) -> Result<(), FluidpayRefusal> {
    let text = |field| body.text(field).ok().flatten().filter(|text| !text.is_empty());
    if let Some(id) = text("payment_method_id") {
        customer.instrument_mut(id)?;
        id.clone_into(&mut customer.defaults.payment_method_id);
    }
    for field in ["billing_address_id", "shipping_address_id"] {
        if let Some(id) = text(field) {
            customer.address_mut(id)?;
            let billing = field == "billing_address_id";
            let defaults = &mut customer.defaults;
            id.clone_into(if billing { &mut defaults.billing_address_id } else { &mut defaults.shipping_address_id });
        }
    }
    if let Some(description) = text("description") {
        description.clone_into(&mut customer.description);
    }
    Ok(())
}

fn show(customer: &StoredCustomer) -> Value {
    let address = |id: &str| {
        let stored = customer.addresses.iter().find(|stored| stored.id == id);
        stored.map(|stored| show_address(&customer.id, stored))
    };
    let paying = customer.payer("").ok();
    json!({
        "id": customer.id,
        "description": customer.description,
        "payment_method": paying.map(|instrument| json!({ instrument.kind(): show_instrument(instrument) })),
        "payment_method_type": paying.map(|instrument| instrument.kind()),
        "billing_address": address(&customer.defaults.billing_address_id),
        "shipping_address": address(&customer.defaults.shipping_address_id),
        "created_at": customer.created_at,
        "updated_at": customer.updated_at,
    })
}

fn show_address(customer_id: &str, stored: &StoredAddress) -> Value {
    let mut shown = json!(stored.address);
    shown["id"] = json!(stored.id);
    shown["customer_id"] = json!(customer_id);
    shown["created_at"] = json!(stored.created_at);
    shown["updated_at"] = json!(stored.updated_at);
    shown
}
