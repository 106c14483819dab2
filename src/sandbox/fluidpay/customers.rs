//! Stored customers with their payment methods and addresses. The old and the new customer paths share them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    super::{body::WireBody, fixtures},
    envelope::FluidpayRefusal,
    instrument::{AchBody, Behaviour, CardBody, Face, Instrument},
    search,
    transaction::Address,
};

/// A stored address of a customer.
#[derive(Debug, Clone)]
pub struct StoredAddress {
    pub id: String,
    pub address: Address,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// What a transaction uses if it names nothing else.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    pub payment_method_id: String,
    pub billing_address_id: String,
    pub shipping_address_id: String,
}

/// A stored customer; its id is the token that is charged.
#[derive(Debug, Clone)]
pub struct StoredCustomer {
    pub id: String,
    pub description: String,
    pub notes: String,
    pub flags: Vec<String>,
    pub instruments: Vec<Instrument>,
    pub addresses: Vec<StoredAddress>,
    pub defaults: Defaults,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl StoredCustomer {
    pub fn new(id: String, now: DateTime<Utc>) -> Self {
        Self {
            id,
            description: String::new(),
            notes: String::new(),
            flags: Vec::new(),
            instruments: Vec::new(),
            addresses: Vec::new(),
            defaults: Defaults::default(),
            created_at: now,
            updated_at: now,
        }
    }

    /// The payment method of this id, or the default one if the id is empty.
    pub fn payer(&self, payment_method_id: &str) -> Result<&Instrument, FluidpayRefusal> {
        let id = if payment_method_id.is_empty() { &self.defaults.payment_method_id } else { payment_method_id };
        self.instruments.iter().find(|instrument| instrument.id == *id).ok_or_else(|| FluidpayRefusal::missing("payment method"))
    }

    pub fn instrument_mut(&mut self, id: &str) -> Result<&mut Instrument, FluidpayRefusal> {
        self.instruments
            .iter_mut()
            .find(|instrument| instrument.id == id)
            .ok_or_else(|| FluidpayRefusal::missing("payment method"))
    }

    pub fn address_mut(&mut self, id: &str) -> Result<&mut StoredAddress, FluidpayRefusal> {
        self.addresses.iter_mut().find(|stored| stored.id == id).ok_or_else(|| FluidpayRefusal::missing("address"))
    }

    /// Adds a payment method; the first one is the default.
    pub fn add_instrument(&mut self, id: String, (behaviour, face): (Behaviour, Face), now: DateTime<Utc>) {
        if self.defaults.payment_method_id.is_empty() {
            self.defaults.payment_method_id.clone_from(&id);
        }
        self.instruments.push(Instrument { id, behaviour, face, created_at: now, updated_at: now });
        self.updated_at = now;
    }

    /// Adds an address; the first one is the default for billing and shipping.
    pub fn add_address(&mut self, id: String, address: Address, now: DateTime<Utc>) {
        for default in [&mut self.defaults.billing_address_id, &mut self.defaults.shipping_address_id] {
            if default.is_empty() {
                default.clone_from(&id);
            }
        }
        self.addresses.push(StoredAddress { id, address, created_at: now, updated_at: now });
        self.updated_at = now;
    }

    /// Puts another card or account under the id of a stored one.
    pub fn replace_instrument(
        &mut self,
        id: &str,
        (behaviour, face): (Behaviour, Face),
        now: DateTime<Utc>,
    ) -> Result<(), FluidpayRefusal> {
        let stored = self.instrument_mut(id)?;
        (stored.behaviour, stored.face, stored.updated_at) = (behaviour, face, now);
        Ok(())
    }

    /// Puts the address of a body under the id of a stored one.
    pub fn replace_address(&mut self, id: &str, body: Value, now: DateTime<Utc>) -> Result<(), FluidpayRefusal> {
        let stored = self.address_mut(id)?;
        stored.address = read_address(body)?;
        stored.updated_at = now;
        Ok(())
    }

    pub fn remove_instrument(&mut self, id: &str) -> Result<(), FluidpayRefusal> {
        self.instrument_mut(id)?;
        self.instruments.retain(|instrument| instrument.id != id);
        if self.defaults.payment_method_id == id {
            self.defaults.payment_method_id = self.instruments.first().map_or_else(String::new, |first| first.id.clone());
        }
        Ok(())
    }

    pub fn remove_address(&mut self, id: &str) -> Result<(), FluidpayRefusal> {
        self.address_mut(id)?;
        self.addresses.retain(|stored| stored.id != id);
        let first = self.addresses.first().map_or_else(String::new, |first| first.id.clone());
        for default in [&mut self.defaults.billing_address_id, &mut self.defaults.shipping_address_id] {
            if default == id {
                default.clone_from(&first);
            }
        }
        Ok(())
    }
}

/// All customers, by id and in order of creation.
#[derive(Debug, Default)]
pub struct Customers {
    by_id: HashMap<String, StoredCustomer>,
    order: Vec<String>,
    /// How many ids were made with each prefix.
    numbered: HashMap<String, usize>,
}

impl Customers {
    /// Makes `count` new ids of 20 characters: the prefix, zeros, and a number that rises from 0 and never repeats.
    pub fn new_ids(&mut self, count: usize, prefix: &str) -> Vec<String> {
        let width = 20 - prefix.len();
        let next = self.numbered.entry(prefix.to_owned()).or_default();
        let mut ids = Vec::with_capacity(count);
        while ids.len() < count {
            let id = format!("{prefix}{next:0width$}");
            *next += 1;
            if !self.by_id.contains_key(&id) {
                ids.push(id);
            }
        }
        ids
    }

    pub fn get(&self, id: &str) -> Option<&StoredCustomer> {
        self.by_id.get(id)
    }

    pub fn find(&self, id: &str) -> Result<&StoredCustomer, FluidpayRefusal> {
        self.get(id).ok_or_else(|| FluidpayRefusal::missing("customer"))
    }

    pub fn find_mut(&mut self, id: &str) -> Result<&mut StoredCustomer, FluidpayRefusal> {
        self.by_id.get_mut(id).ok_or_else(|| FluidpayRefusal::missing("customer"))
    }

    pub fn add(&mut self, customer: StoredCustomer) -> Result<(), FluidpayRefusal> {
        if self.by_id.contains_key(&customer.id) {
            return Err(FluidpayRefusal::bad("customer id is taken"));
        }
        self.order.push(customer.id.clone());
        self.by_id.insert(customer.id.clone(), customer);
        Ok(())
    }

    pub fn remove(&mut self, id: &str) -> Result<(), FluidpayRefusal> {
        self.by_id.remove(id).map(drop).ok_or_else(|| FluidpayRefusal::missing("customer"))
    }

    /// One page of matching customers, newest first, and how many there are in all.
    pub fn search(&self, body: &WireBody) -> Result<(Vec<StoredCustomer>, usize), FluidpayRefusal> {
        let (limit, offset) = search::page(body)?;
        let (from, to) = search::dates(body.get("created_at"))?.unwrap_or_default();
        let wanted = |field: &str| body.get(field).and_then(|test| test["value"].as_str()).filter(|text| !text.is_empty());
        let tests: Vec<(&str, &str)> = ["id", "payment_method", "billing_address_id", "shipping_address_id", "email"]
            .into_iter()
            .filter_map(|field| wanted(field).map(|value| (field, value)))
            .collect();
        let matches = |customer: &&StoredCustomer| {
            from.is_none_or(|from| customer.created_at >= from)
                && to.is_none_or(|to| customer.created_at <= to)
                && tests.iter().all(|(field, value)| match *field {
                    "id" => customer.id == *value,
                    "payment_method" => customer.defaults.payment_method_id == *value,
                    "billing_address_id" => customer.defaults.billing_address_id == *value,
                    "shipping_address_id" => customer.defaults.shipping_address_id == *value,
                    _ => customer.addresses.iter().any(|stored| stored.address.email == *value),
                })
        };
        let found: Vec<&StoredCustomer> = match wanted("id") {
            Some(id) => self.get(id).into_iter().filter(matches).collect(),
            None => self.order.iter().rev().filter_map(|id| self.get(id)).filter(matches).collect(),
        };
        Ok((found.iter().skip(offset).take(limit).map(|customer| (*customer).clone()).collect(), found.len()))
    }
}

/// Reads a payment method of this kind: card, account or token.
pub fn read_instrument(kind: &str, body: Value) -> Result<(Behaviour, Face), FluidpayRefusal> {
    let broken = |error: serde_json::Error| FluidpayRefusal::bad(error.to_string());
    match kind {
        "card" => serde_json::from_value::<CardBody>(body).map_err(broken)?.read(),
        "ach" => serde_json::from_value::<AchBody>(body).map_err(broken)?.read(),
        // A tokenizer's token. The card number never reached the gateway.
        "token" => CardBody::new(fixtures::APPROVED_CARD, "12/99").read(),
        _ => Err(FluidpayRefusal::bad("payment method type must be card, ach or token")),
    }
}

pub fn read_address(body: Value) -> Result<Address, FluidpayRefusal> {
    serde_json::from_value(body).map_err(|error| FluidpayRefusal::bad(error.to_string()))
}

/// The fields of a payment method, with its id and dates.
pub fn show_instrument(instrument: &Instrument) -> Value {
    let mut shown = json!(instrument.face);
    shown["id"] = json!(instrument.id);
    shown["created_at"] = json!(instrument.created_at);
    shown["updated_at"] = json!(instrument.updated_at);
    shown
}
