//! Which module may use which, and what each layer may do.

use super::{hold_in_src, is_test_file, top_module, violation, words};
use crate::rust_text::{Text, crate_paths};

/// Every module at the top of `src/`, and which of the others it may use. This table is the architecture.
const MAY_USE: &[(&str, &[&str])] = &[
    // The ground: pure nouns, the one clock, settings, logs.
    ("domain", &[]),
    ("clock", &[]),
    ("config", &["domain"]),
    ("telemetry", &["config"]),
    // Readers of what a request says: each verb declares what it takes.
    ("input", &["domain"]),
    // The three sides of a charge do not know each other.
    ("store", &["domain", "clock", "config", "telemetry"]),
    ("gateway", &["domain", "clock", "config", "telemetry"]),
    // The only place that combines them.
    ("billing", &["store", "gateway", "input", "domain", "clock", "config", "telemetry"]),
    // Interfaces: they ask `billing`, and read through `store`. The admin endpoint also shows and starts jobs and moves clocks.
    ("jobs", &["billing", "store", "domain", "clock", "config", "telemetry"]),
    ("http", &["billing", "jobs", "store", "input", "domain", "clock", "config", "telemetry"]),
    ("cli", &["daemon", "jobs", "billing", "store", "sandbox", "input", "domain", "clock", "config", "telemetry"]),
    // Wires everything, thus knows everything.
    ("daemon", &["http", "jobs", "billing", "store", "gateway", "sandbox", "domain", "clock", "config", "telemetry"]),
    // The pretend outside world: of `domain` only money and ids, see `sandbox_knows_little`.
    ("sandbox", &["domain", "clock"]),
];

fn dependencies(file: &str, text: &Text) -> Vec<String> {
    let here = top_module(file);
    if is_test_file(file) || here == "lib" || here == "main" {
        return Vec::new();
    }
    let Some((_, allowed)) = MAY_USE.iter().find(|(module, _)| *module == here) else {
        return vec![violation(
            file,
            1,
            &format!("`{here}` has no place in the architecture"),
            "add it to MAY_USE in tests/it/architecture/layers.rs with a reason",
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

fn interfaces_do_not_write(file: &str, text: &Text) -> Vec<String> {
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
                "an interface opens a transaction",
                "interfaces may read through `store`, never write: add a verb to `billing`",
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

#[test]
fn modules_use_only_what_they_may() {
    hold_in_src(dependencies);
}

#[test]
fn interfaces_read_and_never_write() {
    hold_in_src(interfaces_do_not_write);
}

#[test]
fn nouns_are_pure() {
    hold_in_src(domain_is_pure);
}

mod can_fail {
    use super::*;
    use crate::architecture::lines;

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
    fn pure_nouns_and_interfaces_that_only_read() {
        for (rule, file, text, expected) in [
            (interfaces_do_not_write as fn(&str, &Text) -> Vec<String>, "src/http/a.rs", "use crate::store::{Db, Tx};", &[1][..]),
            (interfaces_do_not_write, "src/cli.rs", "db.begin().await", &[1]),
            (interfaces_do_not_write, "src/http/a.rs", "let Txt = 1; // Tx", &[]),
            (interfaces_do_not_write, "src/billing/a.rs", "Tx", &[]),
            (domain_is_pure, "src/domain/a.rs", "async fn a() {}", &[1]),
            (domain_is_pure, "src/billing/a.rs", "async fn a() {}", &[]),
        ] {
            assert_eq!(lines(rule, file, text), expected, "{file}: {text}");
        }
    }
}
