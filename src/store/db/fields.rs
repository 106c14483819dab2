//! Rows as JSON with only the fields that a statement reads: what is not written need not be sent.

use std::fmt::Display;

use serde::{
    Serialize, Serializer,
    ser::{Error as _, Impossible, SerializeSeq, SerializeStruct},
};

/// Rows as a list of objects that have these fields alone.
pub(super) fn json<R: Serialize>(rows: &[R], fields: &[&str]) -> serde_json::Result<String> {
    let mut text = Vec::with_capacity(rows.len() * fields.len() * 24);
    let mut serializer = serde_json::Serializer::new(&mut text);
    let mut list = serializer.serialize_seq(Some(rows.len()))?;
    for row in rows {
        list.serialize_element(&Part { row, fields })?;
    }
    SerializeSeq::end(list)?;
    String::from_utf8(text).map_err(serde_json::Error::custom)
}

struct Part<'a, R> {
    row: &'a R,
    fields: &'a [&'a str],
}

impl<R: Serialize> Serialize for Part<'_, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.row.serialize(Picking { inner: serializer, fields: self.fields })
    }
}

/// Passes a struct on without the fields that nobody asked for.
struct Picking<'a, S> {
    inner: S,
    fields: &'a [&'a str],
}

struct Picked<'a, T> {
    inner: T,
    fields: &'a [&'a str],
}

impl<T: SerializeStruct> SerializeStruct for Picked<'_, T> {
    type Ok = T::Ok;
    type Error = T::Error;

    fn serialize_field<V: Serialize + ?Sized>(&mut self, key: &'static str, value: &V) -> Result<(), T::Error> {
        if self.fields.contains(&key) { self.inner.serialize_field(key, value) } else { Ok(()) }
    }

    fn end(self) -> Result<T::Ok, T::Error> {
        self.inner.end()
    }
}

/// A row is a struct; anything else is a slip in its type.
fn no_struct<T, E: serde::ser::Error>() -> Result<T, E> {
    Err(E::custom("a row must be a struct with named fields"))
}

macro_rules! refuse {
    ($($method:ident($($type:ty),*);)+) => {$(
        fn $method(self, $(_: $type),*) -> Result<S::Ok, S::Error> {
            no_struct()
        }
    )+};
}

impl<'a, S: Serializer> Serializer for Picking<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Impossible<S::Ok, S::Error>;
    type SerializeTuple = Impossible<S::Ok, S::Error>;
    type SerializeTupleStruct = Impossible<S::Ok, S::Error>;
    type SerializeTupleVariant = Impossible<S::Ok, S::Error>;
    type SerializeMap = Impossible<S::Ok, S::Error>;
    type SerializeStruct = Picked<'a, S::SerializeStruct>;
    type SerializeStructVariant = Impossible<S::Ok, S::Error>;

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        let inner = self.inner.serialize_struct(name, len.min(self.fields.len()))?;
        Ok(Picked { inner, fields: self.fields })
    }

    refuse! {
        serialize_bool(bool); serialize_i8(i8); serialize_i16(i16); serialize_i32(i32); serialize_i64(i64);
        serialize_u8(u8); serialize_u16(u16); serialize_u32(u32); serialize_u64(u64); serialize_f32(f32); serialize_f64(f64);
        serialize_char(char); serialize_str(&str); serialize_bytes(&[u8]); serialize_none(); serialize_unit();
        serialize_unit_struct(&'static str); serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<S::Ok, S::Error> {
        no_struct()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Result<S::Ok, S::Error> {
        no_struct()
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<S::Ok, S::Error> {
        no_struct()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        no_struct()
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, S::Error> {
        no_struct()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, S::Error> {
        no_struct()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        no_struct()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        no_struct()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        no_struct()
    }

    fn collect_str<T: Display + ?Sized>(self, _: &T) -> Result<S::Ok, S::Error> {
        no_struct()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Thing {
        id: u8,
        #[serde(rename = "type")]
        kind: Option<&'static str>,
        inner: Vec<Thing>,
    }

    #[test]
    fn only_the_fields_asked_for_are_sent_and_those_whole() {
        let leaf = |id| Thing { id, kind: None, inner: vec![] };
        let rows = [Thing { id: 1, kind: Some("a\"b"), inner: vec![leaf(2)] }, leaf(3)];
        let all = serde_json::to_string(&rows).expect("json");
        assert_eq!(json(&rows, &["id", "type", "inner"]).expect("json"), all);
        assert_eq!(json(&rows, &["type", "id"]).expect("json"), r#"[{"id":1,"type":"a\"b"},{"id":3,"type":null}]"#);
        // What stands inside a field is not a row.
        assert_eq!(json(&rows[..1], &["inner"]).expect("json"), r#"[{"inner":[{"id":2,"type":null,"inner":[]}]}]"#);
        assert_eq!(json::<Thing>(&[], &["id"]).expect("json"), "[]");
        assert!(json(&[1, 2], &["id"]).is_err());
    }
}
