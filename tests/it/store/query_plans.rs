//! No statement over a large table reads all of it: every SQL text of the store is explained on both databases.

use std::fs;

use rebilld::{
    domain::{
        customer::Customer,
        id::Id,
        installment_plan::InstallmentPlan,
        invoice::Invoice,
        payment::{Payment, PaymentStatus},
        payment_request::{PaymentRequest, RequestStatus},
        roll_out::{EntryType, RollOut, Versions},
        subscription::Subscription,
    },
    store::{
        self, Tx,
        db::{Dialect, adapt},
        page::{self, Cursor, Request},
    },
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row as _, SqliteConnection};

use super::{TestDatabase, on_both, samples};
use crate::rust_text::Text;

const ROWS: i64 = 20_000;
const LARGE: &[&str] = &[
    "subscriptions",
    "installment_plans",
    "installments",
    "invoices",
    "payments",
    "payment_requests",
    "refunds",
    "credit_notes",
    "authorizations",
    "customers",
    "credits",
    "payment_methods",
    "events",
    "idempotency_keys",
    "job_runs",
    "roll_outs",
];

/// Files whose statements read all they can, and why.
const READ_ALL: &[(&str, &str)] = &[
    ("calendars.rs", "asked by `rebilld check` alone, which nobody waits for"),
    ("simulation_copy.rs", "copies every living row, page by page, into a file for a simulation"),
    ("reports.rs", "figures over history for people, never on a hot path"),
];

/// 20,000 of each, of which a handful are due, as in life.
async fn fill(database: &TestDatabase) {
    let referred =
        |i| Customer { reference: Some(format!("ref-{i}")), email: Some(format!("Name-{i}@example.com")), ..samples::customer() };
    let customers: Vec<Customer> = (0..ROWS).map(referred).collect();
    let handful = |i: usize| i.is_multiple_of(200).then(|| samples::minute(-rebilld::domain::count(i)));
    let subscriptions: Vec<Subscription> = customers
        .iter()
        .enumerate()
        .map(|(i, customer)| Subscription {
            due_at: Some(samples::minute(40_000)),
            plan_id: Some(Id::from_bits(i as u128 % 100)),
            ..samples::subscription(customer.id)
        })
        .collect();
    let plans: Vec<InstallmentPlan> = customers
        .iter()
        .map(|customer| InstallmentPlan {
            reference: Some(format!("plan of {}", customer.id)),
            due_at: Some(samples::minute(40_000)),
            ..samples::installment_plan(customer.id)
        })
        .collect();
    let installments: Vec<_> = plans.iter().flat_map(|plan| (0..2).map(|number| samples::installment(plan.id, number))).collect();
    let invoices: Vec<Invoice> = subscriptions
        .iter()
        .enumerate()
        .map(|(i, subscription)| {
            let mut invoice = samples::invoice(subscription.customer_id);
            (invoice.subscription_id, invoice.cycle, invoice.next_attempt_at) = (Some(subscription.id), Some(0), handful(i));
            (invoice.installment_plan_id, invoice.installment_number) = (Some(plans[i].id), Some(0));
            if invoice.next_attempt_at.is_none() {
                (invoice.status, invoice.amount_paid) = (rebilld::domain::invoice::InvoiceStatus::Paid, invoice.total);
            }
            invoice
        })
        .collect();
    let payments: Vec<Payment> = invoices
        .iter()
        .enumerate()
        .map(|(i, invoice)| {
            let mut payment = samples::payment(invoice);
            payment.next_lookup_at = handful(i);
            payment.credential = Some(format!("credential {i}"));
            payment.transaction_id = Some(format!("transaction {i}"));
            payment.status = if payment.next_lookup_at.is_some() { PaymentStatus::Unknown } else { PaymentStatus::Succeeded };
            payment
        })
        .collect();
    let requests: Vec<_> = invoices
        .iter()
        .enumerate()
        .map(|(i, invoice)| {
            let open = handful(i).is_some();
            let status = if open { RequestStatus::Sent } else { RequestStatus::Paid };
            let (next_check_at, next_reminder_at) = (handful(i), handful(i));
            PaymentRequest { status, next_check_at, next_reminder_at, ..samples::payment_request(invoice) }
        })
        .collect();
    let refunds: Vec<_> = payments
        .iter()
        .map(|payment| {
            let mut refund = samples::refund(payment.id, payment.invoice_id);
            refund.status = rebilld::domain::refund::RefundStatus::Succeeded;
            refund
        })
        .collect();
    let credit_notes: Vec<_> = invoices.iter().map(samples::credit_note).collect();
    let authorizations: Vec<_> = subscriptions
        .iter()
        .enumerate()
        .map(|(i, subscription)| {
            let mut authorization = samples::authorization(subscription);
            authorization.next_lookup_at = handful(i);
            if authorization.next_lookup_at.is_none() {
                authorization.status = rebilld::domain::authorization::AuthorizationStatus::Voided;
            }
            authorization
        })
        .collect();
    let methods: Vec<_> = customers.iter().map(|customer| samples::method(customer.id)).collect();
    let credits: Vec<_> = customers.iter().map(|customer| samples::credit(customer.id)).collect();
    let events: Vec<_> = subscriptions.iter().map(|subscription| samples::event("a.b", &subscription.id.to_string())).collect();
    let done = |_| RollOut { entry_type: EntryType::Plan, versions: Versions::Plan(vec![]), ..samples::full_roll_out() };
    let roll_outs: Vec<RollOut> = (0..ROWS).map(done).map(|it| RollOut { id: samples::id(), ..it }).collect();
    let runs: Vec<_> = (0..ROWS).map(|_| samples::job_run()).collect();
    database
        .write(async |tx: &mut Tx| {
            tx.insert_rows(&customers).await?;
            tx.insert_rows(&subscriptions).await?;
            tx.insert_rows(&plans).await?;
            tx.insert_rows(&installments).await?;
            tx.insert_rows(&invoices).await?;
            tx.insert_rows(&payments).await?;
            tx.insert_rows(&requests).await?;
            tx.insert_rows(&refunds).await?;
            tx.insert_rows(&credit_notes).await?;
            tx.insert_rows(&authorizations).await?;
            tx.insert_rows(&methods).await?;
            tx.insert_rows(&credits).await?;
            tx.insert_rows(&events).await?;
            tx.insert_rows(&roll_outs).await?;
            tx.insert_rows(&runs).await
        })
        .await;
    let keys = "insert into idempotency_keys (api_key_id, idempotency_key, request_digest, created_at) select id, id, id, occurred_at from events";
    database.run(keys).await.expect("keys");
    database.run("analyze").await.expect("analyzed");
    // A store function, once: the statements below are the ones it runs.
    assert_eq!(store::payments::undecided(&database.db, rebilld::domain::clock::Timeline::Wall).await.expect("count"), 100);
}

/// Every statement written in the store, with its place.
fn statements() -> Vec<(String, String)> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store");
    let mut found = Vec::new();
    for path in fs::read_dir(root).expect("folder").flatten().map(|entry| entry.path()).filter(|path| path.is_file()) {
        let file = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        if READ_ALL.iter().any(|(name, _)| *name == file) {
            continue;
        }
        let source = fs::read_to_string(&path).expect("text");
        let text = Text::read(&source);
        let code = text.without_tests().lines().count();
        for (line, sql) in text.strings.into_iter().filter(|(line, _)| *line <= code) {
            let verb = sql.split_whitespace().next().unwrap_or("");
            let whole = ["select", "update", "delete"].contains(&verb) && !sql.contains("{}") && !sql.ends_with(' ');
            if whole && LARGE.iter().any(|table| sql.contains(&format!(" {table}"))) {
                found.push((format!("{file}:{line}"), sql.replace("\\n", "\n").replace("\\\"", "\"")));
            }
        }
    }
    assert!(found.len() > 60, "only {} statements found", found.len());
    found
}

/// The text that the program sends, which also says the types of its parameters.
fn adapted(sql: &str, dialect: Dialect) -> String {
    (1..10).fold(adapt(sql, dialect), |sql, n| sql.replace(&format!("${n} is null"), &format!("cast(${n} as text) is null")))
}

/// A connection that explains statements.
enum Explainer {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Explainer {
    async fn of(database: &TestDatabase) -> Self {
        if database.db.is_postgres() {
            Self::Postgres(PgConnection::connect(&database.url).await.expect("connected"))
        } else {
            Self::Sqlite(SqliteConnection::connect(&database.url).await.expect("connected"))
        }
    }

    async fn plan(&mut self, sql: &str) -> String {
        match self {
            Self::Sqlite(connection) => sqlite_plan(connection, sql).await,
            Self::Postgres(connection) => postgres_plan(connection, sql).await,
        }
    }
}

async fn sqlite_plan(connection: &mut SqliteConnection, sql: &str) -> String {
    let rows = sqlx::query(AssertSqlSafe(format!("explain query plan {}", adapted(sql, Dialect::Sqlite))))
        .fetch_all(connection)
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
    rows.iter().map(|row| row.get::<String, _>("detail") + "\n").collect()
}

/// By a generic plan, the worst that a prepared statement may come to.
async fn postgres_plan(connection: &mut PgConnection, sql: &str) -> String {
    let parameters = (1..20).take_while(|n| sql.contains(&format!("${n}"))).map(|_| "null").collect::<Vec<_>>().join(", ");
    let arguments = if parameters.is_empty() { String::new() } else { format!("({parameters})") };
    let batch = format!(
        "deallocate all; set plan_cache_mode = force_generic_plan; prepare p as {}; explain (costs off) execute p{arguments}",
        adapted(sql, Dialect::Postgres)
    );
    let rows = sqlx::raw_sql(AssertSqlSafe(batch)).fetch_all(connection).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    rows.iter().map(|row| row.get::<String, _>(0) + "\n").collect()
}

/// Tables that the plan reads from end to end.
fn read_whole(sql: &str, plan: &str, postgres: bool) -> Vec<String> {
    let reads = plan.lines().filter_map(|line| {
        let line = line.trim_start_matches([' ', '-', '>']);
        // An index that only holds the rows in question is as good as a search.
        let rest = if postgres {
            line.strip_prefix("Seq Scan on ")?
        } else {
            line.strip_prefix("SCAN ").filter(|rest| !rest.contains("INDEX"))?
        };
        rest.split_whitespace().next().map(str::to_owned)
    });
    // SQLite tells the alias where there is one.
    reads.filter(|name| LARGE.iter().any(|table| table == name || sql.contains(&format!(" {table} {name} ")))).collect()
}

on_both! {
    async fn every_statement_finds_its_rows_by_an_index(database: &TestDatabase) {
        fill(database).await;
        let mut explainer = Explainer::of(database).await;
        let statements = statements();
        no_statement_reads_a_whole_table(&mut explainer, &statements).await;
        due_scans_use_their_partial_index(&mut explainer, &statements).await;
        lookups_use_their_index(&mut explainer).await;
        each_tick_takes_one_step_in_each_index(&mut explainer, &statements).await;
    }
}

async fn no_statement_reads_a_whole_table(explainer: &mut Explainer, statements: &[(String, String)]) {
    let mut slow = Vec::new();
    for (place, sql) in statements {
        let plan = explainer.plan(sql).await;
        if !read_whole(sql, &plan, matches!(explainer, Explainer::Postgres(_))).is_empty() {
            slow.push(format!("{place}: {sql}\n{plan}"));
        }
    }
    assert!(slow.is_empty(), "{} statements read a whole table:\n{}", slow.len(), slow.join("\n"));
}

/// Partial indexes of what is due. Where there are two, both hold only what is not decided yet.
const DUE_SCANS: &[(&str, &str, &str)] = &[
    ("subscriptions.rs", "select * from subscriptions where timeline = $1 and due_at", "subscriptions_due"),
    ("subscriptions.rs", "select * from subscriptions where plan_id = $1 and id > $2", "subscriptions_running_of_plan"),
    ("roll_outs.rs", "select * from roll_outs where status = 'running'", "roll_outs_one_running"),
    ("events.rs", "select data from events where subject", "events_of_subject"),
    ("installments.rs", "select * from installment_plans where timeline = $1 and due_at", "installment_plans_due"),
    ("invoices.rs", "select * from invoices where timeline = $1 and next_attempt_at", "invoices_due"),
    ("invoices.rs", "select next_attempt_at from invoices", "invoices_due"),
    ("payments.rs", "select credential, status, created_at", "payments_declined_of_credential"),
    ("payments.rs", "select credential, status, created_at", "payments_open_of_credential"),
    ("leases.rs", "update payments set lease_owner = $1", "payments_to_look_up payments_undecided"),
    ("leases.rs", "update payments set status = 'unknown'", "payments_leased payments_undecided"),
    ("authorizations.rs", "select * from subscriptions where timeline = $1 and authorize_at", "subscriptions_to_authorize"),
    ("authorizations.rs", "select authorize_at from subscriptions", "subscriptions_to_authorize"),
    ("leases.rs", "update authorizations set lease_owner", "authorizations_to_look_up"),
    (
        "leases.rs",
        "update authorizations set status = 'unknown'",
        "authorizations_leased authorizations_open authorizations_undecided",
    ),
    ("payments.rs", "select * from payments where return_at <=", "payments_to_return"),
    ("leases.rs", "update payment_requests set lease_owner", "payment_requests_to_check"),
    (
        "payment_requests.rs",
        "update payment_requests set ending = 'expired'",
        "payment_requests_open payment_requests_not_closed",
    ),
    (
        "payment_requests.rs",
        "select * from payment_requests where timeline = $1 and next_reminder_at",
        "payment_requests_reminders",
    ),
    ("payment_requests.rs", "select count(*) from payment_requests where timeline", "payment_requests_busy"),
    ("gateways.rs", "update invoices set next_attempt_at", "invoices_due"),
    ("gateways.rs", "update payments set next_lookup_at", "payments_to_look_up payments_undecided payments_one_open"),
    ("invariants.rs", "select id from subscriptions where due_at is null", "subscriptions_adrift"),
    ("invariants.rs", "select id from invoices where status = 'open'", "invoices_waiting"),
    ("invariants.rs", "select id from refunds where lease_expires_at", "refunds_leased refunds_one_open"),
    ("leases.rs", "update refunds set lease_owner", "refunds_to_look_up refunds_one_open"),
    ("leases.rs", "update refunds set status = 'unknown'", "refunds_leased refunds_one_open"),
];

async fn due_scans_use_their_partial_index(explainer: &mut Explainer, statements: &[(String, String)]) {
    for (file, start, indexes) in DUE_SCANS {
        let (_, sql) = statements
            .iter()
            .find(|(place, sql)| place.starts_with(file) && sql.starts_with(start))
            .unwrap_or_else(|| panic!("{file} has no {start}"));
        let plan = explainer.plan(sql).await;
        assert!(indexes.split(' ').any(|index| plan.contains(index)), "{sql}\n{plan}");
    }
}

/// What people look up by what they hold in hand: the text that a list runs, from the newest on and from a row on.
async fn lookups_use_their_index(explainer: &mut Explainer) {
    for cursor in [Cursor::Newest, Cursor::Before("x".into()), Cursor::After("x".into())] {
        let asks = |column| Request { filters: vec![(column, String::new())], cursor: cursor.clone(), limit: 1 };
        let number = if matches!(explainer, Explainer::Postgres(_)) { "invoices_number_key" } else { "(number=?)" };
        for (sql, index) in [
            (page::statement::<Customer>(&asks("email")), "customers_of_email"),
            (page::statement::<Payment>(&asks("transaction_id")), "payments_of_transaction"),
            (page::statement::<Invoice>(&asks("number")), number),
        ] {
            let plan = explainer.plan(sql.as_str()).await;
            assert!(plan.contains(index), "{}\n{plan}", sql.as_str());
        }
    }
}

async fn each_tick_takes_one_step_in_each_index(explainer: &mut Explainer, statements: &[(String, String)]) {
    let mut asked = String::new();
    for (_, sql) in statements.iter().filter(|(place, _)| place.starts_with("next_due.rs")) {
        asked += &explainer.plan(sql).await;
    }
    let postgres = matches!(explainer, Explainer::Postgres(_));
    for index in [
        "subscriptions_due",
        "installment_plans_due",
        "payment_requests_to_check",
        if postgres { "payments_returns_of" } else { "payments_to_return" },
        "payments_leased",
        "payments_to_look_up",
        "authorizations_leased",
        "authorizations_to_look_up",
        "refunds_leased",
        "refunds_to_look_up",
    ] {
        assert!(asked.contains(index), "{index}\n{asked}");
    }
}
