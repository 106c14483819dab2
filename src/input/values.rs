//! The types that a field can have: texts, numbers, lists, and the words of the domain, each with its bounds.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, SubsecRound, Utc};
use serde_json::{Map, Value};
use utoipa::openapi::{
    ObjectBuilder, RefOr, Schema,
    schema::{ArrayBuilder, KnownFormat, SchemaFormat, SchemaType, Type},
};

use super::{Faults, Input};
use crate::domain::{
    TextEnum,
    calendar::Zone,
    clock::Timeline,
    dunning::LocalTime,
    frequency::Frequency,
    id::{Id, Kind},
    money::{Currency, MAX_AMOUNT_MINOR, Percentage},
};

const MAX_ELEMENTS: usize = 1000;
/// Of metadata, as JSON.
const MAX_METADATA_BYTES: usize = 16 * 1024;
const MAX_METADATA_KEYS: usize = 50;

fn of_type(kind: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(kind)
}

impl<B, T: Input<B>> Input<B> for Option<T> {
    const REQUIRED: bool = false;

    fn read(value: &Value, bounds: &B, at: &str, faults: &mut Faults) -> Option<Self> {
        if value.is_null() { Some(None) } else { T::read(value, bounds, at, faults).map(Some) }
    }

    fn absent(_: &str, _: &mut Faults) -> Option<Self> {
        Some(None)
    }

    fn schema(bounds: &B) -> RefOr<Schema> {
        nullable(T::schema(bounds))
    }
}

pub(super) fn nullable(mut schema: RefOr<Schema>) -> RefOr<Schema> {
    let add = |kind: &mut SchemaType| {
        if let SchemaType::Type(only) = kind {
            *kind = SchemaType::from_iter([only.clone(), Type::Null]);
        }
    };
    match &mut schema {
        RefOr::T(Schema::Object(object)) => {
            add(&mut object.schema_type);
            if let Some(values) = &mut object.enum_values {
                values.push(Value::Null);
            }
        }
        RefOr::T(Schema::Array(array)) => add(&mut array.schema_type),
        _ => {}
    }
    schema
}

/// A field of a PATCH: left out, taken away, or set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Patch<T> {
    #[default]
    Absent,
    Null,
    Value(T),
}

impl<T> Patch<T> {
    /// What the field is set to, if it is set.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }

    /// What the field is to be; `None` leaves it alone.
    pub fn change(self) -> Option<Option<T>> {
        match self {
            Self::Absent => None,
            Self::Null => Some(None),
            Self::Value(value) => Some(Some(value)),
        }
    }
}

impl<B, T: Input<B>> Input<B> for Patch<T> {
    const REQUIRED: bool = false;

    fn read(value: &Value, bounds: &B, at: &str, faults: &mut Faults) -> Option<Self> {
        if value.is_null() { Some(Self::Null) } else { T::read(value, bounds, at, faults).map(Self::Value) }
    }

    fn absent(_: &str, _: &mut Faults) -> Option<Self> {
        Some(Self::Absent)
    }

    fn schema(bounds: &B) -> RefOr<Schema> {
        nullable(T::schema(bounds))
    }
}

/// Bounds of a text of any content: so many characters at most.
#[derive(Debug, Clone, Copy)]
pub struct UpTo(pub usize);

/// Bounds of a text on one line that says something: so many characters at most. Blanks around it are dropped.
#[derive(Debug, Clone, Copy)]
pub struct LineUpTo(pub usize);

fn text<'v>(value: &'v Value, max: usize, at: &str, faults: &mut Faults) -> Option<&'v str> {
    match value {
        Value::String(text) if text.chars().count() > max => faults.refuse(at, format!("must have at most {max} characters")),
        // U+0000 has been named already.
        Value::String(text) if text.chars().any(|c| c.is_control() && !matches!(c, '\0' | '\t' | '\n' | '\r')) => {
            faults.refuse(at, "must not contain control characters")
        }
        Value::String(text) => Some(text),
        _ => faults.refuse(at, "must be text"),
    }
}

impl Input<UpTo> for String {
    fn read(value: &Value, &UpTo(max): &UpTo, at: &str, faults: &mut Faults) -> Option<Self> {
        text(value, max, at, faults).map(str::to_owned)
    }

    fn schema(&UpTo(max): &UpTo) -> RefOr<Schema> {
        of_type(Type::String).max_length(Some(max)).into()
    }
}

impl Input<LineUpTo> for String {
    fn read(value: &Value, &LineUpTo(max): &LineUpTo, at: &str, faults: &mut Faults) -> Option<Self> {
        match text(value, max, at, faults)?.trim() {
            "" => faults.refuse(at, "must not be empty"),
            text if text.contains(['\t', '\n', '\r']) => faults.refuse(at, "must be one line"),
            text => Some(text.to_owned()),
        }
    }

    fn schema(&LineUpTo(max): &LineUpTo) -> RefOr<Schema> {
        of_type(Type::String).min_length(Some(1)).max_length(Some(max)).into()
    }
}

impl Input<RangeInclusive<i64>> for i64 {
    fn read(value: &Value, bounds: &RangeInclusive<i64>, at: &str, faults: &mut Faults) -> Option<Self> {
        let number = match value {
            Value::String(text) if faults.query => text.parse().ok(),
            _ => value.as_i64(),
        };
        let out_of_bounds = || format!("must be from {} to {}", bounds.start(), bounds.end());
        match number {
            Some(number) if bounds.contains(&number) => Some(number),
            Some(_) => faults.refuse(at, out_of_bounds()),
            None if value.is_u64() => faults.refuse(at, out_of_bounds()),
            // No other number may be as large as an amount. Whoever writes one wrong mostly means major units.
            None if *bounds.end() == MAX_AMOUNT_MINOR => {
                let example =
                    faults.currency.map_or("12.50".to_owned(), |currency| format!("{} {currency}", currency.major(1250)));
                faults.refuse(at, format!("must be a whole number in minor units: 1250 for {example}"))
            }
            None => faults.refuse(at, "must be a whole number"),
        }
    }

    fn schema(bounds: &RangeInclusive<i64>) -> RefOr<Schema> {
        let number = of_type(Type::Integer).format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
        number.minimum(Some(*bounds.start())).maximum(Some(*bounds.end())).into()
    }
}

impl Input for bool {
    fn read(value: &Value, (): &(), at: &str, faults: &mut Faults) -> Option<Self> {
        match value {
            Value::Bool(flag) => Some(*flag),
            Value::String(text) if faults.query && text == "true" => Some(true),
            Value::String(text) if faults.query && text == "false" => Some(false),
            _ => faults.refuse(at, "must be true or false"),
        }
    }

    fn schema((): &()) -> RefOr<Schema> {
        of_type(Type::Boolean).into()
    }
}

impl<B, T: Input<B>> Input<B> for Vec<T> {
    fn read(value: &Value, bounds: &B, at: &str, faults: &mut Faults) -> Option<Self> {
        let Value::Array(elements) = value else { return faults.refuse(at, "must be a list") };
        if elements.len() > MAX_ELEMENTS {
            return faults.refuse(at, format!("must have at most {MAX_ELEMENTS} elements"));
        }
        let read: Vec<Option<T>> =
            elements.iter().enumerate().map(|(i, element)| T::read(element, bounds, &format!("{at}[{i}]"), faults)).collect();
        read.into_iter().collect()
    }

    fn schema(bounds: &B) -> RefOr<Schema> {
        ArrayBuilder::new().items(T::schema(bounds)).max_items(Some(MAX_ELEMENTS)).into()
    }
}

impl Input for Value {
    fn read(value: &Value, (): &(), _: &str, _: &mut Faults) -> Option<Self> {
        Some(value.clone())
    }

    fn schema((): &()) -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(SchemaType::any()).into()
    }
}

/// Metadata: JSON that the merchant wants to keep, within bounds.
impl Input for Map<String, Value> {
    fn read(value: &Value, (): &(), at: &str, faults: &mut Faults) -> Option<Self> {
        let object = super::object(value, at, faults)?;
        if object.len() > MAX_METADATA_KEYS {
            return faults.refuse(at, format!("must have at most {MAX_METADATA_KEYS} fields"));
        }
        if value.to_string().len() > MAX_METADATA_BYTES {
            return faults.refuse(at, format!("must have at most {MAX_METADATA_BYTES} bytes as JSON"));
        }
        Some(object.clone())
    }

    fn schema((): &()) -> RefOr<Schema> {
        of_type(Type::Object).max_properties(Some(MAX_METADATA_KEYS)).into()
    }
}

impl Input for NaiveDate {
    fn read(value: &Value, (): &(), at: &str, faults: &mut Faults) -> Option<Self> {
        let date = value.as_str().filter(|text| text.len() == 10).and_then(|text| text.parse::<Self>().ok());
        match date {
            Some(date) if (1900..=9000).contains(&date.year()) => Some(date),
            Some(_) => faults.refuse(at, "must lie between the years 1900 and 9000"),
            None => faults.refuse(at, "must be a date such as 2026-11-21"),
        }
    }

    fn schema((): &()) -> RefOr<Schema> {
        of_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::Date))).into()
    }
}

/// A local time of day, `HH:MM`.
impl Input for NaiveTime {
    fn read(value: &Value, (): &(), at: &str, faults: &mut Faults) -> Option<Self> {
        let time = value.as_str().filter(|text| text.len() == 5).and_then(|text| Self::parse_from_str(text, "%H:%M").ok());
        time.or_else(|| faults.refuse(at, "must be a time of day such as 06:00"))
    }

    fn schema((): &()) -> RefOr<Schema> {
        of_type(Type::String).examples(["06:00"]).into()
    }
}

impl Input for DateTime<Utc> {
    fn read(value: &Value, (): &(), at: &str, faults: &mut Faults) -> Option<Self> {
        match value.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok()) {
            Some(instant) if (1970..=9000).contains(&instant.year()) => Some(instant.to_utc().trunc_subsecs(6)),
            Some(_) => faults.refuse(at, "must lie between the years 1970 and 9000"),
            None => faults.refuse(at, "must be an instant such as 2026-11-21T06:00:00Z"),
        }
    }

    fn schema((): &()) -> RefOr<Schema> {
        of_type(Type::String).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))).into()
    }
}

impl Input for Percentage {
    fn read(value: &Value, (): &(), at: &str, faults: &mut Faults) -> Option<Self> {
        match value {
            // Numbers are read from their shortest text, so 12.5 stays exactly 12.5.
            Value::Number(number) => parsed(&number.to_string(), at, faults),
            _ => faults.refuse(at, "must be a number"),
        }
    }

    fn schema((): &()) -> RefOr<Schema> {
        of_type(Type::Number).minimum(Some(0)).maximum(Some(1000)).into()
    }
}

fn parsed<T: FromStr<Err: Display>>(text: &str, at: &str, faults: &mut Faults) -> Option<T> {
    // The domain's messages say what is wanted and never what was given.
    text.parse().map_err(|error: T::Err| faults.push(at, error.to_string())).ok()
}

impl<K: Kind> Input for Id<K> {
    fn read(value: &Value, (): &(), at: &str, faults: &mut Faults) -> Option<Self> {
        parsed(text(value, 100, at, faults)?, at, faults)
    }

    fn schema((): &()) -> RefOr<Schema> {
        of_type(Type::String).pattern(Some(format!("^{}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$", K::PREFIX))).into()
    }
}

impl<T: TextEnum> Input for T {
    fn read(value: &Value, (): &(), at: &str, faults: &mut Faults) -> Option<Self> {
        parsed(text(value, 100, at, faults)?, at, faults)
    }

    fn schema((): &()) -> RefOr<Schema> {
        of_type(Type::String).enum_values(Some(T::WORDS.iter().copied())).into()
    }
}

macro_rules! domain_texts {
    ($($type:ty => $schema:expr;)+) => {$(
        impl Input for $type {
            fn read(value: &Value, (): &(), at: &str, faults: &mut Faults) -> Option<Self> {
                parsed(text(value, 100, at, faults)?, at, faults)
            }

            fn schema((): &()) -> RefOr<Schema> {
                $schema.into()
            }
        }
    )+};
}

domain_texts! {
    Currency => of_type(Type::String).min_length(Some(3)).max_length(Some(3));
    LocalTime => of_type(Type::String).pattern(Some("^([01][0-9]|2[0-3]):[0-5][0-9]$")).examples(["06:00"]);
    Zone => of_type(Type::String).examples(["Europe/Berlin"]);
    Frequency => of_type(Type::String).enum_values(Some(Frequency::ALL.map(Frequency::as_str)));
    Timeline => of_type(Type::String).pattern(Some("^(wall|clk_[0-7][0-9a-hjkmnp-tv-z]{25})$"));
}
