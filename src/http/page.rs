//! Lists: newest first, `limit`, `before` or `after`, and filters named after fields.

use std::marker::PhantomData;

use axum::{extract::FromRequestParts, http::request::Parts};
use serde::Serialize;
use utoipa::{
    IntoParams, ToSchema,
    openapi::path::{Parameter, ParameterIn},
};

use super::{body::query_pairs, error::Problem};
use crate::{
    domain::id::{Id, Kind},
    input::{Faults, Structure, body, parameters},
    store::page::{Cursor, PageRows, Request},
};

const LIMIT: i64 = 50;

/// The answer to every list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct List<T> {
    /// Newest first.
    pub data: Vec<T>,
    /// Whether there is more in the direction asked for.
    pub has_more: bool,
}

impl<T> List<T> {
    /// The answer for rows that were found.
    pub fn of<R>(found: PageRows<R>, show: impl FnMut(R) -> T) -> Self {
        Self { data: found.rows.into_iter().map(show).collect(), has_more: found.has_more }
    }
}

body! {
    /// A list that cannot be filtered.
    pub struct NoFilters {}
}

body! {
    /// The place in a list.
    struct Place {
        /// How many to answer.
        limit: Option<i64> in 1..=250,
        /// Only what is older than this id.
        before: Option<String> up to 1000,
        /// Only what is newer than this id, the nearest first in line.
        after: Option<String> up to 1000,
    }
}

/// Query of a list of `K`, filtered by `F` (declared with `body!`). Anything else in the query is refused.
pub struct ListQuery<K, F = NoFilters> {
    pub cursor: Cursor,
    pub limit: i64,
    pub filters: F,
    kind: PhantomData<fn() -> K>,
}

impl<K, F> ListQuery<K, F> {
    /// What to ask the store; filters without a value are left out.
    pub fn request(&self, filters: impl IntoIterator<Item = (&'static str, Option<String>)>) -> Request {
        let filters = filters.into_iter().filter_map(|(column, value)| Some((column, value?))).collect();
        Request { filters, cursor: self.cursor.clone(), limit: self.limit }
    }
}

impl<S: Sync, K: Kind, F: Structure> FromRequestParts<S> for ListQuery<K, F> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut faults = Faults::of_query();
        let mut filters = query_pairs(parts, &mut faults)?;
        let place = Place::names().into_iter().filter_map(|name| Some((name.to_owned(), filters.remove(name)?))).collect();
        let place = Place::read_object(&place, "", &mut faults);
        let filters = F::read_object(&filters, "", &mut faults);
        let mut cursor = Cursor::Newest;
        if let Some(place) = &place {
            let mut checked = |name: &str, text: &Option<String>| {
                let text = text.as_ref()?;
                let id: Option<Id<K>> = text.parse().ok();
                if id.is_none() {
                    faults.push(name, "must be the id of a row of this list");
                }
                id.map(|id| id.to_string())
            };
            let (before, after) = (checked("before", &place.before), checked("after", &place.after));
            if place.before.is_some() && place.after.is_some() {
                faults.push("after", "cannot be used together with `before`");
            }
            cursor = match (before, after) {
                (Some(id), _) => Cursor::Before(id),
                (_, Some(id)) => Cursor::After(id),
                (None, None) => Cursor::Newest,
            };
        }
        let (place, filters) = faults.done(place.zip(filters)).map_err(Problem::invalid)?;
        Ok(Self { cursor, limit: place.limit.unwrap_or(LIMIT), filters, kind: PhantomData })
    }
}

impl<K, F: Structure> IntoParams for ListQuery<K, F> {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        [parameters::<Place>(), parameters::<F>()].concat()
    }
}
