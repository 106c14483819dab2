//! `POST /transaction/search`: operators, dates, pages. An order id, a transaction id or a customer is found by index.

use std::cmp::Ordering;

use chrono::{DateTime, Months, Utc};
use serde_json::{Map, Value, json};

use super::{
    super::body::WireBody,
    envelope::FluidpayRefusal,
    transaction::{FluidpayTransaction, Transactions},
};

const DEFAULT_LIMIT: i64 = 10;
const MAX_LIMIT: usize = 100;
/// How far back a search without dates reaches.
const DEFAULT_MONTHS: Months = Months::new(4);

/// Reads `limit` (0 to 100; 0 means all) and `offset`.
pub fn page(body: &WireBody) -> Result<(usize, usize), FluidpayRefusal> {
    let integer = |field, default| match body.integer(field) {
        Ok(number) => Ok(number.unwrap_or(default)),
        Err(wrong) => Err(FluidpayRefusal::bad(format!("{field} {}", wrong.0))),
    };
    let (limit, offset) = (integer("limit", DEFAULT_LIMIT)?, integer("offset", 0)?);
    let (Ok(limit @ ..=MAX_LIMIT), Ok(offset)) = (usize::try_from(limit), usize::try_from(offset)) else {
        return Err(FluidpayRefusal::bad("limit must be from 0 to 100 and offset must not be negative"));
    };
    Ok((if limit == 0 { usize::MAX } else { limit }, offset))
}

/// One page of the matches, newest first, and the number of all matches.
pub fn search(
    transactions: &Transactions,
    body: &WireBody,
    now: DateTime<Utc>,
) -> Result<(Vec<FluidpayTransaction>, usize), FluidpayRefusal> {
    let (limit, offset) = page(body)?;
    let (from, to) = dates(body.get("created_at"))?.unwrap_or((now.checked_sub_months(DEFAULT_MONTHS), None));
    let tests = Tests::read(body.fields())?;
    let mut matches = Vec::new();
    let mut total = 0;
    let mut consider = |transaction: &FluidpayTransaction| {
        let dated = from.is_none_or(|from| transaction.created_at >= from) && to.is_none_or(|to| transaction.created_at <= to);
        if dated && tests.hold(transaction) {
            total += 1;
            if total > offset && matches.len() < limit {
                matches.push(transaction.clone());
            }
        }
    };
    if let Some(id) = tests.exact("transaction_id") {
        transactions.get(id).into_iter().for_each(&mut consider);
    } else if let Some(order) = tests.exact("order_id") {
        transactions.of_order(order).iter().rev().for_each(|index| consider(&transactions.all[*index]));
    } else if let Some(customer) = tests.exact("customer_id") {
        transactions.of_customer(customer).iter().rev().for_each(|index| consider(&transactions.all[*index]));
    } else {
        let start = from.map_or(0, |from| transactions.all.partition_point(|transaction| transaction.created_at < from));
        transactions.all[start..].iter().rev().for_each(&mut consider);
    }
    Ok((matches, total))
}

type Dates = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// Reads `{start_date, end_date}`. None if both are empty.
pub fn dates(range: Option<&Value>) -> Result<Option<Dates>, FluidpayRefusal> {
    let Some(range) = range else { return Ok(None) };
    let date = |field: &str| match range[field].as_str() {
        None | Some("") => Ok(None),
        Some(text) => DateTime::parse_from_rfc3339(text)
            .map(|date| Some(date.to_utc()))
            .map_err(|_| FluidpayRefusal::bad(format!("{field} must look like 2017-11-01T00:00:00Z"))),
    };
    let (start, end) = (date("start_date")?, date("end_date")?);
    Ok(if start.is_none() && end.is_none() { None } else { Some((start, end)) })
}

/// One criterion, `{operator, value}`, for one field.
struct Test {
    path: Vec<String>,
    operator: String,
    value: Value,
}

struct Tests(Vec<Test>);

impl Tests {
    fn read(fields: &Map<String, Value>) -> Result<Self, FluidpayRefusal> {
        let mut tests = Vec::new();
        for (name, criterion) in fields {
            match name.as_str() {
                "limit" | "offset" | "created_at" => {}
                "billing_address" | "shipping_address" => {
                    for (part, criterion) in criterion.as_object().into_iter().flatten() {
                        tests.extend(read_test(vec![name.clone(), part.clone()], criterion)?);
                    }
                }
                _ => tests.extend(read_test(vec![name.clone()], criterion)?),
            }
        }
        Ok(Self(tests))
    }

    /// The text that this field must equal, if there is such a criterion.
    fn exact(&self, field: &str) -> Option<&str> {
        let test = self.0.iter().find(|test| test.path == [field] && test.operator == "=")?;
        test.value.as_str()
    }

    fn hold(&self, transaction: &FluidpayTransaction) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let record = json!(transaction);
        self.0.iter().all(|test| {
            let found = test.path.iter().try_fold(&record, |value, part| match part.as_str() {
                "transaction_id" => value.get("id"),
                part => value.get(part),
            });
            // A criterion for a field that the sandbox does not keep matches every transaction.
            found.is_none_or(|found| test.holds(found))
        })
    }
}

fn read_test(path: Vec<String>, criterion: &Value) -> Result<Option<Test>, FluidpayRefusal> {
    if let ["captured_at" | "settled_at"] = path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // The dates besides `created_at` become a criterion with a range.
        let operator = "within".to_owned();
        return Ok(dates(Some(criterion))?.map(|(start, end)| Test { path, operator, value: json!([start, end]) }));
    }
    let operator = criterion["operator"].as_str().unwrap_or_default();
    // Old clients send every search field, most of them empty. An empty criterion is none.
    if operator.is_empty() {
        return Ok(None);
    }
    let value = &criterion["value"];
    let known = match value {
        Value::String(_) => matches!(operator, "=" | "!="),
        Value::Number(_) => matches!(operator, "=" | "!=" | "<" | ">"),
        _ => false,
    };
    if !known {
        return Err(FluidpayRefusal::bad(format!("{} cannot be searched with operator {operator}", path.join("."))));
    }
    Ok(Some(Test { path, operator: operator.to_owned(), value: value.clone() }))
}

impl Test {
    fn holds(&self, found: &Value) -> bool {
        if self.operator == "within" {
            let date = |value: &Value| value.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
            let (found, start, end) = (date(found), date(&self.value[0]), date(&self.value[1]));
            return found.is_some_and(|found| start.is_none_or(|start| found >= start) && end.is_none_or(|end| found <= end));
        }
        let order = match (found.as_i64(), self.value.as_i64()) {
            (Some(found), Some(wanted)) => Some(found.cmp(&wanted)),
            _ if *found == self.value => Some(Ordering::Equal),
            _ => None,
        };
        match self.operator.as_str() {
            "=" => order == Some(Ordering::Equal),
            "!=" => order != Some(Ordering::Equal),
            "<" => order == Some(Ordering::Less),
            _ => order == Some(Ordering::Greater),
        }
    }
}
