//! What an import refuses: every fault at once, by line and column, and nothing is stored.

use rebilld::{
    billing::{
        customers::{CustomerInput, CustomerRef},
        import::{self, CustomerRow, ImportRows, SubscriptionRow},
        subscriptions::subscribe::SubscribeInput,
    },
    domain::{event::Actor, frequency::Frequency},
};
use serde_json::json;

use super::{Desk, stored};
use crate::world::{World, date, on_both};

const CARD: &str = "4111111111111111";

on_both! {
    async fn every_fault_is_told_by_line_and_column_and_nothing_is_stored(world: World) {
        let desk = Desk::of(&world.url);
        let customers = desk.write(
            "customers.csv",
            format!(
                "reference,name,email,phone,timezone,currency,gateway,customer_token,transaction_id,expires,last_four\n\
                 ok,Fine,fine@example.com,,,,,,,,\n\
                 bad,Bad,no mail,12,Mars/Base,XXX,stripe,tok,,2031-13,12\n\
                 cus_x,Odd,\"a\nb\",,,,fluid,,tx,,\n\
                 ok,Again,,,,,,,,,\n\
                 ,Nameless,,,,,,,,,\n\
                 short,Short\n\
                 card,{CARD},,,,,fluid,4111 1111 1111 1111,,,\n\
                 lone,Lone,,,,,,token,,,\n"
            ),
        );
        let subscriptions = desk.write(
            "subscriptions.csv",
            "reference,customer,plan,amount,currency,billing_frequency,billing_days,paid_through,start_date,duration,ends_on,add_ons,discounts\n\
             a,ok,,1000,USD,monthly,,2030-01-01,,,,,\n\
             a,bad,,-5,usd,monthly,32,soon,,x,,,\n\
             b,nobody,none,1000,,fortnightly,,2030-01-01,,,,,\n\
             c,ok,,,,,,2030-01-01,,,,nix;nox,nie\n\
             d,ok,,1000,,monthly,,2020-01-01,,,,,\n\
             e,ok,,1000,,monthly,,2030-01-01,,,2030-01-02,,\n\
             f,card,,1000,,monthly,,2030-01-01,,,,,\n\
             g,ok,,1000,,one_time,,2030-01-01,2029-01-01,,,,\n",
        );
        for more in [&[][..], &["--apply"]] {
            let said = desk.import(Some(&customers), Some(&subscriptions), more).await;
            assert!(!said.ok && said.out.is_empty(), "{}", said.out);
            let name = |path: &std::path::Path| path.display().to_string();
            let told: Vec<String> = said
                .err
                .lines()
                .map(|line| line.replace(&name(&customers), "C").replace(&name(&subscriptions), "S"))
                .collect();
            let places: Vec<&str> = told.iter().map(|line| line.split(": ").next().expect("a place")).collect();
            assert_eq!(
                places,
                [
                    "C:3 column email",
                    "C:3 column phone",
                    "C:3 column timezone",
                    "C:3 column currency",
                    "C:3 column gateway",
                    "C:3 column expires",
                    "C:3 column last_four",
                    "C:4 column reference",
                    "C:4 column email",
                    "C:4 column gateway",
                    "C:6 column reference",
                    "C:7 column reference",
                    "C:8",
                    "C:9 column name",
                    "C:9 column customer_token",
                    "C:10 column gateway",
                    "S:3 column amount",
                    "S:3 column paid_through",
                    "S:3 column duration",
                    "S:4 column customer",
                    "S:4 column plan",
                    "S:4 column billing_frequency",
                    "S:5 column amount",
                    "S:5 column billing_frequency",
                    "S:5 column add_ons",
                    "S:5 column add_ons",
                    "S:5 column discounts",
                    "S:6 column paid_through",
                    "S:7 column paid_through",
                    "S:9 column paid_through",
                    "error",
                ],
                "{}",
                said.err
            );
            assert!(told.contains(&"error: 30 faults; nothing is stored".to_owned()), "{}", said.err);
            assert!(!said.err.contains("4111"), "a card number was repeated: {}", said.err);
            let stored = stored(&world).await;
            assert!(stored.customers.is_empty() && stored.subscriptions.is_empty() && stored.events.is_empty());
        }
    }

    async fn columns_are_checked_before_anything_else(world: World) {
        let desk = Desk::of(&world.url);
        for (text, expected) in [
            ("reference,nmae\nada,Ada\n", &["customers.csv:1 column nmae: is not a column known here", "customers.csv:1 column name: is missing"][..]),
            ("reference,name,name\nada,Ada,Ada\n", &["customers.csv:1 column name: stands there twice"]),
            ("", &["customers.csv:1 column reference: is missing", "customers.csv:1 column name: is missing"]),
        ] {
            let said = desk.import(Some(&desk.write("customers.csv", text)), None, &["--apply"]).await;
            assert!(!said.ok && expected.iter().all(|part| said.err.contains(part)), "{text}: {}", said.err);
        }
        let latin = desk.write("customers.csv", b"reference,name\nada,J\xf6rg\n");
        let said = desk.import(Some(&latin), None, &["--apply"]).await;
        assert!(!said.ok && said.err.contains("customers.csv:2 column name: is not UTF-8: save the file as UTF-8"), "{}", said.err);
        let said = desk.import(Some(&desk.path("none.csv")), None, &["--apply"]).await;
        assert!(!said.ok && said.err.contains("none.csv cannot be read"), "{}", said.err);
        assert!(!desk.import(None, None, &["--apply"]).await.ok);
        assert!(stored(&world).await.customers.is_empty());
    }

    async fn a_line_is_counted_as_an_editor_shows_it(world: World) {
        let desk = Desk::of(&world.url);
        let good = "reference,name,currency\nada,Ada,USD\n";
        for (text, line) in [
            (format!("{good}bob,Bob,no\n"), 3),
            (format!("{good}bob,Bob,no"), 3),
            (format!("\u{feff}{good}bob,Bob,no\n"), 3),
            // Empty lines are no rows, and lines all the same.
            (format!("{good}\n\nbob,Bob,no\n\n"), 5),
            (format!("\n\n{good}bob,Bob,no\n"), 5),
            (format!("{good}cy,\"Cy\",USD\ndee,Dee,\"USD\n\n\"\nbob,Bob,no\n"), 7),
        ] {
            for end in ["\n", "\r\n", "\r"] {
                let customers = desk.write("customers.csv", text.replace('\n', end));
                let said = desk.import(Some(&customers), None, &["--apply"]).await;
                let told = format!("customers.csv:{line} column currency: must be");
                assert!(!said.ok && said.err.contains(&told) && said.err.contains("error: 1 faults"), "{text:?} with {end:?}: {}", said.err);
            }
        }
        // What is wrong with the names of the columns stands where these names stand.
        let said = desk.import(Some(&desk.write("customers.csv", "\r\n\r\nreference,nmae\r\n")), None, &[]).await;
        assert!(said.err.contains("customers.csv:3 column nmae: is not a column known here"), "{}", said.err);
        // The same lines are told of faults that only the database shows, and of rows without fault.
        let customers = desk.write("customers.csv", "reference,name\r\n\r\nada,Ada\r\n");
        let rows = "customer,amount,currency,billing_frequency,paid_through,description\r\n\r\n\
                    ada,1000,USD,monthly,2030-01-01,\"on two\r\nlines\"\r\nnobody,1000,USD,monthly,2030-01-01,Gym\r\n";
        let said = desk.import(Some(&customers), Some(&desk.write("subscriptions.csv", rows)), &[]).await;
        assert!(said.err.contains("subscriptions.csv:5 column customer: "), "{}", said.err);
        let rows = rows.replace("nobody", "ada");
        let said = desk.import(Some(&customers), Some(&desk.write("subscriptions.csv", rows)), &[]).await;
        assert!(said.out.contains("subscriptions.csv:5 Gym: 2030-01-02 10.00 USD"), "{} {}", said.out, said.err);
        assert!(stored(&world).await.customers.is_empty());
    }

    async fn other_separators_and_encodings_are_named(world: World) {
        let desk = Desk::of(&world.url);
        let terms = "customer;amount;paid_through\nada;1000;2030-01-01\n";
        for (separator, name) in [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")] {
            let customers = desk.write("customers.csv", "reference;name\r\nada;Ada\r\n".replace(';', separator));
            let subscriptions = desk.write("subscriptions.csv", terms.replace(';', separator));
            let said = desk.import(Some(&customers), Some(&subscriptions), &["--apply"]).await;
            let told = format!("has {name} between the names of the columns: separate the cells by commas");
            for file in ["customers.csv", "subscriptions.csv"] {
                assert!(!said.ok && said.err.contains(&format!("{file}:1: {told}")), "{}", said.err);
            }
            assert!(said.err.contains("error: 2 faults"), "{}", said.err);
            // Files that are told apart by their columns.
            let [one, other] = [&customers, &subscriptions].map(|path| path.to_str().expect("path"));
            let said = desk.say(&["import", one, other]).await;
            assert!(!said.ok && said.err.contains(&format!("customers.csv:1: {told}")), "{}", said.err);
        }
        let units = |mark: &str| -> Vec<u16> { format!("{mark}reference,name\nada,Ada\n").encode_utf16().collect() };
        let little = |units: Vec<u16>| -> Vec<u8> { units.into_iter().flat_map(u16::to_le_bytes).collect() };
        let big = |units: Vec<u16>| -> Vec<u8> { units.into_iter().flat_map(u16::to_be_bytes).collect() };
        for bytes in [little(units("\u{feff}")), little(units("")), big(units("\u{feff}")), big(units(""))] {
            let wide = desk.write("customers.csv", bytes);
            for said in [desk.import(Some(&wide), None, &[]).await, desk.say(&["import", wide.to_str().expect("path")]).await] {
                assert!(!said.ok && said.err.contains("customers.csv is UTF-16, which is not read here: save the file as UTF-8"), "{}", said.err);
            }
        }
        let latin = desk.write("customers.csv", b"reference,name,stra\xdfe\nada,Ada,\n");
        let said = desk.import(Some(&latin), None, &[]).await;
        assert!(!said.ok && said.err.contains("customers.csv:1 column stra\u{fffd}e: is not UTF-8: save the file as UTF-8"), "{}", said.err);
        assert!(stored(&world).await.customers.is_empty());
    }

    async fn amounts_are_said_in_minor_units(world: World) {
        let desk = Desk::of(&world.url);
        let customers = desk.write("customers.csv", "reference,name\nada,Ada\n");
        let subscriptions = desk.write(
            "subscriptions.csv",
            "customer,amount,currency,billing_frequency,paid_through,quantity\n\
             ada,12.5,EUR,monthly,2030-01-01,\nada,\"39,00\",,monthly,2030-01-01,\nada,4800.0,JPY,monthly,2030-01-01,1.5\n",
        );
        let said = desk.import(Some(&customers), Some(&subscriptions), &["--apply"]).await;
        let told: Vec<&str> = said.err.lines().filter_map(|line| Some(line.split_once("subscriptions.csv:")?.1)).collect();
        let amount = "column amount: must be a whole number in minor units: 1250 for";
        assert_eq!(told, [
            format!("2 {amount} 12.50 EUR"),
            format!("3 {amount} 12.50"),
            format!("4 {amount} 1250 JPY"),
            "4 column quantity: must be a whole number".to_owned(),
        ]);
        assert!(!said.ok && stored(&world).await.customers.is_empty());
    }

    async fn charges_of_the_past_must_be_asked_for(world: World) {
        let desk = Desk::of(&world.url);
        let customers = desk.write("customers.csv", "reference,name\nada,Ada\n");
        let yesterday = world.app.clock.now().date_naive() - chrono::Days::new(3);
        let row = format!("customer,amount,billing_frequency,paid_through\nada,1000,monthly,{yesterday}\n");
        let subscriptions = desk.write("subscriptions.csv", row);
        let said = desk.import(Some(&customers), Some(&subscriptions), &["--apply"]).await;
        assert!(!said.ok && said.err.contains("must be asked for as backdated"), "{}", said.err);
        let said = desk.import(Some(&customers), Some(&subscriptions), &["--apply", "--backdated"]).await;
        assert!(said.ok, "{}", said.err);
        let subscription = stored(&world).await.subscriptions.remove(0);
        assert_eq!(subscription.next_bill_date, yesterday.succ_opt());
    }

    async fn two_imports_of_one_file_at_once_are_one(world: World) {
        let input = |reference: &str| SubscribeInput {
            customer: CustomerRef { id: "ada".into() },
            amount: Some(1000),
            billing_frequency: Some(Frequency::Monthly),
            paid_through: Some(date("2030-01-01")),
            metadata: Some([("reference".to_owned(), json!(reference))].into_iter().collect()),
            ..SubscribeInput::default()
        };
        let ada = || CustomerRow {
            line: 2,
            customer: CustomerInput {
                reference: Some("ada".into()),
                name: "Ada".into(),
                ..CustomerInput::default()
            },
            method: None,
        };
        let rows = |customers, reference: &str| ImportRows {
            customers,
            subscriptions: vec![SubscriptionRow { line: 2, input: input(reference) }],
            ..ImportRows::default()
        };
        let (app, actor) = (&world.app, Actor::System);
        // Both have seen that nothing is there.
        let first = import::prepare(app, rows(vec![ada()], "a")).await.expect("prepared");
        let second = import::prepare(app, rows(vec![ada()], "b")).await.expect("prepared");
        import::store(app, &actor, &first).await.expect("stored");
        let before = stored(&world).await;
        let refusal = import::store(app, &actor, &second).await.expect_err("refused").to_string();
        assert!(refusal.contains("nothing was stored"), "{refusal}");

        let third = import::prepare(app, rows(vec![], "c")).await.expect("prepared");
        let fourth = import::prepare(app, rows(vec![], "c")).await.expect("prepared");
        let (one, other) = tokio::join!(import::store(app, &actor, &third), import::store(app, &actor, &fourth));
        assert_ne!(one.is_ok(), other.is_ok(), "{one:?} {other:?}");
        let after = stored(&world).await;
        assert_eq!((before.customers.len(), before.subscriptions.len()), (1, 1));
        assert_eq!((after.customers.len(), after.subscriptions.len(), after.events.len()), (1, 2, 3));
    }
}
