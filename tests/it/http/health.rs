//! What the invariants are for: the books are broken by hand, one rule at a time, and exactly that line tells, by the row that
//! breaks it.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use rebilld::{
    billing::{self, invariants},
    domain::{clock::Timeline, event::Actor},
    jobs::JOBS,
    store,
};

use crate::world::{World, on_both};

/// Two paid invoices, a refund of one to the method and a part as credit, so that there is something to spoil.
async fn billed(world: &World) {
    let customer = world.customer("UTC").await;
    world.method(customer, false, &world.token()).await;
    let subscription = world.monthly(customer, "2026-01-10").await;
    world.add(subscription).await;
    world.advance("2026-02-20T00:00:00Z").await;
    world.sandbox.sandbox().settle();
    let invoices = world.invoices().await;
    billing::refunds::refund(&world.app, &Actor::System, invoices[0].id, Some(300), "unhappy").await.expect("refunded");
    billing::refunds::to_credit(&world.app, &Actor::System, invoices[1].id, Some(200), "unhappy").await.expect("credited");
}

async fn run(world: &World, sql: &str) {
    let sql: &'static str = Box::leak(sql.to_owned().into_boxed_str());
    let mut tx = world.app.db.begin().await.expect("tx");
    assert!(tx.query(sql).run().await.unwrap_or_else(|error| panic!("{sql}: {error}")) > 0, "{sql} changed nothing");
    tx.commit().await.expect("committed");
}

/// The invariants that do not hold, with the ids that break them.
async fn broken(world: &World) -> BTreeMap<&'static str, Vec<String>> {
    let all = invariants::check(&world.app).await.expect("checked");
    all.into_iter().filter(|checked| !checked.holds()).map(|checked| (checked.invariant.name, checked.found.ids)).collect()
}

/// Spoils, sees exactly this line with exactly this id, and makes it good again.
async fn tells(world: &World, line: &str, id: &str, spoil: &[&str], mend: &[&str]) {
    for sql in spoil {
        run(world, sql).await;
    }
    let found = broken(world).await;
    assert_eq!(found, BTreeMap::from([(line, vec![id.to_owned()])]), "after {spoil:?}");
    for sql in mend {
        run(world, sql).await;
    }
    assert_eq!(broken(world).await, BTreeMap::new(), "after {mend:?}");
}

on_both! {
    async fn each_rule_has_a_line_that_names_what_breaks_it(world: World) {
        billed(&world).await;
        assert_eq!(broken(&world).await, BTreeMap::new());
        let invoices = world.invoices().await;
        let payments = world.payments().await;
        let rows: Vec<(String, String, String)> = world.app.db.query("select s.id, s.customer_id, r.id from subscriptions s, refunds r where r.payment_id is not null").all().await.expect("rows");
        let (subscription, customer, refund) = &rows[0];
        let (first, second) = (invoices[0].id.to_string(), invoices[1].id.to_string());
        let paid = |invoice: &str| payments.iter().find(|payment| payment.invoice_id.to_string() == invoice).expect("paid").id.to_string();
        let (first_payment, second_payment) = (paid(&first), paid(&second));
        let is_first = format!("where id = '{first}'");
        let of_first = format!("where id = '{first_payment}'");
        let of_second = format!("where id = '{second_payment}'");

        // Parked: counted.
        tells(&world, "payments_parked", &second_payment,
            &[&format!("update payments set status = 'parked' {of_second}")],
            &[&format!("update payments set status = 'succeeded' {of_second}")]).await;
        tells(&world, "subscriptions_parked", subscription,
            &["update subscriptions set status = 'parked', parked_reason = 'why', metadata = metadata, moved_to = null, period_end = null, ends_on = null, trial_ends_on = null, due_at = null"],
            &["update subscriptions set status = 'active', parked_reason = null, due_at = next_bill_at"]).await;
        // Nothing is pending beyond its lease, or unknown for long.
        tells(&world, "payments_beyond_lease", &second_payment,
            &[&format!("update payments set status = 'pending', lease_expires_at = '2026-01-01T00:00:00Z' {of_second}")],
            &[&format!("update payments set status = 'succeeded', lease_expires_at = null {of_second}")]).await;
        tells(&world, "payments_long_unknown", &second_payment,
            &[&format!("update payments set status = 'unknown', sent_at = '2026-01-01T00:00:00Z' {of_second}")],
            &[&format!("update payments set status = 'succeeded' {of_second}")]).await;
        // Nothing that is due is forgotten.
        let time = "'2020-01-01T00:00:00Z'";
        tells(&world, "subscriptions_overdue", subscription,
            &[&format!("update subscriptions set timeline = 'wall', due_at = {time}")],
            &["update subscriptions set timeline = 'nowhere', due_at = next_bill_at"]).await;
        tells(&world, "subscriptions_adrift", subscription,
            &["update subscriptions set due_at = null"],
            &["update subscriptions set due_at = next_bill_at"]).await;
        tells(&world, "invoices_overdue", &first,
            &[&format!("update invoices set status = 'open', timeline = 'wall', next_attempt_at = {time} {is_first}")],
            &[&format!("update invoices set status = 'paid', next_attempt_at = null {is_first}")]).await;
        tells(&world, "invoices_stuck", &first,
            &[&format!("update invoices set status = 'open' {is_first}")],
            &[&format!("update invoices set status = 'paid' {is_first}")]).await;
        // Each cycle has its invoice.
        tells(&world, "cycles_without_invoice", subscription,
            &["update subscriptions set next_cycle = next_cycle + 1, cycles_billed = cycles_billed + 1"],
            &["update subscriptions set next_cycle = next_cycle - 1, cycles_billed = cycles_billed - 1"]).await;
        tells(&world, "cycles_without_invoice", subscription,
            &[&format!("update invoices set cycle = null {is_first}")],
            &[&format!("update invoices set cycle = 0 {is_first}")]).await;
        // The sums agree.
        tells(&world, "invoices_overpaid", &second,
            &[&format!("update payments set amount_captured = amount_captured * 2, overpayment = amount_captured {of_second}")],
            &[&format!("update payments set amount_captured = amount, overpayment = 0 {of_second}")]).await;
        tells(&world, "invoices_disagree", &second,
            &[&format!("update payments set amount_captured = amount_captured - 1 {of_second}")],
            &[&format!("update payments set amount_captured = amount {of_second}")]).await;
        tells(&world, "credit_notes_disagree", &second,
            &[&format!("update invoices set credit_given = 1 where id = '{second}'")],
            &[&format!("update invoices set credit_given = 0 where id = '{second}'")]).await;
        tells(&world, "customers_overcredited", customer,
            &["update customers set balance = balance + 1000000", "update credits set amount = amount + 1000000, invoice_id = 'inv_x' where id = (select max(id) from credits)"],
            &["update customers set balance = balance - 1000000", "update credits set amount = amount - 1000000 where id = (select max(id) from credits)"]).await;
        tells(&world, "refunds_disagree", &first,
            &[&format!("update invoices set amount_refunded = amount_refunded - 1 {is_first}")],
            &[&format!("update invoices set amount_refunded = amount_refunded + 1 {is_first}")]).await;
        tells(&world, "refunds_disagree", &second,
            &[&format!("update invoices set amount_credited = amount_credited + 1 where id = '{second}'")],
            &[&format!("update invoices set amount_credited = amount_credited - 1 where id = '{second}'")]).await;
        tells(&world, "balances_disagree", customer,
            &["update customers set balance = balance + 1"],
            &["update customers set balance = balance - 1"]).await;

        // What a payment gave back is also what its invoice did: both lines tell, each of its own row.
        run(&world, &format!("update payments set amount_refunded = amount_refunded + 1 {of_first}")).await;
        assert_eq!(broken(&world).await, BTreeMap::from([("payments_disagree", vec![first_payment.clone()]), ("refunds_disagree", vec![first.clone()])]));
        run(&world, &format!("update payments set amount_refunded = amount_refunded - 1 {of_first}")).await;
        // A refund that has not come to its end has not been added up either.
        for (status, line) in [("pending", "refunds_beyond_lease"), ("parked", "refunds_parked")] {
            run(&world, &format!("update refunds set status = '{status}', lease_expires_at = '2026-01-01T00:00:00Z' where id = '{refund}'")).await;
            assert_eq!(broken(&world).await.get(line), Some(&vec![refund.clone()]));
        }
        run(&world, &format!("update refunds set status = 'succeeded', lease_expires_at = null where id = '{refund}'")).await;
        assert_eq!(broken(&world).await, BTreeMap::new());
    }

    async fn a_rule_that_breaks_and_holds_again_is_told_once_each(world: World) {
        billed(&world).await;
        let told = async || world.events(None).await.into_iter().filter(|kind| kind.starts_with("invariant.")).collect::<Vec<_>>();
        let watch = async |app: &billing::App| {
            let turned = invariants::watch(app).await.expect("watched");
            (turned.broken, turned.restored)
        };
        assert_eq!(watch(&world.app).await, (0, 0));
        run(&world, "update customers set balance = balance + 1").await;
        assert_eq!(watch(&world.app).await, (1, 0));
        // Neither this daemon nor another, nor the next life of one, says it twice.
        assert_eq!((watch(&world.app).await, watch(&*world.another("other").await).await), ((0, 0), (0, 0)));
        assert_eq!(told().await, ["invariant.violated"]);
        run(&world, "update customers set balance = balance - 1").await;
        assert_eq!((watch(&world.app).await, watch(&world.app).await), ((0, 1), (0, 0)));
        assert_eq!(told().await, ["invariant.violated", "invariant.restored"]);
        assert_eq!(world.events(Some("balances_disagree".into())).await.len(), 2);
    }

    async fn what_breaks_a_rule_is_counted_again_at_each_look(world: World) {
        billed(&world).await;
        let customer = world.customer("UTC").await;
        world.add(world.monthly(customer, "2026-03-10").await).await;
        let known = async || {
            invariants::watch(&world.app).await.expect("watched");
            let known = store::invariants::known(&world.app.db).await.expect("read");
            known.into_iter().map(|violation| (violation.name, violation.count)).collect::<Vec<_>>()
        };
        run(&world, "update subscriptions set due_at = null where id = (select min(id) from subscriptions)").await;
        assert_eq!(known().await, [("subscriptions_adrift".to_owned(), 1)]);
        run(&world, "update subscriptions set due_at = null").await;
        assert_eq!(known().await, [("subscriptions_adrift".to_owned(), 2)]);
        run(&world, "update subscriptions set due_at = next_bill_at").await;
        assert_eq!(known().await, []);
    }

    async fn a_job_that_has_gone_quiet_is_named(world: World) {
        let now = world.app.clock.now();
        let minute = TimeDelta::minutes(1);
        for job in JOBS {
            let limit = job.late_after();
            // The call itself takes a moment, hence the minute.
            world.app.last_runs.ended(job.name, now - limit + minute, limit);
            assert_eq!(broken(&world).await, BTreeMap::new(), "{} may be quiet for {limit}", job.name);
            world.app.last_runs.ended(job.name, now - limit - minute, limit);
            assert_eq!(broken(&world).await, BTreeMap::from([("jobs_late", vec![job.name.to_owned()])]));
            world.app.last_runs.ended(job.name, now, limit);
        }
    }

    async fn all_cycles_have_their_turn_and_no_look_reads_them_all(world: World) {
        let customer = world.customer("UTC").await;
        let subscription = world.monthly(customer, "2026-01-10").await;
        let many: Vec<_> = (0..2500).map(|_| rebilld::domain::subscription::Subscription { id: world.app.id(), ..subscription.clone() }).collect();
        let mut tx = world.app.db.begin().await.expect("tx");
        store::subscriptions::insert(&mut tx, &many).await.expect("subscriptions");
        tx.commit().await.expect("commit");
        let last = many.last().expect("one").id.to_string();
        run(&world, &format!("update subscriptions set next_cycle = 1 where id = '{last}'")).await;
        assert_eq!(broken(&world).await, BTreeMap::new(), "it is on the second page");
        let found = BTreeMap::from([("cycles_without_invoice", vec![last])]);
        for look in 0..4 {
            assert_eq!(broken(&world).await, found, "look {look}: what is broken stays told, whichever page is looked at");
        }
        run(&world, "update subscriptions set next_cycle = 0").await;
        assert_eq!(broken(&world).await, BTreeMap::new());
    }

    async fn a_gateway_at_rest_is_named(world: World) {
        billing::gateways::pause(&world.app, &Actor::System, "paylike", "").await.expect("paused");
        assert_eq!(broken(&world).await, BTreeMap::from([("gateways_paused", vec!["paylike".to_owned()])]));
        billing::gateways::resume(&world.app, &Actor::System, "paylike").await.expect("resumed");
        assert_eq!(broken(&world).await, BTreeMap::new());
    }

    async fn history_is_left_alone(world: World) {
        billed(&world).await;
        let later = world.app.clock.now() + TimeDelta::minutes(5);
        run(&world, "update payments set amount_captured = amount * 2, overpayment = amount where attempt = 1").await;
        assert_eq!(store::invariants::invoices_overpaid(&world.app.db, later).await.expect("asked").count, 0);
        assert_eq!(store::invariants::gauges(&world.app.db).await.expect("gauges").payments_unknown, 0);
        assert_eq!(store::payments::undecided(&world.app.db, Timeline::Wall).await.expect("count"), 0);
    }
}
