//! Request bodies and queries: 400 only for what is not JSON, 422 with every other fault at once. A card number anywhere in
//! them is refused by the name of its field, and never repeated.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Query as AxumQuery, Request},
    http::{StatusCode, request::Parts},
    response::IntoResponse,
};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{
    error::Problem,
    input::{Faults, Structure, join, shown},
};
use crate::domain::{
    card_number::looks_like_card_number,
    id::{Id, Kind},
};

/// A JSON body, whatever the Content-Type says: `curl -d` sends the wrong one.
pub struct Body<T>(pub T);

/// The same where nothing need be said: an empty body reads as `{}`.
pub struct MaybeBody<T>(pub T);

/// The query, with anything unknown refused.
pub struct Query<T>(pub T);

/// An id in the path. A text that is no id of this kind is an unknown id, thus 404.
pub struct PathId<K>(pub Id<K>);

/// An id or a reference in the path.
pub struct PathKey(pub String);

/// A whole number in the path, under the name `number`. Anything else is an unknown one, thus 404.
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
        // The one character that PostgreSQL cannot look for, and what the answer would repeat.
        key.filter(|key| !key.contains('\0') && !looks_like_card_number(key)).map(Self).ok_or_else(nothing)
    }
}

impl<S: Send + Sync, T: Structure> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        read(&bytes_of(request, state).await?).map(Self)
    }
}

impl<S: Send + Sync, T: Structure> FromRequest<S> for MaybeBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = bytes_of(request, state).await?;
        if bytes.trim_ascii().is_empty() { read(b"{}") } else { read(&bytes) }.map(Self)
    }
}

impl<S: Send + Sync, T: Structure> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut faults = Faults::of_query();
        let pairs = query_pairs(parts, &mut faults)?;
        let read = T::read_object(&pairs, "", &mut faults);
        faults.done(read).map(Self)
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
    let malformed = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
    if bytes.trim_ascii().is_empty() {
        return Err(malformed("A JSON body is needed.".to_owned()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| malformed("The body is not UTF-8.".to_owned()))?;
    let Strict(value) = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
        // Only the place and the kind: the message of the parser may repeat what was sent.
        let what = if error.to_string().starts_with(TWICE) { "A field is given twice" } else { "The body is not JSON" };
        malformed(format!("{what} (line {}, column {}).", error.line(), error.column()))
    })?;
    let mut faults = Faults::default();
    refuse_forbidden(&value, "", &mut faults);
    let read = T::read(&value, "", &mut faults);
    faults.done(read)
}

/// The query as an object of texts.
pub fn query_pairs(parts: &Parts, faults: &mut Faults) -> Result<Map<String, Value>, Problem> {
    let AxumQuery(pairs) = AxumQuery::<Vec<(String, String)>>::try_from_uri(&parts.uri)
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

/// Card numbers, and the one character that PostgreSQL cannot keep, in any text, name or number.
pub(crate) fn refuse_forbidden(value: &Value, at: &str, faults: &mut Faults) {
    const CARD: &str = "looks like a card number; only tokens are accepted here";
    const NUL: &str = "must not contain the character U+0000";
    match value {
        Value::String(text) => {
            if looks_like_card_number(text) && !is_phone(at, text) {
                faults.push(at, CARD);
            }
            if text.contains('\0') {
                faults.push(at, NUL);
            }
        }
        Value::Number(number) if looks_like_card_number(&digits(number)) => faults.push(at, CARD),
        Value::Array(elements) => {
            for (i, element) in elements.iter().enumerate() {
                refuse_forbidden(element, &format!("{at}[{i}]"), faults);
            }
        }
        Value::Object(object) => {
            for (name, value) in object {
                if looks_like_card_number(name) {
                    faults.push(at, "has a field whose name looks like a card number; only tokens are accepted here");
                }
                if name.contains('\0') {
                    faults.push(at, NUL);
                }
                refuse_forbidden(value, &join(at, &shown(name)), faults);
            }
        }
        _ => {}
    }
}

/// Every tenth long phone number passes the card check. In international form, in its own field, it is a phone number.
fn is_phone(at: &str, text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    at.rsplit('.').next() == Some("phone") && text.starts_with('+') && digits <= 14
}

/// A number's digits as a person would write them; what is too long for 64 bits arrives as a float.
fn digits(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() => format!("{float:.0}"),
        _ => number.to_string(),
    }
}

/// JSON in which no object names a field twice: serde_json alone would take the last and say nothing.
struct Strict(Value);

const TWICE: &str = "field given twice";

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Strict;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Strict, E> {
                Ok(Strict(Value::Null))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Strict, E> {
                Ok(Strict(Value::Bool(value)))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }
            fn visit_str<E>(self, value: &str) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Strict, A::Error> {
                let mut list = Vec::new();
                while let Some(Strict(element)) = elements.next_element()? {
                    list.push(element);
                }
                Ok(Strict(Value::Array(list)))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Strict, A::Error> {
                let mut object = Map::new();
                while let Some((name, Strict(value))) = entries.next_entry::<String, Strict>()? {
                    if object.insert(name, value).is_some() {
                        return Err(A::Error::custom(TWICE));
                    }
                }
                Ok(Strict(Value::Object(object)))
            }
        }
        deserializer.deserialize_any(Any)
    }
}
