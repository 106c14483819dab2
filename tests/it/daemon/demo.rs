//! `rebilld demo`: what a newcomer sees first. Everything in its place, sums that add up, and nothing left behind.

use chrono::NaiveDate;

use super::*;

fn demo<const N: usize>(folder: &TempDir, arguments: [&str; N]) -> Command {
    rebilld(folder.path(), &Settings::new(), std::iter::once("demo").chain(arguments))
}

fn left_behind(folder: &TempDir) -> Vec<String> {
    let names = fs::read_dir(folder.path()).expect("folder").flatten().map(|entry| entry.file_name());
    names.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.starts_with("rebilld-demo-")).collect()
}

/// 1234.50 as 123450.
fn minor(text: &str) -> i64 {
    text.replace('.', "").parse().unwrap_or_else(|_| panic!("{text} is no amount"))
}

/// Everything that the output promises, whichever way it was run.
fn tells_a_year(out: &str) {
    let mut rest = out;
    for part in [
        "A daemon is up at http://127.0.0.1:",
        "takes about",
        "6 plans:",
        "Gym ",
        "60 customers in 5 time zones; 40 pay by FluidPay, 20 by Paylike.",
        "Now a year passes on the test clock clk_",
        "January 2026",
        "December 2026",
        "month     charges  declines  recovered   lost",
        "year ",
        "ledgers agree: ",
    ] {
        let (_, after) = rest.split_once(part).unwrap_or_else(|| panic!("{part:?} is missing or out of order:\n{out}"));
        rest = after;
    }
    let rows: Vec<Vec<&str>> = out
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|row| row.len() == 7 && (row[0].starts_with("2026-") || row[0] == "year"))
        .collect();
    let expected: Vec<String> = (1..=12).map(|month| format!("2026-{month:02}")).chain(["year".to_owned()]).collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), expected, "{out}");
    for column in 1..=5 {
        let values: Vec<i64> = rows.iter().map(|row| minor(row[column])).collect();
        assert_eq!(values[..12].iter().sum::<i64>(), values[12], "column {column} does not add up:\n{out}");
        assert!(values[12] > 0, "nothing in column {column}:\n{out}");
    }
    let year = &rows[12];
    let line = format!("ledgers agree: {} charges, {} {} on both sides", year[1], year[5], year[6]);
    assert!(out.lines().any(|said| said == line), "no line {line:?}:\n{out}");
}

/// Until it has said all there is to say about the year. What may take long in a debug build is told month by month.
async fn year_passes(running: &mut Running) {
    for month in 1..=12 {
        let month = NaiveDate::from_ymd_opt(2026, month, 1).expect("a month");
        running.says(&month.format("%B %Y").to_string()).await;
    }
    running.says("ledgers agree: ").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_year_in_seconds_and_nothing_left_behind() {
    let folder = folder();
    let mut running = Running::start(demo(&folder, ["--exit"]), folder.path());
    year_passes(&mut running).await;
    assert_eq!(running.ends().await.0, Some(0), "{}", running.err());
    let out = running.out();
    tells_a_year(&out);
    assert_eq!(running.err(), "", "a demo has nothing to complain about");
    assert!(!out.contains("curl") && !out.contains('\r'), "{out}");
    assert_eq!(left_behind(&folder), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_stays_up_and_what_it_says_to_try_works() {
    let folder = folder();
    let mut running = Running::start(demo(&folder, ["--data", "kept"]), folder.path());
    year_passes(&mut running).await;
    running.says("# the gateway's own ledger").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let out = running.out();
    tells_a_year(&out);
    let word = |after: &str| {
        let line = out.lines().find_map(|line| line.trim().strip_prefix(after)).unwrap_or_else(|| panic!("no {after:?}:\n{out}"));
        line.trim().to_owned()
    };
    let (url, key) = (word("url  "), word("key  "));
    rebilld::gateway::http::install_tls();
    let client = reqwest::Client::builder().no_proxy().build().expect("client");
    let plans = client.get(format!("{url}/v1/plans")).bearer_auth(&key).send().await.expect("answer");
    assert_eq!(plans.status().as_u16(), 200);

    let (_, tries) = out.split_once("Try next:\n").expect("what to try");
    let commands: Vec<String> =
        tries.replace("\\\n", " ").lines().map(str::trim).filter(|l| l.starts_with("curl ")).map(str::to_owned).collect();
    assert_eq!(commands.len(), 5, "{tries}");
    // As somebody would paste them. Without curl on this machine there is nobody to paste.
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_ok() {
        for command in commands {
            let done =
                Command::new("sh").arg("-c").arg(format!("{command} --fail-with-body --noproxy '*'")).output().expect("sh");
            let text = String::from_utf8_lossy(&done.stdout);
            assert!(done.status.success(), "{command}\n{text}");
            let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON from {command}: {text}"));
            let full = answer["data"].as_array().is_none_or(|data| !data.is_empty());
            assert!(full, "an empty list is not worth looking at: {command}\n{text}");
        }
    }
    running.signal("INT");
    assert_eq!(running.ends().await.0, Some(0), "{}", running.err());
    assert!(running.out().ends_with("Stopping.\n"));
    assert_eq!(running.err(), "");
    assert_eq!(left_behind(&folder), Vec::<String>::new());

    let database = folder.path().join("kept/rebilld.db");
    let kept = fs::read(&database).expect("the database was kept");
    assert_eq!(fs::read_dir(folder.path().join("kept")).expect("folder").count(), 1, "closed well");
    let again = ended(demo(&folder, ["--exit", "--data", "kept"]));
    assert_eq!((again.code, again.err.lines().count()), (Some(1), 1), "{again:?}");
    assert!(again.err.contains("kept/rebilld.db exists already"), "{again:?}");
    assert!(fs::read(&database).expect("read") == kept, "what is there is not touched");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_in_the_middle_leaves_nothing_behind() {
    let folder = folder();
    for signal in ["INT", "TERM"] {
        let mut running = Running::start(demo(&folder, []), folder.path());
        running.says("A daemon is up at ").await;
        assert_eq!(left_behind(&folder).len(), 1);
        running.signal(signal);
        let (code, took) = running.ends().await;
        assert_eq!((code, running.err().as_str()), (Some(1), "error: stopped before the year was over\n"));
        assert!(took < Duration::from_secs(10), "{took:?}");
        assert_eq!(left_behind(&folder), Vec::<String>::new());
    }
}
