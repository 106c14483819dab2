//! Paylike's accounts: apps with their keys, merchants, and which app may use which merchant.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    super::{
        body::WireBody,
        ids::{RawId, object_id},
        state::State,
    },
    refusal::{InvalidFields, PaylikeRefusal},
    state::{Merchant, PaylikeApp},
};
use crate::domain::money::Currency;

/// Makes an app with a fresh key.
pub fn create_app(state: &mut State, body: &WireBody, now: DateTime<Utc>) -> Result<Value, PaylikeRefusal> {
    let mut invalid = InvalidFields::default();
    let name = invalid.take("name", body.text("name")).map(str::to_owned);
    invalid.check()?;
    let (id, secret) = (state.ids.next(now), object_id(state.ids.next(now)));
    let key = format!("{}-{}-4000-8000-{}", &secret[..8], &secret[8..12], &secret[12..]);
    let shown = json!({ "app": { "id": object_id(id), "name": name, "key": key } });
    add_app(state, id, key, name, now);
    Ok(shown)
}

pub fn add_app(state: &mut State, id: RawId, key: String, name: Option<String>, now: DateTime<Utc>) {
    state.paylike.apps.insert(id, PaylikeApp { name, created: now, merchants: BTreeSet::new() });
    state.paylike.keys.insert(key, id);
}

/// Makes a merchant that the calling app may use.
pub fn create_merchant(state: &mut State, app: RawId, body: &WireBody, now: DateTime<Utc>) -> Result<Value, PaylikeRefusal> {
    let mut invalid = InvalidFields::default();
    let currency: Option<Currency> = invalid.require("currency", body.text("currency")).parse().ok();
    if currency.is_none() && body.get("currency").is_some() {
        invalid.add("currency", "must be a three letter ISO code");
    }
    let email = invalid.require("email", body.text("email")).to_owned();
    let website = invalid.require("website", body.text("website")).to_owned();
    let descriptor = invalid.require("descriptor", body.text("descriptor")).to_owned();
    let company = body.nested("company");
    invalid.require("company.country", company.text("country"));
    let name = invalid.take("name", body.text("name")).map(str::to_owned);
    let test = invalid.take("test", body.flag("test")).unwrap_or_default();
    invalid.check()?;
    let merchant = Merchant {
        name,
        currency: currency.unwrap_or(Currency::USD),
        test,
        email,
        website,
        descriptor,
        company: Value::Object(company.fields().clone()),
        bank: Value::Object(body.nested("bank").fields().clone()),
        created: now,
        apps: BTreeSet::new(),
        users: BTreeMap::new(),
        user_ids: BTreeSet::new(),
        transactions: BTreeSet::new(),
        lines: BTreeSet::new(),
    };
    let id = state.ids.next(now);
    let shown = json!({ "merchant": merchant.show(&id) });
    state.paylike.merchants.insert(id, merchant);
    link(state, app, id);
    Ok(shown)
}

/// Lets an app use a merchant.
pub fn link(state: &mut State, app: RawId, merchant: RawId) {
    if let Some(app) = state.paylike.apps.get_mut(&app) {
        app.merchants.insert(merchant);
    }
    if let Some(merchant) = state.paylike.merchants.get_mut(&merchant) {
        merchant.apps.insert(app);
    }
}

pub fn unlink(state: &mut State, app: RawId, merchant: RawId) -> Result<(), PaylikeRefusal> {
    let apps = state.paylike.merchants.get_mut(&merchant).map(|merchant| &mut merchant.apps);
    if !apps.is_some_and(|apps| apps.remove(&app)) {
        return Err(PaylikeRefusal::NotFound);
    }
    if let Some(app) = state.paylike.apps.get_mut(&app) {
        app.merchants.remove(&merchant);
    }
    Ok(())
}

/// Changes the fields of a merchant that may change: name, email, descriptor.
pub fn update_merchant(merchant: &mut Merchant, body: &WireBody) -> Result<(), PaylikeRefusal> {
    let mut invalid = InvalidFields::default();
    let name = invalid.take("name", body.text("name"));
    let email = invalid.take("email", body.text("email"));
    let descriptor = invalid.take("descriptor", body.text("descriptor"));
    invalid.check()?;
    if let Some(name) = name {
        merchant.name = Some(name.to_owned());
    }
    if let Some(email) = email {
        email.clone_into(&mut merchant.email);
    }
    if let Some(descriptor) = descriptor {
        descriptor.clone_into(&mut merchant.descriptor);
    }
    Ok(())
}

/// Invites a user. A second invitation changes nothing.
pub fn add_user(state: &mut State, merchant: RawId, body: &WireBody, now: DateTime<Utc>) -> Result<Value, PaylikeRefusal> {
    let mut invalid = InvalidFields::default();
    let email = invalid.require("email", body.text("email")).to_owned();
    invalid.check()?;
    let id = state.ids.next(now);
    let merchant = state.paylike.merchants.get_mut(&merchant).ok_or(PaylikeRefusal::NotFound)?;
    if !merchant.users.values().any(|known| *known == email) {
        merchant.users.insert(id, email);
        merchant.user_ids.insert(id);
    }
    Ok(json!({}))
}

pub fn remove_user(merchant: &mut Merchant, id: RawId) -> Result<(), PaylikeRefusal> {
    merchant.user_ids.remove(&id);
    merchant.users.remove(&id).map(drop).ok_or(PaylikeRefusal::NotFound)
}
