//! Request bodies: JSON, and urlencoded forms with nested brackets. One set of field readers serves both.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value};

/// A parsed body or query. A form holds texts only, so numbers and flags are read from text in forms, never in JSON.
#[derive(Debug, Clone, Default)]
pub struct WireBody {
    fields: Map<String, Value>,
    form: bool,
}

/// A field that is present and of the wrong type.
#[derive(Debug, PartialEq, Eq)]
pub struct WrongType(pub &'static str);

impl WireBody {
    /// Reads a body by its content type. No bytes at all count as an empty object.
    pub fn parse(content_type: &str, bytes: &[u8]) -> Result<Self, String> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        if content_type.starts_with("application/x-www-form-urlencoded") {
            return Ok(Self::form(bytes));
        }
        match serde_json::from_slice(bytes).map_err(|error| format!("invalid JSON: {error}"))? {
            Value::Object(fields) => Ok(Self { fields, form: false }),
            // Some clients send `[]` or `null` for "nothing".
            Value::Array(list) if list.is_empty() => Ok(Self::default()),
            Value::Null => Ok(Self::default()),
            _ => Err("the body must be an object".to_owned()),
        }
    }

    /// Reads `a=1&b[c]=2&d[]=3` as `{"a":"1","b":{"c":"2"},"d":["3"]}`.
    pub fn form(bytes: &[u8]) -> Self {
        let mut root = Value::Object(Map::new());
        for (key, text) in form_urlencoded::parse(bytes) {
            let mut path = key.split('[').map(|part| part.trim_end_matches(']'));
            let first = path.next().unwrap_or_default();
            let mut slot = entry(&mut root, first);
            for part in path {
                slot = entry(slot, part);
            }
            *slot = Value::String(text.into_owned());
        }
        let fields = if let Value::Object(fields) = root { fields } else { Map::new() };
        Self { fields, form: true }
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// The whole body as a JSON object.
    pub fn value(&self) -> Value {
        Value::Object(self.fields.clone())
    }

    /// A body inside this one, such as `company` or `filter`.
    pub fn nested(&self, name: &str) -> Self {
        let fields = self.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
        Self { fields, form: self.form }
    }

    pub fn text(&self, name: &str) -> Result<Option<&str>, WrongType> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(WrongType("must be a string")),
        }
    }

    /// A whole number. JSON texts such as `"100"` are refused, as the gateways refuse them; a form has only texts.
    pub fn integer(&self, name: &str) -> Result<Option<i64>, WrongType> {
        let wrong = WrongType("must be an integer");
        match self.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) => number.as_i64().map(Some).ok_or(wrong),
            Some(Value::String(text)) if self.form => text.parse().map(Some).map_err(|_| wrong),
            Some(_) => Err(wrong),
        }
    }

    /// A flag: JSON booleans, or `yes` and `no` in a form.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, WrongType> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) if self.form => yes_or_no(text).map(Some).ok_or(WrongType("must be yes or no")),
            Some(_) => Err(WrongType("must be a boolean")),
        }
    }

    /// The whole body as a typed request. Unknown fields are ignored, as the gateways ignore them.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_value(self.value()).map_err(|error| error.to_string())
    }
}

/// A flag as text: the document says `yes` and `no`, the node client sends `y` and `n`.
pub fn yes_or_no(text: &str) -> Option<bool> {
    match text {
        "yes" | "y" | "true" | "1" => Some(true),
        "no" | "n" | "false" | "0" | "" => Some(false),
        _ => None,
    }
}

fn entry<'a>(slot: &'a mut Value, part: &str) -> &'a mut Value {
    if part.is_empty() {
        if !slot.is_array() {
            *slot = Value::Array(Vec::new());
        }
    } else if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    match slot {
        Value::Array(list) => {
            list.push(Value::Null);
            let last = list.len() - 1;
            &mut list[last]
        }
        other => &mut other[part],
    }
}

/// For `#[serde(deserialize_with)]`: reads `null` as the default, because some
/// clients send `null` for a field that they leave out.
pub fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn brackets_nest_and_yes_is_true() {
        let body = WireBody::form(b"currency=DKK&company[country]=DK&test=yes&amount=250&custom[a][b]=x%20y&list[]=1&list[]=2");
        assert_eq!(body.nested("company").text("country"), Ok(Some("DK")));
        assert_eq!(body.flag("test"), Ok(Some(true)));
        assert_eq!(body.integer("amount"), Ok(Some(250)));
        assert_eq!(body.get("custom"), Some(&json!({"a": {"b": "x y"}})));
        assert_eq!(body.get("list"), Some(&json!(["1", "2"])));
    }

    #[test]
    fn json_texts_are_not_numbers() {
        let body = WireBody::parse("application/json", br#"{"amount":"100","part":1.5,"flag":"yes","gone":null}"#).expect("json");
        assert!(body.integer("amount").is_err() && body.integer("part").is_err() && body.flag("flag").is_err());
        assert_eq!(body.integer("gone"), Ok(None));
        assert!(WireBody::parse("application/json", b"{").is_err());
        assert!(WireBody::parse("application/vnd.api+json", b"").is_ok());
        assert!(WireBody::parse("application/json", b"[1]").is_err());
    }

    #[test]
    fn contradictory_brackets_do_not_panic() {
        for odd in ["a=1&a[b]=2", "a[]=1&a[b]=2", "[=1", "a[[b]]=1", "=x", "a[b]=1&a=2", "&&&"] {
            let _ = WireBody::form(odd.as_bytes());
        }
    }
}
