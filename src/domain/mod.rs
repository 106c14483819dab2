//! The nouns of recurring billing. Pure: no async, no I/O, no clock, no randomness.

#![warn(missing_docs)]

pub mod account_refusal;
pub mod api_key;
pub mod authorization;
pub mod breaker;
pub mod calendar;
pub mod cap;
pub mod card_number;
pub mod catalog;
pub mod clock;
pub mod credit_note;
pub mod customer;
pub mod dispute;
pub mod dunning;
pub mod event;
pub mod forecast;
pub mod frequency;
pub mod id;
pub mod installment_plan;
pub mod invoice;
pub mod lookup;
pub mod money;
pub mod payment;
pub mod payment_method;
pub mod payment_request;
pub mod plan;
pub mod proration;
pub mod refund;
pub mod roll_out;
#[cfg(test)]
mod samples;
pub mod subscription;

use std::{fmt, marker::PhantomData, str::FromStr};

use serde::{Deserializer, de};

/// How many things a collection in memory has, in the type in which tables and answers count.
pub fn count(len: usize) -> i64 {
    // Never saturates: no collection holds more than `isize::MAX` things.
    i64::try_from(len).unwrap_or(i64::MAX)
}

/// Reads a value from a JSON text, without a copy of the text on the way.
pub(crate) fn from_text<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    struct Text<T>(PhantomData<T>);
    impl<T: FromStr<Err: fmt::Display>> de::Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a string")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }
    deserializer.deserialize_str(Text(PhantomData))
}

/// A text that is none of the allowed words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be one of {}", allowed.join(", "))]
pub struct UnknownWord {
    /// Every word that would have been accepted, in the order of declaration.
    pub allowed: &'static [&'static str],
}

/// An enum whose values are fixed words; `text_enum!` implements it.
pub trait TextEnum: FromStr<Err = UnknownWord> {
    /// Every word of the enum, in the order of declaration.
    const WORDS: &'static [&'static str];
}

/// Declares an enum that is one fixed word everywhere: in JSON, in the database, in logs. A word after `|` is an older spelling,
/// which is read and never written.
macro_rules! text_enum {
    ($(#[$meta:meta])* pub enum $name:ident {
        $($(#[$variant_meta:meta])* $variant:ident = $text:literal $(| $older:literal)*,)+
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize, utoipa::ToSchema, sqlx::Type)]
        #[sqlx(type_name = "text")]
        pub enum $name {
            $($(#[$variant_meta])* #[serde(rename = $text $(, alias = $older)*)] #[sqlx(rename = $text)] $variant,)+
        }

        impl $name {
            /// Every value, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in JSON, in the database and in logs.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl $crate::domain::TextEnum for $name {
            const WORDS: &'static [&'static str] = &[$($text),+];
        }

        impl std::str::FromStr for $name {
            type Err = $crate::domain::UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text $(| $older)* => Ok(Self::$variant),)+
                    _ => Err($crate::domain::UnknownWord { allowed: <Self as $crate::domain::TextEnum>::WORDS }),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use text_enum;

/// Implements the JSON of types that are one text everywhere.
macro_rules! serde_as_text {
    ($($type:ty),+) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::domain::from_text(deserializer)
            }
        }
    )+};
}
pub(crate) use serde_as_text;
