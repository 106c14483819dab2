//! Rows as JSON with only the fields that a statement reads: what is not written need not be sent. With names for PostgreSQL, which
//! finds columns by them; without for SQLite, which would look for each name in turn.

use std::fmt::Display;

use serde::{
    Serialize, Serializer,
    ser::{Error as _, Impossible, SerializeSeq, SerializeStruct},
};

/// Which fields of a row are sent.
pub(super) struct Part {
    /// All fields, in their order, and whether each is sent.
    pub fields: Vec<(&'static str, bool)>,
    /// As an object, or else as a list.
    pub named: bool,
}

impl Part {
    /// Rows as a list of their parts.
    pub fn of<R: Serialize>(&self, rows: &[R]) -> serde_json::Result<String> {
        let mut text = Vec::with_capacity(rows.len() * self.fields.len() * 24);
        let mut serializer = serde_json::Serializer::new(&mut text);
        let mut list = serializer.serialize_seq(Some(rows.len()))?;
        for row in rows {
            list.serialize_element(&Picked { row, part: self })?;
        }
        SerializeSeq::end(list)?;
        String::from_utf8(text).map_err(serde_json::Error::custom)
    }
}

struct Picked<'a, R> {
    row: &'a R,
    part: &'a Part,
}

impl<R: Serialize> Serialize for Picked<'_, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.row.serialize(Picking { inner: serializer, part: self.part })
    }
}

/// Passes a struct on without the fields that are not sent.
struct Picking<'a, S> {
    inner: S,
    part: &'a Part,
}

struct PickedFields<'a, S: Serializer> {
    inner: Inner<S>,
    part: &'a Part,
    /// How many fields have come.
    come: usize,
}

enum Inner<S: Serializer> {
    Object(S::SerializeStruct),
    List(S::SerializeSeq),
}

impl<S: Serializer> SerializeStruct for PickedFields<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_field<V: Serialize + ?Sized>(&mut self, key: &'static str, value: &V) -> Result<(), S::Error> {
        let sent = match self.part.fields.get(self.come) {
            Some((name, sent)) if *name == key => *sent,
            // Without names its value would be another field's.
            _ => return Err(S::Error::custom(format_args!("{key} stands where the row has another field"))),
        };
        self.come += 1;
        match &mut self.inner {
            _ if !sent => Ok(()),
            Inner::Object(object) => object.serialize_field(key, value),
            Inner::List(list) => list.serialize_element(value),
        }
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        if self.come != self.part.fields.len() {
            return Err(S::Error::custom("a row lacks a field"));
        }
        match self.inner {
            Inner::Object(object) => object.end(),
            Inner::List(list) => list.end(),
        }
    }
}

/// A row is a struct: whatever else a type may be is refused.
macro_rules! refuse {
    (type) => { S::Ok };
    (type $kind:ident) => { Self::$kind };
    ($($method:ident $(<$generic:ident>)? ($($argument:ty),*) $(-> $kind:ident)?;)+) => {$(
        fn $method $(<$generic: Serialize + ?Sized>)? (self, $(_: $argument),*) -> Result<refuse!(type $($kind)?), S::Error> {
            Err(S::Error::custom("a row must be a struct with named fields"))
        }
    )+};
}

type Name = &'static str;

impl<'a, S: Serializer> Serializer for Picking<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Impossible<S::Ok, S::Error>;
    type SerializeTuple = Impossible<S::Ok, S::Error>;
    type SerializeTupleStruct = Impossible<S::Ok, S::Error>;
    type SerializeTupleVariant = Impossible<S::Ok, S::Error>;
    type SerializeMap = Impossible<S::Ok, S::Error>;
    type SerializeStruct = PickedFields<'a, S>;
    type SerializeStructVariant = Impossible<S::Ok, S::Error>;

    fn serialize_struct(self, name: Name, _: usize) -> Result<Self::SerializeStruct, S::Error> {
        let sent = self.part.fields.iter().filter(|(_, sent)| *sent).count();
        let inner = if self.part.named {
            Inner::Object(self.inner.serialize_struct(name, sent)?)
        } else {
            Inner::List(self.inner.serialize_seq(Some(sent))?)
        };
        Ok(PickedFields { inner, part: self.part, come: 0 })
    }

    fn collect_str<T: Display + ?Sized>(self, _: &T) -> Result<S::Ok, S::Error> {
        self.serialize_str("")
    }

    refuse! {
        serialize_bool(bool); serialize_i8(i8); serialize_i16(i16); serialize_i32(i32); serialize_i64(i64);
        serialize_u8(u8); serialize_u16(u16); serialize_u32(u32); serialize_u64(u64); serialize_f32(f32); serialize_f64(f64);
        serialize_char(char); serialize_str(&str); serialize_bytes(&[u8]); serialize_none(); serialize_unit();
        serialize_some<T>(&T); serialize_unit_struct(Name); serialize_unit_variant(Name, u32, Name);
        serialize_newtype_struct<T>(Name, &T); serialize_newtype_variant<T>(Name, u32, Name, &T);
        serialize_seq(Option<usize>) -> SerializeSeq; serialize_tuple(usize) -> SerializeTuple;
        serialize_tuple_struct(Name, usize) -> SerializeTupleStruct;
        serialize_tuple_variant(Name, u32, Name, usize) -> SerializeTupleVariant;
        serialize_map(Option<usize>) -> SerializeMap;
        serialize_struct_variant(Name, u32, Name, usize) -> SerializeStructVariant;
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

    fn part(fields: &[&'static str], sent: &[&str], named: bool) -> Part {
        Part { fields: fields.iter().map(|field| (*field, sent.contains(field))).collect(), named }
    }

    #[test]
    fn only_the_fields_asked_for_are_sent_and_those_whole() {
        let leaf = |id| Thing { id, kind: None, inner: vec![] };
        let rows = [Thing { id: 1, kind: Some("a\"b"), inner: vec![leaf(2)] }, leaf(3)];
        let all = ["id", "type", "inner"];
        let objects = |rows: &[Thing], sent: &[&str]| part(&all, sent, true).of(rows).expect("json");
        assert_eq!(objects(&rows, &all), serde_json::to_string(&rows).expect("json"));
        assert_eq!(objects(&rows, &["type", "id"]), r#"[{"id":1,"type":"a\"b"},{"id":3,"type":null}]"#);
        // What stands inside a field is not a row.
        assert_eq!(objects(&rows[..1], &["inner"]), r#"[{"inner":[{"id":2,"type":null,"inner":[]}]}]"#);
        assert_eq!(objects(&[], &["id"]), "[]");
        let lists = part(&all, &["inner", "id"], false).of(&rows).expect("json");
        assert_eq!(lists, r#"[[1,[{"id":2,"type":null,"inner":[]}]],[3,[]]]"#);
        assert!(part(&all, &["id"], true).of(&[1, 2]).is_err());
        assert!(part(&["id"], &["id"], true).of(&["1"]).is_err());
    }

    #[derive(Serialize)]
    struct Gap {
        #[serde(skip_serializing_if = "Option::is_none")]
        first: Option<u8>,
        second: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        third: Option<u8>,
    }

    #[test]
    fn a_row_with_a_gap_is_refused_since_its_values_would_stand_in_wrong_places() {
        let fields = ["first", "second", "third"];
        let gap = |first, third| Gap { first, second: 2, third };
        for named in [true, false] {
            let of = |rows: &[Gap]| part(&fields, &["second"], named).of(rows);
            let whole = if named { r#"[{"second":2}]"# } else { "[[2]]" };
            assert_eq!(of(&[gap(Some(1), Some(3))]).expect("json"), whole);
            for rows in [[gap(None, Some(3)), gap(Some(1), Some(3))], [gap(Some(1), Some(3)), gap(Some(1), None)]] {
                assert!(of(&rows).is_err());
            }
        }
    }
}
