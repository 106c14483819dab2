//! Texts on their way to a database and back: the seams of one SQL text, and messages that must not show values.

use std::borrow::Cow;

/// The highest `$n` in a statement.
pub(super) fn parameters(sql: &str) -> usize {
    sql.split('$')
        .skip(1)
        .filter_map(|rest| rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok())
        .max()
        .unwrap_or(0)
}

const ONCE: &str = "in once(";

/// Where the parenthesis ends whose inside this text begins with.
fn closing(text: &str) -> usize {
    let mut depth = 1;
    for (at, character) in text.char_indices() {
        depth += match character {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// Puts the seams of one database into the common text.
pub(super) fn adapt(sql: &'static str, postgres: bool) -> Cow<'static, str> {
    let mut text = Cow::Borrowed(sql);
    while let Some(start) = text.find(ONCE) {
        let inner = start + ONCE.len();
        let end = inner + closing(&text[inner..]);
        let (open, close) = if postgres { ("= any(array(", ")") } else { ("in (", "") };
        text = Cow::Owned(format!("{}{open}{}{close}{}", &text[..start], &text[inner..end], &text[end..]));
    }
    while let Some(start) = text.find("in list(") {
        let end = start + text[start..].find(')').unwrap_or(text.len() - start - 1);
        let parameter = &text[start + "in list(".len()..end];
        let list = if postgres {
            format!("= any(array(select json_array_elements_text(cast({parameter} as json))))")
        } else {
            format!("in (select value from json_each({parameter}))")
        };
        text = Cow::Owned(format!("{}{list}{}", &text[..start], &text[end + 1..]));
    }
    if !postgres && let Some(start) = text.find("for update").or_else(|| text.find("for share")) {
        let after = &text[start..];
        let end =
            after.find("skip locked").map_or_else(|| after.find('\n').unwrap_or(after.len()), |at| at + "skip locked".len());
        text = Cow::Owned(format!("{}{}", &text[..start], &after[end..]));
    }
    text
}

/// JSON texts in which U+FFFD stands for U+0000, which PostgreSQL cannot keep. The door refuses it; a gateway's message may hold
/// it, and must not keep an outcome from being recorded.
pub(super) fn without_nul(json: String) -> String {
    const NUL: &str = "\\u0000";
    if !json.contains(NUL) {
        return json;
    }
    let mut kept = String::with_capacity(json.len());
    let mut rest = json.as_str();
    while let Some(at) = rest.find('\\') {
        kept.push_str(&rest[..at]);
        // Two characters at a time, so that an escaped backslash before `u0000` is not taken for the escape.
        let length = if rest[at..].starts_with(NUL) { NUL.len() } else { 2 };
        kept.push_str(if length == 2 { &rest[at..at + 2] } else { "\u{fffd}" });
        rest = &rest[at + length..];
    }
    kept.push_str(rest);
    kept
}

/// Why an SQLite file could not be opened, and what to do about it.
pub(super) fn unopened(error: &sqlx::Error) -> String {
    match error.as_database_error().and_then(|inner| inner.code()).as_deref() {
        Some("26") => "the file is no SQLite database: move it away, or name another".to_owned(),
        Some("14") => "the file cannot be opened: give this user the right to read and write it and its folder".to_owned(),
        _ => error.as_database_error().map_or_else(|| error.to_string(), |inner| inner.message().to_owned()),
    }
}

/// Why a server did not let us in, and what to do about it.
pub(super) fn unanswered(why: &str) -> String {
    match why.strip_prefix("error communicating with database: ") {
        Some(fault) => format!("{fault}: see that PostgreSQL is running there, or correct the address"),
        None => why.strip_prefix("error returned from database: ").unwrap_or(why).to_owned(),
    }
}

/// What the database said, without values. PostgreSQL quotes them in its data exceptions (class 22), and what it cannot read after
/// a colon.
pub(super) fn told(message: &str, code: Option<&str>) -> String {
    let quotes_values = code.is_some_and(|code| code.len() == 5 && code.starts_with("22"));
    if !quotes_values {
        return message.to_owned();
    }
    let end = message.find(['"', ':']).unwrap_or(message.len());
    format!("a value was refused ({})", message[..end].trim())
}

/// PostgreSQL ends the connection, or lets nobody in: it is on its way down or up, or has no room. What was sent may be sent again.
pub(super) fn is_away(code: &str) -> bool {
    code.starts_with("08") || matches!(code, "57P01" | "57P02" | "57P03" | "53300" | "25P03")
}

/// Tables are made by migrations and by nothing else.
pub(super) fn is_missing_table(message: &str, code: Option<&str>) -> bool {
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
    fn seams_are_adapted() {
        assert_eq!(adapt("select a from t where id = $1 for share", false).trim(), "select a from t where id = $1");
        assert_eq!(adapt("select a from t where id = $1 for share", true), "select a from t where id = $1 for share");
        let sql = "select a from t where id in list($1) and x = $2 for update of t skip locked";
        assert_eq!(parameters(sql), 2);
        assert_eq!(adapt(sql, false).trim(), "select a from t where id in (select value from json_each($1)) and x = $2");
        assert_eq!(
            adapt(sql, true),
            "select a from t where id = any(array(select json_array_elements_text(cast($1 as json)))) and x = $2 for update of t skip locked"
        );
    }

    #[test]
    fn a_claim_is_evaluated_once() {
        let sql =
            "update t set a = 1 where id in once(select id from t where (b = 2) limit $1 for update skip locked) returning *";
        assert_eq!(
            adapt(sql, true),
            "update t set a = 1 where id = any(array(select id from t where (b = 2) limit $1 for update skip locked)) returning *"
        );
        assert_eq!(adapt(sql, false), "update t set a = 1 where id in (select id from t where (b = 2) limit $1 ) returning *");
    }

    #[test]
    fn nul_is_replaced_and_nothing_else() {
        for text in ["a\0b", "\0\0", "\\u0000", "\\\0", "\\\\u0000\0", "\"\u{1}\u{7f}", "😀\0é", "plain"] {
            let json = serde_json::to_string(&text).expect("json");
            let kept: String = serde_json::from_str(&without_nul(json)).expect("still JSON");
            assert_eq!(kept, text.replace('\0', "\u{fffd}"), "{text:?}");
        }
    }

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
