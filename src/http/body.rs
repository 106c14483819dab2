//! Request bodies and queries: 400 only for what is not JSON, 422 with every other fault at once. A card number anywhere in
//! them is refused by the name of its field, and never repeated.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Query as UncheckedQuery, Request},
    http::{StatusCode, request::Parts},
    response::IntoResponse,
};
use serde_json::{Map, Value};

use super::error::Problem;
use crate::{
    domain::{
        card_number::looks_like_card_number,
        id::{Id, Kind},
    },
    input::{Faults, Structure, body, forbidden::refuse_forbidden, json, shown},
};

body! {
    /// A request without fields.
    pub struct NoInput {}
}

/// A JSON body. The Content-Type is not checked, because `curl -d` sends the wrong one.
pub struct JsonBody<T>(pub T);

/// A JSON body that may be left out: an empty body reads as `{}`.
pub struct OptionalJsonBody<T>(pub T);

/// The query, with anything unknown refused.
pub struct QueryParams<T>(pub T);

/// An id in the path. A text that is no id of this kind is answered with 404, as an unknown id is.
pub struct PathId<K>(pub Id<K>);

/// An id or a reference in the path.
pub struct PathKey(pub String);

/// A whole number in the path, under the name `number`. Any other text is answered with 404.
pub struct PathNumber(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for PathNumber {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let nothing = || Problem::not_found("There is no such number.");
        let path = axum::extract::RawPathParams::from_request_parts(parts, state).await.map_err(|_| nothing())?;
        let number = path.iter().find_map(|(name, value)| (name == "number").then(|| value.parse().ok()).flatten());
        number.map(Self).ok_or_else(nothing)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PathKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let nothing = || Problem::not_found("There is no such id or reference.");
        let path = axum::extract::RawPathParams::from_request_parts(parts, state).await.map_err(|_| nothing())?;
        let key = path.iter().find(|(name, _)| *name == "id").map(|(_, value)| value.to_owned());
        // PostgreSQL cannot look for U+0000, and the answer would repeat a card number.
        key.filter(|key| !key.contains('\0') && !looks_like_card_number(key)).map(Self).ok_or_else(nothing)
    }
}

impl<S: Send + Sync, T: Structure> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        read(&bytes_of(request, state).await?).map(Self)
    }
}

impl<S: Send + Sync, T: Structure> FromRequest<S> for OptionalJsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = bytes_of(request, state).await?;
        if bytes.trim_ascii().is_empty() { read(b"{}") } else { read(&bytes) }.map(Self)
    }
}

impl<S: Send + Sync, T: Structure> FromRequestParts<S> for QueryParams<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut faults = Faults::of_query();
        let pairs = query_pairs(parts, &mut faults)?;
        let read = T::read_object(&pairs, "", &mut faults);
        faults.done(read).map(Self).map_err(Problem::invalid)
    }
}

impl<S: Send + Sync, K: Kind> FromRequestParts<S> for PathId<K> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let nothing =
            || Problem::not_found(format!("There is no such id; it looks like {}_01h455vb4pex5vsknk084sn02q.", K::PREFIX));
        let path = axum::extract::RawPathParams::from_request_parts(parts, state).await.map_err(|_| nothing())?;
        let id = path.iter().find_map(|(name, value)| (name == "id").then(|| value.parse().ok()).flatten());
        id.map(Self).ok_or_else(nothing)
    }
}

async fn bytes_of<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state).await.map_err(|rejection| {
        let status = rejection.into_response().status();
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            Problem::new(status, "A body may have 1 MiB at most.")
        } else {
            Problem::new(StatusCode::BAD_REQUEST, "The body could not be read to its end.")
        }
    })
}

/// What a body says, or everything that is wrong with it.
pub fn read<T: Structure>(bytes: &[u8]) -> Result<T, Problem> {
    let value = json::parse(bytes).map_err(|detail| Problem::new(StatusCode::BAD_REQUEST, detail))?;
    let mut faults = Faults::default();
    refuse_forbidden(&value, "", &mut faults);
    let read = T::read(&value, &(), "", &mut faults);
    faults.done(read).map_err(Problem::invalid)
}

/// The query as an object of texts.
pub fn query_pairs(parts: &Parts, faults: &mut Faults) -> Result<Map<String, Value>, Problem> {
    let UncheckedQuery(pairs) = UncheckedQuery::<Vec<(String, String)>>::try_from_uri(&parts.uri)
        .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "The query of the address cannot be read."))?;
    let mut object = Map::new();
    for (name, value) in pairs {
        if object.contains_key(&name) {
            faults.push(shown(&name), "is given twice");
        }
        object.insert(name, Value::String(value));
    }
    refuse_forbidden(&Value::Object(object.clone()), "", faults);
    Ok(object)
}
