//! A throw-away PostgreSQL cluster for this test process, gone with it even after `kill -9`, and a fresh database for each test.
//!
//! Where there are no server binaries the PostgreSQL half is left out and one line says so; with `CI` or
//! `REBILLD_TEST_REQUIRE_POSTGRES` set that is a failure instead. `REBILLD_TEST_POSTGRES_URL` names a server to use.

use std::{
    env, fs,
    io::Write,
    net::TcpListener,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{self, Child, ChildStdin, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

const LEFT_OUT: &str = "PostgreSQL tests left out: no server found, so only the SQLite half runs \
     (install the package `postgresql`, or set REBILLD_TEST_POSTGRES_URL).";
const REQUIRED: &str = "PostgreSQL is required here (CI or REBILLD_TEST_REQUIRE_POSTGRES is set), but initdb and postgres are neither \
     on PATH nor in /usr/lib/postgresql/*/bin: install the package `postgresql`, or set REBILLD_TEST_POSTGRES_URL.";

/// A new, empty database's URL; none where PostgreSQL is left out, and then the test returns early.
pub async fn fresh_database() -> Option<String> {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let server = server()?;
    let name = format!("rebilld_test_{}_{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut connection =
        PgConnection::connect(server).await.unwrap_or_else(|e| panic!("cannot reach PostgreSQL for the tests: {e}"));
    let create = AssertSqlSafe(format!("create database {name} template template0"));
    sqlx::raw_sql(create).execute(&mut connection).await.unwrap_or_else(|e| panic!("cannot create the database {name}: {e}"));
    connection.close().await.expect("closed");
    let mut url = reqwest::Url::parse(server).expect("the server's URL");
    url.set_path(&name);
    Some(url.into())
}

/// [`fresh_database`] for tests that are not async; works inside a runtime, too.
pub fn url() -> Option<String> {
    let make = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime").block_on(fresh_database());
    thread::spawn(make).join().expect("a database")
}

/// The server's URL. The first caller starts the cluster, the others wait for it.
fn server() -> Option<&'static str> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let set = |name: &str| env::var(name).is_ok_and(|value| !value.is_empty());
    let server = SERVER.get_or_init(|| {
        if let Some(url) = env::var("REBILLD_TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty()) {
            return Some(Server { url, _lifeline: None });
        }
        match wanted(binaries(), set("CI") || set("REBILLD_TEST_REQUIRE_POSTGRES")) {
            Ok(bin) => Some(start(&bin)),
            Err(sentence) => {
                // Not eprintln!, which the test harness would swallow.
                writeln!(std::io::stderr(), "\n{sentence}\n").expect("stderr");
                None
            }
        }
    });
    server.as_ref().map(|server| server.url.as_str())
}

/// Panics where PostgreSQL is required and missing; the error is the sentence to show where it is only missing.
fn wanted(bin: Option<PathBuf>, required: bool) -> Result<PathBuf, &'static str> {
    match bin {
        None if required => panic!("{REQUIRED}"),
        bin => bin.ok_or(LEFT_OUT),
    }
}

struct Server {
    url: String,
    /// Its end of file tells the watchdog that this process is gone, however it went.
    _lifeline: Option<ChildStdin>,
}

/// The folder of `initdb` and `postgres`: from PATH (links followed), else the newest of the distribution's.
fn binaries() -> Option<PathBuf> {
    let whole = |folder: &Path| {
        let folder = fs::canonicalize(folder.join("initdb")).ok()?.parent()?.to_owned();
        folder.join("postgres").is_file().then_some(folder)
    };
    let path = env::var_os("PATH").unwrap_or_default();
    if let Some(found) = env::split_paths(&path).find_map(|folder| whole(&folder)) {
        return Some(found);
    }
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let version = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let mut versions: Vec<PathBuf> = versions.map(|entry| entry.path()).collect();
    versions.sort_by_key(version);
    versions.iter().rev().find_map(|folder| whole(&folder.join("bin")))
}

/// Ours until the end: starts the server, waits for our end of the pipe to close, then stops it at once and clears away.
const WATCHDOG: &str = r#"
"$1/postgres" -D "$2/data" -p "$3" \
    -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=300 \
    -c fsync=off -c full_page_writes=off -c synchronous_commit=on \
    -c timezone=Asia/Kathmandu \
    >"$2/log" 2>&1 </dev/null &
server=$!
read -r never
kill -QUIT "$server" 2>/dev/null
wait "$server"
cd / && rm -rf "$2"
"#;

fn start(bin: &Path) -> Server {
    let mut last = String::new();
    // Between choosing a port and listening on it somebody else may take it.
    for _ in 0..5 {
        match try_start(bin) {
            Ok(server) => return server,
            Err(why) => last = why,
        }
    }
    panic!("the PostgreSQL cluster for the tests does not start:\n{last}");
}

fn try_start(bin: &Path) -> Result<Server, String> {
    let folder = tempfile::Builder::new().prefix("rebilld-postgres-").tempdir().map_err(|e| e.to_string())?;
    let user = (fs::metadata(folder.path()).map_err(|e| e.to_string())?.uid() == 0).then(unprivileged);
    if let Some((uid, gid)) = user {
        chown(folder.path(), Some(uid), Some(gid)).map_err(|e| e.to_string())?;
    }
    let command = |program: &Path| {
        let mut command = Command::new(program);
        command.current_dir(folder.path()).env("HOME", folder.path()).env("LC_ALL", "C").stdin(Stdio::null());
        // PostgreSQL refuses to run as root. This also drops root's supplementary groups.
        user.map(|(uid, gid)| command.uid(uid).gid(gid));
        command
    };
    let initdb = command(&bin.join("initdb"))
        .arg("-D")
        .arg(folder.path().join("data"))
        .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"])
        .output()
        .map_err(|e| format!("cannot run initdb: {e}"))?;
    if !initdb.status.success() {
        return Err(String::from_utf8_lossy(&initdb.stderr).into_owned());
    }
    let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_err(|e| e.to_string())?.port();
    let mut watchdog: Child = command(Path::new("/bin/sh"))
        .args(["-c", WATCHDOG, "sh"])
        .args([bin, folder.path()])
        .arg(port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Out of reach of a Ctrl-C meant for the tests: it has to outlive them for a moment.
        .process_group(0)
        .spawn()
        .map_err(|e| format!("cannot run the watchdog: {e}"))?;
    let lifeline = watchdog.stdin.take();
    // From here on the watchdog clears the folder away.
    let folder = folder.keep();
    for _ in 0..600 {
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        if log.contains("FATAL") {
            return Err(log);
        }
        let state = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
        if state.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
            return Ok(Server { url: format!("postgres://postgres@127.0.0.1:{port}/postgres"), _lifeline: lifeline });
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(format!("not ready after 30 s:\n{}", fs::read_to_string(folder.join("log")).unwrap_or_default()))
}

/// User and group to run as instead of root: `postgres` if the package made it, else `nobody`.
fn unprivileged() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let find = |wanted: &str| {
        let fields =
            users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields.first() == Some(&wanted))?;
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody")).expect("a user `postgres` or `nobody` to run PostgreSQL as")
}

#[tokio::test]
async fn every_test_gets_a_database_of_its_own() {
    let (Some(a), Some(b)) = (fresh_database().await, url()) else { return };
    assert_ne!(a, b);
    let mut a = PgConnection::connect(&a).await.expect("connected");
    let mut b = PgConnection::connect(&b).await.expect("connected");
    sqlx::raw_sql("create table only_here (n bigint)").execute(&mut a).await.expect("created");
    assert!(sqlx::raw_sql("select n from only_here").execute(&mut b).await.is_err(), "databases are shared");
    let setting: String =
        sqlx::query_scalar("select current_setting('synchronous_commit')").fetch_one(&mut a).await.expect("setting");
    assert_eq!(setting, "on");
}

#[test]
fn a_missing_server_is_said_or_fails() {
    assert_eq!(wanted(None, false), Err(LEFT_OUT));
    assert_eq!(wanted(Some("/bin".into()), true), Ok("/bin".into()));
    let failure = std::panic::catch_unwind(|| wanted(None, true)).expect_err("required");
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
    use std::io::{BufRead, BufReader};
    if server().is_none() || env::var_os("REBILLD_TEST_POSTGRES_URL").is_some() {
        return;
    }
    let mut child = Command::new(env::current_exe().expect("this binary"))
        .args(["postgres::stand_by_with_a_cluster", "--exact", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the other half");
    let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let url = lines.map_while(Result::ok).find_map(|line| line.find("postgres://").map(|at| line[at..].to_owned()));
    let url = reqwest::Url::parse(&url.expect("a URL")).expect("a URL");
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
