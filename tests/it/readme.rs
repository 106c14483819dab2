//! README.md and `docs` keep their word: every command is run, every output appears, every link, setting and file exists.

mod commands;
mod install;
mod page;
mod terminal;

use std::process::Command;

use page::{Block, Kind, Page, inline_code, links, read};
use terminal::Machine;

/// Folders and files that a page may name in backticks.
const ROOTS: [&str; 7] = ["src/", "tests/", "config/", "migrations/", "systemd/", "docs/", "benches/"];

fn only(page: &Page, kind: &Kind) -> Vec<Block> {
    page.blocks().into_iter().filter(|block| block.kind == *kind).collect()
}

#[test]
fn the_front_page_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 200, "README.md has {lines} lines, 200 at most: move something to docs/");
}

#[test]
fn the_test_command_is_the_one_that_the_pipeline_runs() {
    let tests = only(&Page::read("README.md"), &Kind::Test);
    assert_eq!(tests.len(), 1, "one command passes the tests");
    assert_eq!(tests[0].text, "cargo test --locked\n");
    let pipeline = read(".ci/run");
    let (_, rest) = pipeline.split_once("test_command=$(awk '").expect(".ci/run reads the page");
    let (program, _) = rest.split_once("' README.md)").expect(".ci/run reads the page");
    let read = Command::new("awk").arg(program).arg(page::path("README.md")).output().expect("awk");
    assert_eq!(String::from_utf8_lossy(&read.stdout), tests[0].text);
}

#[test]
fn what_the_commands_for_development_name_exists() {
    let this = std::env::current_exe().expect("this binary");
    let list = Command::new(this).arg("--list").output().expect("a list of tests");
    let tests = String::from_utf8_lossy(&list.stdout).into_owned();
    let (manifest, pipeline, recipes) = (read("Cargo.toml"), read(".ci/run"), read("justfile"));
    let blocks: Vec<Block> = Page::all().iter().flat_map(|page| only(page, &Kind::Develop)).collect();
    assert!(!blocks.is_empty(), "commands for development");
    for (block, line) in blocks.iter().flat_map(|block| block.text.lines().map(move |line| (block, line))) {
        let command = line.split('#').next().unwrap_or_default().trim();
        let words: Vec<&str> = command.split_whitespace().skip_while(|word| word.contains('=')).collect();
        match words.as_slice() {
            [] | ["cargo", "test", "--locked"] => {}
            ["cargo", "test", "--locked", "--test", "it", filter, ..] => {
                assert!(tests.lines().any(|test| test.contains(filter)), "no test for {line:?}");
            }
            ["cargo", "bench", "--locked"] => assert!(manifest.contains("[[bench]]"), "no benchmark for {line:?}"),
            ["cargo", "clippy" | "fmt", ..] => assert!(pipeline.contains(&words.join(" ")), ".ci/run does not do {line:?}"),
            ["just", recipe, ..] => {
                assert!(recipes.lines().any(|line| line.starts_with(&format!("{recipe}:"))), "no recipe for {line:?}");
            }
            _ => panic!("{}: what is {line:?}?", block.place),
        }
    }
    let sources = [read("tests/it/postgres.rs"), read("tests/it/collection/chaos.rs")].concat();
    for page in Page::all() {
        let words = page.text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for variable in words.filter(|word| word.starts_with("REBILLD_TEST_")) {
            assert!(sources.contains(variable), "{}: no test reads {variable}", page.name);
        }
    }
}

#[test]
fn links_and_commands_in_the_text_of_every_page_are_true() {
    let machine = Machine::new();
    for page in Page::all() {
        let prose = page.prose();
        for link in links(&prose).into_iter().filter(|link| !link.starts_with("https://")) {
            let target = page.resolve(link);
            let (file, anchor) = target.split_once('#').map_or((target.as_str(), None), |(file, anchor)| (file, Some(anchor)));
            // Of these, `every_file_that_a_page_names_exists` speaks.
            if file.starts_with("src") || file.starts_with("tests") {
                continue;
            }
            assert!(page::path(file).exists(), "{} links to {link}, which does not exist", page.name);
            if let Some(anchor) = anchor {
                assert!(Page::read(file).has_anchor(anchor), "{} links to {link}, which is no heading", page.name);
            }
        }
        for verb in inline_code(&prose).into_iter().filter_map(|code| code.strip_prefix("rebilld ")) {
            machine.bash(&format!("rebilld {verb} --help"));
        }
    }
}

#[test]
fn every_file_that_a_page_names_exists() {
    for page in Page::all() {
        let prose = page.prose();
        let linked = links(&prose).into_iter().filter(|link| !link.starts_with("https://")).map(|link| page.resolve(link));
        let named = inline_code(&prose).into_iter().filter(|code| ROOTS.iter().any(|root| code.starts_with(root)));
        for target in linked.chain(named.map(str::to_owned)) {
            let file = target.split('#').next().unwrap_or_default();
            assert!(page::path(file).exists(), "{} names {file}, which does not exist", page.name);
        }
    }
    let profiles = read(".config/nextest.toml");
    for recipe in read("justfile").lines().filter_map(|line| line.split_once("--profile ")) {
        let profile = recipe.1.split_whitespace().next().unwrap_or_default();
        assert!(profiles.contains(&format!("[profile.{profile}]")), "justfile names the profile {profile}, which does not exist");
    }
}

/// The table of settings, against the defaults.
#[test]
fn the_table_of_settings_shows_the_defaults() {
    use figment::providers::{Format, Toml};
    let prose = Page::read("docs/configuration.md").prose();
    let defaults = figment::Figment::from(Toml::string(&read("config/rebilld.toml")));
    let (_, table) = prose.split_once("| key | default | meaning |\n").expect("a table of settings");
    for row in table.lines().skip(1).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let (key, promised) = (cells[1], cells[2]);
        if key == "gateways.NAME" {
            continue;
        }
        let value = defaults.find_value(key).unwrap_or_else(|_| panic!("{key} is no setting"));
        let value = serde_json::to_value(&value).expect("a value");
        let shown = value.as_str().map_or_else(|| value.to_string().replace(',', ", "), str::to_owned);
        assert_eq!(if shown.is_empty() { "none" } else { shown.as_str() }, promised, "{key}");
    }
}
