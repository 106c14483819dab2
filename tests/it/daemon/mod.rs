//! The real program, started as an operator starts it: how it starts, stops, refuses, and what its commands say.

mod commands;
mod crash;
mod demo;
mod faults;
mod notify;
mod serve;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::{FLUIDPAY_KEY, PAYLIKE_KEY, PAYLIKE_MERCHANT};

/// An admin key that a test daemon knows from the start.
const KEY: &str = "daemon-test-bootstrap-key-0123456789";

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(45);

/// Settings by variable; `database.url` becomes `REBILLD_DATABASE__URL`.
type Settings = BTreeMap<String, String>;

fn settings<const N: usize>(pairs: [(&str, &str); N]) -> Settings {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Any port, the bootstrap key, a name of its own, and quick waits.
fn quick(database: &str) -> Settings {
    settings([
        ("database.url", database),
        ("admin.listen", "127.0.0.1:0"),
        ("admin.bootstrap_key", KEY),
        ("instance.name", "daemon-test"),
        ("billing.bill_at", "00:00"),
        ("collection.lookup_backoff", "[\"50ms\", \"100ms\", \"200ms\"]"),
    ])
}

/// [`quick`] with both gateways at this sandbox.
fn with_gateways(database: &str, sandbox: &str) -> Settings {
    let mut all = quick(database);
    all.extend(settings([
        ("gateways.fluid.kind", "fluidpay"),
        ("gateways.fluid.mode", "test"),
        ("gateways.fluid.base_url", &format!("{sandbox}/api")),
        ("gateways.fluid.api_key", FLUIDPAY_KEY),
        ("gateways.paylike.kind", "paylike"),
        ("gateways.paylike.mode", "test"),
        ("gateways.paylike.base_url", sandbox),
        ("gateways.paylike.api_key", PAYLIKE_KEY),
        ("gateways.paylike.merchant_id", PAYLIKE_MERCHANT),
    ]));
    all
}

/// The program with these settings and nothing else of this process's environment.
fn rebilld<A: AsRef<OsStr>>(folder: &Path, settings: &Settings, arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rebilld"));
    command.args(arguments).env_clear().env("TMPDIR", folder).current_dir(folder).stdin(Stdio::null());
    for (key, value) in settings {
        command.env(format!("REBILLD_{}", key.to_uppercase().replace('.', "__")), value);
    }
    command
}

/// What a program that ended has said.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    /// Asserts success; answers stdout.
    #[track_caller]
    fn ok(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self:?}");
        &self.out
    }
}

/// Runs to the end, bounded.
fn ended(mut command: Command) -> Ended {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("spawned");
    let (mut out, mut err) = (child.stdout.take().expect("stdout"), child.stderr.take().expect("stderr"));
    let read = |from: &mut dyn Read| {
        let mut text = String::new();
        from.read_to_string(&mut text).expect("text");
        text
    };
    let status = std::thread::scope(|scope| {
        let (out, err) = (scope.spawn(move || read(&mut out)), scope.spawn(move || read(&mut err)));
        let status = wait(&mut child, PATIENCE);
        if status.is_none() {
            child.kill().expect("killed");
        }
        (status, out.join().expect("read"), err.join().expect("read"))
    });
    let (Some(code), out, err) = status else { panic!("it does not end: {status:?}") };
    Ended { code: code.code(), out, err }
}

fn wait(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let begun = Instant::now();
    while begun.elapsed() < patience {
        if let Some(status) = child.try_wait().expect("waited") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

fn send_signal(pid: u32, name: &str) {
    let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {pid}")).status().expect("sh");
    assert!(sent.success(), "SIG{name} could not be sent");
}

/// A program that goes on until it is told to stop, its output in files. Killed when dropped.
struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(mut command: Command, folder: &Path) -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let life = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (out, err) = (folder.join(format!("{life}.out")), folder.join(format!("{life}.err")));
        command.stdout(File::create(&out).expect("file")).stderr(File::create(&err).expect("file"));
        Self { child: command.spawn().expect("spawned"), out, err }
    }

    fn out(&self) -> String {
        fs::read_to_string(&self.out).expect("stdout")
    }

    fn err(&self) -> String {
        fs::read_to_string(&self.err).expect("stderr")
    }

    /// Waits until one of its files says this; answers the rest of that line.
    async fn says(&mut self, text: &str) -> String {
        let begun = Instant::now();
        loop {
            // Asked first: it may say this last of all.
            let ended = self.child.try_wait().expect("waited");
            let said = self.out() + &self.err();
            if let Some((_, rest)) = said.split_once(text)
                && let Some((line, _)) = rest.split_once('\n')
            {
                return line.to_owned();
            }
            assert!(ended.is_none(), "it ended, {ended:?}, without {text:?}:\n{said}");
            assert!(begun.elapsed() < PATIENCE, "it does not say {text:?}:\n{said}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn signal(&self, name: &str) {
        send_signal(self.child.id(), name);
    }

    /// Waits for its end by itself or by a signal; its exit code and how long it took.
    async fn ends(&mut self) -> (Option<i32>, Duration) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("waited") {
                return (status.code(), begun.elapsed());
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end:\n{}{}", self.out(), self.err());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// `rebilld serve`, up.
struct Daemon {
    running: Running,
    url: String,
    client: reqwest::Client,
}

impl Daemon {
    async fn up(folder: &Path, settings: &Settings) -> Self {
        Self::of(rebilld(folder, settings, ["serve"]), folder).await
    }

    async fn of(command: Command, folder: &Path) -> Self {
        rebilld::gateway::http::install_tls();
        let mut running = Running::start(command, folder);
        let url = running.says("rebilld listens on ").await;
        let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build().expect("client");
        Self { running, url, client }
    }

    async fn send(&self, method: &str, path: &str, key: &str, body: Option<Value>) -> (u16, Value) {
        let method = method.parse::<reqwest::Method>().expect("method");
        let mut request = self.client.request(method, format!("{}{path}", self.url)).bearer_auth(key);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.running.err()));
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("text");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send("GET", path, KEY, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.send("POST", path, KEY, Some(body)).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// A customer on the wall clock whose first charge is due now; answers nothing, since the ledgers tell.
    async fn owes_now(&self, token: &str) {
        let customer = self.post("/v1/customers", json!({"name": "Ada", "email": "ada@example.com", "currency": "USD"})).await;
        let id = customer["id"].as_str().expect("id");
        let method = json!({"gateway": "fluid", "kind": "vault_token", "customer_token": token, "default": true});
        self.post(&format!("/v1/customers/{id}/payment-methods"), method).await;
        let subscription = json!({"customer": {"id": id}, "description": "Gym", "amount": 1000, "billing_frequency": "monthly"});
        self.post("/v1/subscriptions", subscription).await;
    }

    /// Waits until the payments have these statuses.
    async fn payments_become(&self, statuses: &[&str]) {
        let begun = Instant::now();
        loop {
            let payments = self.get("/v1/payments").await;
            let found: Vec<&str> =
                payments["data"].as_array().expect("list").iter().map(|p| p["status"].as_str().expect("status")).collect();
            if found == statuses {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{payments}\n{}", self.running.err());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// SIGTERM; asserts status 0, answers how long it took.
    async fn stops(&mut self) -> Duration {
        self.running.signal("TERM");
        let (code, took) = self.running.ends().await;
        assert_eq!(code, Some(0), "{}", self.running.err());
        took
    }
}

fn sqlite(folder: &TempDir) -> String {
    format!("sqlite://{}", folder.path().join("rebilld.db").display())
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}
