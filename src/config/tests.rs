//! Guards against a misspelt setting that is silently ignored, and against a secret that shows.

use std::{collections::BTreeSet, io::Write, path::Path};

use super::*;

const NOTHING: [(&str, &str); 0] = [];

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("temporary file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

fn from_file(text: &str) -> Result<Config, String> {
    let file = file(text);
    let shown = file.path().display().to_string();
    load_from(Some(file.path()), NOTHING, None).map_err(|e| e.to_string().replace(&shown, "FILE"))
}

fn from_env(variables: &[(&str, &str)]) -> Result<Config, String> {
    load_from(None, variables.iter().copied(), None).map_err(|e| e.to_string())
}

const FLUID: [(&str, &str); 4] = [
    ("REBILLD_GATEWAYS__FLUID__KIND", "fluidpay"),
    ("REBILLD_GATEWAYS__FLUID__MODE", "test"),
    ("REBILLD_GATEWAYS__FLUID__BASE_URL", "http://127.0.0.1:8001/api/"),
    ("REBILLD_GATEWAYS__FLUID__API_KEY", "0123"),
];

/// The lines `#key = …` and `#[table]` without their `#`.
fn examples() -> String {
    let on =
        |line: &'static str| line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()));
    let examples = DEFAULTS.lines().filter_map(on).collect::<Vec<_>>().join("\n");
    examples.replace("us = ", "[billing.holidays]\nus = ")
}

#[test]
fn the_default_file_holds_every_key() {
    // No plain section has serde defaults and all refuse unknown keys, so that reading it proves both directions.
    let config = Config::defaults();
    assert_eq!(config.validate(), vec![]);
    assert_eq!(config.database.url.expose_secret(), "sqlite://rebilld.db");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:8420");
    assert_eq!(config.billing.bill_at.to_string(), "06:00:00");
    assert_eq!(config.billing.timezone, Tz::UTC);
    assert_eq!((config.billing.catch_up, config.billing.catch_up_limit, config.billing.batch), (CatchUp::BillAll, 3, 500));
    assert_eq!(config.installments.default_after, 3);
    let seconds = |list: &[TimeDelta]| list.iter().map(TimeDelta::num_seconds).collect::<Vec<_>>();
    assert_eq!(seconds(&config.collection.lookup_backoff), [60, 300, 3600, 86_400]);
    assert_eq!(config.collection.refused_after, TimeDelta::days(2));
    assert_eq!(seconds(&config.collection.gateway_fault_backoff), [60, 300, 900, 3600, 21_600, 86_400]);
    assert_eq!(
        (config.collection.retry_days.as_slice(), config.collection.final_action),
        (&[1, 3, 5, 7][..], FinalAction::Cancel)
    );
    assert_eq!(config.jobs.keep_runs, TimeDelta::days(30));
    assert!(config.gateways.is_empty() && config.billing.holidays.is_empty());
    assert!(config.instance_name().ends_with(":8420"));
}

#[test]
fn systemd_waits_longer_than_the_drain() {
    for unit in [include_str!("../../systemd/rebilld.service"), include_str!("../../systemd/rebilld@.service")] {
        let wait = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).expect("a bound on stopping");
        let wait = Duration::from_secs(wait.trim_end_matches('s').parse().expect("seconds"));
        assert!(wait > Config::defaults().jobs.drain, "systemd would kill calls in flight");
    }
}

#[test]
fn every_setting_is_explained() {
    let (mut comment_above, mut explained) = (false, BTreeSet::new());
    for line in DEFAULTS.lines() {
        let line = line.strip_prefix('#').filter(|l| !l.starts_with(' ')).unwrap_or(line);
        if let Some((key, rest)) = line.split_once(" = ") {
            let stands_for = key.strip_suffix("_file").is_some_and(|of| explained.contains(of));
            assert!(rest.contains(" # ") || comment_above || stands_for || key == "us", "`{key}` has no comment");
            explained.insert(key);
        }
        comment_above = line.starts_with("# ");
    }
}

#[test]
fn the_gateway_example_holds_every_key_and_works() {
    let fault = from_file("[gateways.a]\nnope = 1").expect_err("unknown key");
    let keys = fault.split("allowed here: ").nth(1).and_then(|rest| rest.split(')').next()).expect("the list of keys");
    for key in keys.split(", ") {
        assert!(DEFAULTS.contains(&format!("\n#{key} = ")), "config/rebilld.toml does not show gateways.<name>.{key}");
    }
    let text = examples();
    assert!(text.contains("[gateways.fluid]"), "{text}");
    let key = file("s3cret\n");
    let text = text.replace("\"secret_fluid\"", &format!("{:?}", key.path().display().to_string()));
    let config = from_file(&text).expect("the example is good");
    assert_eq!(config.gateways["fluid"].api_key.expose_secret(), "s3cret");
    assert_eq!(
        (config.gateways["fluid"].timeout, config.gateways["fluid"].max_in_flight),
        (default_timeout(), default_in_flight())
    );
    assert_eq!((config.billing.holidays["us"].len(), config.billing.holidays["denmark"].len()), (2, 4));
}

#[test]
fn later_layers_win() {
    let file = file(
        "[billing]\ncurrency = \"EUR\"\ntimezone = \"Europe/Berlin\"\n[gateways.fluid]\nkind = \"fluidpay\"\nmode = \"live\"\nbase_url = \"https://a.example\"\napi_key = \"from-file\"\n",
    );
    let variables = [
        ("REBILLD_BILLING__CURRENCY", "CHF"),
        ("REBILLD_GATEWAYS__FLUID__MODE", "test"),
        ("REBILLD_ADMIN__BOOTSTRAP_KEY", "boot"),
    ];
    let config = load_from(Some(file.path()), variables, None).expect("good");
    assert_eq!(config.billing.currency.code(), "CHF");
    assert_eq!(config.billing.timezone.name(), "Europe/Berlin");
    assert_eq!(config.billing.batch, 500);
    assert_eq!(config.gateways["fluid"].mode, Mode::Test);
    assert_eq!(config.gateways["fluid"].api_key.expose_secret(), "from-file");
    assert_eq!(config.admin.bootstrap_key.expose_secret(), "boot");
}

#[test]
fn a_variable_takes_the_type_of_its_key() {
    let mut variables = FLUID.to_vec();
    variables.extend([
        ("REBILLD_GATEWAYS__FLUID__MAX_IN_FLIGHT", "7"),
        ("REBILLD_GATEWAYS__FLUID__MERCHANT_ID", "0042"),
        ("REBILLD_ADMIN__BOOTSTRAP_KEY", "true"),
        ("REBILLD_DATABASE__MAX_CONNECTIONS", "20"),
        ("REBILLD_COLLECTION__RETRY_DAYS", "2,4"),
        ("REBILLD_COLLECTION__LOOKUP_BACKOFF", "[\"1s\", \"2s\"]"),
        ("REBILLD_BILLING__HOLIDAYS__DE", "2026-12-25"),
        ("REBILLD_INSTANCE__NAME", "1"),
        ("REBILLD_TEST_POSTGRES_URL", "not a setting"),
        ("HOME", "/root"),
    ]);
    let config = from_env(&variables).expect("good");
    let fluid = &config.gateways["fluid"];
    assert_eq!((fluid.api_key.expose_secret(), fluid.merchant_id.as_str(), fluid.max_in_flight), ("0123", "0042", 7));
    assert_eq!(fluid.base_url, "http://127.0.0.1:8001/api");
    assert_eq!((config.admin.bootstrap_key.expose_secret(), config.database.max_connections), ("true", 20));
    assert_eq!((config.collection.retry_days.as_slice(), config.collection.lookup_backoff.len()), (&[2, 4][..], 2));
    assert_eq!((config.billing.holidays["de"].len(), config.instance_name().as_str()), (1, "1"));
    // In a file, too, a merchant id may be a bare number.
    let numeric =
        from_file("[gateways.p]\nkind = \"paylike\"\nmode = \"test\"\nbase_url = \"http://h\"\napi_key = 77\nmerchant_id = 12");
    assert_eq!(numeric.expect("good").gateways["p"].merchant_id, "12");
}

#[test]
fn unknown_settings_are_refused_by_name() {
    for (text, expected) in [
        ("databse = 1", "databse is not a setting (allowed here: database, admin"),
        ("[admin]\nlitsen = \"x\"", "admin.litsen is not a setting (allowed here: listen, bootstrap_key"),
        ("[gateways.fluid]\napi_kee = \"hunter2\"", "gateways.fluid.api_kee is not a setting (allowed here: kind"),
    ] {
        let fault = from_file(text).expect_err(text);
        assert!(fault.contains(expected) && fault.ends_with(", in FILE") && !fault.contains("hunter2"), "{fault}");
    }
    for (name, expected) in [
        ("REBILLD_DATABSE__URL", "databse is not a setting (allowed here: database"),
        ("REBILLD_DATABASE__URI", "database.uri is not a setting (allowed here: url"),
        ("REBILLD_GATEWAYS__FLUID__API_KEE", "gateways.fluid"),
        ("REBILLD_DATABASE_URL", "has no effect: write REBILLD_DATABASE__URL"),
        ("REBILLD_GATEWAYS_FLUID_API_KEY", "has no effect"),
        ("REBILLD___URL", "is not a setting"),
        ("REBILLD_DATABASE__", "is not a setting"),
    ] {
        let fault = from_env(&[(name, "hunter2")]).expect_err(name);
        assert!(fault.contains(expected) && fault.contains(name) && !fault.contains("hunter2"), "{fault}");
    }
}

#[test]
fn every_bad_value_is_one_sentence_that_names_key_and_remedy() {
    for (text, expected) in [
        ("[admin]\nlisten = \"8420\"", "admin.listen must be an address and port such as 127.0.0.1:8420, not \"8420\", in FILE"),
        (
            "[billing]\ntimezone = \"Mars\"",
            "billing.timezone must be an IANA time zone such as Europe/Berlin, not \"Mars\", in FILE",
        ),
        ("[billing]\nbill_at = \"6\"", "billing.bill_at must be a time of day such as 06:00, not \"6\", in FILE"),
        ("[billing]\ncurrency = \"ZZZ\"", "billing.currency must be an ISO 4217 currency code such as USD, in FILE"),
        ("[billing]\ncatch_up = \"all\"", "billing.catch_up cannot be \"all\" (allowed: bill_all, bill_current, skip), in FILE"),
        ("[billing]\nbatch = \"many\"", "billing.batch must be a whole number, not a text, in FILE"),
        ("[billing.holidays]\nus = [\"25.12.\"]", "billing.holidays must hold dates such as 2026-12-25, not \"25.12.\", in FILE"),
        ("[collection]\nlease = \"101years\"", "collection.lease must be at most 36500d, in FILE"),
        ("[collection]\nlookup_backoff = [\"1m\", \"101years\"]", "collection.lookup_backoff must be at most 36500d, in FILE"),
        ("[jobs]\ntick = \"soon\"", "jobs.tick must be a duration, not \"soon\", in FILE"),
        (
            "[gateways.a]\nkind = \"stripe\"",
            "gateways.a.kind cannot be \"stripe\" (allowed: fluidpay, paylike, paysley, sandbox), in FILE; \
             gateways.a.mode is missing, in FILE; gateways.a.base_url is missing, in FILE",
        ),
        ("[gateways.a]\nkind = \"sandbox\"\nmode = \"test\"", "gateways.a.base_url is missing, in FILE"),
    ] {
        assert_eq!(from_file(text).expect_err(text), format!("configuration: {expected}"));
    }
    let fault = from_env(&FLUID[..1]).expect_err("only a kind");
    let mode = "configuration: gateways.fluid.mode is missing, by the environment variable REBILLD_GATEWAYS__FLUID__KIND; ";
    assert!(fault.starts_with(mode), "{fault}");
    let fault = load_from(Some(Path::new("/nowhere/rebilld.toml")), NOTHING, None).expect_err("no file").to_string();
    assert!(fault.contains("cannot read the configuration file /nowhere/rebilld.toml: No such file"), "{fault}");
}

#[test]
fn every_semantic_fault_is_named_and_all_at_once() {
    let gateway = |lines: &str| {
        format!("[gateways.g]\nkind = \"fluidpay\"\nmode = \"live\"\nbase_url = \"https://h\"\napi_key = \"k\"\n{lines}")
    };
    let swapped = |from: &str, to: &str| gateway("").replace(from, to);
    for (text, expected) in [
        ("[database]\nurl = \"mysql://h\"".to_owned(), "database.url must begin with sqlite:// or postgres://"),
        ("[database]\nmax_connections = 0".into(), "database.max_connections must be at least 1"),
        (
            "[admin]\npublic_url = \"billing.example.com\"".into(),
            "admin.public_url must be an http or https address such as https://billing.example.com",
        ),
        ("[collection]\npayment_request_expires = \"0s\"".into(), "collection.payment_request_expires must be longer than 0s"),
        (
            "[collection]\npayment_request_reminders = [\"10d\", \"3d\"]".into(),
            "collection.payment_request_reminders must be rising durations such as [\"3d\", \"10d\"]",
        ),
        ("[collection]\npayment_request_poll = []".into(), "collection.payment_request_poll must hold at least one duration"),
        (
            "[collection]\npayment_request_gateway = \"nobody\"".into(),
            "collection.payment_request_gateway must name a configured gateway of the kind paysley or paylike",
        ),
        ("[billing]\nbatch = 0".into(), "billing.batch must be from 1 to 1000"),
        ("[billing]\nbatch = 1001".into(), "billing.batch must be from 1 to 1000"),
        ("[collection]\nlease = \"0s\"".into(), "collection.lease must be longer than 0s"),
        ("[collection]\nrefused_after = \"0s\"".into(), "collection.refused_after must be longer than 0s"),
        ("[collection]\nlookup_backoff = []".into(), "collection.lookup_backoff must hold at least one duration"),
        ("[collection]\ngateway_fault_backoff = []".into(), "collection.gateway_fault_backoff must hold at least one duration"),
        ("[collection]\nlookup_backoff = [\"0s\"]".into(), "collection.lookup_backoff must hold durations longer than 0s"),
        (
            "[collection]\nretry_days = [3, 1]".into(),
            "collection.retry_days must be rising whole days from 1, such as [1, 3, 5, 7]",
        ),
        ("[jobs]\ntick = \"0s\"".into(), "jobs.tick must be longer than 0s"),
        ("[log]\nlevel = \"a=b=c\"".into(), "log.level must be error, warn, info, debug, trace or a list of filters"),
        (swapped("[gateways.g]", "[gateways.G]"), "gateways.G is no usable name: take a-z, 0-9, `-` and single `_`"),
        (swapped("https://h", "ftp://h"), "gateways.g.base_url must be an http or https address such as https://host/api"),
        (swapped("https://h", "https://me:pw@h"), "gateways.g.base_url must be a bare address"),
        (swapped("https://h", "http://h"), "gateways.g.base_url must be https in live mode"),
        (swapped("\"k\"", "\"\""), "gateways.g.api_key is missing: set it, or name a file in api_key_file"),
        (swapped("\"k\"", "\"k k\""), "gateways.g.api_key must be printable ASCII without spaces"),
        (swapped("fluidpay", "paylike"), "gateways.g.merchant_id is missing: Paylike needs one"),
        (gateway("timeout = \"0s\""), "gateways.g.timeout must be longer than 0s"),
        (gateway("max_in_flight = 0"), "gateways.g.max_in_flight must be at least 1"),
        (gateway("api_key_file = \"k\""), "gateways.g.api_key and gateways.g.api_key_file are both set: keep one of them"),
    ] {
        let fault = from_file(&text).expect_err(&text);
        assert!(fault.starts_with(&format!("configuration: {expected}")), "{text}\n{fault}");
    }
    for fine in ["http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1"] {
        from_file(&swapped("https://h", fine)).expect(fine);
    }
    let several = from_file("[billing]\nbatch = 0\n[jobs]\ntick = \"0s\"").expect_err("two faults");
    assert_eq!(several, "configuration: billing.batch must be from 1 to 1000; jobs.tick must be longer than 0s");
    let slow = from_file(&gateway("timeout = \"2m\"")).expect("a warning stops nothing");
    let warnings = slow.validate();
    assert_eq!((warnings.len(), warnings[0].severity), (1, Severity::Warning));
    assert_eq!(
        warnings[0].to_string(),
        "gateways.g.timeout should be shorter than collection.lease (60s): slow calls will be looked up while they still run"
    );
}

#[test]
fn secrets_come_from_credentials_first() {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("db"), "postgres://u:pw@h/d\n").expect("written");
    std::fs::write(folder.path().join("key"), "007\r\n").expect("written");
    std::fs::write(folder.path().join("empty"), "\n").expect("written");
    let load =
        |variables: &[(&str, &str)]| load_from(None, variables.iter().copied(), Some(folder.path())).map_err(|e| e.to_string());
    let config = load(&[("REBILLD_DATABASE__URL_FILE", "db"), ("REBILLD_ADMIN__BOOTSTRAP_KEY_FILE", "key")]).expect("good");
    assert_eq!(config.database.url.expose_secret(), "postgres://u:pw@h/d");
    assert_eq!(config.admin.bootstrap_key.expose_secret(), "007");
    assert_eq!(config.database.shown(), "postgres://u:***@h/d");
    let missing = load(&[("REBILLD_ADMIN__BOOTSTRAP_KEY_FILE", "/nowhere/k")]).expect_err("no such file");
    assert!(missing.contains("admin.bootstrap_key_file: cannot read /nowhere/k"), "{missing}");
    let empty = load(&[("REBILLD_ADMIN__BOOTSTRAP_KEY_FILE", "empty")]).expect_err("empty");
    assert!(empty.ends_with("is empty"), "{empty}");
}

#[test]
fn secrets_never_show() {
    let mut variables = FLUID.to_vec();
    variables[3].1 = "hunter2";
    variables.extend([("REBILLD_ADMIN__BOOTSTRAP_KEY", "hunter2"), ("REBILLD_DATABASE__URL", "postgres://u:hunter2@h/d")]);
    let config = from_env(&variables).expect("good");
    let shown = format!("{config:?} {:#?} {}", config, config.database.shown());
    assert!(!shown.contains("hunter2"), "{shown}");
    for text in [
        "[gateways]\napi_key = \"hunter2\"",
        "[admin]\nlisten = \"1.1.1.1:1\"\nbootstrap_key = \"hunter2",
        "[database]\nmax_connections = \"hunter2\"",
        "[database]\nurl = \"hunter2\"",
        "[gateways.g]\nkind = \"paysley\"\nmode = \"test\"\nbase_url = \"https://u:hunter2@h\"\napi_key = \"hunter2 \"",
    ] {
        let fault = from_file(text).expect_err(text);
        assert!(!fault.contains("hunter2") && fault.contains("FILE") != text.contains("url ="), "{fault}");
    }
}

#[test]
fn policies_and_caps_are_read_and_their_faults_named_together() {
    let text = "[collection]\ndunning_policy = \"nobody\"\n[collection.caps]\n7d = 5\n30d = 0\n\
        [dunning.own]\nsteps = [{ after_days = 2 }, { after_days = 2 }, { after_days = 1 }]\n\
        [dunning.own.by_class.hard]\nsteps = [{ after_days = 3 }, { after_days = 3, at = \"05:00\" }]\n[dunning.Bad]\nsteps = []\n";
    let error = from_file(text).expect_err("refused");
    for sentence in [
        "collection.dunning_policy must name a policy of the settings, [dunning.<name>]: there are Bad, own",
        "dunning.Bad is no usable name",
        "dunning.own.steps[1].after_days must rise",
        "dunning.own.steps[2].after_days must rise",
        "dunning.own.by_class.hard.steps[1].after_days must rise",
    ] {
        assert!(error.contains(sentence), "{sentence}: {error}");
    }
    for (wrong, named) in [
        ("[collection.caps]\nsoon = 2\n", "soon"),
        ("[collection.caps]\n1d = 2\n", "names one time twice"),
        ("[dunning.own]\nsteps = [{ after_days = 1, at = \"6:00\" }]\n", "06:00"),
        ("[dunning.own]\nsteps = [{ after_days = 1, channels = [\"fax\"] }]\n", "fax"),
        ("[dunning.own]\nsteps = [{ days = 1 }]\n", "days"),
    ] {
        let error = from_file(wrong).expect_err(wrong);
        assert!(error.contains(named), "{wrong}: {error}");
    }
    let caps = |config: &Config, gateway| -> Vec<(i64, usize)> {
        config.caps_of(gateway).iter().map(|cap| (cap.within.num_hours(), cap.declines)).collect()
    };
    assert_eq!(caps(&Config::defaults(), "any"), [(24, 2), (720, 15)]);
    let mut variables = FLUID.to_vec();
    variables.extend([("REBILLD_GATEWAYS__FLUID__CAPS__30D", "0"), ("REBILLD_GATEWAYS__FLUID__CAPS__1H", "1")]);
    variables.push(("REBILLD_COLLECTION__CAPS__24H", "3"));
    let config = from_env(&variables).expect("settings");
    assert_eq!((caps(&config, "fluid"), caps(&config, "other")), (vec![(1, 1), (24, 3)], vec![(24, 3), (720, 15)]));
}
