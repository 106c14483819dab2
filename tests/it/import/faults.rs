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
            ("reference;name\nada;Ada\n", &["customers.csv:1 column reference;name: is not a column", "column reference: is missing"]),
            ("", &["customers.csv:1 column reference: is missing", "customers.csv:1 column name: is missing"]),
        ] {
            let said = desk.import(Some(&desk.write("customers.csv", text)), None, &["--apply"]).await;
            assert!(!said.ok && expected.iter().all(|part| said.err.contains(part)), "{text}: {}", said.err);
        }
        let latin = desk.write("customers.csv", b"reference,name\nada,J\xf6rg\n");
        let said = desk.import(Some(&latin), None, &["--apply"]).await;
        assert!(!said.ok && said.err.contains("customers.csv:2 column name: is not UTF-8"), "{}", said.err);
        let said = desk.import(Some(&desk.path("none.csv")), None, &["--apply"]).await;
        assert!(!said.ok && said.err.contains("none.csv cannot be read"), "{}", said.err);
        assert!(!desk.import(None, None, &["--apply"]).await.ok);
        assert!(stored(&world).await.customers.is_empty());
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
