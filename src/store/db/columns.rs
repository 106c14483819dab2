//! The columns of a row, as its `derive(Deserialize)` tells them: the names of its fields, and as what each of them is read. So no
//! list of columns stands beside a struct, and none can be forgotten.

use std::fmt::Display;

use serde::{
    de::{DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor},
    forward_to_deserialize_any,
};

/// The names of a struct's fields, in their order.
pub(super) fn names<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // It gets no values, so it must fail; by then it has told its fields.
    let _ = T::deserialize(Names(&mut names));
    assert!(!names.is_empty(), "a row must be a struct with named fields");
    names
}

/// What SQLite, which knows numbers and texts only, must be told of a value before it can write it as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnKind {
    /// A number or a text, also of an enum, an id or an instant.
    Plain,
    /// Stored as 0 or 1.
    Flag,
    /// Stored as a JSON text.
    Json,
}

/// As what a struct reads one of its fields.
pub(super) fn kind<T: DeserializeOwned>(name: &'static str) -> ColumnKind {
    let mut kind = ColumnKind::Plain;
    let _ = T::deserialize(Field { name, kind: &mut kind });
    kind
}

/// Ends a deserialization that has told what was asked of it.
#[derive(Debug)]
struct Told;

impl Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("asked for its fields only")
    }
}

impl std::error::Error for Told {}

impl serde::de::Error for Told {
    fn custom<T: Display>(_: T) -> Self {
        Self
    }
}

type Answer<V> = Result<V, Told>;

/// Hears which fields a struct asks for.
struct Names<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = Told;

    fn deserialize_struct<V: Visitor<'de>>(self, _: &'static str, fields: &'static [&'static str], _: V) -> Answer<V::Value> {
        *self.0 = fields;
        Err(Told)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Answer<V::Value> {
        Err(Told)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Offers a struct one field, and hears as what it is read.
struct Field<'a> {
    name: &'static str,
    kind: &'a mut ColumnKind,
}

impl<'de> Deserializer<'de> for Field<'_> {
    type Error = Told;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Answer<V::Value> {
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Field<'_> {
    type Error = Told;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Answer<Option<K::Value>> {
        seed.deserialize(self.name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Answer<V::Value> {
        seed.deserialize(FieldValue(self.kind))
    }
}

struct FieldValue<'a>(&'a mut ColumnKind);

macro_rules! plain {
    ($($method:ident($($argument:ty),*))+) => {$(
        fn $method<V: Visitor<'de>>(self, $(_: $argument,)* _: V) -> Answer<V::Value> {
            Err(Told)
        }
    )+};
}

impl<'de> Deserializer<'de> for FieldValue<'_> {
    type Error = Told;

    fn deserialize_bool<V: Visitor<'de>>(self, _: V) -> Answer<V::Value> {
        *self.0 = ColumnKind::Flag;
        Err(Told)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Answer<V::Value> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Answer<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Answer<V::Value> {
        *self.0 = ColumnKind::Json;
        Err(Told)
    }

    plain! {
        deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64() deserialize_char() deserialize_str() deserialize_string()
        deserialize_bytes() deserialize_byte_buf() deserialize_identifier()
        deserialize_enum(&'static str, &'static [&'static str])
    }

    forward_to_deserialize_any! { unit unit_struct seq tuple tuple_struct map struct ignored_any }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::{DateTime, NaiveDate, Utc};
    use serde::Deserialize;

    use super::*;
    use crate::domain::{id::InvoiceId, money::Currency, subscription::SubscriptionStatus};

    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Thing {
        id: InvoiceId,
        #[serde(rename = "type")]
        kind: String,
        count: Option<i64>,
        status: SubscriptionStatus,
        currency: Currency,
        day: Option<NaiveDate>,
        done_at: DateTime<Utc>,
        open: bool,
        asked: Option<bool>,
        lines: Vec<Thing>,
        more: Option<Box<Thing>>,
        map: BTreeMap<String, String>,
        value: serde_json::Value,
    }

    #[test]
    fn a_struct_tells_its_fields_and_as_what_it_reads_them() {
        let names = names::<Thing>();
        let of = |wanted: ColumnKind| names.iter().copied().filter(|name| kind::<Thing>(name) == wanted).collect::<Vec<_>>();
        assert_eq!(of(ColumnKind::Plain), ["id", "type", "count", "status", "currency", "day", "done_at"]);
        assert_eq!(of(ColumnKind::Flag), ["open", "asked"]);
        assert_eq!(of(ColumnKind::Json), ["lines", "more", "map", "value"]);
    }
}
