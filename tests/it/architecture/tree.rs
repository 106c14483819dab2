//! The shape of the tree: its top level, the names and the length of its files, and the migrations.

use std::collections::BTreeSet;

use super::{files, has_extension, hold, names, violation, words};
use crate::rust_text::Text;

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
    let mut patterns = include_str!("../../../.gitignore").lines().map(|line| line.trim_start_matches('/'));
    patterns.any(|pattern| pattern.strip_prefix('*').map_or(name == pattern, |end| name.ends_with(end)))
}

fn top_level(names: &[String]) -> Vec<String> {
    // Hidden files are what tools need.
    let fine = |name: &&String| TOP_LEVEL.contains(&name.as_str()) || name.starts_with('.') || is_ignored(name);
    names
        .iter()
        .filter(|name| !fine(name))
        .map(|name| {
            violation(name, 1, "not a name of the top level", "put it where TOP_LEVEL in tests/it/architecture/tree.rs allows")
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
    use super::*;
    use crate::architecture::lines;

    #[test]
    fn names_of_modules() {
        for (rule, file, text, expected) in [
            (telling_names as fn(&str, &Text) -> Vec<String>, "src/http/utils.rs", "", &[1][..]),
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
            ["scripts:1: not a name of the top level; put it where TOP_LEVEL in tests/it/architecture/tree.rs allows"]
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
