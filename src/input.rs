//! Reads a request field by field and collects all its errors. One declaration with `body!` makes the struct, its reader and
//! its schema. Messages never repeat a value, because a value may be a secret.

use std::{borrow::Cow, marker::PhantomData};

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::openapi::{
    ObjectBuilder, RefOr, Required, Schema,
    path::{Parameter, ParameterBuilder, ParameterIn},
    schema::AdditionalProperties,
};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::{card_number::looks_like_card_number, money::Currency};

pub mod forbidden;
pub mod json;
mod values;

use values::nullable;
pub use values::{LineUpTo, Patch, UpTo};

/// A field that cannot be accepted, and why.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// Path such as `add_ons[0].amount`; empty for the body as a whole.
    pub field: String,
    pub message: String,
}

impl FieldError {
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// The most errors that one answer lists.
const MAX_FAULTS: usize = 100;

/// The errors found so far.
#[derive(Debug, Default)]
pub struct Faults {
    list: Vec<FieldError>,
    /// A query holds texts only, so numbers and booleans are read from texts.
    query: bool,
    /// What the object that is being read says its amounts are in.
    currency: Option<Currency>,
}

impl Faults {
    pub fn of_query() -> Self {
        Self { query: true, ..Self::default() }
    }

    pub fn push(&mut self, field: impl Into<String>, message: impl Into<String>) {
        if self.list.len() < MAX_FAULTS {
            self.list.push(FieldError::new(field, message));
        }
    }

    /// What was read, if nothing is wrong with it.
    pub fn done<T>(self, read: Option<T>) -> Result<T, Vec<FieldError>> {
        match read {
            Some(value) if self.list.is_empty() => Ok(value),
            _ => Err(self.list),
        }
    }

    pub fn into_list(self) -> Vec<FieldError> {
        self.list
    }

    fn refuse<T>(&mut self, at: &str, message: impl Into<String>) -> Option<T> {
        self.push(at, message);
        None
    }
}

/// What a field can hold, within bounds `B`.
pub trait Input<B = ()>: Sized {
    /// Whether leaving it out is a fault.
    const REQUIRED: bool = true;

    /// `None` means that a fault was noted.
    fn read(value: &Value, bounds: &B, at: &str, faults: &mut Faults) -> Option<Self>;

    fn absent(at: &str, faults: &mut Faults) -> Option<Self> {
        faults.refuse(at, "is required")
    }

    fn schema(bounds: &B) -> RefOr<Schema>;
}

/// An [`Input`] with named fields; `body!` makes them.
pub trait Structure: Input {
    /// The names of all fields, other spellings included.
    fn names() -> Vec<&'static str>;

    /// Reads the fields, whatever else the object holds.
    fn read_fields(object: &Map<String, Value>, at: &str, faults: &mut Faults) -> Option<Self>;

    /// Reads the fields, and refuses whatever else the object holds.
    fn read_object(object: &Map<String, Value>, at: &str, faults: &mut Faults) -> Option<Self> {
        refuse_unknown(object, &Self::names(), at, faults);
        // An object inside this one has the same currency unless it names another.
        let outer = faults.currency;
        let named = object.get("currency").and_then(|currency| currency.as_str()?.parse().ok());
        faults.currency = named.or(outer);
        let read = Self::read_fields(object, at, faults);
        faults.currency = outer;
        read
    }

    fn fields() -> Vec<FieldSchema>;
}

/// Declares a request body or query: `pub struct Name { field | other_spelling: Type in 1..=9 = default, … }`.
///
/// Other spellings are another system's names; an empty text under one of them is as good as leaving it out, as it is there.
/// `Option<T>` may be left out or null, [`Patch<T>`] tells those two apart, anything else is required unless it has a default.
///
/// Numbers and texts have bounds: `in 1..=9` is a whole number, `up to 9` a text of so many characters, `line up to 9` a text on
/// one line that is not empty. The bounds of a list are those of its elements.
///
/// `and name: Type` takes in the fields of another structure. Fields under `internal` are no part of the request.
macro_rules! body {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $doc:literal])*
                $field_vis:vis $field:ident $(| $alias:ident)* : $outer:ident $(< $inner:ty >)?
                    $(in $min:tt ..= $max:tt)? $(up to $text:tt)? $(line up to $line:tt)? $(= $default:expr)?
            ),* $(,)?
        }
        $(and $flat_vis:vis $flat:ident : $flat_type:ident)?
        $(internal { $($(#[doc = $own_doc:literal])* $own_vis:vis $own:ident : $own_type:ty),* $(,)? })?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        $vis struct $name {
            $($(#[doc = $doc])* $field_vis $field: $outer $(<$inner>)?,)*
            $($flat_vis $flat: $flat_type,)?
            $($($(#[doc = $own_doc])* $own_vis $own: $own_type,)*)?
        }

        impl $crate::input::Input for $name {
            fn read(value: &serde_json::Value, (): &(), at: &str, faults: &mut $crate::input::Faults) -> Option<Self> {
                $crate::input::read_structure(value, at, faults)
            }

            fn schema((): &()) -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                $crate::input::object_schema::<Self>()
            }
        }

        impl $crate::input::Structure for $name {
            fn names() -> Vec<&'static str> {
                let names = vec![$(stringify!($field), $(stringify!($alias),)*)*];
                $(let names = [names, <$flat_type as $crate::input::Structure>::names()].concat();)?
                names
            }

            fn read_fields(
                object: &serde_json::Map<String, serde_json::Value>,
                at: &str,
                faults: &mut $crate::input::Faults,
            ) -> Option<Self> {
                $(let $field: Option<$outer $(<$inner>)?> = $crate::input::field(
                    object,
                    &[stringify!($field), $(stringify!($alias),)*],
                    &$crate::input::bounds!($(in $min ..= $max)? $(up to $text)? $(line up to $line)?),
                    [$(Some($default),)? None].into_iter().next().flatten(),
                    at,
                    faults,
                );)*
                $(let $flat = <$flat_type as $crate::input::Structure>::read_fields(object, at, faults);)?
                // A structure without fields uses none of these.
                let _ = (object, at, faults);
                Some(Self { $($field: $field?,)* $($flat: $flat?,)? $($($own: Default::default(),)*)? })
            }

            fn fields() -> Vec<$crate::input::FieldSchema> {
                let fields = vec![$($crate::input::FieldSchema::of::<$outer $(<$inner>)?, _>(
                    stringify!($field),
                    concat!($($doc, "\n"),*),
                    &$crate::input::bounds!($(in $min ..= $max)? $(up to $text)? $(line up to $line)?),
                    [$(Some($crate::input::FieldDefault::of($default)),)? None].into_iter().next().flatten(),
                ),)*];
                $(let fields = fields.into_iter().chain(<$flat_type as $crate::input::Structure>::fields()).collect();)?
                fields
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                $crate::input::object_schema::<Self>()
            }
        }
        impl utoipa::ToSchema for $name {}
        impl utoipa::IntoParams for $name {
            fn into_params(
                _: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
            ) -> Vec<utoipa::openapi::path::Parameter> {
                $crate::input::parameters::<Self>()
            }
        }
    };
}
pub(crate) use body;

/// The bounds of a field as [`body!`] takes them.
macro_rules! bounds {
    () => {
        ()
    };
    (in $min:tt ..= $max:tt) => {
        $min..=$max
    };
    (up to $max:tt) => {
        $crate::input::UpTo($max)
    };
    (line up to $max:tt) => {
        $crate::input::LineUpTo($max)
    };
}
pub(crate) use bounds;

/// A request that can be looked at first: with `preview: true` it only says what it would come to.
#[derive(Debug, Clone)]
pub struct Preview<T> {
    pub input: T,
    pub preview: bool,
}

impl<T: Structure> Input for Preview<T> {
    fn read(value: &Value, (): &(), at: &str, faults: &mut Faults) -> Option<Self> {
        read_structure(value, at, faults)
    }

    fn schema((): &()) -> RefOr<Schema> {
        object_schema::<Self>()
    }
}

impl<T: Structure> Structure for Preview<T> {
    fn names() -> Vec<&'static str> {
        [T::names(), vec!["preview"]].concat()
    }

    fn read_fields(object: &Map<String, Value>, at: &str, faults: &mut Faults) -> Option<Self> {
        let input = T::read_fields(object, at, faults);
        let preview = field(object, &["preview"], &(), Some(false), at, faults);
        Some(Self { input: input?, preview: preview? })
    }

    fn fields() -> Vec<FieldSchema> {
        let about = "Only says what it would come to, and stores nothing.";
        T::fields().into_iter().chain([FieldSchema::of("preview", about, &(), Some(FieldDefault::of(false)))]).collect()
    }
}

impl<T: Structure> PartialSchema for Preview<T> {
    fn schema() -> RefOr<Schema> {
        object_schema::<Self>()
    }
}
impl<T: Structure + ToSchema> ToSchema for Preview<T> {
    fn name() -> Cow<'static, str> {
        format!("Preview_{}", T::name()).into()
    }
}

// What `body!` is made of. -------------------------------------------------------------------------------------------------

/// A field named by a keyword is written `r#type` in Rust.
fn plain(name: &str) -> &str {
    name.trim_start_matches("r#")
}

pub fn join(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

pub fn object<'v>(value: &'v Value, at: &str, faults: &mut Faults) -> Option<&'v Map<String, Value>> {
    match value {
        Value::Object(object) => Some(object),
        _ => faults.refuse(at, "must be an object"),
    }
}

pub fn refuse_unknown(object: &Map<String, Value>, names: &[&str], at: &str, faults: &mut Faults) {
    for name in object.keys().filter(|name| !names.iter().any(|known| plain(known) == name.as_str())) {
        let what = if faults.query { "is not a parameter known here" } else { "is not a field known here" };
        faults.push(join(at, &shown(name)), what);
    }
}

/// The part of an unknown name that a message may repeat.
pub fn shown(name: &str) -> String {
    if looks_like_card_number(name) {
        return "(hidden)".to_owned();
    }
    name.chars().take(60).collect()
}

pub fn read_structure<T: Structure>(value: &Value, at: &str, faults: &mut Faults) -> Option<T> {
    let object = object(value, at, faults)?;
    T::read_object(object, at, faults)
}

pub fn field<T: Input<B>, B>(
    object: &Map<String, Value>,
    names: &[&'static str],
    bounds: &B,
    default: Option<T>,
    at: &str,
    faults: &mut Faults,
) -> Option<T> {
    // A system with another spelling writes an empty text where it leaves the field out.
    let said = |spelling: usize, value: &Value| spelling == 0 || value != "";
    let named = |(i, name): (usize, &&'static str)| {
        object.get(plain(name)).filter(|value| said(i, value)).map(|value| (plain(name), value))
    };
    let mut given = names.iter().enumerate().filter_map(named);
    let Some((name, value)) = given.next() else {
        return default.or_else(|| T::absent(&join(at, plain(names[0])), faults));
    };
    if let Some((other, again)) = given.next()
        && again != value
    {
        faults.push(join(at, other), format!("means the same as `{name}`, which is given too and differs"));
    }
    if value.is_null() && default.is_some() {
        return default;
    }
    T::read(value, bounds, &join(at, name), faults)
}

/// A field as the OpenAPI document shows it.
pub struct FieldSchema {
    name: &'static str,
    about: &'static str,
    required: bool,
    default: Option<Value>,
    schema: RefOr<Schema>,
}

impl FieldSchema {
    pub fn of<T: Input<B>, B>(name: &'static str, about: &'static str, bounds: &B, default: Option<FieldDefault<T>>) -> Self {
        let required = T::REQUIRED && default.is_none();
        Self { name: plain(name), about, required, default: default.map(|default| default.0), schema: T::schema(bounds) }
    }
}

/// A default as the OpenAPI document shows it. The type of the field is part of it, so that `Vec::new()` is a default, too.
pub struct FieldDefault<T>(Value, PhantomData<T>);

impl<T: Serialize> FieldDefault<T> {
    pub fn of(default: T) -> Self {
        Self(serde_json::json!(default), PhantomData)
    }
}

pub fn object_schema<T: Structure>() -> RefOr<Schema> {
    let mut object = ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(false)));
    for FieldSchema { name, about, required, default, schema } in T::fields() {
        // Null is as good as leaving it out where there is a default.
        let schema = if default.is_some() { nullable(schema) } else { schema };
        object = object.property(name, described(schema, about));
        if required {
            object = object.required(name);
        }
    }
    object.into()
}

/// The fields as parameters of a query.
pub fn parameters<T: Structure>() -> Vec<Parameter> {
    let parameter = |FieldSchema { name, about, required, default, mut schema }: FieldSchema| {
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            object.default = default;
        }
        let about = about.trim();
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Query)
            .required(if required { Required::True } else { Required::False })
            .description((!about.is_empty()).then_some(about))
            .schema(Some(schema))
            .build()
    };
    T::fields().into_iter().map(parameter).collect()
}

fn described(mut schema: RefOr<Schema>, about: &str) -> RefOr<Schema> {
    let about: Vec<&str> = about.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let about = (!about.is_empty()).then(|| about.join(" "));
    match &mut schema {
        RefOr::T(Schema::Object(object)) if about.is_some() => object.description = about,
        RefOr::T(Schema::Array(array)) if about.is_some() => array.description = about,
        RefOr::T(Schema::AnyOf(any)) if about.is_some() => any.description = about,
        _ => {}
    }
    schema
}
