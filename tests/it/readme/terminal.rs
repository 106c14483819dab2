//! Terminals for a page: a checkout in a temporary folder, programs that stand in for cargo, sudo and systemd, and real shells.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tempfile::TempDir;

use super::page;

const TIMEOUT: Duration = Duration::from_mins(3);

/// cargo, as far as the page uses it to get at the program, which has been built already.
const CARGO: &str = r#"case "$*" in
    "run --locked -- "*) shift 3; exec rebilld "$@" ;;
    "build --locked" | "build --locked --release") exit 0 ;;
esac
echo "cargo $*: no page may run this outside a block for development" >&2
exit 97
"#;

const SUDO: &str = "exec \"$@\"\n";

/// Knows the units that were installed, and does nothing with them.
const SYSTEMCTL: &str = r#"verb=$1; shift
case "$verb" in
    daemon-reload) [[ $# = 0 ]]; exit ;;
    enable | start | stop | restart | reload | status) ;;
    *) echo "systemctl $verb: not known here" >&2; exit 97 ;;
esac
for unit in "$@"; do
    [[ $unit = --now ]] && continue
    unit=${unit%.service}
    case "$unit" in *@*) unit=${unit%%@*}@ ;; esac
    [[ -f $SYSTEM/etc/systemd/system/$unit.service ]] || { echo "there is no unit $unit" >&2; exit 5; }
done
"#;

const JOURNALCTL: &str = "[[ $1 = -u && $# = 2 ]] && exec systemctl status \"$2\"\n";

pub struct Machine {
    folder: TempDir,
    /// Where the API and the sandbox are instead of 8420 and 8001.
    pub api: u16,
    pub sandbox: u16,
}

impl Machine {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("rebilld-readme-").tempdir().expect("a folder");
        // Both held at once, so that they differ.
        let (a, b) = (TcpListener::bind("127.0.0.1:0").expect("a port"), TcpListener::bind("127.0.0.1:0").expect("a port"));
        let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        let machine = Self { api: port(&a), sandbox: port(&b), folder };
        for folder in ["checkout/target/release", "bin", "tmp", "system/usr/bin", "system/etc/systemd/system"] {
            fs::create_dir_all(machine.path(folder)).expect("made");
        }
        let program = Path::new(env!("CARGO_BIN_EXE_rebilld"));
        for link in ["bin/rebilld", "checkout/target/release/rebilld"] {
            symlink(program, machine.path(link)).expect("linked");
        }
        for folder in ["config", "systemd"] {
            symlink(page::path(folder), machine.path("checkout").join(folder)).expect("linked");
        }
        for (name, text) in [("cargo", CARGO), ("sudo", SUDO), ("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)] {
            let file = machine.path("bin").join(name);
            fs::write(&file, format!("#!/usr/bin/env bash\n{text}")).expect("written");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("executable");
        }
        machine
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// A text of the page, with this machine's ports.
    pub fn here(&self, text: &str) -> String {
        text.replace("127.0.0.1:8420", &format!("127.0.0.1:{}", self.api))
            .replace("127.0.0.1:8001", &format!("127.0.0.1:{}", self.sandbox))
    }

    /// A program of this machine, in the checkout, with nobody's settings.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("REBILLD_")) {
            command.env_remove(name);
        }
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .current_dir(self.path("checkout"))
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("HOME", self.path("checkout"))
            .env("TMPDIR", self.path("tmp"))
            .env("SYSTEM", self.path("system"))
            .env("REBILLD_ADMIN__LISTEN", format!("127.0.0.1:{}", self.api))
            .env("LC_ALL", "C.UTF-8")
            .env_remove("RUST_LOG")
            .env_remove("CREDENTIALS_DIRECTORY")
            .stdin(Stdio::null());
        command
    }

    /// Runs a text in a shell of its own; answers what it printed.
    pub fn bash(&self, text: &str) -> String {
        let mut bash = self.command("bash");
        let output = bash.args(["-euo", "pipefail", "-c", &format!("exec 2>&1\n{text}")]).output().expect("bash");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}:\n{text}\nprinted:\n{printed}", output.status);
        printed
    }

    /// Starts a single command that stays up.
    pub fn start(&self, command: &str) -> Terminal {
        let mut bash = self.command("bash");
        Terminal::new(bash.args(["-euc", &format!("exec {command}")]))
    }
}

/// A program that stays up. Killed when it goes out of scope.
pub struct Terminal {
    child: Child,
    printed: Arc<Mutex<String>>,
}

impl Terminal {
    pub fn new(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
        let printed = Arc::new(Mutex::new(String::new()));
        let streams: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("stdout")), Box::new(child.stderr.take().expect("stderr"))];
        for stream in streams {
            let printed = printed.clone();
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let mut printed = printed.lock();
                    printed.push_str(&line);
                    printed.push('\n');
                }
            });
        }
        Self { child, printed }
    }

    pub fn printed(&self) -> String {
        self.printed.lock().clone()
    }

    /// Waits until it has printed this.
    pub fn until(&mut self, text: &str) {
        let begun = Instant::now();
        while !self.printed().contains(text) {
            let ended = self.child.try_wait().expect("a state");
            assert!(ended.is_none() && begun.elapsed() < TIMEOUT, "{text:?} never came, {ended:?}:\n{}", self.printed());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal and waits for the end.
    pub fn end(mut self, signal: &str) -> ExitStatus {
        let id = self.child.id().to_string();
        let sent = Command::new("bash").args(["-c", "kill -\"$0\" \"$1\"", signal, &id]).status().expect("bash");
        assert!(sent.success(), "it was gone already:\n{}", self.printed());
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a state") {
                return status;
            }
            assert!(begun.elapsed() < TIMEOUT, "it does not end:\n{}", self.printed());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One shell that keeps its variables from block to block, as a person's does.
pub struct Shell {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
    script: PathBuf,
}

const END: &str = "--- the end of the block ---";

impl Shell {
    pub fn new(machine: &Machine) -> Self {
        let mut child = machine.command("bash").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bash");
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().expect("stdout"));
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut stdin = child.stdin.take().expect("stdin");
        // The first line that goes wrong ends the shell, and with it the test.
        stdin.write_all(b"exec 2>&1\nset -euo pipefail\nshopt -s inherit_errexit\n").expect("written");
        Self { child, stdin, lines, script: machine.path("tmp/block.sh") }
    }

    /// Runs a block; answers what it printed.
    pub fn run(&mut self, text: &str) -> Result<String, String> {
        fs::write(&self.script, text).expect("written");
        let order = format!("source '{}' </dev/null\necho\necho '{END}'\n", self.script.display());
        self.stdin.write_all(order.as_bytes()).map_err(|error| error.to_string())?;
        let mut printed = String::new();
        loop {
            match self.lines.recv_timeout(TIMEOUT) {
                Ok(line) if line == END => return Ok(printed),
                Ok(line) => printed += &(line + "\n"),
                Err(why) => return Err(format!("{why}, after:\n{printed}")),
            }
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
