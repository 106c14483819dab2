//! From the one SQL text to each database's own: what the two write differently is written once and adapted here.
//!
//! - `for update [of x] [skip locked]` and `for share` go on SQLite, where `begin immediate` keeps other writers out already.
//! - `in list($n)` takes a JSON array of texts.
//! - `in once(select … limit … for update skip locked)` is evaluated once. As a plain `in (…)` PostgreSQL may evaluate it again for
//!   each row of the statement around it, and lock other rows each time, beyond the limit.

use std::{any::TypeId, collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;
use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

/// Which database a text is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dialect {
    Sqlite,
    Postgres,
}

/// A statement as the store writes it.
#[derive(Debug, Clone)]
pub enum Sql {
    /// Written in the source: adapted once and then remembered by its address.
    Fixed(&'static str),
    /// Put together while the program runs, from texts that stand in the source.
    Composed(Arc<str>),
}

impl From<&'static str> for Sql {
    fn from(text: &'static str) -> Self {
        Self::Fixed(text)
    }
}

/// A statement as one database takes it.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub text: SqlStr,
    /// How many parameters it has: the highest `$n`.
    pub parameters: usize,
}

/// What a fixed text was turned into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    As(Dialect),
    /// Rows of this type as one JSON value, on SQLite.
    Json(TypeId),
}

impl Sql {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Fixed(text) => text,
            Self::Composed(text) => text,
        }
    }

    pub(super) fn adapted(&self, dialect: Dialect) -> Statement {
        self.remembered(Form::As(dialect), || adapt(self.as_str(), dialect))
    }

    /// This `select` for SQLite, with all of its rows as one JSON array of lists of these values.
    pub(super) fn json<T: 'static>(&self, values: impl FnOnce() -> String) -> Statement {
        self.remembered(Form::Json(TypeId::of::<T>()), || {
            format!("select json_group_array(json_array({})) from ({})", values(), adapt(self.as_str(), Dialect::Sqlite))
        })
    }

    fn remembered(&self, form: Form, make: impl FnOnce() -> String) -> Statement {
        // A static text is never freed, so no other text can ever have its address.
        static KNOWN: RwLock<BTreeMap<(usize, usize, Form), Statement>> = RwLock::new(BTreeMap::new());
        let statement =
            || Statement { parameters: parameters(self.as_str()), text: AssertSqlSafe(Arc::<str>::from(make())).into_sql_str() };
        let Self::Fixed(text) = self else { return statement() };
        let key = (text.as_ptr().addr(), text.len(), form);
        if let Some(known) = KNOWN.read().get(&key) {
            return known.clone();
        }
        let made = statement();
        KNOWN.write().insert(key, made.clone());
        made
    }
}

/// The text for one database.
#[doc(hidden)]
pub fn adapt(sql: &str, dialect: Dialect) -> String {
    let postgres = dialect == Dialect::Postgres;
    let mut adapted = String::with_capacity(sql.len() + 80);
    // For each open parenthesis: whether it is one of `in once(`.
    let mut open = Vec::new();
    let mut rest = sql;
    while !rest.is_empty() {
        let (token, after) = rest.split_at(token_length(rest));
        rest = after;
        if token == "in"
            && let Some(inner) = rest.strip_prefix(" once(")
        {
            adapted.push_str(if postgres { "= any(array(" } else { "in (" });
            open.push(true);
            rest = inner;
        } else if token == "in"
            && let Some((parameter, after)) = rest.strip_prefix(" list(").and_then(|inner| inner.split_once(')'))
        {
            adapted.push_str(&list(parameter, postgres));
            rest = after;
        } else if token == "for"
            && !postgres
            && let Some(after) = after_lock(rest)
        {
            rest = after;
        } else {
            adapted.push_str(token);
            match token {
                "(" => open.push(false),
                ")" if open.pop() == Some(true) && postgres => adapted.push(')'),
                _ => {}
            }
        }
    }
    adapted
}

fn list(parameter: &str, postgres: bool) -> String {
    if postgres {
        format!("= any(array(select json_array_elements_text(cast({parameter} as json))))")
    } else {
        format!("in (select value from json_each({parameter}))")
    }
}

/// The highest `$n`.
fn parameters(sql: &str) -> usize {
    let (mut rest, mut highest) = (sql, 0);
    while !rest.is_empty() {
        let (token, after) = rest.split_at(token_length(rest));
        if token == "$" {
            highest = after[..token_length(after)].parse().unwrap_or(0).max(highest);
        }
        rest = after;
    }
    highest
}

/// How long the first token is: a literal, a quoted name, a comment, a word, or any other character.
fn token_length(text: &str) -> usize {
    let through = |end: &str, from: usize| text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
    match text.chars().next() {
        // A quote that is doubled inside a literal reads as two literals side by side, which is as good here.
        Some(quote @ ('\'' | '"')) => through(quote.encode_utf8(&mut [0; 4]), 1),
        Some('-') if text.starts_with("--") => through("\n", 2),
        Some('/') if text.starts_with("/*") => through("*/", 2),
        Some(first) if in_word(first) => text.find(|c| !in_word(c)).unwrap_or(text.len()),
        first => first.map_or(0, char::len_utf8),
    }
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// What follows `update [of x] [skip locked]` or `share`; nothing if the text begins with neither.
fn after_lock(text: &str) -> Option<&str> {
    let mut rest = after_word(text, "update").or_else(|| after_word(text, "share"))?;
    if let Some(table) = after_word(rest, "of").map(str::trim_start) {
        rest = &table[token_length(table)..];
    }
    Some(after_word(rest, "skip").and_then(|rest| after_word(rest, "locked")).unwrap_or(rest))
}

fn after_word<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    text.trim_start().strip_prefix(word).filter(|rest| !rest.starts_with(in_word))
}

#[cfg(test)]
mod tests {
    use Dialect::{Postgres, Sqlite};

    use super::*;

    #[test]
    fn seams_are_adapted() {
        assert_eq!(adapt("select a from t where id = $1 for share", Sqlite).trim(), "select a from t where id = $1");
        assert_eq!(adapt("select a from t where id = $1 for share", Postgres), "select a from t where id = $1 for share");
        let sql = "select a from t where id in list($1) and x = $2 for update of t skip locked";
        assert_eq!(parameters(sql), 2);
        assert_eq!(adapt(sql, Sqlite).trim(), "select a from t where id in (select value from json_each($1)) and x = $2");
        assert_eq!(
            adapt(sql, Postgres),
            "select a from t where id = any(array(select json_array_elements_text(cast($1 as json)))) and x = $2 for update of t skip locked"
        );
    }

    #[test]
    fn a_claim_is_evaluated_once() {
        let sql =
            "update t set a = 1 where id in once(select id from t where (b = 2) limit $1 for update skip locked) returning *";
        assert_eq!(
            adapt(sql, Postgres),
            "update t set a = 1 where id = any(array(select id from t where (b = 2) limit $1 for update skip locked)) returning *"
        );
        assert_eq!(adapt(sql, Sqlite), "update t set a = 1 where id in (select id from t where (b = 2) limit $1 ) returning *");
    }

    #[test]
    fn every_lock_goes_and_nothing_more() {
        let sql = "select a from t where id in (select id from u for update of u skip locked) for update\n order by a";
        assert_eq!(adapt(sql, Sqlite), "select a from t where id in (select id from u ) \n order by a");
        assert_eq!(adapt(sql, Postgres), sql);
        for sql in ["select for_update, for updates from t", "select substring(a for 2) from t", "select a, skip from t"] {
            assert_eq!(adapt(sql, Sqlite), sql);
        }
    }

    #[test]
    fn literals_and_comments_are_left_alone() {
        let sql = "select 'it''s for update ($7', \"for update\" from t -- for update, in list($8)\n where /* in once( */ a = $1";
        for dialect in [Sqlite, Postgres] {
            assert_eq!(adapt(sql, dialect), sql);
        }
        assert_eq!(parameters(sql), 1);
        assert_eq!(adapt("select 'open for update", Sqlite), "select 'open for update");
    }

    #[test]
    fn a_fixed_text_is_adapted_once() {
        let first = Sql::from("select a from t for update").adapted(Sqlite);
        let sql = Sql::from("select a, b from t where c in list($2) for update");
        assert_ne!(sql.adapted(Sqlite).text, first.text);
        assert_eq!(sql.adapted(Sqlite).text.as_str(), adapt(sql.as_str(), Sqlite));
        assert_eq!(sql.adapted(Postgres).text.as_str(), adapt(sql.as_str(), Postgres));
        assert_eq!(sql.adapted(Sqlite).text.as_str().as_ptr(), sql.adapted(Sqlite).text.as_str().as_ptr());
        assert_eq!(sql.adapted(Sqlite).parameters, 2);
        // A part of a text begins where the whole does.
        let part = Sql::Fixed(&"select a from t for update"[..15]);
        assert_eq!(part.adapted(Sqlite).text.as_str(), "select a from t");
    }
}
