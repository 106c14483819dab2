//! A start that cannot succeed: one sentence, an exit code, no secret shown, and nothing touched.

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::Command,
};

use rebilld::store::Db;

use super::*;
use crate::postgres;

const SECRET: &str = "s3cret-never-shown";

/// Every file below a folder with what is in it.
fn everything(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = fs::read_dir(folder).expect("folder").flatten().map(|entry| entry.path()).filter(|path| path.is_file());
    files.map(|path| (path.clone(), fs::read(path).expect("read"))).collect()
}

/// Runs what must be refused. Asserts one line that holds all of these words, and that the folder is as it was.
#[track_caller]
fn refused(folder: &Path, command: Command, words: &[&str]) {
    let before = everything(folder);
    let ended = ended(command);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.out, "", "{ended:?}");
    assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    assert!(ended.err.starts_with("error: "), "{ended:?}");
    for word in words {
        assert!(ended.err.contains(word), "no {word:?} in {ended:?}");
    }
    assert!(!ended.err.contains(SECRET), "{ended:?}");
    assert!(everything(folder) == before, "something was touched: {:?}", everything(folder).keys());
}

/// Settings that would start; what is wrong is laid over them.
fn wrong<const N: usize>(folder: &TempDir, pairs: [(&str, &str); N]) -> Settings {
    let mut all = quick(&sqlite(folder));
    all.insert("admin.bootstrap_key".to_owned(), SECRET.to_owned());
    all.extend(settings(pairs));
    all
}

fn serve(folder: &TempDir, settings: &Settings) -> Command {
    rebilld(folder.path(), settings, ["serve"])
}

#[test]
fn bad_settings_are_named_with_their_source() {
    let folder = folder();
    let env = |pairs: [(&str, &str); 1]| serve(&folder, &wrong(&folder, pairs));
    let curency = ["billing.curency is not a setting", "allowed here: currency", "REBILLD_BILLING__CURENCY"];
    refused(folder.path(), env([("billing.curency", "USD")]), &curency);
    let batch = ["billing.batch must be a whole number, not a text", "REBILLD_BILLING__BATCH"];
    refused(folder.path(), env([("billing.batch", "many")]), &batch);

    let file = folder.path().join("rebilld.toml");
    let with_file = |text: &str| {
        fs::write(&file, text).expect("written");
        rebilld(folder.path(), &wrong(&folder, []), [OsStr::new("serve"), OsStr::new("--config"), file.as_os_str()])
    };
    refused(folder.path(), with_file("[admin]\nport = 1\n"), &["admin.port is not a setting", "rebilld.toml"]);
    refused(folder.path(), with_file("[jobs]\ntick = true\n"), &["jobs.tick", "rebilld.toml"]);
    let broken = format!("[gateways.fluid]\napi_key = \"{SECRET}\" oops\n");
    refused(folder.path(), with_file(&broken), &["rebilld.toml is not valid TOML", "line 2"]);
    let paylike = format!(
        "[gateways.paylike]\nkind = \"paylike\"\nmode = \"test\"\nbase_url = \"http://127.0.0.1:1\"\napi_key = \"{SECRET}\"\n"
    );
    refused(folder.path(), with_file(&paylike), &["gateways.paylike.merchant_id is missing"]);

    let missing = rebilld(folder.path(), &wrong(&folder, []), ["serve", "--config", "nowhere.toml"]);
    refused(folder.path(), missing, &["cannot read the configuration file nowhere.toml", "No such file"]);
}

#[test]
fn all_faults_are_named_at_once_whatever_their_kind() {
    let folder = folder();
    let file = folder.path().join("rebilld.toml");
    fs::write(
        &file,
        format!(
            "[billing]\nbatch = \"x\"\ncurency = \"USD\"\n[widgets]\na = 1\n[gateways.a]\nkind = \"visa\"\napi_key = \"{SECRET}\"\n\
             [gateways.b]\nkind = \"paylike\"\nmode = \"test\"\nbase_url = \"nowhere\"\napi_key = \"{SECRET}\"\nmerchant_id = \"m\"\n"
        ),
    )
    .expect("written");
    let env = wrong(
        &folder,
        [
            ("jobs.tick", "soon"),
            ("jobs.drain", "0s"),
            ("collection.retry_days", "3,1"),
            ("log.level", "loud,,=="),
            ("admin.listen", "here"),
        ],
    );
    let mut command = rebilld(folder.path(), &env, ["serve", "--config", "rebilld.toml"]);
    command.env("REBILLD_LOG_LEVEL", "info");
    let words = [
        "REBILLD_LOG_LEVEL has no effect",
        "billing.batch must be a whole number",
        "billing.curency is not a setting",
        "widgets is not a setting",
        "gateways.a.kind cannot be \"visa\"",
        "gateways.a.mode is missing",
        "gateways.a.base_url is missing",
        "gateways.b.base_url must be an http or https address",
        "jobs.tick",
        "collection.retry_days must be rising",
        "admin.listen",
    ];
    refused(folder.path(), command, &words);
}

#[test]
fn a_taken_port_is_found_before_the_database_is_made() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = taken.local_addr().expect("address").to_string();
    let command = serve(&folder, &wrong(&folder, [("admin.listen", &addr)]));
    refused(folder.path(), command, &["admin.listen", &addr, "is taken by another program", "choose another"]);
}

#[test]
fn an_unreachable_postgresql_is_named_without_its_password() {
    let folder = folder();
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("address");
    let url = format!("postgres://bill:{SECRET}@127.0.0.1:1/bills");
    let settings = wrong(&folder, [("database.url", &url), ("admin.listen", &free.to_string())]);
    let words = ["database.url postgres://bill:***@127.0.0.1:1/bills", "Connection refused", "see that PostgreSQL is running"];
    for command in ["serve", "migrate", "check"] {
        refused(folder.path(), rebilld(folder.path(), &settings, [command]), &words);
        TcpListener::bind(free).expect("the port is free again");
    }
}

#[test]
fn a_file_that_is_no_database_of_ours_is_left_alone() {
    let folder = folder();
    for (url, words) in [
        (format!("sqlite://{}/no/rebilld.db", folder.path().display()), ["database.url", "no does not exist: make it first"]),
        (format!("sqlite://{}", folder.path().display()), ["database.url", "is a folder, not a database file"]),
    ] {
        refused(folder.path(), serve(&folder, &wrong(&folder, [("database.url", &url)])), &words);
    }
    fs::write(folder.path().join("rebilld.db"), "not a database, but a text that is long enough. ".repeat(40)).expect("written");
    for command in ["serve", "migrate", "check", "keys list"] {
        let command = rebilld(folder.path(), &wrong(&folder, []), command.split(' '));
        refused(folder.path(), command, &["database.url", "rebilld.db", "the file is no SQLite database: move it away"]);
    }
    // An empty file is a database that nobody has migrated: looking at it must not make it one.
    fs::write(folder.path().join("rebilld.db"), "").expect("written");
    for command in ["check", "keys list"] {
        let command = rebilld(folder.path(), &wrong(&folder, []), command.split(' '));
        refused(folder.path(), command, &["is not migrated: run `rebilld migrate`"]);
    }
}

#[test]
fn a_file_that_may_not_be_read_says_so() {
    let folder = folder();
    let file = folder.path().join("rebilld.db");
    fs::write(&file, "").expect("written");
    let mut command = serve(&folder, &wrong(&folder, []));
    if fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("\nUid:\t0\t")) {
        // Root may read everything; nobody may not even reach a program in a private folder.
        let program = folder.path().join("rebilld");
        fs::copy(env!("CARGO_BIN_EXE_rebilld"), &program).expect("copied");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("set");
        command = Command::new(program);
        command.arg("serve").env_clear().uid(65534).gid(65534).current_dir(folder.path());
        command.env("REBILLD_DATABASE__URL", sqlite(&folder)).env("REBILLD_ADMIN__LISTEN", "127.0.0.1:0");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("set");
        refused(folder.path(), command, &["rebilld.db", "cannot be opened", "the right to read and write"]);
    } else {
        fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).expect("set");
        let ended = ended(command);
        assert!(ended.code == Some(1) && ended.err.contains("the right to read and write"), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_from_a_newer_version_is_left_alone() {
    let folder = folder();
    let mut urls = vec![sqlite(&folder)];
    urls.extend(postgres::fresh_database().await);
    for url in urls {
        ended(rebilld(folder.path(), &quick(&url), ["migrate"])).ok();
        let db = Db::open(&url, 2, false).await.expect("database");
        let mut tx = db.begin().await.expect("tx");
        tx.query(
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
             select 9999, 'later', success, checksum, execution_time from _sqlx_migrations where version = 1",
        )
        .run()
        .await
        .expect("inserted");
        tx.commit().await.expect("commit");
        db.close().await;
        let words = ["database.url", "migrated by a newer rebilld", "9999", "install that version, or restore a backup"];
        for command in ["serve", "migrate", "check", "keys list"] {
            let command = rebilld(folder.path(), &wrong(&folder, [("database.url", &url)]), command.split(' '));
            refused(folder.path(), command, &words);
        }
    }
}
