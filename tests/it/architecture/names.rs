//! One word for one thing: types of one name, words that may not come back, and the folders of `billing`.

use std::collections::BTreeMap;

use super::{files, has_extension, hold, hold_in_src, is_test_file, names, violation, words};
use crate::rust_text::Text;

/// Names that several public types may have, and why.
const MAY_REPEAT: &[(&str, &str)] = &[
    ("Error", "the error of its module, always written with it"),
    ("Result", "the result of its module, always written with it"),
    ("Options", "the options of a command or a roll-out, always written with it"),
    ("Effect", "of each state machine in `domain`, known inside its folder"),
    ("Facts", "of each state machine in `domain`, known inside its folder"),
    ("Transition", "of each state machine in `domain`, known inside its folder"),
    ("Target", "where a call or an attempt goes, known inside one folder"),
    ("Transaction", "a gateway's own, known inside its folder"),
    ("Refusal", "a gateway's own, known inside its folder"),
    ("Payment", "ours, and Paysley's own, known inside its folder"),
    ("Query", "a statement of the database, and the query string of a request, as axum calls it"),
];

/// Words that this code has no more, and the words in their place. Each is a whole part of a name, as in `set_bells` or `BellTower`.
const GONE: &[(&str, &str)] = &[
    ("beside", "offload"),
    ("bell", "wakeup"),
    ("bells", "wakeups"),
    ("books", "batch"),
    ("breach", "violation"),
    ("breaches", "violations"),
    ("journey", "advance"),
    ("journeys", "advance"),
    ("ladders", "dunning_rules"),
    ("obstacle", "not_collectable"),
    ("obstacles", "not_collectable"),
    ("purse", "balance"),
    ("reborn", "restarted_as"),
    ("rehearsal", "simulation"),
    ("rehearse", "simulate"),
    ("reserving", "authorizing"),
    ("shelf", "catalog_kind"),
    ("surplus", "overpayment"),
    ("tap", "observer"),
    ("travel", "advance"),
    ("travels", "advance"),
    ("weigh", "evaluate"),
    ("weighed", "evaluation"),
    ("weighs", "evaluate"),
];

/// Folders of `billing` that stand for no table, API file or job, and why.
const NO_NOUN: &[(&str, &str)] = &[
    ("gateway_operations", "what the calls of payments, refunds, authorizations, payment requests and disputes have in common"),
    ("import", "the command of this name"),
    ("test_clocks", "the table `clocks`: alone, a clock could be the program's own"),
];

/// The name of the public type that this line begins, if it begins one. `$name` of a macro is none.
fn public_type(line: &str) -> Option<&str> {
    let rest = line.trim_start().strip_prefix("pub")?;
    let rest = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(rest, |(_, rest)| rest);
    let mut words = words(rest);
    words.next().filter(|word| ["struct", "enum", "trait", "type", "union"].contains(word))?;
    words.next().filter(|name| name.starts_with(char::is_uppercase))
}

/// Private types, and those of tests, may be called what they like.
fn types_of_one_name(sources: &[(String, String)]) -> Vec<String> {
    let mut places: BTreeMap<String, Vec<(&str, usize)>> = BTreeMap::new();
    for (file, source) in sources.iter().filter(|(file, _)| !is_test_file(file)) {
        let text = Text::read(source);
        for (i, line) in text.without_tests().lines().enumerate() {
            if let Some(name) = public_type(line) {
                places.entry(name.to_owned()).or_default().push((file, i + 1));
            }
        }
    }
    places.retain(|name, places| places.len() > 1 && !MAY_REPEAT.iter().any(|(known, _)| known == name));
    let one = |(name, places): (String, Vec<(&str, usize)>)| {
        let all: Vec<&str> = places.iter().map(|(file, _)| *file).collect();
        let rule = format!("{} public types are called `{name}`: in {}", places.len(), all.join(", "));
        violation(places[0].0, places[0].1, &rule, "name each for what it is, or give a reason in MAY_REPEAT")
    };
    places.into_iter().map(one).collect()
}

/// `CamelCase` and `snake_case` taken apart, in small letters.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut was_small = false;
    for c in name.chars() {
        if c == '_' || (c.is_uppercase() && was_small) {
            parts.push(String::new());
        }
        was_small = c.is_lowercase() || c.is_numeric();
        if c.is_alphabetic() {
            parts.last_mut().expect("one at least").extend(c.to_lowercase());
        }
    }
    parts
}

fn words_that_are_gone(file: &str, text: &Text) -> Vec<String> {
    let code = text.code.lines().enumerate().map(|(i, line)| (i + 1, line));
    let mut violations = Vec::new();
    for (line, all) in code.chain([(1, file.trim_end_matches(".rs"))]) {
        for name in words(all) {
            let parts = parts(name);
            for (word, instead) in GONE.iter().filter(|(word, _)| parts.iter().any(|part| part == word)) {
                violations.push(violation(file, line, &format!("`{word}` in `{name}`"), &format!("the word is `{instead}`")));
            }
        }
    }
    violations
}

/// What the folders of `billing` may be called: a table, a file of the API, a job.
fn nouns() -> Vec<String> {
    let text = |wanted: &str| files(wanted).into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n");
    let tables: Vec<String> = text("migrations/sqlite")
        .lines()
        .filter_map(|line| line.strip_prefix("create table "))
        .filter_map(|rest| words(rest).next().map(str::to_owned))
        .collect();
    let jobs = text("src/jobs/mod.rs");
    let jobs: Vec<String> = jobs
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("name: \""))
        .filter_map(|rest| words(rest).next().map(str::to_owned))
        .collect();
    let api = names("src/http/api").into_iter().map(|name| name.trim_end_matches(".rs").to_owned());
    tables.into_iter().chain(jobs).chain(api).collect()
}

fn folders_of_billing(folders: &[String], nouns: &[String]) -> Vec<String> {
    let is_known = |name: &str| nouns.iter().any(|noun| noun == name) || NO_NOUN.iter().any(|(known, _)| *known == name);
    let wrong = folders.iter().filter(|name| !is_known(name));
    wrong
        .map(|name| {
            let rule = format!("`{name}` is no table, no file of the API and no job");
            violation(&format!("src/billing/{name}"), 1, &rule, "name it as they name it, or give a reason in NO_NOUN")
        })
        .collect()
}

#[test]
fn no_two_public_types_have_one_name() {
    let sources: Vec<(String, String)> = files("src").into_iter().filter(|(file, _)| has_extension(file, &["rs"])).collect();
    hold(types_of_one_name(&sources));
}

#[test]
fn private_words_do_not_come_back() {
    hold_in_src(words_that_are_gone);
}

#[test]
fn folders_of_billing_have_the_name_of_a_table_a_route_or_a_job() {
    let folders: Vec<String> = names("src/billing").into_iter().filter(|name| !name.contains('.')).collect();
    hold(folders_of_billing(&folders, &nouns()));
}

mod can_fail {
    use super::*;
    use crate::architecture::lines;

    #[test]
    fn types() {
        let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        let twice = [
            file("src/a.rs", "pub struct Widget;\npub enum Error {}\nstruct Line;\npub(crate) fn plan() {}"),
            file("src/b.rs", "\npub(in crate::b) type Widget = u8;\npub enum Error {}\npub struct Line { pub plan: u8 }"),
            file("src/c/tests.rs", "pub struct Line;"),
            file("src/d.rs", "// pub struct Line;\n#[cfg(test)]\nmod tests {\n    pub struct Line;\n}"),
        ];
        let found = types_of_one_name(&twice);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("src/a.rs:1: 2 public types are called `Widget`: in src/a.rs, src/b.rs;"), "{found:?}");
    }

    #[test]
    fn gone_words() {
        for (file, text, expected) in [
            ("src/a.rs", "let set_bells = 1;\nstruct BellTower;\nfn ring(bell2: u8) {}", &[1, 2, 3][..]),
            ("src/a.rs", "let rebell = \"bell\"; // bell\nlet umbrella = tapestry;", &[]),
            ("src/travel.rs", "", &[1]),
        ] {
            assert_eq!(lines(words_that_are_gone, file, text), expected, "{file}: {text}");
        }
    }

    #[test]
    fn folders() {
        let nouns = nouns();
        for noun in ["payments", "collection", "forecast"] {
            assert!(nouns.contains(&noun.to_owned()), "a table, a job, a file of the API: {noun}");
        }
        let names = ["payments".to_owned(), "settle".to_owned()];
        assert_eq!(folders_of_billing(&names, &nouns).len(), 1);
    }
}
