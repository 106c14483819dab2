//! Follows the pages about systemd on a machine of its own, and starts the daemon as the installed unit would.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use super::{
    page::{Kind, Page, inline_code},
    terminal::{Machine, Terminal},
};

#[test]
fn a_machine_set_up_by_the_pages_runs_the_daemon() {
    let machine = Machine::new();
    let system = machine.path("system");
    let here = |path: &str| format!("{}{path}", system.display());
    let (one, several) = (Page::read("docs/systemd.md"), Page::read("docs/several-daemons.md"));
    assert_eq!(several.setup().as_deref(), Some(one.name.as_str()), "the second page goes on from the first");
    for page in [one, several] {
        let installs: Vec<_> = page.blocks().into_iter().filter(|block| block.kind == Kind::Install).collect();
        assert!(!installs.is_empty(), "{} says how to install", page.name);
        let prose = page.prose();
        let orders = inline_code(&prose).into_iter().filter(|code| code.starts_with("systemctl "));
        for text in installs.iter().map(|block| block.text.as_str()).chain(orders) {
            machine.bash(&text.replace("/usr/", &here("/usr/")).replace("/etc/", &here("/etc/")));
        }
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
