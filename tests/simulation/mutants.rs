//! Builds that are broken on purpose: the simulation must see each of them break a promise, or it proves nothing.
//!
//! A mutant is this source with one place replaced, built in a folder of its own against the same target folder, so that only this
//! crate is built again.

mod others;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The seeds that each mutant is run on, and that the sound build passes.
const SEEDS: &str = "0..400";

struct Mutant {
    name: &'static str,
    patches: &'static [Patch],
}

struct Patch {
    file: &'static str,
    find: &'static str,
    replace: &'static str,
}

const SOURCE: &str = env!("CARGO_MANIFEST_DIR");

/// What a build of the library and this test needs. Without a `main.rs` there is no program to build beside it.
const COPIED: &[&str] =
    &["Cargo.toml", "Cargo.lock", "src", "migrations", "config", "benches", "tests/it/main.rs", "tests/simulation"];
const LEFT_OUT: &[&str] = &["src/main.rs", "tests/simulation/mutants.rs", "tests/simulation/mutants"];

impl Mutant {
    fn must_be_caught(&self) {
        match self.run(SEEDS) {
            Ok(caught) => println!("mutant `{}` is caught: {caught}", self.name),
            Err(words) => panic!("mutant `{}`: {words}", self.name),
        }
    }

    fn applies(&self) -> Result<(), String> {
        for patch in self.patches {
            let text =
                fs::read_to_string(Path::new(SOURCE).join(patch.file)).map_err(|error| format!("{}: {error}", patch.file))?;
            if text.matches(patch.find).count() != 1 {
                return Err(format!("its patch does not apply: {} must have this exactly once:\n{}", patch.file, patch.find));
            }
        }
        Ok(())
    }

    /// The words by which it is caught, or why it is not.
    fn run(&self, seeds: &str) -> Result<String, String> {
        // One at a time, also among processes: they share a folder.
        let building = fs::File::create(target().join("tmp/mutant.lock")).expect("a file");
        building.lock().expect("locked");
        self.applies()?;
        let folder = target().join("tmp/mutant");
        for name in COPIED {
            copy(&Path::new(SOURCE).join(name), &folder.join(name), name, self);
        }
        let built = cargo(&folder).arg("--no-run").output().expect("cargo runs");
        if !built.status.success() {
            return Err(format!("it cannot be built:\n{}", String::from_utf8_lossy(&built.stderr)));
        }
        let run = cargo(&folder)
            .args(["simulation::no_seed", "--", "--nocapture"])
            .env("REBILLD_SIM_SEEDS", seeds)
            .output()
            .expect("cargo runs");
        let words = String::from_utf8_lossy(&run.stdout).into_owned();
        if run.status.success() {
            return Err(format!("it lives: no promise was seen broken on the seeds {seeds}\n{words}"));
        }
        let caught = words.lines().find(|line| line.starts_with("seed ") && line.contains(" broken promise: "));
        caught.map(str::to_owned).ok_or_else(|| format!("it fails, but not by a broken promise:\n{words}"))
    }

    /// The text of a file as the mutant has it.
    fn mutated(&self, name: &str, text: String) -> String {
        let patches = self.patches.iter().filter(|patch| patch.file == name);
        let text = patches.fold(text, |text, patch| text.replacen(patch.find, patch.replace, 1));
        match name {
            // It has no program.
            "Cargo.toml" => {
                let text = text.replace("default-run = \"rebilld\"\n", "");
                text.split("\n\n").filter(|section| !section.starts_with("[[bin]]")).collect::<Vec<_>>().join("\n\n")
            }
            // Of the tests it has the simulation.
            "tests/it/main.rs" => "#[path = \"../simulation/mod.rs\"]\nmod simulation;\n".to_owned(),
            // And no mutants of its own.
            "tests/simulation/mod.rs" => text.lines().filter(|line| *line != "mod mutants;").collect::<Vec<_>>().join("\n"),
            _ => text,
        }
    }
}

/// The target folder of this very build.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("tmp lies in the target folder").to_owned()
}

fn cargo(folder: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(folder).args(["test", "--offline", "--locked", "--test", "it"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    // The next mutant differs in one place.
    command.env("CARGO_INCREMENTAL", "1").env("CARGO_TARGET_DIR", target()).env_remove("REBILLD_SIM_SEEDS");
    command
}

/// Copies what differs, so that cargo builds again only what has to be. What is gone from the sources goes from the copy.
fn copy(from: &Path, to: &Path, name: &str, mutant: &Mutant) {
    if LEFT_OUT.contains(&name) {
        return;
    }
    if from.is_dir() {
        fs::create_dir_all(to).expect("a folder");
        let names = |folder: &Path| -> Vec<String> {
            let entries = fs::read_dir(folder).expect("a folder").flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
        };
        for gone in names(to).into_iter().filter(|entry| !from.join(entry).exists()) {
            let path = to.join(gone);
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("removed");
        }
        for entry in names(from) {
            copy(&from.join(&entry), &to.join(&entry), &format!("{name}/{entry}"), mutant);
        }
        return;
    }
    let text = mutant.mutated(name, fs::read_to_string(from).expect("a text"));
    if fs::read_to_string(to).is_ok_and(|there| there == text) {
        return;
    }
    fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
    fs::write(to, text).expect("written");
}

const CALL_BEFORE_COMMIT: Mutant = Mutant {
    name: "call before commit",
    patches: &[Patch {
        file: "src/billing/collection/claim.rs",
        find: "        let to_void = self.authorized.close(&mut tx).await?;
        tx.commit().await?;
",
        replace: "        let to_void = self.authorized.close(&mut tx).await?;
        for payment in &self.payments {
            if let Some(gateway) = self.app.gateways.get(&payment.gateway) {
                gateway.adapter.charge(&crate::billing::payments::call::charge_of(payment)).await;
            }
        }
        tx.commit().await?;
",
    }],
};

const RETRY_ON_UNKNOWN: Mutant = Mutant {
    name: "retry on unknown",
    patches: &[Patch {
        file: "src/domain/payment/transition/open.rs",
        find: "        Outcome::Unknown { message } => on_unknown(payment, message, facts),
",
        replace: "        Outcome::Unknown { message } => {
            let mut payment = payment;
            payment.resolve(PaymentStatus::GatewayError, None, facts.now);
            payment.decline_message = Some(message.clone());
            Transition::to(payment).effect(Effect::GatewayFault(None))
        }
",
    }],
};

const NO_SECOND_LOOK: Mutant = Mutant {
    name: "no second look after a cancellation",
    patches: &[Patch {
        file: "src/billing/payments/batch.rs",
        find: "subscription.is_some_and(|it| it.status == SubscriptionStatus::Cancelled && !is_reopened(it.cancelled_at))",
        replace: "false && subscription.is_some_and(|it| it.status == SubscriptionStatus::Cancelled && !is_reopened(it.cancelled_at))",
    }],
};

#[test]
#[ignore = "builds the crate again: for .ci/run and for the nightly profile of nextest"]
fn a_call_before_the_commit_is_caught() {
    CALL_BEFORE_COMMIT.must_be_caught();
}

#[test]
#[ignore = "builds the crate again: for .ci/run and for the nightly profile of nextest"]
fn a_retry_on_unknown_is_caught() {
    RETRY_ON_UNKNOWN.must_be_caught();
}

#[test]
#[ignore = "builds the crate again: for .ci/run and for the nightly profile of nextest"]
fn no_second_look_after_a_cancellation_is_caught() {
    NO_SECOND_LOOK.must_be_caught();
}

/// They are built seldom: whoever changes a line that one of them replaces is told at once.
#[test]
fn every_patch_applies() {
    let all = [CALL_BEFORE_COMMIT, RETRY_ON_UNKNOWN, NO_SECOND_LOOK].into_iter().chain(others::all());
    let stale: Vec<String> =
        all.filter_map(|mutant| mutant.applies().err().map(|why| format!("mutant `{}`: {why}", mutant.name))).collect();
    assert!(stale.is_empty(), "{}", stale.join("\n"));
}
