//! What can go wrong with a database, in words for an operator; values and passwords never appear in them.

/// A fault of the database, in words for an operator. Values never appear in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("database.url must start with sqlite:// or postgres://")]
    BadUrl,
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    #[error(
        "the database was migrated by a newer rebilld (migration {0} is unknown here): install that version, or restore a backup"
    )]
    Newer(i64),
    #[error("the database is not migrated: run `rebilld migrate` (or `rebilld serve`, which does it at start)")]
    NotMigrated,
    #[error("migration failed: {0}")]
    Migration(String),
    #[error("a row with the same unique value exists already")]
    Conflict,
    /// Two transactions locked the same rows and this one was undone. Trying again is safe.
    #[error("the database was busy with the same rows: try again")]
    Busy,
    #[error("database: {0}")]
    Database(String),
    #[error("a row could not be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("statement has {wanted} parameters and was given {given}: {sql}")]
    Parameters { wanted: usize, given: usize, sql: String },
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(inner) if inner.is_unique_violation() => Self::Conflict,
            sqlx::Error::Database(inner) if is_missing_table(inner.message(), inner.code().as_deref()) => Self::NotMigrated,
            // PostgreSQL: deadlock, serialization failure, lock not available. SQLite: busy, locked, stale snapshot.
            sqlx::Error::Database(inner)
                if inner.code().is_some_and(|code| matches!(&*code, "40P01" | "40001" | "55P03" | "5" | "6" | "517")) =>
            {
                Self::Busy
            }
            sqlx::Error::Database(inner) if inner.code().is_some_and(|code| is_away(&code)) => {
                Self::Unreachable(inner.message().to_owned())
            }
            sqlx::Error::Database(inner) => Self::Database(told(inner.message(), inner.code().as_deref())),
            // The cause may quote what the column holds.
            sqlx::Error::ColumnDecode { index, .. } => {
                Self::Database(format!("column {index} holds what this version cannot read"))
            }
            sqlx::Error::Decode(_) => Self::Database("a row holds what this version cannot read".to_owned()),
            sqlx::Error::Encode(_) => Self::Database("a value could not be sent".to_owned()),
            // A connection that is cut during the handshake is reported as a protocol error.
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => {
                Self::Unreachable(error.to_string())
            }
            _ => Self::Database(error.to_string()),
        }
    }
}

pub type Result<T> = std::result::Result<T, Error>;

/// Why an SQLite file could not be opened, and what to do about it.
pub(super) fn unopened(error: &sqlx::Error) -> String {
    match error.as_database_error().and_then(|inner| inner.code()).as_deref() {
        Some("26") => "the file is no SQLite database: move it away, or name another".to_owned(),
        Some("14") => "the file cannot be opened: give this user the right to read and write it and its folder".to_owned(),
        _ => error.as_database_error().map_or_else(|| error.to_string(), |inner| inner.message().to_owned()),
    }
}

/// Why a server refused the connection, and what to do about it.
pub(super) fn unanswered(why: &str) -> String {
    match why.strip_prefix("error communicating with database: ") {
        Some(fault) => format!("{fault}: see that PostgreSQL is running there, or correct the address"),
        None => why.strip_prefix("error returned from database: ").unwrap_or(why).to_owned(),
    }
}

/// The message of the database, without values. In its data exceptions (class 22) PostgreSQL quotes them, and puts what it cannot
/// read after a colon.
fn told(message: &str, code: Option<&str>) -> String {
    let quotes_values = code.is_some_and(|code| code.len() == 5 && code.starts_with("22"));
    if !quotes_values {
        return message.to_owned();
    }
    let end = message.find(['"', ':']).unwrap_or(message.len());
    format!("a value was refused ({})", message[..end].trim())
}

/// Whether PostgreSQL ended or refused the connection because it is starting, stopping or full. The statement may be sent again.
fn is_away(code: &str) -> bool {
    code.starts_with("08") || matches!(code, "57P01" | "57P02" | "57P03" | "53300" | "25P03")
}

/// Whether a table is missing: only migrations make tables.
fn is_missing_table(message: &str, code: Option<&str>) -> bool {
    code == Some("42P01") || message.starts_with("no such table")
}

pub(super) fn without_password(message: &str, url: &str) -> String {
    let password = url.split_once("://").and_then(|(_, rest)| rest.split_once('@')).and_then(|(login, _)| login.split_once(':'));
    match password {
        Some((_, secret)) if !secret.is_empty() => message.replace(secret, "***"),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_from_messages() {
        let quoted = r#"invalid input syntax for type bigint: "4111""#;
        assert_eq!(told(quoted, Some("22P02")), "a value was refused (invalid input syntax for type bigint)");
        assert_eq!(told(r#"value "4111" is out of range for type integer"#, Some("22003")), "a value was refused (value)");
        let check = r#"new row for relation "plans" violates check constraint "plans_amount_check""#;
        assert_eq!(told(check, Some("23514")), check);
        assert_eq!(told("CHECK constraint failed: amount >= 0", Some("275")), "CHECK constraint failed: amount >= 0");
    }

    #[test]
    fn a_password_never_reaches_an_error() {
        assert_eq!(without_password("no login for u with geheim", "postgres://u:geheim@h/db"), "no login for u with ***");
    }
}
