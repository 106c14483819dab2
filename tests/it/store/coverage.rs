//! Nothing of the store goes untested: every public function is named somewhere in this suite.

use std::{fs, path::Path};

use crate::rust_text::Text;

fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    for entry in fs::read_dir(root).expect("folder").flatten().map(|entry| entry.path()) {
        if let Some(name) = entry.file_name().and_then(|name| name.to_str()?.strip_suffix(".rs")) {
            found.push((name.to_owned(), fs::read_to_string(&entry).expect("text")));
        }
    }
    found
}

/// `module`, `function` of every public function.
fn functions(module: &str, source: &str) -> Vec<(String, String)> {
    let text = Text::read(source);
    let names = text.without_tests().lines().filter_map(|line| {
        let line = line.trim_start();
        let rest = line.strip_prefix("pub async fn ").or_else(|| line.strip_prefix("pub fn "))?;
        rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned)
    });
    names.map(|name| (module.to_owned(), name)).collect()
}

/// Whether the suite calls it: `module::name(` or `module::name::<`; what belongs to a type by `.name(` or `Type::name(`.
fn is_called(suite: &str, module: &str, name: &str) -> bool {
    let ways = match module {
        "db" => vec![format!(".{name}("), format!("::{name}("), format!(".{name}::<")],
        _ => vec![format!("{module}::{name}("), format!("{module}::{name}::<")],
    };
    ways.iter().any(|way| suite.contains(way))
}

#[test]
fn every_public_function_of_the_store_is_called() {
    let suite: String =
        sources("tests/it/store").into_iter().filter(|(name, _)| name != "coverage").map(|(_, text)| text).collect();
    let mut all: Vec<(String, String)> = sources("src/store").iter().flat_map(|(module, text)| functions(module, text)).collect();
    let adapter = sources("src/store/db").into_iter().filter(|(file, _)| ["migrate", "query"].contains(&file.as_str()));
    all.extend(adapter.flat_map(|(_, text)| functions("db", &text)));
    assert!(all.len() > 100, "only {} functions found", all.len());
    let missing: Vec<String> = all
        .iter()
        .filter(|(module, name)| !is_called(&suite, module, name))
        .map(|(module, name)| format!("store::{module}::{name}"))
        .collect();
    assert!(missing.is_empty(), "not named in tests/it/store: {missing:#?}");
}

#[test]
fn a_new_function_would_be_noticed() {
    let found = functions("plans", "pub async fn archive(tx: &mut Tx) {}\n// pub async fn no() {}\nfn private() {}\n");
    assert_eq!(found, [("plans".to_owned(), "archive".to_owned())]);
    assert!(!is_called("store::plans::archived(tx); customers::archive(tx)", "plans", "archive"));
    assert!(is_called("store::plans::archive(tx)", "plans", "archive"));
}
