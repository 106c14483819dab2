//! The real program killed at any moment, while the pretend gateways live on: both books must agree to the cent all the same.

mod cluster;
mod crash_points;
mod cut_off;
mod early_points;
mod instances;
mod kill_points;
mod lost_leases;
mod panics;
mod payment_links;
mod permits;
mod proxy;
mod storm;

use std::{
    fs::{self, File},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use rebilld::{
    domain::{clock::ClockStatus, payment::PaymentStatus},
    store,
};

use crate::world::*;

const ADMIN_KEY: &str = "kill-test-bootstrap-key-0123456789";

/// One daemon as an operator would run it: a file of settings, a port, a name. Each start is a new life of it.
pub struct Daemon {
    name: String,
    port: u16,
    folder: tempfile::TempDir,
    child: Option<Child>,
    lives: usize,
}

impl Daemon {
    /// Writes its settings; starts nothing.
    pub fn new(world: &World, name: &str, lease: &str) -> Self {
        Self::with_timeout(world, name, lease, "300ms")
    }

    pub fn with_timeout(world: &World, name: &str, lease: &str, timeout: &str) -> Self {
        Self::with_settings(world, name, lease, timeout, "")
    }

    /// Small batches, so that several daemons share what is due, and short waits after a gateway's fault.
    pub fn in_storm(world: &World, name: &str) -> Self {
        let more = r#"
            gateway_fault_backoff = ["200ms", "500ms", "1s"]
            [billing]
            batch = 16
        "#;
        Self::with_settings(world, name, "3s", "1s", more)
    }

    /// `more` goes on in the section `[collection]`.
    pub fn with_settings(world: &World, name: &str, lease: &str, timeout: &str, more: &str) -> Self {
        Self::at(&world.url, &world.sandbox.url(), name, lease, timeout, more)
    }

    /// Where its database and its gateways are.
    pub fn at(url: &str, sandbox: &str, name: &str, lease: &str, timeout: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let settings = format!(
            r#"
            [database]
            url = "{url}"
            [admin]
            listen = "127.0.0.1:{port}"
            bootstrap_key = "{ADMIN_KEY}"
            [collection]
            lease = "{lease}"
            lookup_backoff = ["20ms", "50ms", "100ms", "200ms", "500ms"]
            {more}
            [jobs]
            tick = "1s"
            # What is caught up with was due days ago.
            [invariants]
            overdue_after = "30d"
            [instance]
            name = "{name}"
            [log]
            format = "text"
            level = "info"
            [gateways.fluid]
            kind = "fluidpay"
            mode = "test"
            base_url = "{sandbox}/api"
            api_key = "{FLUIDPAY_KEY}"
            timeout = "{timeout}"
            max_in_flight = 16
            breaker = {{ waits = ["100ms", "300ms", "1s"], longest_retry_after = "1s" }}
            [gateways.paylike]
            kind = "paylike"
            mode = "test"
            base_url = "{sandbox}"
            api_key = "{PAYLIKE_KEY}"
            merchant_id = "{PAYLIKE_MERCHANT}"
            timeout = "{timeout}"
            max_in_flight = 16
            breaker = {{ waits = ["100ms", "300ms", "1s"], longest_retry_after = "1s" }}
            "#
        );
        fs::write(folder.path().join("rebilld.toml"), settings).expect("written");
        Self { name: name.to_owned(), port, folder, child: None, lives: 0 }
    }

    /// A new life. Answers at once; [`Daemon::up`] waits.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} is alive", self.name);
        self.lives += 1;
        let log = File::create(self.log()).expect("a log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_rebilld"));
        command.arg("serve").arg("--config").arg(self.folder.path().join("rebilld.toml")).current_dir(self.folder.path());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("REBILLD_") || name == "RUST_LOG") {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        self.child = Some(command.spawn().expect("spawned"));
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join(format!("life-{}.log", self.lives))
    }

    /// Waits until it answers; says how long that took.
    pub async fn up(&mut self) -> Duration {
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            self.must_live();
            assert!(begun.elapsed() < Duration::from_secs(30), "{} does not come up:\n{}", self.name, self.words());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        begun.elapsed()
    }

    /// A daemon that ends by itself is a failure, whatever it says.
    pub fn must_live(&mut self) {
        let ended = self.child.as_mut().and_then(|child| child.try_wait().expect("waited"));
        assert!(ended.is_none(), "{} ended by itself, {ended:?}:\n{}", self.name, self.words());
    }

    /// All that its lives have written.
    pub fn story(&self) -> String {
        let read = |life| fs::read_to_string(self.folder.path().join(format!("life-{life}.log"))).unwrap_or_default();
        (1..=self.lives).map(read).collect()
    }

    /// The end of what this life has written.
    pub fn words(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        text.lines().rev().take(40).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// SIGKILL, and gone.
    pub fn kill(&mut self) {
        self.must_live();
        let mut child = self.child.take().expect("alive");
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }

    /// Sends it a signal by name.
    pub fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("alive").id();
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {id}")).status().expect("sh");
        assert!(sent.success(), "SIG{name} could not be sent");
    }

    /// SIGTERM, and the exit code that it ends with.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.must_live();
        self.signal("TERM");
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.as_mut().expect("alive").try_wait().expect("waited") {
                self.child = None;
                return status;
            }
            assert!(begun.elapsed() < Duration::from_secs(25), "{} does not stop:\n{}", self.name, self.words());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Asks its API; the status and the body. None: no answer.
    pub async fn ask(&self, method: &str, path: &str) -> Option<(u16, serde_json::Value)> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(15)).no_proxy().build().expect("client");
        let request = client.request(method.parse().expect("method"), format!("http://127.0.0.1:{}{path}", self.port));
        let answer = request.bearer_auth(ADMIN_KEY).send().await.ok()?;
        Some((answer.status().as_u16(), answer.json().await.unwrap_or_default()))
    }

    /// Waits until `/readyz` says so.
    pub async fn readiness(&mut self, status: u16) {
        let begun = Instant::now();
        while self.ask("GET", "/readyz").await.is_none_or(|(now, _)| now != status) {
            self.must_live();
            assert!(begun.elapsed() < Duration::from_mins(1), "{} does not answer {status}:\n{}", self.name, self.words());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for the end that it comes to by itself; its exit code.
    pub async fn end(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.as_mut().expect("started").try_wait().expect("waited") {
                self.child = None;
                return status;
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "{} does not end:\n{}", self.name, self.words());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends a test clock on its way, as an operator does.
    pub async fn advance(&self, world: &World, to: &str) {
        let answer = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .build()
            .expect("client")
            .post(format!("http://127.0.0.1:{}/v1/clocks/{}/advance", self.port, world.clock))
            .bearer_auth(ADMIN_KEY)
            .json(&serde_json::json!({ "to": to }))
            .send()
            .await
            .expect("sent");
        assert_eq!(answer.status(), 202, "{}", answer.text().await.unwrap_or_default());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // A stopped process dies of this, too.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("the last words of {} (life {}):\n{}", self.name, self.lives, self.words());
        }
    }
}

impl World {
    /// Where the clock stands, and whether it has arrived.
    pub async fn arrived(&self) -> bool {
        let clock = store::clocks::get(&self.app.db, self.clock).await.expect("read").expect("clock");
        clock.status == ClockStatus::Idle
    }

    /// Waits until the clock has arrived by the hands of these daemons.
    pub async fn arrival(&self, daemons: &mut [&mut Daemon], bound: Duration) {
        let begun = Instant::now();
        while !self.arrived().await {
            for daemon in daemons.iter_mut() {
                daemon.must_live();
            }
            if begun.elapsed() > bound {
                let clock = store::clocks::get(&self.app.db, self.clock).await.expect("read");
                let open: Vec<_> = self.payments().await.into_iter().filter(|payment| payment.status.is_open()).collect();
                panic!("the clock does not arrive: {clock:?}\nopen: {open:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for a payment in this state.
    pub async fn payment_in(&self, status: PaymentStatus) {
        let begun = Instant::now();
        while !self.payments().await.iter().any(|payment| payment.status == status) {
            assert!(begun.elapsed() < Duration::from_secs(20), "no payment is {status}: {:?}", self.story().await);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// How many claims reborn daemons have freed, in all their lives.
    pub async fn freed(&self) -> i64 {
        let events: Vec<(String,)> = self
            .app
            .db
            .query("select cast(data as text) from events where type = 'claims.recovered'")
            .all()
            .await
            .expect("events");
        events
            .iter()
            .map(|(data,)| serde_json::from_str::<serde_json::Value>(data).expect("JSON"))
            .filter_map(|data| data["freed"].as_i64())
            .sum()
    }
}
