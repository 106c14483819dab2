//! The unmodified npm package `paylike`, and its own test suite, against the sandbox.

use std::{env, fs, path::Path, process::Stdio, time::Duration};

use tokio::process::Command;

use super::World;

/// How long an installation or a script may take.
const TIMEOUT: Duration = Duration::from_secs(90);
const SCRIPT: &str = include_str!("paylike_client.js");
/// Loaded before the package's own suite, which calls the real address; this sends the calls to the sandbox.
const REDIRECT: &str = include_str!("paylike_redirect.js");

/// Reports that the test was skipped; fails where it must run.
fn left_out(reason: &str) {
    assert!(env::var("CI").as_deref() != Ok("true"), "the Paylike client test must run here: {reason}");
    println!("left out: the unmodified Paylike node client ({reason})");
}

async fn run(program: &str, arguments: &[&str], folder: &Path, url: &str) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env("PAYLIKE_URL", url).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(TIMEOUT, command.output()).await.map_err(|_| format!("{program} did not end"))?;
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(text) } else { Err(text) }
}

#[tokio::test]
async fn the_unmodified_node_client_works() {
    let folder = tempfile::tempdir().expect("folder");
    fs::write(folder.path().join("package.json"), "{}").expect("written");
    // The package's suite needs tape and bluebird, which a plain install leaves out.
    let install = ["install", "paylike@2.0.2", "tape@4", "bluebird@3", "--no-audit", "--no-fund", "--omit=dev"];
    if let Err(reason) = run("npm", &install, folder.path(), "").await {
        return left_out(reason.lines().last().unwrap_or("npm failed"));
    }
    fs::write(folder.path().join("client.js"), SCRIPT).expect("written");
    fs::write(folder.path().join("redirect.js"), REDIRECT).expect("written");

    let world = World::new().await;
    let url = world.running.url();
    let said = run("node", &["client.js"], folder.path(), &url).await.expect("the client's script");
    assert!(said.contains("all good"), "{said}");
    assert_eq!(world.ledger(), ["capture node 100", "capture node 200", "refund node 120"]);

    let suite = ["-r", "./redirect.js", "node_modules/paylike/test/index.js"];
    let said = run("node", &suite, folder.path(), &url).await.expect("the package's own suite");
    assert_eq!((said.matches("\nok ").count(), said.contains("not ok")), (46, false), "{said}");
}
