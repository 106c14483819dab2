//! Paylike's lists: paged by id, newest first, one element on each line, because its clients read line by line.

use std::{
    collections::BTreeSet,
    ops::Bound::{Excluded, Unbounded},
};

use axum::http::StatusCode;
use serde_json::Value;

use super::{
    super::{
        body::{WireBody, yes_or_no},
        ids::{RawId, parse_object_id},
        reply::Reply,
    },
    refusal::{InvalidFields, PaylikeRefusal},
};

/// The part of a list that a call asks for.
#[derive(Debug)]
pub struct Window {
    limit: usize,
    before: Option<RawId>,
    after: Option<RawId>,
    filter: Vec<(String, String)>,
}

impl Window {
    /// Reads `limit` (required), `before`, `after` and `filter[…]`.
    pub fn read(query: &WireBody) -> Result<Self, PaylikeRefusal> {
        let mut invalid = InvalidFields::default();
        let limit = invalid.require("limit", query.integer("limit"));
        if limit < 0 {
            invalid.add("limit", "must not be negative");
        }
        let mut cursor = |field: &str| {
            let text = invalid.take(field, query.text(field))?;
            let id = parse_object_id(text);
            if id.is_none() {
                invalid.add(field, "must be an id");
            }
            id
        };
        let (before, after) = (cursor("before"), cursor("after"));
        invalid.check()?;
        let filter = query.nested("filter");
        let filter =
            filter.fields().iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
        Ok(Self { limit: usize::try_from(limit).unwrap_or_default(), before, after, filter })
    }

    /// Shows the elements of this window that pass the filter, newest first. With `after` alone, oldest first.
    pub fn page(&self, ids: &BTreeSet<RawId>, show: impl Fn(&RawId) -> Option<Value>) -> Reply {
        let range = ids.range((self.after.map_or(Unbounded, Excluded), self.before.map_or(Unbounded, Excluded)));
        let kept = |id: &RawId| show(id).filter(|element| self.keeps(element));
        let page: Vec<Value> = if self.after.is_some() && self.before.is_none() {
            range.filter_map(kept).take(self.limit).collect()
        } else {
            range.rev().filter_map(kept).take(self.limit).collect()
        };
        lines(&page)
    }

    pub fn filter(&self, name: &str) -> Option<&str> {
        self.filter.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    fn keeps(&self, element: &Value) -> bool {
        self.filter.iter().all(|(field, wanted)| match &element[field.as_str()] {
            Value::Bool(flag) => yes_or_no(wanted) == Some(*flag),
            Value::String(text) => text == wanted,
            Value::Null => true,
            other => wanted.parse::<Value>().is_ok_and(|wanted| wanted == *other),
        })
    }
}

/// `[`, one element per line, `]`. The empty list has a line break too: without it the node client reads `[]` as one element.
pub fn lines(elements: &[Value]) -> Reply {
    let mut body = String::from("[\n");
    for (place, element) in elements.iter().enumerate() {
        body.push_str(&element.to_string());
        body.push_str(if place + 1 < elements.len() { ",\n" } else { "\n" });
    }
    body.push(']');
    Reply::bytes(StatusCode::OK, body.into_bytes())
}
