//! Gateways' JSON, read liberally: numbers in any spelling, lists with a comma too many, and of large answers only what is asked for.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

/// JSON, or the line-by-line lists that some gateways write, whose last element may carry a comma too many. Of `fields`, if any are
/// given, see [`Part`].
pub(super) fn parse(bytes: &[u8], fields: Option<&[&str]>) -> Option<Value> {
    read(bytes, fields).ok().or_else(|| {
        let text = std::str::from_utf8(bytes).ok()?.trim();
        let inner = text.strip_prefix('[')?.strip_suffix(']')?.trim_end().strip_suffix(',')?;
        read(format!("[{inner}]").as_bytes(), fields).ok()
    })
}

fn read(bytes: &[u8], fields: Option<&[&str]>) -> serde_json::Result<Value> {
    let Some(fields) = fields else { return serde_json::from_slice(bytes) };
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = Part { fields, wanted: true }.deserialize(&mut json)?;
    json.end()?;
    Ok(value.unwrap_or_default())
}

/// A value without the texts, numbers and flags that stand in objects under other names than these. Building those of a large answer,
/// which nobody reads, costs more than the rest of a call. Objects and lists are kept whatever their names.
#[derive(Clone, Copy)]
struct Part<'a> {
    fields: &'a [&'a str],
    wanted: bool,
}

impl Part<'_> {
    fn plain(self, value: impl Into<Value>) -> Option<Value> {
        self.wanted.then(|| value.into())
    }
}

impl<'de> DeserializeSeed<'de> for Part<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(self.plain(()))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(self.plain(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(self.plain(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(self.plain(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(self.plain(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        // Not `plain`: a text that is not wanted must not be copied.
        Ok(self.wanted.then(|| value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(Part { wanted: true, ..self })? {
            items.extend(item);
        }
        Ok(Some(Value::Array(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut members = Map::new();
        while let Some(Name(name)) = object.next_key()? {
            let wanted = self.fields.contains(&&*name);
            if let Some(value) = object.next_value_seed(Part { wanted, ..self })? {
                members.insert(name.into_owned(), value);
            }
        }
        Ok(Some(Value::Object(members)))
    }
}

/// A member's name, copied only where it is written with escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// A whole number, however it was written: `1112`, `1112.0` or `"1112"`.
pub fn integer(value: &Value) -> Option<i64> {
    let text = match value {
        Value::Number(number) => return number.as_i64().or_else(|| number.to_string().strip_suffix(".0")?.parse().ok()),
        Value::String(text) => text.trim(),
        _ => return None,
    };
    text.parse().ok()
}

/// A member that is a text and says something.
pub fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    said(value.get(field)?)
}

/// A text that says something.
pub fn said(value: &Value) -> Option<&str> {
    value.as_str().map(str::trim).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_and_lists_are_read_liberally() {
        for (value, read) in
            [("1112", Some(1112)), ("1112.0", Some(1112)), ("\"1112\"", Some(1112)), ("1.5", None), ("null", None)]
        {
            assert_eq!(integer(&serde_json::from_str(value).expect("JSON")), read, "{value}");
        }
        for fields in [None, Some(&["a"][..])] {
            assert_eq!(parse(b"[\n{\"a\":1},\n{\"a\":2},\n]", fields), Some(json!([{"a": 1}, {"a": 2}])));
            assert_eq!(parse(b"[\n]", fields), Some(Value::Array(Vec::new())));
            for broken in ["<html>", "{\"a\":1", "{\"a\":1} more", ""] {
                assert_eq!(parse(broken.as_bytes(), fields), None, "{broken}");
            }
        }
    }

    #[test]
    fn of_large_answers_only_what_is_asked_for_is_kept() {
        let whole = r#" {"a": "\u00e9\n", "b": "x\"y", "\u0063": {"a": -1, "b": 2, "d": [1.5, "z", {"a": true, "b": false}]}, "b2": null} "#;
        let expected = json!({"a": "é\n", "c": {"a": -1, "d": [1.5, "z", {"a": true}]}});
        assert_eq!(parse(whole.as_bytes(), Some(&["a"])), Some(expected));
        let every = ["a", "b", "c", "d", "b2"];
        assert_eq!(parse(whole.as_bytes(), Some(&every)), parse(whole.as_bytes(), None));
        // What stands in no object has no name.
        for plain in ["null", "1", "-1", "\"text\"", "[1, null]", "18446744073709551615", "1e300"] {
            assert_eq!(parse(plain.as_bytes(), Some(&[])), parse(plain.as_bytes(), None), "{plain}");
        }
    }
}
