//! The rules of `src/lib.rs`, checked: who may use whom, where SQL and time may be read, and how files are named and kept short.
//!
//! Each rule is a function from text to violations (`file:line: what is wrong; what to do`), so that each is also tested to fail.

mod circles;
mod layers;
mod names;
mod places;
mod tree;

use std::{collections::BTreeSet, fs, path::Path};

use crate::rust_text::Text;

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

fn has_extension(file: &str, extensions: &[&str]) -> bool {
    file.rsplit_once('.').is_some_and(|(_, extension)| extensions.contains(&extension))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
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

/// The lines at which a rule finds a violation. A rule that cannot fail guards nothing, so each is also shown what breaks it, and
/// something close by that is fine.
fn lines(rule: fn(&str, &Text) -> Vec<String>, file: &str, text: &str) -> Vec<usize> {
    let violations = rule(file, &Text::read(text));
    let line = |violation: &String| violation.split(':').nth(1).and_then(|line| line.parse().ok()).expect("file:line: …; …");
    violations.iter().map(line).collect()
}
