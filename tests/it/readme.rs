//! README.md keeps its word: every command it prints is run, every output it promises appears, every file it names exists.

mod page;
mod terminal;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use page::{Block, Kind, inline_code, prose, read};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use terminal::{Machine, Shell, Terminal};

use crate::postgres;

/// The address on the page that stands for a PostgreSQL.
const POSTGRES: &str = "postgres://rebilld:secret@127.0.0.1/rebilld";

fn blocks() -> Vec<Block> {
    page::blocks(&read("README.md"))
}

fn only(kind: &Kind) -> Vec<Block> {
    blocks().into_iter().filter(|block| block.kind == *kind).collect()
}

fn promised(block: &Block, printed: &str) {
    if let Some(line) = page::missing(&block.text, printed, block.kind == Kind::OutputLike) {
        panic!("README.md:{}: {line:?} is promised, but printed was:\n{printed}", block.line);
    }
}

#[test]
fn the_demo_does_what_the_page_says() {
    let page = blocks();
    let at = page.iter().position(|block| block.kind == Kind::Demo).expect("a demo");
    assert_eq!(page[at].text.trim(), "cargo run --locked -- demo");
    let machine = Machine::new();
    let mut demo = machine.start(page[at].text.trim());
    demo.until("_sandbox/ledger");
    let printed = demo.printed();
    promised(&page[at + 1], &printed);
    // "prints requests to try"
    let (_, requests) = printed.split_once("Try next:\n").expect("requests to try");
    let answers = machine.bash(&requests.replace("curl -s ", "curl -sS --fail-with-body -w '\\n' "));
    let empty = answers.lines().filter(|line| !line.is_empty()).find(|line| line.contains("\"data\":[]"));
    assert!(empty.is_none() && answers.lines().filter(|line| !line.is_empty()).count() == 5, "of {requests}: {answers}");
    let first = answers.lines().next().unwrap_or_default();
    assert!(first.contains("\"declined\"") && first.contains("\"succeeded\""), "no decline that was made good: {first}");
    // "Ctrl-C ends it and removes its database"
    assert_eq!(demo.end("INT").code(), Some(0));
    assert_eq!(fs::read_dir(machine.path("tmp")).expect("a folder").count(), 0, "the demo leaves something behind");
}

#[test]
fn every_command_works_in_the_order_of_the_page() {
    let machine = Machine::new();
    let database = Database::new();
    let mut shell = Shell::new(&machine);
    let mut terminals = Vec::new();
    let mut printed = None;
    for block in blocks() {
        let text = machine.here(&block.text);
        let before = printed.take();
        match &block.kind {
            Kind::Run if text.contains("postgres:") => match &database {
                Some(database) => printed = Some(run(&mut shell, &block, &database.here(&text))),
                // Its promised output is not looked for, either.
                None => printed = None,
            },
            Kind::Run => printed = Some(run(&mut shell, &block, &text)),
            Kind::Background => {
                let mut terminal = machine.start(text.trim());
                terminal.until("listens on");
                terminals.push(terminal);
            }
            Kind::File(name) => {
                fs::write(machine.path("checkout").join(name), &text).expect("written");
                accepted(&machine, name, &text);
            }
            Kind::Sql => {
                if let Some(database) = &database {
                    database.run(&text);
                }
            }
            Kind::Output | Kind::OutputLike if before.is_some() => promised(&block, before.as_deref().unwrap_or_default()),
            Kind::Output => assert!(database.is_none(), "README.md:{}: of which command?", block.line),
            // Each of these has a test of its own.
            Kind::Demo | Kind::OutputLike | Kind::Install | Kind::Develop | Kind::Test => {}
        }
    }
    assert!(terminals.len() >= 2, "a sandbox and a daemon");
    every_path_is_served(&machine);
    every_token_is_a_fixture(&machine);
    for terminal in terminals.into_iter().rev() {
        assert_eq!(terminal.end("TERM").code(), Some(0));
    }
    if let Some(database) = database {
        database.remove();
    }
}

fn run(shell: &mut Shell, block: &Block, text: &str) -> String {
    shell.run(text).unwrap_or_else(|why| panic!("README.md:{}: {why}\nof:\n{text}", block.line))
}

/// `rebilld check` has nothing to say about these settings, given a database and the files that they name.
fn accepted(machine: &Machine, name: &str, text: &str) {
    let credentials = machine.path("tmp/credentials");
    fs::create_dir_all(&credentials).expect("made");
    for file in text.lines().filter_map(|line| line.split_once("_file = \"")?.1.strip_suffix('"')) {
        fs::write(credentials.join(file), "secret\n").expect("written");
    }
    let database = format!("sqlite://{}", machine.path("tmp/check.db").display());
    let rebilld = |verb: &str| {
        let mut command = machine.command("rebilld");
        command.args([verb, "--config", name]).env("CREDENTIALS_DIRECTORY", &credentials);
        command.env("REBILLD_DATABASE__URL", &database).output().expect("rebilld")
    };
    rebilld("migrate");
    let output = rebilld("check");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said == "ok\n", "{name}: {said}");
}

/// Every path of the API that the page names is in the document that the daemon serves.
fn every_path_is_served(machine: &Machine) {
    let openapi = machine.bash(&format!("curl -sS --fail-with-body http://127.0.0.1:{}/openapi.json", machine.api));
    let openapi: serde_json::Value = serde_json::from_str(&openapi).expect("JSON");
    let page = read("README.md");
    let prose = prose(&page);
    let mut paths: Vec<&str> = inline_code(&prose).into_iter().filter(|code| code.starts_with('/')).collect();
    paths.retain(|path| !["/etc/", "/var/", "/usr"].iter().any(|folder| path.starts_with(folder)));
    assert!(paths.len() > 10, "{paths:?}");
    for path in paths {
        let served = openapi["paths"].get(path.split('?').next().unwrap_or_default());
        assert!(served.is_some(), "README.md names {path}, which is not served");
    }
}

fn every_token_is_a_fixture(machine: &Machine) {
    let fixtures = machine.bash(&format!("curl -sS --fail-with-body http://127.0.0.1:{}/_sandbox/fixtures", machine.sandbox));
    let page = read("README.md");
    let tokens: Vec<&str> = page.split(['`', '"']).filter(|word| word.len() == 20 && word.ends_with("0000000000")).collect();
    assert!(tokens.len() >= 2, "{tokens:?}");
    for token in tokens {
        assert!(fixtures.contains(&format!("\"{token}\"")), "README.md names {token}, which the sandbox does not know");
    }
}

/// The page's role and database, under names of their own on the test cluster.
struct Database {
    superuser: String,
    name: String,
}

impl Database {
    fn new() -> Option<Self> {
        Some(Self { superuser: postgres::url()?, name: format!("rebilld_readme_{}", std::process::id()) })
    }

    fn here(&self, text: &str) -> String {
        let mut url = reqwest::Url::parse(&self.superuser).expect("a URL");
        url.set_username(&self.name).expect("a user");
        url.set_password(Some("secret")).expect("a password");
        url.set_path(&self.name);
        assert!(text.contains(POSTGRES), "the page names another address:\n{text}");
        text.replace(POSTGRES, url.as_str())
    }

    fn run(&self, text: &str) {
        let text = text.replace("rebilld", &self.name);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.superuser).await.expect("connected");
            // One by one: a database cannot be made in a transaction.
            for statement in text.split_inclusive(';').map(str::trim).filter(|statement| !statement.is_empty()) {
                let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await;
                done.unwrap_or_else(|error| panic!("{statement}: {error}"));
            }
        });
    }

    /// A server that was named by a variable outlives the tests.
    fn remove(self) {
        self.run("drop database rebilld with (force); drop role rebilld;");
    }
}

#[test]
fn a_machine_set_up_by_the_page_runs_the_daemon() {
    let machine = Machine::new();
    let system = machine.path("system");
    let here = |path: &str| format!("{}{path}", system.display());
    let installs = only(&Kind::Install);
    assert!(installs.len() >= 2, "how to install");
    let page = read("README.md");
    let prose = prose(&page);
    let inline = inline_code(&prose);
    let orders = inline.iter().filter(|code| code.starts_with("systemctl "));
    for text in installs.iter().map(|block| block.text.as_str()).chain(orders.copied()) {
        machine.bash(&text.replace("/usr/", &here("/usr/")).replace("/etc/", &here("/etc/")));
    }

    // What systemd would do with the unit: these credentials, this folder, this command.
    let unit = fs::read_to_string(here("/etc/systemd/system/rebilld.service")).expect("the unit is installed");
    let setting = |name: &str| unit.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
    let (name, folder) = setting("LoadCredential=").split_once(':').expect("name and folder");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(here(folder).as_ref()), 0o700);
    let credentials = machine.path("tmp/credentials");
    fs::create_dir_all(&credentials).expect("made");
    for file in fs::read_dir(here(folder)).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
        let credential = format!("{name}_{}", file.file_name().expect("a name").to_string_lossy());
        fs::copy(&file, credentials.join(credential)).expect("copied");
    }
    let state = here("/var/lib/rebilld");
    fs::create_dir_all(&state).expect("made");
    let mut words = setting("ExecStart=").split(' ').map(|word| if word.starts_with('/') { here(word) } else { word.to_owned() });
    let mut serve = machine.command(&words.next().expect("a program"));
    let mut daemon = Terminal::new(serve.args(words).current_dir(&state).env("CREDENTIALS_DIRECTORY", &credentials));
    daemon.until("listens on");
    assert!(Path::new(&state).join("rebilld.db").is_file(), "the data lie elsewhere");
    let key = fs::read_to_string(here("/etc/rebilld/secrets/admin")).expect("a key");
    let ask = format!(
        "curl -sS --fail-with-body -H 'Authorization: Bearer {}' http://127.0.0.1:{}/v1/api-keys",
        key.trim(),
        machine.api
    );
    assert!(machine.bash(&ask).contains("\"data\""));
    assert_eq!(daemon.end("TERM").code(), Some(0));
    verified(&machine, &system);
}

/// systemd itself has nothing to say against the installed units, where it is there to ask.
fn verified(machine: &Machine, system: &Path) {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return;
    }
    let units = machine.path("tmp/units");
    fs::create_dir_all(&units).expect("made");
    for name in ["rebilld.service", "rebilld@.service"] {
        let unit = fs::read_to_string(system.join("etc/systemd/system").join(name)).expect("installed");
        let unit = unit.replace("=/usr/bin/", &format!("={}/usr/bin/", system.display()));
        fs::write(units.join(name), unit).expect("written");
        let verify = machine.command("systemd-analyze").args(["verify", "--man=no"]).arg(units.join(name)).output();
        let verify = verify.expect("systemd-analyze");
        let remarks = String::from_utf8_lossy(&verify.stderr).into_owned();
        assert!(verify.status.success() && !remarks.contains("rebilld"), "{name}: {remarks}");
    }
}

#[test]
fn the_test_command_is_the_one_that_the_pipeline_runs() {
    let tests = only(&Kind::Test);
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
    let (manifest, pipeline) = (read("Cargo.toml"), read(".ci/run"));
    for line in only(&Kind::Develop).iter().flat_map(|block| block.text.lines()) {
        let command = line.split('#').next().unwrap_or_default().trim();
        let words: Vec<&str> = command.split_whitespace().skip_while(|word| word.contains('=')).collect();
        match words.as_slice() {
            ["cargo", "test", "--locked"] => {}
            ["cargo", "test", "--locked", "--test", "it", filter, ..] => {
                assert!(tests.lines().any(|test| test.contains(filter)), "no test for {line:?}");
            }
            ["cargo", "bench", "--locked"] => assert!(manifest.contains("[[bench]]"), "no benchmark for {line:?}"),
            ["cargo", "clippy" | "fmt", ..] => assert!(pipeline.contains(&words.join(" ")), ".ci/run does not do {line:?}"),
            _ => panic!("README.md: what is {line:?}?"),
        }
    }
    let variables = read("README.md");
    let variables =
        variables.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("REBILLD_TEST_"));
    let sources = [read("tests/it/postgres.rs"), read("tests/it/collection/chaos.rs")].concat();
    for variable in variables {
        assert!(sources.contains(variable), "no test reads {variable}");
    }
}

#[test]
fn links_settings_and_commands_in_the_text_are_true() {
    let text = read("README.md");
    let prose = prose(&text);
    let anchors = page::anchors(&prose);
    for link in page::links(&prose) {
        let there = link
            .strip_prefix('#')
            .map_or_else(|| page::path(link).exists(), |anchor| anchors.iter().any(|known| known == anchor));
        assert!(there, "README.md links to {link}, which does not exist");
    }
    let machine = Machine::new();
    let verbs = inline_code(&prose).into_iter().filter_map(|code| code.strip_prefix("rebilld "));
    for verb in verbs {
        machine.bash(&format!("rebilld {verb} --help"));
    }

    // The table of settings, against the defaults.
    use figment::providers::{Format, Toml};
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
