//! The law of `src/lib.rs`, held: who may use whom, where SQL and time may be read, and how files are named and kept short.
//!
//! Each rule is a function from text to violations (`file:line: what is wrong; what to do`), so that each is also tested to fail.

use std::{collections::BTreeSet, fs, path::Path};

use crate::rust_text::{Text, crate_paths};

/// Every module at the top of `src/`, and which of the others it may use. This table is the architecture.
const MAY_USE: &[(&str, &[&str])] = &[
    // The ground: pure nouns, the one clock, settings, logs.
    ("domain", &[]),
    ("clock", &[]),
    ("config", &["domain"]),
    ("telemetry", &["config"]),
    // The three sides of a charge do not know each other.
    ("store", &["domain", "clock", "config", "telemetry"]),
    ("gateway", &["domain", "clock", "config", "telemetry"]),
    // The only place that combines them.
    ("billing", &["store", "gateway", "domain", "clock", "config", "telemetry"]),
    // Doors: they ask `billing`, and read through `store`. The admin endpoint also shows and starts jobs and moves clocks.
    ("jobs", &["billing", "store", "domain", "clock", "config", "telemetry"]),
    ("http", &["billing", "jobs", "store", "domain", "clock", "config", "telemetry"]),
    ("cli", &["daemon", "http", "jobs", "billing", "store", "sandbox", "domain", "clock", "config", "telemetry"]),
    // Wires everything, thus knows everything.
    ("daemon", &["http", "jobs", "billing", "store", "gateway", "sandbox", "domain", "clock", "config", "telemetry"]),
    // The pretend outside world: of `domain` only money and ids, see `sandbox_knows_little`.
    ("sandbox", &["domain", "clock"]),
];

/// Where `Instant::now` measures a duration or sleeps out a bound. Nothing that is stored or billed may come from it.
const MAY_MEASURE: &[(&str, &str)] = &[
    ("src/gateway/", "how long a call took, and how long a circuit stays open"),
    ("src/jobs/", "how long a run took"),
    ("src/http/", "how long a request took"),
    ("src/sandbox/", "how long a pretend call is delayed"),
    ("src/daemon", "how long draining may take"),
    ("src/cli", "how fast the benchmark is"),
];

const TOP_LEVEL: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "src",
    "migrations",
    "config",
    "tests",
    "systemd",
    "benches",
    "docs",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "justfile",
    "deny.toml",
    "rust-toolchain.toml",
    "LICENSE-MIT",
    "LICENSE-APACHE",
];

const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "manager", "service", "misc"];

const MAX_LINES: usize = 500;

fn violation(file: &str, line: usize, rule: &str, remedy: &str) -> String {
    format!("{file}:{line}: {rule}; {remedy}")
}

/// `src/store/db.rs` → `store`, `src/clock.rs` → `clock`.
fn top_module(file: &str) -> &str {
    let rest = file.strip_prefix("src/").unwrap_or(file);
    rest.split('/').next().unwrap_or(rest).trim_end_matches(".rs")
}

/// A module's own tests may combine what the module may not: they need both sides to prove something.
fn is_test_file(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/")
}

fn dependencies(file: &str, text: &Text) -> Vec<String> {
    let here = top_module(file);
    if is_test_file(file) || here == "lib" || here == "main" {
        return Vec::new();
    }
    let Some((_, allowed)) = MAY_USE.iter().find(|(module, _)| *module == here) else {
        return vec![violation(
            file,
            1,
            &format!("`{here}` has no place in the law"),
            "add it to MAY_USE in tests/it/architecture.rs with a reason",
        )];
    };
    let mut violations = Vec::new();
    for (line, path) in crate_paths(file, text.without_tests()) {
        let Some(there) = path.first().filter(|there| MAY_USE.iter().any(|(module, _)| module == there)) else { continue };
        if there != here && !allowed.contains(&there.as_str()) {
            let remedy =
                format!("`{here}` may use only: {}; let `billing` combine them or `daemon` hand it in", allowed.join(", "));
            violations.push(violation(file, line, &format!("`{here}` must not use `{there}`"), &remedy));
        }
        // One line for `use crate::other::{a, b, c}`.
        violations.dedup();
        let money_or_id = path.get(1).is_some_and(|noun| noun == "money" || noun == "id");
        if here == "sandbox" && there == "domain" && !money_or_id {
            let remedy = "it stands in for somebody else's server: give it its own types";
            violations.push(violation(file, line, "`sandbox` may use only `domain::money` and `domain::id`", remedy));
        }
    }
    violations
}

fn doors_do_not_write(file: &str, text: &Text) -> Vec<String> {
    if !["http", "jobs", "cli"].contains(&top_module(file)) || is_test_file(file) {
        return Vec::new();
    }
    let code = text.without_tests();
    let writes = |line: &str| words(line).any(|word| word == "Tx") || line.contains(".begin(");
    let lines = code.lines().enumerate().filter(|(_, line)| writes(line));
    lines
        .map(|(i, _)| {
            violation(
                file,
                i + 1,
                "a door opens a transaction",
                "doors may read through `store`, never write: add a verb to `billing`",
            )
        })
        .collect()
}

fn domain_is_pure(file: &str, text: &Text) -> Vec<String> {
    if top_module(file) != "domain" {
        return Vec::new();
    }
    const IMPURE: &[&str] = &[
        "async fn",
        "async move",
        ".await",
        "tokio::",
        "reqwest::",
        "std::fs",
        "std::net",
        "std::env",
        "rand::rng(",
        "OsRng",
        "SysRng",
    ];
    let found = text
        .code
        .lines()
        .enumerate()
        .flat_map(|(i, line)| IMPURE.iter().filter(move |word| line.contains(**word)).map(move |word| (i, word)));
    found
        .map(|(i, word)| {
            violation(file, i + 1, &format!("`{word}` in `domain`"), "nouns are pure: take the value as an argument")
        })
        .collect()
}

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
                "see MAY_MEASURE in tests/it/architecture.rs",
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

fn has_extension(file: &str, extensions: &[&str]) -> bool {
    file.rsplit_once('.').is_some_and(|(_, extension)| extensions.contains(&extension))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

fn short_and_introduced(file: &str, text: &str) -> Vec<String> {
    let mut violations = Vec::new();
    let count = text.lines().count();
    if count > MAX_LINES {
        violations.push(violation(
            file,
            MAX_LINES + 1,
            &format!("{count} lines, more than {MAX_LINES}"),
            "split it by what a reader would look for",
        ));
    }
    if has_extension(file, &["rs"]) && !text.starts_with("//! ") {
        violations.push(violation(file, 1, "no opening `//!` sentence", "say what the file is for and which rule it guards"));
    }
    violations
}

fn telling_names(file: &str, text: &Text) -> Vec<String> {
    const REMEDY: &str = "name it after what it knows";
    let mut violations = Vec::new();
    for part in file.split('/').map(|part| part.trim_end_matches(".rs")).filter(|part| EMPTY_NAMES.contains(part)) {
        violations.push(violation(file, 1, &format!("a module named `{part}`"), REMEDY));
    }
    for (i, line) in text.code.lines().enumerate() {
        let line = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        let name = line.strip_prefix("mod ").and_then(|rest| words(rest).next());
        if let Some(name) = name.filter(|name| EMPTY_NAMES.contains(name) && line.ends_with('{')) {
            violations.push(violation(file, i + 1, &format!("a module named `{name}`"), REMEDY));
        }
    }
    violations
}

/// Whether `.gitignore` keeps a name of the top level from being committed.
fn is_ignored(name: &str) -> bool {
    let mut patterns = include_str!("../../.gitignore").lines().map(|line| line.trim_start_matches('/'));
    patterns.any(|pattern| pattern.strip_prefix('*').map_or(name == pattern, |end| name.ends_with(end)))
}

fn top_level(names: &[String]) -> Vec<String> {
    // Hidden files are what tools need.
    let fine = |name: &&String| TOP_LEVEL.contains(&name.as_str()) || name.starts_with('.') || is_ignored(name);
    names
        .iter()
        .filter(|name| !fine(name))
        .map(|name| {
            violation(name, 1, "not a name of the top level", "put it where TOP_LEVEL in tests/it/architecture.rs allows")
        })
        .collect()
}

fn migrations_match(sqlite: &BTreeSet<String>, postgres: &BTreeSet<String>) -> Vec<String> {
    let mut violations: Vec<String> = sqlite
        .symmetric_difference(postgres)
        .map(|name| {
            let missing = if sqlite.contains(name) { "postgres" } else { "sqlite" };
            violation(
                &format!("migrations/{missing}/{name}"),
                1,
                "missing for one of the two databases",
                "write both, with one number and name",
            )
        })
        .collect();
    // Numbers may be left out, so that several can be written at once; none is given twice.
    let mut last = 0;
    for name in sqlite {
        let number = name.split_once('_').filter(|(digits, _)| digits.len() == 4).and_then(|(digits, _)| digits.parse().ok());
        match number.filter(|number| *number > last && has_extension(name, &["sql"])) {
            Some(number) => last = number,
            None => violations.push(violation(
                &format!("migrations/sqlite/{name}"),
                1,
                "out of sequence",
                &format!("the next is {:04}_<name>.sql or later", last + 1),
            )),
        }
    }
    violations
}

/// Every file below `folder`, as a path from the project's root, with its text. Binary files have none.
fn files(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut open = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("readable folder").flatten();
            open.extend(
                entries.map(|entry| entry.path()).filter(|path| path.file_name().is_some_and(|name| name != "node_modules")),
            );
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push((path.strip_prefix(root).expect("below the root").to_str().expect("UTF-8").to_owned(), text));
        }
    }
    found.sort();
    found
}

fn names(folder: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = fs::read_dir(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).flatten();
    entries.map(|entry| entry.file_name().to_str().expect("UTF-8").to_owned()).collect()
}

fn hold(violations: Vec<String>) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// One rule over every Rust file of `src/`.
fn hold_in_src(rule: fn(&str, &Text) -> Vec<String>) {
    let sources = files("src").into_iter().filter(|(file, _)| has_extension(file, &["rs"]));
    hold(sources.flat_map(|(file, text)| rule(&file, &Text::read(&text))).collect());
}

#[test]
fn modules_use_only_what_the_law_allows() {
    hold_in_src(dependencies);
}

#[test]
fn doors_read_and_never_write() {
    hold_in_src(doors_do_not_write);
}

#[test]
fn nouns_are_pure() {
    hold_in_src(domain_is_pure);
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

#[test]
fn files_are_short_introduced_and_well_named() {
    // Recorded answers and documents are material, not something to read from the top.
    let read_by_people = |file: &str| !has_extension(file, &["json", "txt", "csv"]);
    let mut violations = Vec::new();
    for (file, text) in files("src").into_iter().chain(files("tests")).filter(|(file, _)| read_by_people(file)) {
        violations.extend(short_and_introduced(&file, &text));
        if has_extension(&file, &["rs"]) {
            violations.extend(telling_names(&file, &Text::read(&text)));
        }
    }
    hold(violations);
}

#[test]
fn the_top_level_holds_only_the_named_things() {
    hold(top_level(&names(".").into_iter().collect::<Vec<_>>()));
}

#[test]
fn both_databases_have_the_same_migrations() {
    hold(migrations_match(&names("migrations/sqlite"), &names("migrations/postgres")));
}

mod can_fail {
    //! A law that cannot be broken guards nothing: each is shown a violation, and something close by that is fine.

    use super::*;

    fn lines(rule: fn(&str, &Text) -> Vec<String>, file: &str, text: &str) -> Vec<usize> {
        let violations = rule(file, &Text::read(text));
        let line = |violation: &String| violation.split(':').nth(1).and_then(|line| line.parse().ok()).expect("file:line: …; …");
        violations.iter().map(line).collect()
    }

    #[test]
    fn dependencies() {
        for (file, text, expected) in [
            ("src/store/plan.rs", "use crate::gateway::Outcome;", &[1][..]),
            ("src/store/plan.rs", "use crate::{\n    domain::plan,\n    billing::{refund, retry},\n};", &[3]),
            ("src/gateway/paylike.rs", "fn a() {}\nfn b() { crate::store::db::open() }", &[2]),
            ("src/gateway/paylike.rs", "use super::super::store::Db;", &[1]),
            ("src/clock.rs", "use super::config::Config;", &[1]),
            ("src/domain/plan.rs", "use crate::clock::Clock;", &[1]),
            ("src/sandbox/mod.rs", "use crate::domain::{money::Currency, plan::Plan};", &[1]),
            ("src/widgets/mod.rs", "", &[1]),
            ("src/store/plan.rs", "// use crate::gateway;\nuse crate::domain::plan;\nconst A: &str = \"crate::gateway\";", &[]),
            ("src/store/plan.rs", "use super::gateway::x; // a submodule of store, were there one", &[]),
            ("src/gateway/http.rs", "#[cfg(test)]\nmod tests {\n    use crate::sandbox;\n}", &[]),
            ("src/gateway/http/tests.rs", "use crate::sandbox;", &[]),
            ("src/daemon.rs", "use crate::{http, gateway};", &[]),
        ] {
            assert_eq!(lines(super::dependencies, file, text), expected, "{file}: {text}");
        }
    }

    #[test]
    fn places_of_sql_time_and_transactions() {
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
            (doors_do_not_write, "src/http/a.rs", "use crate::store::{Db, Tx};", &[1]),
            (doors_do_not_write, "src/cli.rs", "db.begin().await", &[1]),
            (doors_do_not_write, "src/http/a.rs", "let Txt = 1; // Tx", &[]),
            (doors_do_not_write, "src/billing/a.rs", "Tx", &[]),
            (domain_is_pure, "src/domain/a.rs", "async fn a() {}", &[1]),
            (domain_is_pure, "src/billing/a.rs", "async fn a() {}", &[]),
            (telling_names, "src/http/utils.rs", "", &[1]),
            (telling_names, "src/http/a.rs", "\npub mod helpers {", &[2]),
            (telling_names, "src/http/a.rs", "mod tests {", &[]),
        ] {
            assert_eq!(lines(rule, file, text), expected, "{file}: {text}");
        }
    }

    #[test]
    fn shape_of_the_tree() {
        assert_eq!(short_and_introduced("src/a.rs", &format!("//! A.\n{}", "\n".repeat(499))), Vec::<String>::new());
        assert!(
            short_and_introduced("src/a.rs", &format!("//! A.\n{}", "\n".repeat(500)))[0].starts_with("src/a.rs:501: 501 lines")
        );
        assert!(short_and_introduced("src/a.rs", "use std::fs;")[0].contains("no opening"));
        assert_eq!(
            top_level(&["src".into(), ".ci".into(), "docs".into(), "a.db-wal".into(), "scripts".into()]),
            ["scripts:1: not a name of the top level; put it where TOP_LEVEL in tests/it/architecture.rs allows"]
        );
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        assert!(
            migrations_match(&set(&["0001_a.sql", "0002_b.sql"]), &set(&["0001_a.sql"]))[0]
                .starts_with("migrations/postgres/0002_b.sql:1: missing")
        );
        for bad in ["0001_b.sql", "2_b.sql", "0002_b.txt", "b.sql"] {
            let names = set(&["0001_a.sql", bad]);
            assert!(migrations_match(&names, &names)[0].contains("out of sequence"), "{bad}");
        }
        assert_eq!(
            migrations_match(&set(&["0001_a.sql", "0010_b.sql"]), &set(&["0001_a.sql", "0010_b.sql"])),
            Vec::<String>::new()
        );
        assert_eq!(migrations_match(&set(&["0001_a.sql"]), &set(&["0001_a.sql"])), Vec::<String>::new());
    }
}
