//! `rebilld serve` and its signals: up from defaults, stopping without losing or repeating a charge, reloading without a pause.

use rebilld::sandbox::{self, Fault, Movement, Options, Rule};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;

async fn pretend() -> sandbox::SandboxServer {
    rebilld::gateway::http::install_tls();
    let wall = rebilld::clock::Clock::System;
    let now: sandbox::Now = std::sync::Arc::new(move || wall.now());
    sandbox::start("127.0.0.1:0".parse().expect("address"), now, Options::default()).await.expect("sandbox")
}

/// One charge is delayed by this; answers its token.
fn slow(sandbox: &sandbox::SandboxServer, ms: u64) -> String {
    let rule = json!({"match": {"operation": "charge"}, "fault": Fault::Delay { ms }, "times": 1});
    sandbox.sandbox().add_fault(serde_json::from_value::<Rule>(rule).expect("rule"));
    sandbox.sandbox().fluidpay_tokens(1, "slow").remove(0)
}

fn charges(sandbox: &sandbox::SandboxServer) -> usize {
    sandbox.ledger().iter().filter(|entry| entry.kind == Movement::Charge).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn defaults_and_environment_are_enough() {
    let folder = folder();
    // The default database lies in the working directory.
    let bare = settings([("admin.listen", "127.0.0.1:0"), ("admin.bootstrap_key", KEY)]);
    let mut daemon = Daemon::up(folder.path(), &bare).await;
    assert!(folder.path().join("rebilld.db").is_file());
    assert_eq!(daemon.send("GET", "/healthz", "", None).await.0, 200);
    assert_eq!(daemon.send("GET", "/readyz", "", None).await.0, 200);
    assert_eq!(daemon.get("/v1/plans").await["data"], json!([]));
    assert_eq!(daemon.send("GET", "/v1/plans", "another-key", None).await.0, 401);
    let took = daemon.stops().await;
    assert!(took < Duration::from_secs(5), "with nothing to do it stops at once, not after {took:?}");
    assert!(!daemon.running.err().contains(KEY), "a log never shows a key");
    let left: Vec<_> = fs::read_dir(folder.path()).expect("folder").flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with("-wal")), "closed well: {left:?}");

    let mut again = Daemon::up(folder.path(), &bare).await;
    again.running.signal("INT");
    assert_eq!(again.running.ends().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_charge_under_way_is_settled_before_the_end() {
    let (folder, sandbox) = (folder(), pretend().await);
    let mut daemon = Daemon::up(folder.path(), &with_gateways(&sqlite(&folder), &sandbox.url())).await;
    daemon.owes_now(&slow(&sandbox, 1500)).await;
    daemon.payments_become(&["pending"]).await;
    let took = daemon.stops().await;
    assert!(took > Duration::from_millis(300), "it waited for the gateway, not {took:?} only");
    assert_eq!(charges(&sandbox), 1);
    // No gateway is asked any more: what it knows, it knew before its end.
    let mut daemon = Daemon::up(folder.path(), &quick(&sqlite(&folder))).await;
    daemon.payments_become(&["succeeded"]).await;
    daemon.stops().await;
    assert_eq!(charges(&sandbox), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_charge_that_outlasts_the_drain_is_looked_up_by_the_next_start() {
    let (folder, sandbox) = (folder(), pretend().await);
    let mut settings = with_gateways(&sqlite(&folder), &sandbox.url());
    settings.insert("jobs.drain".to_owned(), "200ms".to_owned());
    let mut daemon = Daemon::up(folder.path(), &settings).await;
    daemon.owes_now(&slow(&sandbox, 4000)).await;
    daemon.payments_become(&["pending"]).await;
    let took = daemon.stops().await;
    assert!(took < Duration::from_secs(3), "the drain is bounded, but it took {took:?}");
    assert!(daemon.running.err().contains("the next start looks up what was under way"), "{}", daemon.running.err());
    let mut daemon = Daemon::up(folder.path(), &settings).await;
    daemon.payments_become(&["succeeded"]).await;
    daemon.stops().await;
    assert_eq!(charges(&sandbox), 1, "looked up, never charged again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_it_at_once() {
    let (folder, sandbox) = (folder(), pretend().await);
    let mut daemon = Daemon::up(folder.path(), &with_gateways(&sqlite(&folder), &sandbox.url())).await;
    daemon.owes_now(&slow(&sandbox, 15_000)).await;
    daemon.payments_become(&["pending"]).await;
    daemon.running.signal("TERM");
    daemon.running.says("stopping: nothing new is claimed").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(daemon.running.child.try_wait().expect("waited").is_none(), "the first one waits for the charge");
    daemon.running.signal("TERM");
    let (_, took) = daemon.running.ends().await;
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_under_way_gets_its_answer() {
    let folder = folder();
    let mut daemon = Daemon::up(folder.path(), &quick(&sqlite(&folder))).await;
    let body = json!({"name": "Late", "amount": 100, "currency": "USD", "billing_frequency": "monthly"}).to_string();
    let address = daemon.url.trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).await.expect("connected");
    let head = format!(
        "POST /v1/plans HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let (first, rest) = body.split_at(10);
    stream.write_all(format!("{head}{first}").as_bytes()).await.expect("sent");
    tokio::time::sleep(Duration::from_millis(200)).await;
    daemon.running.signal("TERM");
    daemon.running.says("stopping: nothing new is claimed").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(TcpStream::connect(&address).await.is_err(), "nobody new is let in");
    stream.write_all(rest.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert_eq!(daemon.running.ends().await.0, Some(0));
    let mut daemon = Daemon::up(folder.path(), &quick(&sqlite(&folder))).await;
    assert_eq!(daemon.get("/v1/plans").await["data"][0]["name"], "Late");
    daemon.stops().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_up_reads_the_settings_again_and_keeps_serving() {
    let folder = folder();
    let file = folder.path().join("rebilld.toml");
    fs::write(&file, "[log]\nlevel = \"info\"\n[dunning.slow]\nsteps = [{ after_days = 2 }]\n").expect("written");
    let command = rebilld(folder.path(), &quick(&sqlite(&folder)), ["serve", "--config", "rebilld.toml"]);
    let mut daemon = Daemon::of(command, folder.path()).await;
    let slow = async |daemon: &Daemon| daemon.get("/v1/dunning-policies/slow").await["steps"][0]["after_days"].clone();
    assert_eq!(slow(&daemon).await, 2);
    let fresh =
        "[log]\nlevel = \"info,rebilld::daemon=debug\"\n[jobs]\ntick = \"2s\"\n[dunning.slow]\nsteps = [{ after_days = 5 }]\n";
    fs::write(&file, fresh).expect("written");
    daemon.running.signal("HUP");
    let line = daemon.running.says("reload: changes of ").await;
    assert!(line.starts_with("jobs") && line.contains("need a restart"), "{line}");
    assert_eq!(slow(&daemon).await, 5);
    fs::write(&file, "[log]\nlevel = \"info\"\n[jobs]\ntock = \"2s\"\n").expect("written");
    daemon.running.signal("HUP");
    let line = daemon.running.says("reload: configuration: ").await;
    assert!(line.contains("jobs.tock is not a setting") && line.contains("everything stays as it is"), "{line}");
    daemon.get("/v1/plans").await;
    fs::remove_file(&file).expect("removed");
    daemon.running.signal("HUP");
    daemon.running.says("cannot read the configuration file").await;
    daemon.get("/v1/plans").await;
    daemon.stops().await;
}
