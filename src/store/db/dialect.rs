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
}
