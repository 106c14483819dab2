//! Rows as JSON with only the fields that a statement reads: what is not written need not be sent. With names for PostgreSQL, which
//! finds columns by them; without for SQLite, which would look for each name in turn.

use std::{
    cell::{Cell, RefCell},
    fmt::Display,
};

use serde::{
    Serialize, Serializer,
    ser::{Error as _, Impossible, SerializeSeq, SerializeStruct},
};

/// Rows as a list of objects that have these fields alone.
pub(super) fn objects<R: Serialize>(rows: &[R], fields: &[&str]) -> serde_json::Result<String> {
    written(rows, &Plan::new(fields, false))
}

/// Rows as a list of lists of these fields alone; and the fields in the order in which they stand in each of them.
pub(super) fn lists<R: Serialize>(rows: &[R], fields: &[&str]) -> serde_json::Result<(String, Vec<&'static str>)> {
    let plan = Plan::new(fields, true);
    let text = written(rows, &plan)?;
    let order = plan.seen.into_inner().into_iter().filter(|(_, wanted)| *wanted).map(|(name, _)| name).collect();
    Ok((text, order))
}

fn written<R: Serialize>(rows: &[R], plan: &Plan<'_>) -> serde_json::Result<String> {
    let mut text = Vec::with_capacity(rows.len() * plan.fields.len() * 24);
    let mut serializer = serde_json::Serializer::new(&mut text);
    let mut list = serializer.serialize_seq(Some(rows.len()))?;
    for row in rows {
        list.serialize_element(&Part { row, plan })?;
    }
    SerializeSeq::end(list)?;
    String::from_utf8(text).map_err(serde_json::Error::custom)
}

/// Which fields are sent. Looked up for the first row; the others have the same in the same places.
struct Plan<'a> {
    fields: &'a [&'a str],
    /// Without names, so that each must stand where it stood in the first row.
    nameless: bool,
    seen: RefCell<Vec<(&'static str, bool)>>,
    /// How many of the present row have come.
    come: Cell<usize>,
}

impl<'a> Plan<'a> {
    fn new(fields: &'a [&'a str], nameless: bool) -> Self {
        Self { fields, nameless, seen: RefCell::default(), come: Cell::default() }
    }

    /// Whether the next field of a row is sent.
    fn wants<E: serde::ser::Error>(&self, name: &'static str) -> Result<bool, E> {
        let mut seen = self.seen.borrow_mut();
        match seen.get(self.come.replace(self.come.get() + 1)) {
            Some((known, wanted)) if std::ptr::eq(*known, name) || *known == name => Ok(*wanted),
            Some((known, _)) if self.nameless => Err(E::custom(format_args!("{name} stands where the first row has {known}"))),
            Some(_) => Ok(self.fields.contains(&name)),
            None => {
                let wanted = self.fields.contains(&name);
                seen.push((name, wanted));
                Ok(wanted)
            }
        }
    }

    fn end_row<E: serde::ser::Error>(&self) -> Result<(), E> {
        let come = self.come.replace(0);
        let seen = self.seen.borrow();
        let complete = come == seen.len() && seen.iter().filter(|(_, wanted)| *wanted).count() == self.fields.len();
        if complete || !self.nameless {
            Ok(())
        } else {
            Err(E::custom("a row lacks a field, and without names it would be another's"))
        }
    }
}

struct Part<'a, R> {
    row: &'a R,
    plan: &'a Plan<'a>,
}

impl<R: Serialize> Serialize for Part<'_, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.row.serialize(Picking { inner: serializer, plan: self.plan })
    }
}

/// Passes a struct on without the fields that nobody asked for.
struct Picking<'a, S> {
    inner: S,
    plan: &'a Plan<'a>,
}

struct Picked<'a, S: Serializer> {
    inner: Inner<S>,
    plan: &'a Plan<'a>,
}

enum Inner<S: Serializer> {
    Object(S::SerializeStruct),
    List(S::SerializeSeq),
}

impl<S: Serializer> SerializeStruct for Picked<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;

    fn serialize_field<V: Serialize + ?Sized>(&mut self, key: &'static str, value: &V) -> Result<(), S::Error> {
        if !self.plan.wants(key)? {
            return Ok(());
        }
        match &mut self.inner {
            Inner::Object(object) => object.serialize_field(key, value),
            Inner::List(list) => list.serialize_element(value),
        }
    }

    fn end(self) -> Result<S::Ok, S::Error> {
        self.plan.end_row()?;
        match self.inner {
            Inner::Object(object) => object.end(),
            Inner::List(list) => list.end(),
        }
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
    type SerializeStruct = Picked<'a, S>;
    type SerializeStructVariant = Impossible<S::Ok, S::Error>;

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        let len = len.min(self.plan.fields.len());
        let inner = if self.plan.nameless {
            Inner::List(self.inner.serialize_seq(Some(len))?)
        } else {
            Inner::Object(self.inner.serialize_struct(name, len)?)
        };
        Ok(Picked { inner, plan: self.plan })
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
        assert_eq!(objects(&rows, &["id", "type", "inner"]).expect("json"), all);
        assert_eq!(objects(&rows, &["type", "id"]).expect("json"), r#"[{"id":1,"type":"a\"b"},{"id":3,"type":null}]"#);
        // What stands inside a field is not a row.
        assert_eq!(objects(&rows[..1], &["inner"]).expect("json"), r#"[{"inner":[{"id":2,"type":null,"inner":[]}]}]"#);
        assert_eq!(objects::<Thing>(&[], &["id"]).expect("json"), "[]");
        assert!(objects(&[1, 2], &["id"]).is_err());
        let (text, order) = lists(&rows, &["inner", "id"]).expect("json");
        assert_eq!((text.as_str(), order), (r#"[[1,[{"id":2,"type":null,"inner":[]}]],[3,[]]]"#, vec!["id", "inner"]));
    }

    #[derive(Serialize)]
    struct Gap {
        #[serde(skip_serializing_if = "Option::is_none")]
        first: Option<u8>,
        second: u8,
    }

    #[test]
    fn a_list_with_a_gap_is_refused_since_its_values_would_stand_in_wrong_places() {
        let rows = |first: [Option<u8>; 2]| first.map(|first| Gap { first, second: 2 });
        assert_eq!(lists(&rows([Some(1), Some(3)]), &["first", "second"]).expect("json").0, "[[1,2],[3,2]]");
        for gap in [[Some(1), None], [None, Some(1)], [None, None]] {
            assert!(lists(&rows(gap), &["first", "second"]).is_err(), "{gap:?}");
        }
        assert_eq!(objects(&rows([None, Some(1)]), &["second"]).expect("json"), r#"[{"second":2},{"second":2}]"#);
        assert!(lists(&rows([Some(1), Some(3)]), &["first", "third"]).is_err(), "a field that is not there");
    }
}
