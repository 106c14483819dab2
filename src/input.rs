//! Reading what a request says, field by field, so that all its faults are told at once. One declaration with [`body!`] is the
//! struct, its reader and its schema. Messages never repeat a value: it may be a secret.

use serde_json::{Map, Value};
use utoipa::openapi::{
    ObjectBuilder, RefOr, Required, Schema,
    path::{Parameter, ParameterBuilder, ParameterIn},
    schema::AdditionalProperties,
};

use crate::domain::card_number::looks_like_card_number;

pub mod forbidden;
pub mod json;
mod values;

use values::nullable;
pub use values::{Amount, Name, Patch, PositiveAmount, SignedAmount, Text, Whole};

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

/// More faults than this help nobody.
const MAX_FAULTS: usize = 100;

/// The faults found so far.
#[derive(Debug, Default)]
pub struct Faults {
    list: Vec<FieldError>,
    /// In a query every value is text, so numbers and booleans are read from it.
    query: bool,
}

impl Faults {
    pub fn of_query() -> Self {
        Self { list: Vec::new(), query: true }
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

/// What a field can hold. `None` means that a fault was noted.
pub trait Input: Sized {
    /// Whether leaving it out is a fault.
    const REQUIRED: bool = true;

    fn read(value: &Value, at: &str, faults: &mut Faults) -> Option<Self>;

    fn absent(at: &str, faults: &mut Faults) -> Option<Self> {
        faults.refuse(at, "is required")
    }

    fn schema() -> RefOr<Schema>;
}

/// An [`Input`] with named fields; [`body!`] makes them.
pub trait Structure: Input {
    const NAMES: &'static [&'static str];

    fn read_object(object: &Map<String, Value>, at: &str, faults: &mut Faults) -> Option<Self>;

    /// The fields as parameters of a query.
    fn parameters(place: ParameterIn) -> Vec<Parameter>;
}

/// Declares a request body or query: `pub struct Name { field | other_spelling: Type = default, … }`.
///
/// Other spellings are another system's names; an empty text under one of them is as good as leaving it out, as it is there.
/// `Option<T>` may be left out or null, [`Patch<T>`] tells those two apart, anything else is required unless it has a default.
macro_rules! body {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $($(#[doc = $doc:literal])* $field_vis:vis $field:ident $(| $alias:ident)* : $type:ty $(= $default:expr)?),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        $vis struct $name {
            $($(#[doc = $doc])* $field_vis $field: $type,)*
        }

        impl $crate::input::Input for $name {
            fn read(value: &serde_json::Value, at: &str, faults: &mut $crate::input::Faults) -> Option<Self> {
                let object = $crate::input::object(value, at, faults)?;
                <Self as $crate::input::Structure>::read_object(object, at, faults)
            }

            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                $crate::input::object_schema(vec![$($crate::input::Property::of::<$type>(
                    stringify!($field),
                    concat!($($doc, "\n"),*),
                    concat!("", $(stringify!($default))?).is_empty(),
                ),)*])
            }
        }

        impl $crate::input::Structure for $name {
            const NAMES: &'static [&'static str] = &[$(stringify!($field), $(stringify!($alias),)*)*];

            fn read_object(
                object: &serde_json::Map<String, serde_json::Value>,
                at: &str,
                faults: &mut $crate::input::Faults,
            ) -> Option<Self> {
                $crate::input::refuse_unknown(object, Self::NAMES, at, faults);
                $(let $field: Option<$type> = $crate::input::field(
                    object,
                    &[stringify!($field), $(stringify!($alias),)*],
                    [$(Some($default),)? None].into_iter().next().flatten(),
                    at,
                    faults,
                );)*
                Some(Self { $($field: $field?,)* })
            }

            fn parameters(place: utoipa::openapi::path::ParameterIn) -> Vec<utoipa::openapi::path::Parameter> {
                let _ = &place;
                vec![$($crate::input::parameter::<$type>(
                    stringify!($field),
                    concat!($($doc, "\n"),*),
                    place.clone(),
                ),)*]
            }
        }

        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                <Self as $crate::input::Input>::schema()
            }
        }
        impl utoipa::ToSchema for $name {}
        impl utoipa::IntoParams for $name {
            fn into_params(
                _: impl Fn() -> Option<utoipa::openapi::path::ParameterIn>,
            ) -> Vec<utoipa::openapi::path::Parameter> {
                <Self as $crate::input::Structure>::parameters(utoipa::openapi::path::ParameterIn::Query)
            }
        }
    };
}
pub(crate) use body;

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

/// A name that the request made up, as far as it may be repeated.
pub fn shown(name: &str) -> String {
    if looks_like_card_number(name) {
        return "(hidden)".to_owned();
    }
    name.chars().take(60).collect()
}

pub fn field<T: Input>(
    object: &Map<String, Value>,
    names: &[&'static str],
    default: Option<T>,
    at: &str,
    faults: &mut Faults,
) -> Option<T> {
    // Whose spelling it is writes an empty text for what it leaves out.
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
    T::read(value, &join(at, name), faults)
}

pub struct Property {
    name: &'static str,
    about: &'static str,
    required: bool,
    schema: RefOr<Schema>,
}

impl Property {
    pub fn of<T: Input>(name: &'static str, about: &'static str, no_default: bool) -> Self {
        // Null is as good as leaving it out where there is a default.
        let schema = if no_default { T::schema() } else { nullable(T::schema()) };
        Self { name: plain(name), about, required: T::REQUIRED && no_default, schema }
    }
}

pub fn object_schema(properties: Vec<Property>) -> RefOr<Schema> {
    let mut object = ObjectBuilder::new().additional_properties(Some(AdditionalProperties::FreeForm(false)));
    for Property { name, about, required, schema } in properties {
        object = object.property(name, described(schema, about));
        if required {
            object = object.required(name);
        }
    }
    object.into()
}

pub fn parameter<T: Input>(name: &'static str, about: &'static str, place: ParameterIn) -> Parameter {
    let about = about.trim();
    ParameterBuilder::new()
        .name(plain(name))
        .parameter_in(place)
        .required(if T::REQUIRED { Required::True } else { Required::False })
        .description((!about.is_empty()).then_some(about))
        .schema(Some(T::schema()))
        .build()
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
