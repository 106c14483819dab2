//! The tables refuse what the types forbid, even to a statement that goes around them.

use std::fs;

use rebilld::{
    domain::{
        id::{AddOn, Discount},
        payment::{Payment, PaymentStatus},
        refund::{Refund, RefundStatus},
    },
    store::{self, Error, Tx},
};

use super::{TestDatabase, on_both, samples};

/// Column by column, what its CHECK must refuse.
const REFUSED: &[(&str, &str, &[&str])] = &[
    ("counters", "value", &["-1"]),
    ("clocks", "status", &["'stopped'", "'advancing'"]),
    ("clocks", "target_at", &["created_at"]),
    ("api_keys", "scope", &["'root'"]),
    ("add_ons", "amount", &["-1", "null"]),
    ("add_ons", "percentage", &["-1", "1"]),
    ("add_ons", "duration", &["-1"]),
    ("discounts", "amount", &["-1", "null"]),
    ("discounts", "percentage", &["-1", "1"]),
    ("discounts", "duration", &["-1"]),
    ("dunning_policies", "final_action", &["'shout'"]),
    ("dunning_policies", "source", &["'rumour'"]),
    ("plans", "amount", &["-1"]),
    ("plans", "billing_cycle_interval", &["0"]),
    ("plans", "duration", &["-1"]),
    ("plans", "trial_days", &["-1"]),
    ("customers", "balance", &["-1"]),
    ("credits", "amount", &["0"]),
    ("payment_methods", "kind", &["'card'", "'vault_token'", "'prior_transaction'"]),
    ("payment_methods", "customer_token", &["'t'"]),
    ("payment_methods", "transaction_id", &["'t'"]),
    ("subscriptions", "status", &["'ended'", "'parked'", "'cancelled'", "'completed'"]),
    ("subscriptions", "parked_reason", &["'x'"]),
    ("subscriptions", "amount", &["-1"]),
    ("subscriptions", "quantity", &["0"]),
    ("subscriptions", "billing_cycle_interval", &["0"]),
    ("subscriptions", "duration", &["-1"]),
    ("subscriptions", "initial_payment_amount", &["-1"]),
    ("subscriptions", "authorize_days_before", &["-1"]),
    ("subscriptions", "scheduled_last", &["'skip'"]),
    ("subscriptions", "next_slot", &["-1"]),
    ("subscriptions", "next_cycle", &["-1"]),
    ("subscriptions", "cycles_billed", &["-1"]),
    ("invoices", "status", &["'draft'", "'paid'", "'void'", "'uncollectible'"]),
    ("invoices", "subtotal", &["-1", "999"]),
    ("invoices", "credit_applied", &["-1", "1"]),
    ("invoices", "total", &["-1", "999"]),
    ("invoices", "amount_paid", &["-1", "1001"]),
    ("invoices", "amount_refunded", &["-1"]),
    ("invoices", "amount_credited", &["-1", "1001"]),
    ("invoices", "next_action", &["'wait'"]),
    ("invoices", "attempts", &["-1"]),
    ("invoices", "gateway_faults", &["-1"]),
    ("invoices", "dunning_step", &["-1"]),
    ("invoices", "amount_reduced", &["-1"]),
    ("invoices", "credit_given", &["-1"]),
    ("invoices", "credit_paid", &["-1"]),
    ("credit_notes", "reason", &["'bored'"]),
    ("credit_notes", "amount", &["0", "amount + 1"]),
    ("credit_notes", "pre_payment_amount", &["-1", "pre_payment_amount + 1"]),
    ("credit_notes", "to_balance", &["-1", "to_balance + 1"]),
    ("credit_notes", "to_method", &["-1", "to_method + 1"]),
    ("credit_notes", "to_invoice", &["-1", "to_invoice + 1"]),
    ("payments", "amount", &["0", "-1"]),
    ("payments", "amount_captured", &["-1"]),
    ("payments", "amount_refunded", &["-1", "1"]),
    ("payments", "status", &["'paid'"]),
    ("payments", "lookups", &["-1"]),
    ("refunds", "amount", &["0"]),
    ("refunds", "returned_before", &["-1"]),
    ("refunds", "status", &["'declined'"]),
    ("refunds", "destination", &["'cash'", "'credit'"]),
    ("refunds", "payment_id", &["null"]),
    ("job_runs", "result", &["'lost'"]),
    ("invariant_violations", "count", &["0", "-1"]),
    ("roll_outs", "entry_type", &["'customer'"]),
    ("roll_outs", "status", &["'done'", "'lost'"]),
    ("roll_outs", "plans_changed", &["-1"]),
    ("roll_outs", "subscriptions_changed", &["-1"]),
    ("installment_plans", "status", &["'ended'", "'paid'", "'defaulted'", "'cancelled'"]),
    ("installment_plans", "amount", &["0"]),
    ("installment_plans", "down_payment", &["-1", "amount"]),
    ("installment_plans", "billing_cycle_interval", &["0"]),
    ("installment_plans", "default_after", &["-1"]),
    ("installment_plans", "failed_in_a_row", &["-1"]),
    ("installment_plans", "ended_at", &["created_at"]),
    ("installments", "number", &["-1"]),
    ("installments", "amount", &["0", "-1"]),
    ("installments", "status", &["'open'", "'due'", "'paid'", "'failed'"]),
    ("installments", "invoice_id", &["'x'"]),
    ("invoices", "installment_number", &["-1"]),
    ("payments", "reason", &["'gift'"]),
    ("payments", "amount_disputed", &["-1"]),
    ("disputes", "amount", &["0"]),
    ("dispute_rounds", "days", &["0"]),
    ("disputes", "status", &["'lost'", "'closed'"]),
    ("authorizations", "cycle", &["-1"]),
    ("authorizations", "attempt", &["0"]),
    ("authorizations", "amount", &["0"]),
    ("authorizations", "status", &["'open'", "'used'", "'authorized'"]),
    ("authorizations", "lookups", &["-1"]),
    ("authorizations", "amount_taken", &["0"]),
    ("payments", "overpayment", &["-1", "1"]),
    ("payment_requests", "role", &["'gift'", "'schedule'"]),
    ("payment_requests", "status", &["'lost'"]),
    ("payment_requests", "ending", &["'paid'"]),
    ("payment_requests", "amount", &["0", "-1"]),
    ("payment_requests", "invoice_id", &["null"]),
    ("payment_requests", "payment_frequency", &["'daily'", "'weekly'"]),
    ("payment_requests", "payment_start_at", &["created_at"]),
    ("payment_requests", "total_number_of_payments", &["0"]),
    ("payment_requests", "initial_payment_amount", &["0"]),
    ("payment_requests", "asks", &["-1"]),
    ("payment_requests", "reminders", &["-1"]),
    ("payment_requests", "checks", &["-1"]),
    ("gateway_refusals", "probes", &["-1"]),
];

/// One row in every table; the subscription and the invoice have something due.
async fn one_of_each(database: &TestDatabase) -> (Payment, Refund) {
    let ada = samples::customer();
    let subscription =
        rebilld::domain::subscription::Subscription { due_at: Some(samples::noon()), ..samples::subscription(ada.id) };
    let invoice = rebilld::domain::invoice::Invoice { next_attempt_at: Some(samples::noon()), ..samples::invoice(ada.id) };
    let plan =
        rebilld::domain::installment_plan::InstallmentPlan { due_at: Some(samples::noon()), ..samples::installment_plan(ada.id) };
    let parts = [samples::installment(plan.id, 1)];
    let payment = samples::payment(&invoice);
    let refund = samples::refund(payment.id, invoice.id);
    database
        .write(async |tx: &mut Tx| {
            store::clocks::insert(tx, samples::clock()).await?;
            store::api_keys::insert(tx, samples::api_key()).await?;
            store::catalog::insert::<AddOn>(tx, &samples::entry()).await?;
            store::catalog::insert::<Discount>(tx, &samples::entry()).await?;
            store::dunning_policies::insert(tx, &samples::policy()).await?;
            store::plans::insert(tx, &samples::plan()).await?;
            store::customers::insert(tx, &ada).await?;
            store::customers::save_balances(tx, &[], &[samples::full_credit(ada.id)]).await?;
            store::payment_methods::insert(tx, &samples::method(ada.id)).await?;
            store::subscriptions::insert(tx, std::slice::from_ref(&subscription)).await?;
            store::invoices::insert(tx, std::slice::from_ref(&invoice)).await?;
            store::credit_notes::insert(tx, &[samples::credit_note(&invoice)]).await?;
            tx.insert_rows(std::slice::from_ref(&plan)).await?;
            store::installments::insert_parts(tx, &parts).await?;
            store::payment_requests::insert(tx, &[samples::payment_request(&invoice)]).await?;
            store::payments::insert(tx, std::slice::from_ref(&payment)).await?;
            store::disputes::insert(tx, &[samples::dispute(&payment)]).await?;
            store::disputes::reach(tx, 1, payment.id).await?;
            store::authorizations::insert(tx, &[samples::authorization(&subscription)]).await?;
            store::refunds::insert(tx, refund.clone()).await?;
            store::events::append(tx, &[samples::event("a.b", "x")]).await?;
            store::roll_outs::insert(tx, &samples::roll_out()).await?;
            let violation = store::invariants::Violation { name: "x".into(), count: 1, broken_at: samples::noon() };
            store::invariants::broken(tx, &[violation]).await?;
            let refusal = store::gateways::GatewayRefusal {
                gateway: "fluid".into(),
                reason: String::new(),
                key_digest: String::new(),
                probes: 0,
                refused_at: samples::noon(),
                next_probe_at: samples::noon(),
            };
            store::gateways::refuse(tx, refusal).await?;
            store::runs::insert(tx, samples::job_run()).await
        })
        .await;
    (payment, refund)
}

fn conflict(error: Error) {
    assert!(matches!(error, Error::Conflict), "{error:?}");
}

on_both! {
    async fn checks_refuse_what_the_types_forbid(database: &TestDatabase) {
        one_of_each(database).await;
        for (table, column, values) in REFUSED {
            for value in *values {
                let refused = database.run(format!("update {table} set {column} = {value}")).await;
                let Err(Error::Database(said)) = refused else { panic!("{table}.{column} = {value}: {refused:?}") };
                assert!(said.to_lowercase().contains("check"), "{table}.{column} = {value}: {said}");
            }
        }
    }

    async fn types_hold_on_sqlite_too(database: &TestDatabase) {
        one_of_each(database).await;
        for (table, column, value) in [
            ("plans", "amount", "'ten'"),
            ("plans", "amount", "1.5"),
            ("subscriptions", "quantity", "'x'"),
            ("subscriptions", "cancel_at_period_end", "7"),
            ("payment_methods", "is_default", "'perhaps'"),
            ("plans", "add_ons", "'[1,'"),
            ("customers", "metadata", "'{'"),
            ("subscriptions", "pending_change", "'no json'"),
            ("invoices", "lines", "'['"),
            ("events", "data", "''"),
        ] {
            // PostgreSQL rounds a number on its way into a whole one; the program never sends any.
            let rounds = database.db.is_postgres() && value == "1.5";
            let refused = database.run(format!("update {table} set {column} = {value}")).await;
            assert!(refused.is_err() || rounds, "{table}.{column} = {value}");
        }
        for (table, column) in [("customers", "name"), ("invoices", "due_at"), ("payments", "sent_at"), ("events", "data"), ("plans", "currency")] {
            assert!(database.run(format!("update {table} set {column} = null")).await.is_err(), "{table}.{column} may be null");
        }
    }

    async fn an_invoice_per_cycle_and_number(database: &TestDatabase) {
        let ada = samples::customer();
        let subscription = samples::subscription(ada.id);
        let of_cycle = |cycle| {
            let mut invoice = samples::invoice(ada.id);
            (invoice.subscription_id, invoice.cycle) = (Some(subscription.id), cycle);
            invoice
        };
        database.write(async |tx: &mut Tx| {
            store::customers::insert(tx, &ada).await?;
            store::subscriptions::insert(tx, std::slice::from_ref(&subscription)).await?;
            store::invoices::insert(tx, &[of_cycle(Some(0)), of_cycle(Some(1)), of_cycle(None), of_cycle(None)]).await
        }).await;
        conflict(database.refused(async |tx: &mut Tx| store::invoices::insert(tx, &[of_cycle(Some(2)), of_cycle(Some(1))]).await).await);
        let mut same_number = samples::invoice(ada.id);
        same_number.number = "INV-1".into();
        let other = rebilld::domain::invoice::Invoice { id: samples::id(), ..same_number.clone() };
        database.write(async |tx: &mut Tx| store::invoices::insert(tx, std::slice::from_ref(&same_number)).await).await;
        conflict(database.refused(async |tx: &mut Tx| store::invoices::insert(tx, std::slice::from_ref(&other)).await).await);
        assert_eq!(database.count("invoices").await, 5);
    }

    async fn one_open_payment_per_invoice(database: &TestDatabase) {
        let (open, _) = one_of_each(database).await;
        let another = |status| Payment { id: samples::id(), reference: samples::id::<AddOn>().to_string(), status, ..open.clone() };
        for first in PaymentStatus::ALL.iter().filter(|status| status.is_open()) {
            database.run(format!("update payments set status = '{first}' where id = '{}'", open.id)).await.expect("moved");
            for second in PaymentStatus::ALL.iter().filter(|status| status.is_open()) {
                conflict(database.refused(async |tx: &mut Tx| store::payments::insert(tx, &[another(*second)]).await).await);
            }
        }
        let closed: Vec<Payment> = PaymentStatus::ALL.iter().filter(|status| !status.is_open()).map(|status| another(*status)).collect();
        database.write(async |tx: &mut Tx| store::payments::insert(tx, &closed).await).await;
        conflict(database.refused(async |tx: &mut Tx| store::payments::save(tx, &[Payment { status: PaymentStatus::Unknown, ..closed[0].clone() }]).await).await);
        let twin = Payment { id: samples::id(), status: PaymentStatus::Declined, ..open.clone() };
        conflict(database.refused(async |tx: &mut Tx| store::payments::insert(tx, &[twin]).await).await);
    }

    async fn one_open_refund_per_payment(database: &TestDatabase) {
        let (_, open) = one_of_each(database).await;
        let another = |status| Refund { id: samples::id(), status, ..open.clone() };
        let is_open = |status: RefundStatus| matches!(status, RefundStatus::Pending | RefundStatus::Unknown | RefundStatus::Parked);
        for first in RefundStatus::ALL.iter().filter(|status| is_open(**status)) {
            database.run(format!("update refunds set status = '{first}' where id = '{}'", open.id)).await.expect("moved");
            for second in RefundStatus::ALL.iter().filter(|status| is_open(**status)) {
                conflict(database.refused(async |tx: &mut Tx| store::refunds::insert(tx, another(*second)).await).await);
            }
        }
        for status in RefundStatus::ALL.iter().filter(|status| !is_open(**status)) {
            database.write(async |tx: &mut Tx| store::refunds::insert(tx, another(*status)).await).await;
        }
    }

    async fn one_open_request_of_collection_per_invoice(database: &TestDatabase) {
        use rebilld::domain::payment_request::{PaymentRequest, RequestStatus, Role};
        one_of_each(database).await;
        let invoice: rebilld::domain::invoice::Invoice = database.db.query("select * from invoices").one().await.expect("the invoice");
        let another = |role, status| PaymentRequest { role, status, ..samples::payment_request(&invoice) };
        let open = |status: &&RequestStatus| matches!(status, RequestStatus::Pending | RequestStatus::Unknown | RequestStatus::Sent);
        for status in RequestStatus::ALL {
            let row = another(Role::Last, *status);
            if open(&status) {
                conflict(database.refused(async |tx: &mut Tx| store::payment_requests::insert(tx, &[row]).await).await);
            } else {
                database.write(async |tx: &mut Tx| store::payment_requests::insert(tx, &[row]).await).await;
            }
            database.write(async |tx: &mut Tx| store::payment_requests::insert(tx, &[another(Role::Extra, *status)]).await).await;
        }
        let twin = PaymentRequest { reference: "twice".into(), ..another(Role::Extra, RequestStatus::Paid) };
        let other = PaymentRequest { id: samples::id(), ..twin.clone() };
        conflict(database.refused(async |tx: &mut Tx| store::payment_requests::insert(tx, &[twin, other]).await).await);
    }

    async fn what_a_request_brought_is_booked_once(database: &TestDatabase) {
        one_of_each(database).await;
        let invoice: rebilld::domain::invoice::Invoice = database.db.query("select * from invoices").one().await.expect("the invoice");
        let of = |request, transaction: &str| Payment {
            status: PaymentStatus::Succeeded,
            payment_request_id: Some(request),
            transaction_id: Some(transaction.to_owned()),
            ..samples::payment(&invoice)
        };
        let (first, second) = (samples::id(), samples::id());
        let rows = [of(first, "a"), of(first, "b"), of(second, "a")];
        database.write(async |tx: &mut Tx| store::payments::insert(tx, &rows).await).await;
        conflict(database.refused(async |tx: &mut Tx| store::payments::insert(tx, &[of(first, "a")]).await).await);
    }

    async fn one_default_method_and_one_of_each_name(database: &TestDatabase) {
        let (ada, bob) = (samples::customer(), samples::customer());
        database.write(async |tx: &mut Tx| {
            store::customers::insert(tx, &ada).await?;
            store::customers::insert(tx, &bob).await?;
            store::payment_methods::insert(tx, &samples::full_method(ada.id)).await?;
            store::payment_methods::insert(tx, &samples::method(ada.id)).await?;
            store::payment_methods::insert(tx, &samples::full_method(bob.id)).await
        }).await;
        conflict(database.refused(async |tx: &mut Tx| store::payment_methods::insert(tx, &samples::full_method(ada.id)).await).await);

        database.write(async |tx: &mut Tx| {
            store::plans::insert(tx, &samples::full_plan()).await?;
            store::catalog::insert::<AddOn>(tx, &samples::full_entry()).await?;
            store::catalog::insert::<Discount>(tx, &samples::full_entry()).await?;
            store::customers::insert(tx, &samples::full_customer()).await?;
            store::api_keys::insert(tx, samples::full_api_key()).await
        }).await;
        conflict(database.refused(async |tx: &mut Tx| store::plans::insert(tx, &samples::full_plan()).await).await);
        conflict(database.refused(async |tx: &mut Tx| store::catalog::insert::<AddOn>(tx, &samples::full_entry()).await).await);
        conflict(database.refused(async |tx: &mut Tx| store::catalog::insert::<Discount>(tx, &samples::full_entry()).await).await);
        conflict(database.refused(async |tx: &mut Tx| store::customers::insert(tx, &samples::full_customer()).await).await);
        conflict(database.refused(async |tx: &mut Tx| store::api_keys::insert(tx, samples::full_api_key()).await).await);
    }

    async fn nothing_hangs_in_the_air(database: &TestDatabase) {
        let nobody = samples::customer();
        let ghost = samples::invoice(nobody.id);
        for error in [
            database.refused(async |tx: &mut Tx| store::subscriptions::insert(tx, &[samples::subscription(nobody.id)]).await).await,
            database.refused(async |tx: &mut Tx| store::invoices::insert(tx, std::slice::from_ref(&ghost)).await).await,
            database.refused(async |tx: &mut Tx| store::payments::insert(tx, &[samples::payment(&ghost)]).await).await,
            database.refused(async |tx: &mut Tx| store::payment_methods::insert(tx, &samples::method(nobody.id)).await).await,
            database.refused(async |tx: &mut Tx| store::refunds::insert(tx, samples::refund(samples::id(), ghost.id)).await).await,
        ] {
            assert!(error.to_string().to_lowercase().contains("foreign key"), "{error}");
        }
    }
}

#[test]
fn every_check_is_tried() {
    let folder = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres")).expect("the migrations");
    let mut tried = 0;
    for path in folder.flatten().map(|entry| entry.path()) {
        let sql = fs::read_to_string(path).expect("the migration");
        let mut table = "";
        for line in sql.lines().filter(|line| line.contains("check (") || line.starts_with("create table")) {
            if let Some(rest) = line.strip_prefix("create table ") {
                table = rest.trim_end_matches(" (");
                continue;
            }
            let mut words = line.split_whitespace();
            let (table, column) = match line.strip_prefix("alter table ").and_then(|rest| rest.split_once(" add column ")) {
                Some((altered, column)) => (altered, column.split_whitespace().next().expect("a column")),
                None => (table, words.next().expect("a word")),
            };
            tried += 1;
            assert!(
                column == "check" || REFUSED.iter().any(|(t, c, _)| (*t, *c) == (table, column)),
                "{table}.{column} has a CHECK that nothing here tries"
            );
        }
    }
    assert!(tried > 60, "only {tried} checks found");
}
