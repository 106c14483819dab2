//! `rebilld import` and `rebilld export`, the real program on both databases: all or nothing, never twice, every fault by its place.

mod export;
mod faults;
mod installment_plans;

use std::path::{Path, PathBuf};

use rebilld::{
    billing::{
        catalog,
        forecast::{ForecastInput, forecast},
        plans,
    },
    domain::{
        customer::Customer,
        event::Actor,
        forecast::Interval,
        frequency::Frequency,
        id::{AddOn, Discount},
        payment_method::PaymentMethod,
        subscription::Subscription,
    },
};
use tempfile::TempDir;
use tokio::process::Command;

use crate::world::{World, date, on_both};

/// A folder with settings for this world's database and both gateways.
pub struct Desk {
    folder: TempDir,
}

pub struct Said {
    pub ok: bool,
    pub out: String,
    pub err: String,
}

impl Desk {
    pub fn of(url: &str) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let text = format!(
            "[database]\nurl = \"{url}\"\n\
             [gateways.fluid]\nkind = \"fluidpay\"\nmode = \"test\"\nbase_url = \"http://127.0.0.1:9/api\"\napi_key = \"none\"\n\
             [gateways.paylike]\nkind = \"paylike\"\nmode = \"test\"\nbase_url = \"http://127.0.0.1:9\"\napi_key = \"none\"\nmerchant_id = \"none\"\n",
        );
        std::fs::write(folder.path().join("rebilld.toml"), text).expect("settings");
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("file");
        path
    }

    pub async fn say(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rebilld"));
        command.args(arguments).arg("--config").arg(self.path("rebilld.toml")).current_dir(self.folder.path());
        let output = command.output().await.expect("run");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Said { ok: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
    }

    pub async fn import(&self, customers: Option<&Path>, subscriptions: Option<&Path>, more: &[&str]) -> Said {
        let mut arguments = vec!["import"];
        for (flag, path) in [("--customers", customers), ("--subscriptions", subscriptions)] {
            if let Some(path) = path {
                arguments.extend([flag, path.to_str().expect("path")]);
            }
        }
        arguments.extend(more);
        self.say(&arguments).await
    }
}

pub struct Stored {
    pub customers: Vec<Customer>,
    pub methods: Vec<PaymentMethod>,
    pub subscriptions: Vec<Subscription>,
    pub events: Vec<String>,
}

pub async fn stored(world: &World) -> Stored {
    let db = &world.app.db;
    Stored {
        customers: db.query("select * from customers order by id").all().await.expect("customers"),
        methods: db.query("select * from payment_methods order by id").all().await.expect("methods"),
        subscriptions: db.query("select * from subscriptions order by id").all().await.expect("subscriptions"),
        events: world.events(None).await,
    }
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples").join(name)
}

/// What a dry run shows for each row, by line: dates and amounts.
fn shown(out: &str) -> Vec<String> {
    out.lines().filter_map(|line| Some(line.split_once("subscriptions.csv:")?.1.to_owned())).collect()
}

on_both! {
    async fn the_examples_are_shown_then_imported_then_refused(world: World) {
        let desk = Desk::of(&world.url);
        let (customers, subscriptions) = (example("customers.csv"), example("subscriptions.csv"));
        let files = (Some(customers.as_path()), Some(subscriptions.as_path()));

        let dry = desk.import(files.0, files.1, &[]).await;
        assert!(dry.ok, "{}", dry.err);
        assert_eq!(
            shown(&dry.out),
            [
                "2 Gym: 2030-01-01 39.00 USD, 2030-02-01 39.00 USD, 2030-03-01 39.00 USD",
                "3 Storage room: 2030-01-31 75.00 USD, 2030-02-28 75.00 USD, 2030-03-31 75.00 USD",
                "4 Piano lessons: 2030-01-15 60.00 EUR, 2030-02-01 60.00 EUR, 2030-02-15 60.00 EUR",
                "5 Vegetable box: 2030-01-18 49.00 EUR, 2030-02-01 49.00 EUR, 2030-02-15 49.00 EUR",
                "6 Licence: 2030-04-01 48000 JPY, 2031-04-01 48000 JPY, 2032-04-01 48000 JPY",
            ]
        );
        assert!(dry.out.contains("3 customers with 2 payment methods, and 5 subscriptions are without fault"), "{}", dry.out);
        // Which file is which is told by its columns, too.
        let [people, terms, plans] = ["customers.csv", "subscriptions.csv", "installment_plans.csv"].map(|name| example(name).display().to_string());
        assert_eq!(desk.say(&["import", &terms, &people]).await.out, dry.out);
        let all = desk.say(&["import", &plans, &people, "--subscriptions", &terms]).await;
        assert!(all.ok && all.out.contains("5 subscriptions and"), "{} {}", all.out, all.err);
        let twice = desk.say(&["import", &terms, &people, "--subscriptions", &terms]).await;
        assert!(!twice.ok && twice.err.contains("both have the columns of subscriptions"), "{}", twice.err);
        let missing = desk.say(&["import", "nowhere.csv"]).await;
        assert!(!missing.ok && missing.err.contains("nowhere.csv cannot be read"), "{}", missing.err);
        let nothing = stored(&world).await;
        assert!(nothing.customers.is_empty() && nothing.subscriptions.is_empty() && nothing.events.is_empty());
        assert!(desk.import(files.0, files.1, &["--dry-run"]).await.ok);
        assert!(!desk.import(files.0, files.1, &["--dry-run", "--apply"]).await.ok);

        let done = desk.import(files.0, files.1, &["--apply"]).await;
        assert!(done.ok, "{}", done.err);
        let after = stored(&world).await;
        assert_eq!((after.customers.len(), after.methods.len(), after.subscriptions.len()), (3, 2, 5));
        let mut events = after.events.clone();
        events.sort();
        let kinds = [("customer.created", 3), ("payment_method.added", 2), ("subscription.created", 5)];
        assert_eq!(events, kinds.iter().flat_map(|(kind, count)| std::iter::repeat_n((*kind).to_owned(), *count)).collect::<Vec<_>>());
        let ben = after.customers.iter().find(|customer| customer.reference.as_deref() == Some("ben")).expect("ben");
        assert_eq!((ben.name.as_str(), ben.timezone.to_string(), ben.currency.to_string()), ("Meyer, Ben", "Europe/Vienna".into(), "EUR".into()));
        let prior = after.methods.iter().find(|method| method.customer_id == ben.id).expect("method");
        assert_eq!((prior.gateway.as_str(), prior.transaction_id.as_deref(), prior.is_default), ("paylike", Some("560fd96b7973ff3d2362a78c"), true));
        // What was shown is what will be billed.
        let range = |from, to| ForecastInput { from: Some(date(from)), to: Some(date(to)), interval: Some(Interval::Month), ..ForecastInput::default() };
        let february = forecast(&world.app, range("2030-02-01", "2030-03-01")).await.expect("forecast").totals();
        let sums: Vec<_> = february.iter().map(|((currency, _), sum)| (currency.to_string(), sum.charges, sum.amount)).collect();
        assert_eq!(sums, [("EUR".to_owned(), 4, 2 * 6000 + 2 * 4900), ("USD".to_owned(), 2, 3900 + 7500)]);
        let lessons = after.subscriptions.iter().find(|s| s.description == "Piano lessons").expect("lessons");
        assert_eq!(lessons.upcoming(&world.app.rules, 100).len(), 24);

        let again = desk.import(files.0, files.1, &["--apply"]).await;
        assert!(!again.ok && again.err.lines().count() == 9, "{}", again.err);
        for place in (2..=4).map(|line| format!("customers.csv:{line} column reference: is cus_")) {
            assert!(again.err.contains(&place), "{}", again.err);
        }
        let only = desk.import(None, files.1, &["--apply"]).await;
        for place in (2..=6).map(|line| format!("subscriptions.csv:{line} column reference: is another subscription's already")) {
            assert!(!only.ok && only.err.contains(&place), "{}", only.err);
        }
        assert_eq!(stored(&world).await.subscriptions, after.subscriptions);
    }

    async fn rows_name_what_is_there_already(world: World) {
        let actor = Actor::System;
        let entry = |reference: &str, amount| catalog::EntryInput {
            reference: Some(reference.to_owned()),
            name: reference.to_owned(),
            amount,
            duration: Some(2),
            ..catalog::EntryInput::default()
        };
        catalog::create::<AddOn>(&world.app, &actor, entry("locker", Some(500))).await.expect("add-on");
        catalog::create::<Discount>(&world.app, &actor, entry("welcome", Some(100))).await.expect("discount");
        let plan = plans::PlanInput {
            reference: Some("gym".to_owned()),
            name: "Gym".to_owned(),
            amount: 3900,
            billing_frequency: Frequency::Monthly,
            billing_days: Some("10".to_owned()),
            trial_days: Some(30),
            ..plans::PlanInput::default()
        };
        plans::create(&world.app, &actor, plan).await.expect("plan");
        let desk = Desk::of(&world.url);
        let customers = desk.write("customers.csv", "\u{feff}reference,name\r\nada,\"Ada, \"\"the first\"\"\"\r\n");
        assert!(desk.import(Some(&customers), None, &["--apply"]).await.ok);
        let id = stored(&world).await.customers[0].id;
        // Columns in any order, no reference, a customer by id and by reference, a plan's terms and others.
        let rows = format!(
            "paid_through,customer,plan,add_ons,discounts,amount\n\
             2030-01-09,{id},gym,locker; ,welcome,\n\
             2030-01-10,ada,gym,,,\n\
             2030-01-31,ada,gym,,,1\n"
        );
        let subscriptions = desk.write("subscriptions.csv", &rows);
        let dry = desk.import(None, Some(&subscriptions), &[]).await;
        assert!(dry.ok, "{}", dry.err);
        assert_eq!(
            shown(&dry.out),
            [
                "2 Gym: 2030-01-10 43.00 USD, 2030-02-10 43.00 USD, 2030-03-10 39.00 USD",
                "3 Gym: 2030-02-10 39.00 USD, 2030-03-10 39.00 USD, 2030-04-10 39.00 USD",
                "4 Gym: 2030-02-10 0.01 USD, 2030-03-10 0.01 USD, 2030-04-10 0.01 USD",
            ]
        );
        assert!(desk.import(None, Some(&subscriptions), &["--apply"]).await.ok);
        // Known again by their cells, in whatever order the columns stand.
        let turned = desk.write("turned.csv", "customer,plan,paid_through\nada,gym,2030-01-10\nada,gym,2030-01-11\nada,gym,2030-01-11\n");
        let again = desk.import(None, Some(&turned), &["--apply"]).await;
        assert!(!again.ok && again.err.contains("turned.csv:2: is another subscription's already"), "{}", again.err);
        assert!(again.err.contains("turned.csv:4: is the same as line 3"), "{}", again.err);
        assert_eq!(again.err.lines().count(), 3, "{}", again.err);
        assert_eq!(stored(&world).await.subscriptions.len(), 3);
    }

    async fn the_first_charge_is_the_first_date_of_the_schedule_after_what_is_paid(world: World) {
        let desk = Desk::of(&world.url);
        let customers = desk.write("customers.csv", "reference,name\nada,Ada\n");
        let mut rows = "customer,amount,description,billing_frequency,billing_cycle_interval,billing_days,start_date,paid_through\n".to_owned();
        let table = [
            // Without a start the schedule begins the day after.
            ("monthly,1,,,2030-01-30", "2030-01-31, 2030-02-28, 2030-03-31"),
            ("monthly,1,31,,2030-01-15", "2030-01-31, 2030-02-28, 2030-03-31"),
            ("weekly,1,5,,2030-01-01", "2030-01-04, 2030-01-11, 2030-01-18"),
            ("daily,1,7,,2030-01-01", "2030-01-02, 2030-01-09, 2030-01-16"),
            // From a start, the phase is the start's.
            ("quarterly,1,15,2028-11-15,2030-01-01", "2030-02-15, 2030-05-15, 2030-08-15"),
            ("monthly,3,,2029-10-31,2030-01-31", "2030-04-30, 2030-07-31, 2030-10-31"),
            ("monthly,3,,2029-10-31,2030-01-30", "2030-01-31, 2030-04-30, 2030-07-31"),
            ("daily,1,3,2029-12-30,2030-01-01", "2030-01-02, 2030-01-05, 2030-01-08"),
            // Paid for longer than to the start.
            ("monthly,1,,2030-02-10,2030-01-20", "2030-02-10, 2030-03-10, 2030-04-10"),
            ("one_time,1,,,2030-01-20", "2030-01-21"),
        ];
        for (i, (terms, _)) in table.iter().enumerate() {
            rows.push_str(&format!("ada,100,row {i},{terms}\n"));
        }
        let subscriptions = desk.write("subscriptions.csv", &rows);
        let dry = desk.import(Some(&customers), Some(&subscriptions), &[]).await;
        assert!(dry.ok, "{}", dry.err);
        let dates: Vec<String> = shown(&dry.out)
            .iter()
            .map(|line| line.split_once(": ").expect("dates").1.split(", ").map(|charge| &charge[..10]).collect::<Vec<_>>().join(", "))
            .collect();
        assert_eq!(dates, table.map(|(_, dates)| dates.to_owned()));
    }

    async fn a_large_file_is_imported_in_reasonable_time(world: World) {
        const ROWS: usize = 5000;
        let desk = Desk::of(&world.url);
        let mut customers = "reference,name,email,gateway,customer_token\n".to_owned();
        let mut subscriptions = "customer,description,amount,billing_frequency,paid_through\n".to_owned();
        for i in 0..ROWS {
            customers.push_str(&format!("c{i},Customer {i},c{i}@example.com,fluid,token-{i}\n"));
            subscriptions.push_str(&format!("c{i},Gym,{},monthly,2030-01-{:02}\n", 1000 + i, i % 28 + 1));
        }
        let (customers, subscriptions) = (desk.write("customers.csv", customers), desk.write("subscriptions.csv", subscriptions));
        let begun = std::time::Instant::now();
        let done = desk.import(Some(&customers), Some(&subscriptions), &["--apply"]).await;
        assert!(done.ok, "{}", done.err);
        // A query for each row would take far longer, even where everything else is quick.
        assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
        let counts: Vec<(i64,)> = world
            .app
            .db
            .query("select count(*) from customers union all select count(*) from payment_methods union all select count(*) from subscriptions")
            .all()
            .await
            .expect("counts");
        assert_eq!(counts, [(rebilld::domain::count(ROWS),); 3]);
    }
}
