//! `rebilld simulate`, the real program: nothing of the database and no real gateway is touched, and its ledgers agree.

use std::{
    path::PathBuf,
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use chrono::{Datelike, Days, NaiveDate};
use rebilld::{
    billing::{
        customers::{self, CustomerInput, CustomerRef},
        forecast::{ForecastInput, forecast},
        subscriptions::subscribe::{Start, SubscribeInput, subscribe},
    },
    domain::{clock::Timeline, event::Actor, forecast::Interval, frequency::Frequency, id::CustomerId, payment::PaymentStatus},
    store::{self, tables},
};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, net::TcpListener, process::Command};

use crate::{
    installments,
    world::{World, on_both},
};

/// A gateway that nobody may call.
struct Trap {
    url: String,
    calls: Arc<AtomicUsize>,
}

impl Trap {
    async fn set() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("address"));
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        tokio::spawn(async move {
            while let Ok((mut line, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let _ = line.shutdown().await;
            }
        });
        Self { url, calls }
    }
}

/// The settings of a live daemon on this world's database.
fn settings(world: &World, trap: &Trap) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("rebilld.toml");
    let text = format!(
        "[database]\nurl = \"{}\"\n\
         [gateways.fluid]\nkind = \"fluidpay\"\nmode = \"live\"\nbase_url = \"{url}/api\"\napi_key = \"real\"\n\
         [gateways.paylike]\nkind = \"paylike\"\nmode = \"live\"\nbase_url = \"{url}\"\napi_key = \"real\"\nmerchant_id = \"55006bdfe0308c4cbfdbd0e9\"\n",
        world.url,
        url = trap.url,
    );
    std::fs::write(&file, text).expect("settings");
    (folder, file)
}

async fn simulate(settings: &PathBuf, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rebilld"));
    command.arg("simulate").arg("--config").arg(settings).args(arguments).env_remove("RUST_LOG");
    tokio::time::timeout(std::time::Duration::from_mins(2), command.output()).await.expect("an end").expect("run")
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// The row named `all` of a currency: charges, declines, recovered, lost, total.
fn all(text: &str, currency: &str) -> Vec<String> {
    let row = text.lines().find(|line| line.starts_with("all ") && line.ends_with(currency));
    row.unwrap_or_else(|| panic!("no sum in\n{text}")).split_whitespace().skip(1).map(str::to_owned).collect()
}

/// A customer on the wall clock, with a method that only the real gateway knows.
async fn customer(world: &World, paylike: bool, number: usize) -> CustomerId {
    let input = CustomerInput { name: format!("Customer {number}"), ..CustomerInput::default() };
    let customer = customers::create(&world.app, &Actor::System, input).await.expect("customer");
    let token = if paylike { format!("560fd96b7973ff3d{number:08x}") } else { format!("of-the-real-vault-{number}") };
    world.method(customer.id, paylike, &token).await;
    customer.id
}

async fn populate(world: &World, today: NaiveDate) {
    for number in 0..12_usize {
        let customer = customer(world, number % 3 == 0, number).await;
        for frequency in [Frequency::Monthly, Frequency::Weekly] {
            let input = SubscribeInput {
                customer: CustomerRef { id: customer.to_string() },
                // An amount that the sandbox declines by magic, were it asked by anyone else.
                amount: Some(if number == 1 { 2_000_202 } else { 1000 + rebilld::domain::count(number) }),
                billing_frequency: Some(frequency),
                next_bill_date: Some(Start::Date(today + Days::new(1 + number as u64))),
                duration: (number == 5).then_some(2),
                ..SubscribeInput::default()
            };
            subscribe(&world.app, &Actor::System, input).await.expect("subscription");
        }
        if number == 7 {
            let first = (today + Days::new(3)).to_string();
            world.plan(installments::monthly(customer, &first, 6)).await;
        }
    }
}

async fn everything(world: &World) -> Vec<String> {
    let mut rows = Vec::new();
    let keep = |table: &'static tables::Table, row| {
        rows.push(format!("{} {row:?}", table.name));
        Ok::<_, store::Error>(())
    };
    tables::read(&world.app.db, tables::TABLES, keep).await.expect("rows");
    rows
}

on_both! {
    async fn a_simulation_bills_what_the_forecast_says_and_touches_nothing(world: World) {
        let today = world.app.clock.now().date_naive();
        populate(&world, today).await;
        let trap = Trap::set().await;
        let (_folder, settings) = settings(&world, &trap);
        let until = today + Days::new(100);
        let before = everything(&world).await;

        let smooth = text(&simulate(&settings, &["--until", &until.to_string()]).await);
        let input = ForecastInput { to: Some(until), interval: Some(Interval::Month), ..ForecastInput::default() };
        let expected = forecast(&world.app, input).await.expect("forecast").totals();
        let usd = expected.values().next().expect("a currency");
        let major = format!("{}.{:02}", usd.amount / 100, usd.amount % 100);
        assert_eq!(all(&smooth, "USD"), [&usd.charges.to_string(), "0", "0", "0", major.as_str(), "USD"], "{smooth}");
        assert!(smooth.contains(&format!("ledgers agree: {} charges, {major} USD on both sides", usd.charges)), "{smooth}");
        let months = smooth.lines().filter(|line| line.len() > 7 && line.as_bytes()[4] == b'-' && line.starts_with("20")).count();
        let month = |date: NaiveDate| i64::from(date.year()) * 12 + i64::from(date.month());
        let calendar = month(until.pred_opt().expect("a day")) - month(today) + 1;
        assert_eq!(rebilld::domain::count(months), calendar, "{smooth}");

        let rough = |seed: &'static str| {
            let (settings, until) = (settings.clone(), until.to_string());
            async move { text(&simulate(&settings, &["--until", &until, "--decline-rate", "25.5", "--seed", seed]).await) }
        };
        let (first, second, other) = (rough("7").await, rough("7").await, rough("8").await);
        assert_eq!(table(&first), table(&second));
        assert_ne!(table(&first), table(&other));
        // Few of a hundred, and all of them.
        let until = until.to_string();
        let rate = async |rate: &str| all(&text(&simulate(&settings, &["--until", &until, "--decline-rate", rate]).await), "USD");
        let (few, none) = (rate("1").await, rate("100%").await);
        assert!(few[1].parse::<i64>().expect("declines") < 10 && few[0] != "0", "{few:?}");
        assert_eq!((none[0].as_str(), none[2].as_str(), none[4].as_str()), ("0", "0", "0.00"), "{none:?}");
        let figures = all(&first, "USD");
        assert!(figures[1].parse::<i64>().expect("declines") > 10 && figures[2].parse::<i64>().expect("recovered") > 5, "{first}");
        assert!(first.contains("ledgers agree:"), "{first}");

        assert_eq!(everything(&world).await, before, "the database has changed");
        assert_eq!(trap.calls.load(Ordering::SeqCst), 0, "a real gateway was called");
    }

    async fn payments_under_way_and_orphaned_ones_do_not_hold_up_a_simulation(world: World) {
        let today = world.app.clock.now().date_naive();
        let mut payments = Vec::new();
        for number in 0..4_usize {
            let customer = customer(&world, number == 3, number).await;
            let input = SubscribeInput {
                customer: CustomerRef { id: customer.to_string() },
                amount: Some(500),
                billing_frequency: Some(Frequency::Monthly),
                next_bill_date: Some(Start::Date(today)),
                ..SubscribeInput::default()
            };
            subscribe(&world.app, &Actor::System, input).await.expect("subscription");
        }
        // Opened and claimed, and then the daemon is busy elsewhere.
        let later = world.app.clock.now() + chrono::TimeDelta::days(1);
        rebilld::billing::subscriptions::open_due::open_due(&world.app, Timeline::Wall, later).await.expect("billed");
        assert_eq!(rebilld::billing::collection::claim::claim_only(&world.app, Timeline::Wall, later).await.expect("claimed"), 4);
        for mut payment in world.payments().await {
            match payments.len() {
                0 => payment.status = PaymentStatus::Unknown,
                1 => payment.gateway = "gone".into(),
                3 => {
                    payment.status = PaymentStatus::Authorized;
                    payment.transaction_id = Some("560fd96b7973ff3d00000099".into());
                }
                _ => {}
            }
            payments.push(payment);
        }
        let mut tx = world.app.db.begin().await.expect("tx");
        tx.update_rows(&payments, &["status", "gateway", "transaction_id"]).await.expect("changed");
        tx.commit().await.expect("commit");

        // What is open on a test clock is no part of a simulation.
        let ada = world.customer("UTC").await;
        let clock = world.add(world.monthly(ada, "2026-01-01").await).await.timeline;
        let due = "2026-01-02T00:00:00Z".parse().expect("an instant");
        rebilld::billing::subscriptions::open_due::open_due(&world.app, clock, due).await.expect("billed");
        assert_eq!(world.invoices().await.iter().filter(|invoice| invoice.timeline == clock).count(), 1);

        let trap = Trap::set().await;
        let (_folder, settings) = settings(&world, &trap);
        let before = everything(&world).await;
        let text = text(&simulate(&settings, &["--until", &(today + Days::new(20)).to_string()]).await);
        assert_eq!(&all(&text, "USD")[..2], ["3", "0"], "{text}");
        assert!(text.contains("1 invoices open, 1 payments and 0 subscriptions parked"), "{text}");
        assert!(text.contains("ledgers agree: 3 charges, 15.00 USD on both sides"), "{text}");
        assert_eq!((everything(&world).await, trap.calls.load(Ordering::SeqCst)), (before, 0));
    }
}

fn table(text: &str) -> Vec<&str> {
    text.lines().skip_while(|line| !line.starts_with("month")).collect()
}

#[tokio::test]
async fn what_cannot_be_simulated_is_said_in_one_sentence() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("rebilld.toml");
    std::fs::write(&file, format!("[database]\nurl = \"sqlite://{}/none.db\"\n", folder.path().display())).expect("settings");
    for (arguments, part) in [
        (&["--until", "2020-01-01"][..], "--until must be after today"),
        (&["--until", "9020-01-01"], "--until must be after today"),
        (&["--until", "soon"], "--until <DATE>': must be a day of the calendar such as"),
        (&["--until", "2027-02-29"], "must be a day of the calendar"),
        (&["--until", "2999-01-01", "--decline-rate", "100"], "--until must be after today"),
        (&[], "--until"),
    ] {
        let output = simulate(&file, arguments).await;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(part), "{arguments:?}: {error}");
    }
    let soon = (rebilld::clock::Clock::System.now().date_naive() + Days::new(9)).to_string();
    let bad = "must be a percentage from 0 to 100 with at most one decimal";
    for (rate, part) in [
        ("100.1", bad),
        ("0.05", bad),
        ("-1", bad),
        ("many", bad),
        ("5%%", bad),
        ("5", "does not exist: `rebilld migrate`"),
        ("2.5%", "does not exist"),
    ] {
        let output = simulate(&file, &["--until", &soon, &format!("--decline-rate={rate}")]).await;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(part), "{rate}: {error}");
    }
    assert!(!folder.path().join("none.db").exists());
}
