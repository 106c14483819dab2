//! Runs the commands of every page in the order in which a reader comes upon them, each page in a shell and with daemons of its own.

use std::fs;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{
    page::{Block, Kind, Page, inline_code, missing, read},
    terminal::{Machine, Shell, Terminal},
};
use crate::postgres;

/// The address on a page that stands for a PostgreSQL.
const POSTGRES: &str = "postgres://rebilld:secret@127.0.0.1/rebilld";

macro_rules! pages {
    ($($test:ident: $page:literal,)*) => {
        const TESTED: &[&str] = &[$($page),*];
        $(
            #[test]
            fn $test() {
                every_command_works(&Page::read($page));
            }
        )*
    };
}

pages! {
    readme: "README.md",
    configuration: "docs/configuration.md",
    dunning: "docs/dunning.md",
    looking_ahead: "docs/looking-ahead.md",
    moving: "docs/moving.md",
    operating: "docs/operating.md",
    payment_requests: "docs/payment-requests.md",
}

#[test]
fn every_page_with_commands_is_in_the_list() {
    let runs = |page: &Page| {
        page.blocks().iter().any(|block| matches!(block.kind, Kind::Run | Kind::Background | Kind::File(_) | Kind::Sql))
    };
    let names: Vec<String> = Page::all().into_iter().filter(runs).map(|page| page.name).collect();
    assert_eq!(names, TESTED);
    let terminals = Page::read("README.md").blocks().into_iter().filter(|block| block.kind == Kind::Background).count();
    assert!(terminals >= 2, "a sandbox and a daemon");
}

/// Else a reader's checkout fails the test of the top level.
#[test]
fn what_a_reader_saves_is_never_committed() {
    let ignored = read(".gitignore");
    for block in Page::all().iter().flat_map(Page::blocks) {
        if let Kind::File(name) = &block.kind {
            assert!(ignored.lines().any(|line| line == format!("/{name}")), "{}: .gitignore does not have /{name}", block.place);
        }
    }
}

/// What a reader has running after some blocks.
struct Reader<'a> {
    machine: &'a Machine,
    shell: Shell,
    terminals: Vec<Terminal>,
    database: Option<Database>,
    printed: Option<String>,
}

fn every_command_works(page: &Page) {
    let machine = Machine::new();
    let mut reader = Reader {
        shell: Shell::new(&machine),
        machine: &machine,
        terminals: Vec::new(),
        database: Database::new(page),
        printed: None,
    };
    for block in page.setup_blocks().iter().chain(&page.blocks()) {
        reader.read(block);
    }
    for terminal in reader.terminals.into_iter().rev() {
        assert_eq!(terminal.end("TERM").code(), Some(0));
    }
    if let Some(database) = reader.database {
        database.remove();
    }
}

impl Reader<'_> {
    fn read(&mut self, block: &Block) {
        let text = self.machine.here(&block.text);
        let before = self.printed.take();
        match &block.kind {
            Kind::Run if text.contains("postgres:") => match &self.database {
                Some(database) => self.printed = Some(run(&mut self.shell, block, &database.here(&text))),
                // Its promised output is not looked for, either.
                None => self.printed = None,
            },
            Kind::Run => self.printed = Some(run(&mut self.shell, block, &text)),
            Kind::Background => {
                let mut terminal = self.machine.start(text.trim());
                terminal.until("listens on");
                self.terminals.push(terminal);
            }
            Kind::File(name) => {
                fs::write(self.machine.path("checkout").join(name), &text).expect("written");
                accepted(self.machine, name, &text);
            }
            Kind::Sql => {
                if let Some(database) = &self.database {
                    database.run(&text);
                }
            }
            Kind::Output | Kind::OutputLike if before.is_some() => promised(block, before.as_deref().unwrap_or_default()),
            Kind::Output => assert!(self.database.is_none(), "{}: of which command?", block.place),
            // Each of these has a test of its own.
            Kind::Demo | Kind::OutputLike | Kind::Install | Kind::Develop | Kind::Test => {}
        }
    }
}

fn run(shell: &mut Shell, block: &Block, text: &str) -> String {
    shell.run(text).unwrap_or_else(|why| panic!("{}: {why}\nof:\n{text}", block.place))
}

fn promised(block: &Block, printed: &str) {
    if let Some(line) = missing(&block.text, printed, block.kind == Kind::OutputLike) {
        panic!("{}: {line:?} is promised, but printed was:\n{printed}", block.place);
    }
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

#[test]
fn the_demo_does_what_the_page_says() {
    let page = Page::read("README.md").blocks();
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

/// Every path of the API that a page names is in the document that the daemon serves, and the sandbox knows every token.
#[test]
fn every_path_and_token_of_every_page_exists() {
    let machine = Machine::new();
    let start = |verb: &str| {
        let mut terminal = machine.start(&format!("rebilld {verb}"));
        terminal.until("listens on");
        terminal
    };
    let terminals = [start(&format!("sandbox --listen 127.0.0.1:{}", machine.sandbox)), start("serve")];
    let get = |port: u16, path: &str| machine.bash(&format!("curl -sS --fail-with-body http://127.0.0.1:{port}/{path}"));
    let openapi: serde_json::Value = serde_json::from_str(&get(machine.api, "openapi.json")).expect("JSON");
    let fixtures = get(machine.sandbox, "_sandbox/fixtures");
    let (mut paths, mut tokens) = (0, 0);
    for page in Page::all() {
        let prose = page.prose();
        let outside = |path: &&str| ["/etc/", "/var/", "/usr", "//"].iter().any(|folder| path.starts_with(folder));
        for path in inline_code(&prose).into_iter().filter(|code| code.starts_with('/')).filter(|path| !outside(path)) {
            let served = openapi["paths"].get(path.split('?').next().unwrap_or_default());
            assert!(served.is_some(), "{} names {path}, which is not served", page.name);
            paths += 1;
        }
        for token in page.text.split(['`', '"']).filter(|word| word.len() == 20 && word.ends_with("0000000000")) {
            assert!(fixtures.contains(&format!("\"{token}\"")), "{} names {token}, which the sandbox does not know", page.name);
            tokens += 1;
        }
    }
    assert!(paths > 10 && tokens >= 2, "{paths} paths, {tokens} tokens");
    for terminal in terminals.into_iter().rev() {
        assert_eq!(terminal.end("TERM").code(), Some(0));
    }
}

/// A page's role and database, under names of their own on the test cluster.
struct Database {
    superuser: String,
    name: String,
}

impl Database {
    /// None where the page needs no PostgreSQL, or there is none.
    fn new(page: &Page) -> Option<Self> {
        if !page.text.contains(POSTGRES) {
            return None;
        }
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
