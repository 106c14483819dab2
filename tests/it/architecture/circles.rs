//! No circles: inside these folders nothing uses what uses it, over however many steps.

use std::collections::{BTreeMap, BTreeSet};

use super::{files, hold, is_test_file, violation};
use crate::rust_text::{Text, crate_paths, module_of};

/// What may not be part of a circle.
#[derive(Clone, Copy)]
enum Unit {
    /// Each module of the folder, together with its children.
    Module,
    /// Each file. A parent and its children may use each other: a parent declares them, and they share its types.
    File,
}

/// Use cases call each other, as a cancellation voids invoices: of `billing` only the files have an order.
const FOLDERS: &[(&str, Unit)] = &[
    ("domain", Unit::Module),
    ("input", Unit::Module),
    ("config", Unit::Module),
    ("gateway", Unit::Module),
    ("sandbox", Unit::File),
    ("store", Unit::Module),
    ("jobs", Unit::Module),
    ("billing", Unit::File),
    ("http", Unit::Module),
    ("http/api", Unit::File),
    ("daemon", Unit::Module),
    ("cli", Unit::Module),
    ("cli/bench", Unit::File),
];

type Path = Vec<String>;

impl Unit {
    fn of(self, module: &[String]) -> Path {
        match self {
            Self::Module => module[..module.len().min(2)].to_vec(),
            Self::File => module.to_vec(),
        }
    }
}

/// Who uses whom, and the place where it says so.
fn uses(unit: Unit, sources: &[(String, String)]) -> BTreeMap<Path, BTreeMap<Path, (&str, usize)>> {
    let modules: BTreeSet<Path> = sources.iter().map(|(file, _)| module_of(file)).collect();
    let mut uses: BTreeMap<Path, BTreeMap<Path, (&str, usize)>> = BTreeMap::new();
    for (file, text) in sources {
        let here = unit.of(&module_of(file));
        for (line, path) in crate_paths(file, Text::read(text).without_tests()) {
            let Some(there) = (1..=path.len()).rev().map(|end| path[..end].to_vec()).find(|path| modules.contains(path)) else {
                continue;
            };
            let there = unit.of(&there);
            if !here.starts_with(&there) && !there.starts_with(&here) {
                uses.entry(here.clone()).or_default().entry(there).or_insert((file, line));
            }
        }
    }
    uses
}

fn circles(unit: Unit, sources: &[(String, String)]) -> Vec<String> {
    let uses = uses(unit, sources);
    let reaches = |from: &Path, to: &Path| {
        let (mut open, mut seen) = (vec![from], BTreeSet::new());
        while let Some(module) = open.pop() {
            if module == to {
                return true;
            }
            if seen.insert(module) {
                open.extend(uses.get(module).into_iter().flat_map(BTreeMap::keys));
            }
        }
        false
    };
    let mut violations = Vec::new();
    for (here, all) in &uses {
        for (there, (file, line)) in all.iter().filter(|(there, _)| reaches(there, here)) {
            let rule = format!("`{}` uses `{}`, which uses it in turn", here.join("::"), there.join("::"));
            violations.push(violation(file, *line, &rule, "move what both need to a file that needs neither"));
        }
    }
    violations
}

#[test]
fn nothing_uses_what_uses_it() {
    let mut violations = Vec::new();
    for (folder, unit) in FOLDERS {
        let mut sources = files(&format!("src/{folder}"));
        sources.retain(|(file, _)| !is_test_file(file));
        violations.extend(circles(*unit, &sources));
    }
    hold(violations);
}

mod can_fail {
    use super::*;

    fn places(unit: Unit, sources: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<(String, String)> =
            sources.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect();
        let violations = circles(unit, &sources);
        violations.iter().map(|violation| violation.split(": ").next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn circles_of_files_and_modules() {
        let three = [
            ("src/jobs/a.rs", "use super::b::B;"),
            ("src/jobs/b.rs", "\nuse super::c::{C, D};"),
            ("src/jobs/c.rs", "use crate::{clock, jobs::a::A};"),
            ("src/jobs/d.rs", "use super::a::A;"),
        ];
        for unit in [Unit::File, Unit::Module] {
            assert_eq!(places(unit, &three), ["src/jobs/a.rs:1", "src/jobs/b.rs:2", "src/jobs/c.rs:1"]);
            assert_eq!(places(unit, &three[1..]), Vec::<String>::new());
        }
        let family = [("src/jobs/mod.rs", "use self::a::A;"), ("src/jobs/a.rs", "use super::Job;\nuse super::Other;")];
        assert_eq!(places(Unit::File, &family), Vec::<String>::new(), "a parent and its child");
        let across =
            [("src/jobs/a/b.rs", "use crate::jobs::c::C;"), ("src/jobs/c.rs", "use super::a::A;"), ("src/jobs/a.rs", "")];
        assert_eq!(places(Unit::File, &across), Vec::<String>::new(), "three files in one direction");
        assert_eq!(places(Unit::Module, &across), ["src/jobs/a/b.rs:1", "src/jobs/c.rs:1"]);
        let in_tests = [
            ("src/jobs/a.rs", "use super::b::B;"),
            ("src/jobs/b.rs", "// super::a\n#[cfg(test)]\nmod tests {\n    use super::super::a::A;\n}"),
        ];
        assert_eq!(places(Unit::File, &in_tests), Vec::<String>::new());
    }
}
