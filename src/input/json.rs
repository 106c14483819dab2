//! JSON in which no object names a field twice.

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The value that a text says, or why it says none. The reason never repeats the text: it may hold a secret.
pub fn parse(bytes: &[u8]) -> Result<Value, String> {
    if bytes.trim_ascii().is_empty() {
        return Err("A JSON body is needed.".to_owned());
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "The body is not UTF-8.".to_owned())?;
    let Strict(value) = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
        // Only the place and the kind: the message of the parser may repeat what was sent.
        let what = if error.to_string().starts_with(TWICE) { "A field is given twice" } else { "The body is not JSON" };
        format!("{what} (line {}, column {}).", error.line(), error.column())
    })?;
    Ok(value)
}

/// A value in which no object names a field twice: serde_json alone takes the last of them and says nothing.
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
