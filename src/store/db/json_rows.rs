//! Many rows read as one JSON value where that is the faster way: SQLite hands a row over value by value, each in memory of its own
//! and from one thread to another, which costs several times what finding the row does. PostgreSQL sends rows as they are.

use std::marker::PhantomData;

use serde::{
    Deserializer,
    de::{DeserializeOwned, Error as _, Visitor, value::Error as Refusal},
    forward_to_deserialize_any,
};

use super::{Error, Query, Record, Result};

/// A row that can be read in batches: what its columns hold, so that SQLite, which knows texts and numbers alone, can say it in JSON.
pub trait Batched: Record + DeserializeOwned + 'static {
    /// Columns that hold JSON.
    const JSON: &'static [&'static str] = &[];
    /// Columns that hold 0 or 1.
    const FLAGS: &'static [&'static str] = &[];
}

impl Query<'_> {
    /// The same rows as [`Query::all`], of a plain `select`. For those that come by the hundred.
    pub async fn batch<T: Batched>(mut self) -> Result<Vec<T>> {
        let statement = self.prepare()?;
        if self.is_postgres() {
            return self.fetch(statement.text).await;
        }
        let values = || fields_of::<T>().iter().map(|name| value::<T>(name)).collect::<Vec<_>>().join(", ");
        let text = self.sql.json::<T>(values).text;
        let rows: Vec<(String,)> = self.fetch(text).await?;
        // What serde says may quote what the columns hold.
        let unreadable = |_| Error::Database("a row holds what this version cannot read".to_owned());
        rows.first().map_or_else(|| Ok(Vec::new()), |row| serde_json::from_str(&row.0).map_err(unreadable))
    }
}

/// A column as JSON.
fn value<T: Batched>(column: &str) -> String {
    if T::JSON.contains(&column) {
        format!("json({column})")
    } else if T::FLAGS.contains(&column) {
        format!("json(iif({column}, 'true', 'false'))")
    } else {
        column.to_owned()
    }
}

/// The fields of a struct in the order in which it is read from a list.
fn fields_of<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // It gets no value, so that it can only fail; by then it has told.
    let _ = T::deserialize(Asked { fields: &mut fields, lifetime: PhantomData });
    assert!(!fields.is_empty(), "a row must be a struct with named fields");
    fields
}

/// Hears which fields a struct asks for.
struct Asked<'a, 'de> {
    fields: &'a mut &'static [&'static str],
    lifetime: PhantomData<&'de ()>,
}

impl<'de> Deserializer<'de> for Asked<'_, 'de> {
    type Error = Refusal;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> std::result::Result<V::Value, Refusal> {
        *self.fields = fields;
        Err(Refusal::custom("asked for its fields only"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> std::result::Result<V::Value, Refusal> {
        Err(Refusal::custom("a row must be a struct with named fields"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        seq tuple tuple_struct map enum identifier ignored_any
    }
}
