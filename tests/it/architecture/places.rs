//! Where SQL may stand, and where time may be read.

use super::{files, hold, hold_in_src, violation, words};
use crate::rust_text::Text;

/// Where `Instant::now` measures a duration or sleeps out a bound. Nothing that is stored or billed may come from it.
const MAY_MEASURE: &[(&str, &str)] = &[
    ("src/gateway/", "how long a call took, and how long a circuit stays open"),
    ("src/jobs/", "how long a run took"),
    ("src/http/", "how long a request took"),
    ("src/sandbox/", "how long a pretend call is delayed"),
    ("src/daemon", "how long draining may take"),
    ("src/cli", "how fast the benchmark is"),
];

fn sql_only_in_store(file: &str, text: &Text) -> Vec<String> {
    if file.starts_with("src/store/") || !file.starts_with("src/") {
        return Vec::new();
    }
    let lines = text.strings.iter().filter(|(_, string)| is_sql(string));
    lines
        .map(|(line, _)| violation(file, *line, "SQL outside `src/store/`", "move the statement into the noun's file there"))
        .collect()
}

fn is_sql(string: &str) -> bool {
    let words: Vec<String> = string.split_whitespace().map(str::to_lowercase).collect();
    let at = |i: usize| words.get(i).map_or("", String::as_str);
    let has = |word: &str| words.iter().any(|other| other == word);
    match (at(0), at(1)) {
        ("select", _) => has("from") || at(1).contains('('),
        ("with", _) => has("as") && has("select"),
        ("insert", "into" | "or") | ("delete", "from") => true,
        ("update", _) => at(2) == "set" || at(3) == "set",
        ("create" | "drop" | "alter", "table" | "index" | "database" | "unique") => true,
        _ => false,
    }
}

fn time_is_an_input(file: &str, text: &Text) -> Vec<String> {
    const REMEDY: &str = "take `now` as an argument or ask the Clock";
    const READERS: &[&str] =
        &["Utc::now", "Local::now", "SystemTime::now", "OffsetDateTime::now", "now_v7", "now_v1", "UNIX_EPOCH.elapsed"];
    let mut violations = Vec::new();
    let may_measure = MAY_MEASURE.iter().any(|(prefix, _)| file.starts_with(prefix));
    for (i, line) in text.code.lines().enumerate() {
        for reader in READERS.iter().filter(|reader| line.contains(**reader) && file != "src/clock.rs") {
            violations.push(violation(file, i + 1, &format!("`{reader}` reads system time outside src/clock.rs"), REMEDY));
        }
        if line.contains("Instant::now") && !may_measure {
            violations.push(violation(
                file,
                i + 1,
                "`Instant::now` where nothing is measured",
                "see MAY_MEASURE in tests/it/architecture/places.rs",
            ));
        }
    }
    for (line, string) in text.strings.iter().filter(|_| file.starts_with("src/store/")) {
        violations.extend(
            sql_clocks(string).map(|clock| {
                violation(file, *line, &format!("SQL asks the database for the time (`{clock}`)"), "bind an instant")
            }),
        );
    }
    violations
}

/// Readers of the database's clock in a piece of SQL.
fn sql_clocks(sql: &str) -> impl Iterator<Item = &'static str> {
    const CLOCKS: &[&str] = &[
        "now",
        "current_timestamp",
        "current_date",
        "current_time",
        "localtimestamp",
        "localtime",
        "clock_timestamp",
        "statement_timestamp",
        "transaction_timestamp",
        "unixepoch",
        "julianday",
    ];
    let lower = sql.to_lowercase();
    let found: Vec<&str> = words(&lower).filter_map(|word| CLOCKS.iter().find(|clock| **clock == word)).copied().collect();
    // `now` alone is a fine column name; as a call or as SQLite's 'now' it is a clock.
    let is_call = lower.contains("now()") || lower.contains("'now'");
    found.into_iter().filter(move |clock| *clock != "now" || is_call)
}

#[test]
fn sql_lives_in_the_store() {
    hold_in_src(sql_only_in_store);
}

#[test]
fn only_the_clock_reads_time() {
    hold_in_src(time_is_an_input);
    for (file, sql) in files("migrations") {
        let code: Vec<&str> = sql.lines().map(|line| line.split("--").next().unwrap_or("")).collect();
        let clocks = code.iter().enumerate().flat_map(|(i, line)| sql_clocks(line).map(move |clock| (i, clock)));
        hold(
            clocks
                .map(|(i, clock)| {
                    violation(&file, i + 1, &format!("`{clock}` asks the database for the time"), "let the program bind it")
                })
                .collect(),
        );
    }
}

mod can_fail {
    use super::*;
    use crate::architecture::lines;

    #[test]
    fn places_of_sql_and_time() {
        for (rule, file, text, expected) in [
            (sql_only_in_store as fn(&str, &Text) -> Vec<String>, "src/http/a.rs", "\n\"select id from plans\"", &[2][..]),
            (sql_only_in_store, "src/jobs/a.rs", "r#\"\n  UPDATE plans SET x = 1\"#", &[1]),
            (sql_only_in_store, "src/store/plan.rs", "\"insert into plans\"", &[]),
            (sql_only_in_store, "src/http/a.rs", "\"select one of these\" // select id from plans", &[]),
            (time_is_an_input, "src/billing/a.rs", "let a = 1;\nlet now = Utc::now();", &[2]),
            (time_is_an_input, "src/billing/a.rs", "Instant::now()", &[1]),
            (time_is_an_input, "src/store/a.rs", "\"select now()\"", &[1]),
            (time_is_an_input, "src/store/a.rs", "\"set at = CURRENT_TIMESTAMP\"", &[1]),
            (time_is_an_input, "src/store/a.rs", "\"datetime('now')\"", &[1]),
            (time_is_an_input, "src/store/a.rs", "\"select now from clocks where now < $1\"", &[]),
            (time_is_an_input, "src/clock.rs", "Utc::now()", &[]),
            (time_is_an_input, "src/gateway/http.rs", "Instant::now() // Utc::now", &[]),
        ] {
            assert_eq!(lines(rule, file, text), expected, "{file}: {text}");
        }
    }
}
