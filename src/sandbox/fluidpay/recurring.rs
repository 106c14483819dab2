//! FluidPay's own add-ons, discounts, plans and subscriptions as they are stored. The sandbox never bills anybody by them.

use std::collections::{BTreeMap, HashMap};

use chrono::NaiveDate;
use serde_json::{Map, Value, json};

use super::{super::body::WireBody, envelope::FluidpayRefusal};

const FREQUENCIES: [&str; 3] = ["daily", "twice_monthly", "monthly"];

/// Stored objects by kind and id. Ids rise, so the order of the map is the order of creation.
#[derive(Debug, Default)]
pub struct Recurring {
    pub objects: HashMap<ObjectKind, BTreeMap<String, Value>>,
}

/// Which kind of object a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    AddOn,
    Discount,
    Plan,
    Subscription,
}

impl ObjectKind {
    /// The kind that a path names, and whether the path names it in the plural.
    pub fn named(word: &str) -> Option<(Self, bool)> {
        let (word, plural) = word.strip_suffix('s').map_or((word, false), |singular| (singular, true));
        let kind = match word {
            "addon" => Self::AddOn,
            "discount" => Self::Discount,
            "plan" => Self::Plan,
            "subscription" => Self::Subscription,
            _ => return None,
        };
        Some((kind, plural))
    }
}

impl Recurring {
    pub fn find(&mut self, kind: ObjectKind, id: &str) -> Result<&mut Value, FluidpayRefusal> {
        let found = self.objects.get_mut(&kind).and_then(|objects| objects.get_mut(id));
        found.ok_or_else(|| FluidpayRefusal::missing("recurring object"))
    }

    pub fn all(&self, kind: ObjectKind) -> impl DoubleEndedIterator<Item = &Value> {
        self.objects.get(&kind).into_iter().flat_map(|objects| objects.values())
    }

    /// The add-ons or discounts of a plan or subscription: each referenced item, with
    /// the fields that the request gives in place of its own.
    fn resolve(&self, kind: ObjectKind, given: Option<&Value>) -> Result<Value, FluidpayRefusal> {
        let Some(given) = given.and_then(Value::as_array).filter(|given| !given.is_empty()) else { return Ok(Value::Null) };
        let mut resolved = Vec::new();
        for item in given {
            let id = item["id"].as_str().unwrap_or_default();
            let known = self.objects.get(&kind).and_then(|objects| objects.get(id));
            let mut merged = known.cloned().ok_or_else(|| FluidpayRefusal::missing("add on or discount"))?;
            for field in ["name", "description", "duration"] {
                if !item[field].is_null() {
                    merged[field] = item[field].clone();
                }
            }
            for (field, other) in [("amount", "percentage"), ("percentage", "amount")] {
                if !item[field].is_null() {
                    merged[field] = item[field].clone();
                    merged[other] = Value::Null;
                }
            }
            merged["created_at"] = Value::Null;
            merged["updated_at"] = Value::Null;
            resolved.push(merged);
        }
        Ok(Value::Array(resolved))
    }
}

/// Reads an object out of a body; an update keeps what the body leaves out as it was `before`.
pub fn read(objects: &Recurring, kind: ObjectKind, body: &WireBody, before: Option<&Value>) -> Result<Value, FluidpayRefusal> {
    let bad = |field: &str, reason: &str| FluidpayRefusal::bad(format!("{field} {reason}"));
    let integer = |field: &'static str, default: i64| match body.integer(field) {
        Ok(number) => Ok(number.or_else(|| before.and_then(|old| old[field].as_i64())).unwrap_or(default)),
        Err(wrong) => Err(bad(field, wrong.0)),
    };
    let text = |field: &'static str| match body.text(field) {
        Ok(text) => Ok(text.or_else(|| before.and_then(|old| old[field].as_str())).unwrap_or_default().to_owned()),
        Err(wrong) => Err(bad(field, wrong.0)),
    };
    let mut object = Map::new();
    object.insert("description".to_owned(), json!(text("description")?));
    object.insert("duration".to_owned(), json!(integer("duration", 0)?));
    if matches!(kind, ObjectKind::AddOn | ObjectKind::Discount) {
        object.insert("name".to_owned(), json!(text("name")?));
        let given = |field| body.get(field).or_else(|| before.map(|old| &old[field])).filter(|value| !value.is_null());
        // The request wins over what is stored.
        let (amount, percentage) = match (body.get("amount"), body.get("percentage")) {
            (None, None) => (given("amount"), given("percentage")),
            named => named,
        };
        let (amount, percentage) = match (amount, percentage) {
            (Some(amount), None) if amount.is_i64() => (amount.clone(), Value::Null),
            (None, Some(percentage)) if percentage.is_number() => (Value::Null, percentage.clone()),
            _ => return Err(bad("amount", "or percentage is required, and only one of them")),
        };
        object.insert("amount".to_owned(), amount);
        object.insert("percentage".to_owned(), percentage);
        return Ok(Value::Object(object));
    }
    let amount = integer("amount", 0)?;
    if amount <= 0 {
        return Err(bad("amount", "must be a positive number of cents"));
    }
    let frequency = text("billing_frequency")?;
    if !FREQUENCIES.contains(&frequency.as_str()) {
        return Err(bad("billing_frequency", "must be daily, twice_monthly or monthly"));
    }
    object.insert("amount".to_owned(), json!(amount));
    object.insert("billing_cycle_interval".to_owned(), json!(integer("billing_cycle_interval", 1)?));
    object.insert("billing_frequency".to_owned(), json!(frequency));
    object.insert("billing_days".to_owned(), json!(text("billing_days")?));
    let parts = |field| body.get(field).or_else(|| before.map(|old| &old[field]));
    let add_ons = objects.resolve(ObjectKind::AddOn, parts("add_ons"))?;
    let discounts = objects.resolve(ObjectKind::Discount, parts("discounts"))?;
    let total_name = if kind == ObjectKind::Plan { "total_add_ons" } else { "total_adds" };
    object.insert(total_name.to_owned(), json!(total(&add_ons)));
    object.insert("total_discounts".to_owned(), json!(total(&discounts)));
    object.insert("add_ons".to_owned(), add_ons);
    object.insert("discounts".to_owned(), discounts);
    if kind == ObjectKind::Plan {
        object.insert("name".to_owned(), json!(text("name")?));
        return Ok(Value::Object(object));
    }
    let customer = body.nested("customer").text("id").ok().flatten().map(str::to_owned);
    let customer = customer.or_else(|| before.and_then(|old| old["customer"]["id"].as_str()).map(str::to_owned));
    object.insert("customer".to_owned(), json!({ "id": customer.ok_or_else(|| bad("customer.id", "is required"))? }));
    object.insert("plan_id".to_owned(), body.get("plan_id").cloned().unwrap_or_else(|| json!("")));
    object.insert("next_bill_date".to_owned(), json!(check_date(&text("next_bill_date")?)?));
    let status = before.map_or_else(|| json!("active"), |old| old["status"].clone());
    object.insert("status".to_owned(), status);
    Ok(Value::Object(object))
}

pub fn check_date(text: &str) -> Result<NaiveDate, FluidpayRefusal> {
    text.parse().map_err(|_| FluidpayRefusal::bad("next_bill_date must be YYYY-MM-DD"))
}

fn total(items: &Value) -> i64 {
    items.as_array().into_iter().flatten().filter_map(|item| item["amount"].as_i64()).sum()
}
