//! What systemd is told over its socket, message by message: ready only when it is, and alive only while the job loops turn.

use std::os::unix::net::UnixDatagram;

use chrono::TimeDelta;
use rebilld::{
    domain::{
        clock::{ClockStatus, TestClock},
        id::Id,
    },
    store::{self, Db},
};

use super::*;

/// systemd's end of the socket.
struct Systemd {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Systemd {
    fn new() -> Self {
        let folder = folder();
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("bound");
        Self { socket, folder }
    }

    fn serve(&self, settings: &Settings) -> Command {
        let mut command = rebilld(self.folder.path(), settings, ["serve"]);
        command.env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        command
    }

    /// The next message within this time.
    fn hears(&self, patience: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(patience)).expect("set");
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    /// The next message that is no ping.
    #[track_caller]
    fn told(&self) -> String {
        loop {
            let message = self.hears(PATIENCE).expect("a message");
            if message.trim() != "WATCHDOG=1" {
                return message;
            }
        }
    }
}

fn lines(message: &str) -> Vec<&str> {
    message.lines().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_is_said_when_readyz_answers_and_not_before() {
    rebilld::gateway::http::install_tls();
    let systemd = Systemd::new();
    let mut running = Running::start(systemd.serve(&quick(&sqlite(&systemd.folder))), systemd.folder.path());
    let message = systemd.told();
    let said = lines(&message);
    assert_eq!(said[0], "READY=1", "{message}");
    let addr = said[1].strip_prefix("STATUS=listening on ").unwrap_or_else(|| panic!("no address in {message}"));
    let answer = reqwest::get(format!("http://{addr}/readyz")).await.expect("an answer at once");
    assert_eq!(answer.status().as_u16(), 200);

    running.signal("HUP");
    let message = systemd.told();
    let said = lines(&message);
    assert_eq!(said[0], "RELOADING=1", "{message}");
    let at: u64 = said[1].strip_prefix("MONOTONIC_USEC=").and_then(|at| at.parse().ok()).unwrap_or_else(|| panic!("{message}"));
    let uptime = fs::read_to_string("/proc/uptime").expect("uptime");
    let seconds: u64 = uptime.split('.').next().and_then(|seconds| seconds.parse().ok()).expect("seconds");
    assert!(at > 0 && at / 1_000_000 <= seconds + 1, "{at} is an instant of the monotonic clock");
    assert_eq!(lines(&systemd.told())[0], "READY=1");

    running.signal("TERM");
    assert_eq!(lines(&systemd.told())[0], "STOPPING=1");
    assert_eq!(running.ends().await.0, Some(0));
    assert_eq!(systemd.hears(Duration::from_millis(10)), None, "no ping was asked for");
}

#[test]
fn a_start_that_fails_is_never_ready() {
    let systemd = Systemd::new();
    let settings = quick("postgres://nobody@127.0.0.1:1/none");
    assert_eq!(ended(systemd.serve(&settings)).code, Some(1));
    assert_eq!(systemd.hears(Duration::from_millis(10)), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_watchdog_is_pinged_while_the_loops_turn_and_only_then() {
    let systemd = Systemd::new();
    let mut settings = quick(&sqlite(&systemd.folder));
    settings.insert("log.level".to_owned(), "warn".to_owned());
    let mut command = systemd.serve(&settings);
    command.env("WATCHDOG_USEC", "200000");
    let mut daemon = Daemon::of(command, systemd.folder.path()).await;
    systemd.told();
    for _ in 0..5 {
        assert_eq!(systemd.hears(Duration::from_secs(5)).as_deref().map(str::trim), Some("WATCHDOG=1"));
    }
    // Somebody holds the only write lock and forgets it: a loop that has something to do, in a moment, does not get on.
    let db = Db::open(&sqlite(&systemd.folder), 2, false).await.expect("database");
    let now = rebilld::clock::Clock::System.now();
    let clock = TestClock {
        id: Id::from_bits(1),
        name: "on its way".to_owned(),
        now_at: now,
        status: ClockStatus::Advancing,
        target_at: Some(now),
        lease_owner: Some("a daemon that is gone".to_owned()),
        lease_expires_at: Some(now + TimeDelta::seconds(2)),
        counts: serde_json::Map::new(),
        created_at: now,
    };
    let mut tx = db.begin().await.expect("tx");
    store::clocks::insert(&mut tx, clock).await.expect("stored");
    tx.commit().await.expect("committed");
    let held = db.begin().await.expect("the lock");
    let begun = Instant::now();
    // Read on all the while, as systemd does: a full socket would hold up whoever writes to it.
    while systemd.hears(Duration::from_secs(2)).is_some() {
        assert!(begun.elapsed() < Duration::from_secs(28), "stuck, and pinged all the same");
    }
    daemon.running.says("the watchdog gets no ping").await;
    drop(held);
    db.close().await;
    assert!(systemd.hears(PATIENCE).is_some_and(|message| message.contains("WATCHDOG=1")), "no ping once it went on");
    daemon.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_nobody_reads_does_not_keep_it_from_stopping() {
    let systemd = Systemd::new();
    let mut command = systemd.serve(&quick(&sqlite(&systemd.folder)));
    // Pings every ten milliseconds fill the socket at once.
    command.env("WATCHDOG_USEC", "20000");
    let mut daemon = Daemon::of(command, systemd.folder.path()).await;
    daemon.running.says("systemd does not read what it is told").await;
    daemon.stops().await;
}
