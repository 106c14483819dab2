//! How single values are read: strict about meaning, lenient about a number where a text is wanted, and silent about secrets.

use std::{collections::BTreeMap, fmt, io::ErrorKind, net::SocketAddr, path::Path, time::Duration};

use chrono::{NaiveDate, NaiveTime, TimeDelta};
use chrono_tz::Tz;
use secrecy::SecretString;
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// A text. A bare integer counts as its digits, since merchant ids and passwords may be all digits.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Text;
    impl Visitor<'_> for Text {
        type Value = String;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }
        fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
            Ok(text.to_owned())
        }
        fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
            Ok(number.to_string())
        }
        fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
            Ok(number.to_string())
        }
    }
    deserializer.deserialize_any(Text)
}

pub(super) fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    text(deserializer).map(SecretString::from)
}

fn parsed<'de, D: Deserializer<'de>, T>(deserializer: D, wanted: &str, read: fn(&str) -> Option<T>) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    read(&text).ok_or_else(|| D::Error::custom(format!("must be {wanted}, not {text:?}")))
}

pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    parsed(deserializer, "an address and port such as 127.0.0.1:8420", |text| text.parse().ok())
}

pub(super) fn zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Tz, D::Error> {
    parsed(deserializer, "an IANA time zone such as Europe/Berlin", |text| text.parse().ok())
}

pub(super) fn time_of_day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NaiveTime, D::Error> {
    parsed(deserializer, "a time of day such as 06:00", |text| NaiveTime::parse_from_str(text, "%H:%M").ok())
}

pub(super) fn base_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(String::deserialize(deserializer)?.trim_end_matches('/').to_owned())
}

/// The longest duration that a setting may hold: a century. Any instant of today's plus or minus it can be computed.
const LONGEST: Duration = Duration::from_hours(36_500 * 24);

fn too_long<E: Error>() -> E {
    E::custom("must be at most 36500d")
}

/// A duration that the program waits for.
pub(super) fn wait<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Some(humantime_serde::deserialize(deserializer)?).filter(|wait| *wait <= LONGEST).ok_or_else(too_long)
}

fn delta<E: Error>(wait: Duration) -> Result<TimeDelta, E> {
    Some(wait).filter(|wait| *wait <= LONGEST).and_then(|wait| TimeDelta::from_std(wait).ok()).ok_or_else(too_long)
}

/// A duration that is added to instants.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TimeDelta, D::Error> {
    delta(humantime_serde::deserialize(deserializer)?)
}

pub(super) fn durations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TimeDelta>, D::Error> {
    let list = Vec::<humantime_serde::Serde<Duration>>::deserialize(deserializer)?;
    list.into_iter().map(|wait| delta(wait.into_inner())).collect()
}

pub(super) fn calendars<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Vec<NaiveDate>>, D::Error> {
    let date = |text: String| {
        text.parse::<NaiveDate>().map_err(|_| D::Error::custom(format!("must hold dates such as 2026-12-25, not {text:?}")))
    };
    let calendars = BTreeMap::<String, Vec<String>>::deserialize(deserializer)?;
    calendars.into_iter().map(|(name, days)| Ok((name, days.into_iter().map(date).collect::<Result<_, _>>()?))).collect()
}

/// The contents of a file that stands for a secret, without the line end that editors add. Errors name the path, never the contents.
pub(super) fn secret_file(file: &str, credentials: Option<&Path>) -> Result<String, String> {
    // `join` keeps an absolute path as it is, so credentials only ever serve relative ones.
    let credential = credentials.map(|folder| folder.join(file)).filter(|path| path.exists());
    let path = credential.unwrap_or_else(|| file.into());
    let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => format!("{} is not UTF-8 text", path.display()),
        _ => format!("cannot read {}: {error}", path.display()),
    })?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(format!("{} is empty", path.display())),
        text => Ok(text.to_owned()),
    }
}
