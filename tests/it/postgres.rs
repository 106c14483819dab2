//! A throw-away PostgreSQL cluster for this test process, gone with it even after `kill -9`, and a fresh database for each test.
//!
//! Where there are no server binaries the PostgreSQL half is left out and one line says so; with `CI` or
//! `REBILLD_TEST_REQUIRE_POSTGRES` set that is a failure instead. `REBILLD_TEST_POSTGRES_URL` names a server to use, as nextest's set-up
//! script does: it starts one cluster for all processes.

use std::{
    env,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    process::{self, Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use rebilld::store::Db;
use reqwest::Url;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::database::migrations_digest;

/// Starts and stops clusters.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/postgres-cluster");
/// Its status where there are no server binaries.
const NO_BINARIES: i32 = 3;
/// Of `create database`: the template is not there.
const NO_SUCH_DATABASE: &str = "3D000";
const REQUIRED: &str = "PostgreSQL is required here (CI or REBILLD_TEST_REQUIRE_POSTGRES is set), but initdb and postgres are neither \
     on PATH nor in /usr/lib/postgresql/*/bin: install the package `postgresql`, or set REBILLD_TEST_POSTGRES_URL.";

/// A new, empty database's URL; none where PostgreSQL is left out, and then the test returns early.
pub async fn fresh_database() -> Option<String> {
    let mut connection = connect().await?;
    let name = next_name();
    create(&mut connection, &name, "template0").await.unwrap_or_else(|e| panic!("cannot create the database {name}: {e}"));
    Some(url_of(&name))
}

/// [`fresh_database`] for tests that are not async; works inside a runtime, too.
pub fn url() -> Option<String> {
    let make = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime").block_on(fresh_database());
    thread::spawn(make).join().expect("a database")
}

/// A new database with all tables and nothing in them.
pub async fn migrated_database() -> Option<String> {
    let mut connection = connect().await?;
    let (name, template) = (next_name(), format!("rebilld_template_{}", migrations_digest()));
    let mut created = create(&mut connection, &name, &template).await;
    if created.as_ref().is_err_and(|e| e.as_database_error().is_some_and(|e| e.code().as_deref() == Some(NO_SUCH_DATABASE))) {
        make_template(&mut connection, &template).await;
        created = create(&mut connection, &name, &template).await;
    }
    created.unwrap_or_else(|e| panic!("cannot create the database {name}: {e}"));
    Some(url_of(&name))
}

/// Migrates under another name, so that a template is whole or not there.
async fn make_template(connection: &mut PgConnection, template: &str) {
    let unfinished = format!("{template}_unfinished");
    // Ends with this connection.
    run(connection, "select pg_advisory_lock(1)").await.expect("one at a time");
    let there: bool = sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(template)
        .fetch_one(&mut *connection)
        .await
        .expect("asked");
    if there {
        return;
    }
    run(connection, &format!("drop database if exists {unfinished} with (force)")).await.expect("dropped");
    create(connection, &unfinished, "template0").await.expect("created");
    let db = Db::open(&url_of(&unfinished), 1, false).await.expect("database");
    db.migrate().await.expect("migrated");
    db.close().await;
    // Nobody comes in, no vacuum either: only an unused database can be copied.
    run(connection, &format!("alter database {unfinished} with allow_connections false")).await.expect("closed");
    run(connection, &format!("alter database {unfinished} rename to {template}")).await.expect("renamed");
}

async fn create(connection: &mut PgConnection, name: &str, template: &str) -> sqlx::Result<()> {
    run(connection, &format!("create database {name} template {template}")).await
}

async fn run(connection: &mut PgConnection, sql: &str) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.map(|_| ())
}

async fn connect() -> Option<PgConnection> {
    let connected = PgConnection::connect(server()?).await;
    Some(connected.unwrap_or_else(|e| panic!("cannot reach PostgreSQL for the tests: {e}")))
}

/// The process is part of it: [`SCRIPT`] removes what processes that are gone have left on a cluster that they shared.
fn next_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    format!("rebilld_test_{}_{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn url_of(database: &str) -> String {
    let mut url = Url::parse(server().expect("a server")).expect("the server's URL");
    url.set_path(database);
    url.into()
}

/// The server's URL. The first caller starts the cluster, the others wait for it.
fn server() -> Option<&'static str> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let set = |name: &str| env::var(name).is_ok_and(|value| !value.is_empty());
    let server = SERVER.get_or_init(|| {
        if let Some(url) = env::var("REBILLD_TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty()) {
            return Some(Server { url, _script: None });
        }
        wanted(start(), set("CI") || set("REBILLD_TEST_REQUIRE_POSTGRES"))
    });
    server.as_ref().map(|server| server.url.as_str())
}

/// Panics where PostgreSQL is required and missing. Where it is only missing, the script has said so.
fn wanted<T>(server: Option<T>, required: bool) -> Option<T> {
    assert!(server.is_some() || !required, "{REQUIRED}");
    server
}

struct Server {
    url: String,
    /// The end of its standard input tells the script that this process is gone, however it went.
    _script: Option<Child>,
}

/// None where there are no server binaries.
fn start() -> Option<Server> {
    let mut cluster = Command::new(SCRIPT)
        .arg("own")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Out of reach of a Ctrl-C meant for the tests: it has to outlive them for a moment.
        .process_group(0)
        .spawn()
        .expect("tests/postgres-cluster runs");
    let mut url = String::new();
    BufReader::new(cluster.stdout.take().expect("stdout")).read_line(&mut url).expect("text");
    if url.is_empty() {
        let status = cluster.wait().expect("reaped");
        assert_eq!(status.code(), Some(NO_BINARIES), "the PostgreSQL cluster for the tests does not start");
        return None;
    }
    Some(Server { url: url.trim_end().to_owned(), _script: Some(cluster) })
}

#[tokio::test]
async fn every_test_gets_a_database_of_its_own() {
    let (Some(a), Some(b)) = (fresh_database().await, url()) else { return };
    assert_ne!(a, b);
    are_apart(&a, &b).await;
    let (Some(a), Some(b)) = (migrated_database().await, migrated_database().await) else { return };
    assert_ne!(a, b);
    are_apart(&a, &b).await;
    Db::open(&a, 1, false).await.expect("opened").check_migrated().await.expect("migrated");
}

async fn are_apart(a: &str, b: &str) {
    let mut a = PgConnection::connect(a).await.expect("connected");
    let mut b = PgConnection::connect(b).await.expect("connected");
    sqlx::raw_sql("create table only_here (n bigint)").execute(&mut a).await.expect("created");
    assert!(sqlx::raw_sql("select n from only_here").execute(&mut b).await.is_err(), "databases are shared");
    let setting: String =
        sqlx::query_scalar("select current_setting('synchronous_commit')").fetch_one(&mut a).await.expect("setting");
    assert_eq!(setting, "on");
}

#[test]
fn a_missing_server_is_said_or_fails() {
    let none = Command::new(SCRIPT).arg("own").env("REBILLD_TEST_POSTGRES_BIN", "/nowhere").stdin(Stdio::null()).output();
    let none = none.expect("tests/postgres-cluster runs");
    assert_eq!((none.status.code(), none.stdout.len()), (Some(NO_BINARIES), 0));
    let said = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(said.contains("PostgreSQL tests left out") && said.contains("install the package `postgresql`"), "{said}");
    assert_eq!((wanted(None::<()>, false), wanted(Some(()), true)), (None, Some(())));
    let failure = std::panic::catch_unwind(|| wanted(None::<()>, true)).expect_err("required");
    assert!(failure.downcast_ref::<String>().is_some_and(|text| text.contains("install the package `postgresql`")));
}

#[test]
#[ignore = "the half of the next test that gets killed"]
fn stand_by_with_a_cluster() {
    println!("{}", server().unwrap_or_default());
    thread::sleep(Duration::from_mins(1));
}

#[test]
fn the_cluster_dies_with_a_killed_test() {
    if server().is_none() {
        return;
    }
    let mut child = Command::new(env::current_exe().expect("this binary"))
        .args(["postgres::stand_by_with_a_cluster", "--exact", "--ignored", "--nocapture"])
        .env_remove("REBILLD_TEST_POSTGRES_URL")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the other half");
    let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let url = lines.map_while(Result::ok).find_map(|line| line.find("postgres://").map(|at| line[at..].to_owned()));
    let url = Url::parse(&url.expect("a URL")).expect("a URL");
    let address = format!("127.0.0.1:{}", url.port().expect("a port"));
    std::net::TcpStream::connect(&address).expect("the cluster is up");
    child.kill().expect("killed");
    child.wait().expect("reaped");
    let gone = (0..200).any(|_| {
        thread::sleep(Duration::from_millis(50));
        std::net::TcpStream::connect(&address).is_err()
    });
    assert!(gone, "the cluster outlives its test process");
}
