//! How ids, timelines, zones, currencies and frequencies are stored: as their text, on both databases.

use std::str::FromStr;

use sqlx::{
    Database, Decode, Encode, Postgres, Sqlite, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgTypeInfo, PgValueRef},
    sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef},
};

use crate::domain::{
    calendar::Zone,
    clock::Timeline,
    frequency::Frequency,
    id::{Id, Kind},
    money::Currency,
};

macro_rules! text_columns {
    ($([$($generic:tt)*] $type:ty;)+) => {$(
        impl<$($generic)*> Type<Sqlite> for $type {
            fn type_info() -> SqliteTypeInfo {
                <str as Type<Sqlite>>::type_info()
            }
            fn compatible(ty: &SqliteTypeInfo) -> bool {
                <str as Type<Sqlite>>::compatible(ty)
            }
        }
        impl<$($generic)*> Type<Postgres> for $type {
            fn type_info() -> PgTypeInfo {
                <str as Type<Postgres>>::type_info()
            }
            fn compatible(ty: &PgTypeInfo) -> bool {
                <str as Type<Postgres>>::compatible(ty)
            }
        }
        impl<'q, $($generic)*> Encode<'q, Sqlite> for $type {
            fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
                <String as Encode<'q, Sqlite>>::encode(self.to_string(), buffer)
            }
        }
        impl<'q, $($generic)*> Encode<'q, Postgres> for $type {
            fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
                <String as Encode<'q, Postgres>>::encode(self.to_string(), buffer)
            }
        }
        impl<'r, $($generic)*> Decode<'r, Sqlite> for $type {
            fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
                parse::<Sqlite, Self>(value)
            }
        }
        impl<'r, $($generic)*> Decode<'r, Postgres> for $type {
            fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
                parse::<Postgres, Self>(value)
            }
        }
    )+};
}

fn parse<'r, D: Database, T: FromStr>(value: D::ValueRef<'r>) -> Result<T, BoxDynError>
where
    &'r str: Decode<'r, D>,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    Ok(<&str as Decode<'r, D>>::decode(value)?.parse()?)
}

text_columns! {
    [K: Kind] Id<K>;
    [] Timeline;
    [] Zone;
    [] Currency;
    [] Frequency;
}
