//! Keys, catalog, plans, customers and how they pay: what each function finds, changes and leaves alone.

use std::collections::BTreeSet;

use rebilld::{
    domain::{
        api_key::{ApiKey, Scope},
        catalog::Entry,
        clock::Timeline,
        customer::Customer,
        id::{AddOn, Discount},
        payment_method::PaymentMethod,
        plan::Plan,
        subscription::{Subscription, SubscriptionStatus},
    },
    store::{
        self, Tx,
        catalog::CatalogKind,
        db::{Record, Row},
    },
};
use serde_json::Value;

use super::{TestDatabase, on_both, samples};

fn fields<T: Row>(row: &T) -> serde_json::Map<String, Value> {
    match serde_json::to_value(row).expect("json") {
        Value::Object(fields) => fields,
        other => panic!("{other}"),
    }
}

/// After `before` was saved as `changed` the row is `after`: every column is the changed one's but these.
pub fn saved_all_but<T: Row>(before: &T, changed: &T, after: &T, kept: &[&str]) {
    let (before, changed, after) = (fields(before), fields(changed), fields(after));
    let kept: BTreeSet<&str> = kept.iter().copied().chain(["id"]).collect();
    for (name, value) in &after {
        let expected = if kept.contains(name.as_str()) { &before[name] } else { &changed[name] };
        assert_eq!(value, expected, "{}.{name}", T::TABLE);
    }
    let equal = |name: &&str| *name != "id" && before[*name] == changed[*name];
    assert_eq!(kept.iter().filter(|name| equal(name)).count(), 0, "{}: the samples must differ in what is kept", T::TABLE);
}

async fn shelf<K: CatalogKind>(database: &TestDatabase)
where
    Entry<K>: Record,
{
    let (plain, full) = (samples::entry::<K>(), Entry::<K> { reference: Some("ref".into()), ..samples::full_entry() });
    database
        .write(async |tx: &mut Tx| {
            store::catalog::insert(tx, &plain).await?;
            store::catalog::insert(tx, &full).await
        })
        .await;
    let id = |entry: Option<Entry<K>>| entry.map(|entry| entry.id);
    for (key, found) in
        [(plain.id.to_string(), Some(plain.id)), ("ref".into(), Some(full.id)), ("no".into(), None), (String::new(), None)]
    {
        assert_eq!(id(store::catalog::find::<K>(&database.db, &key).await.expect("read")), found, "{key}");
        assert_eq!(id(database.write(async |tx: &mut Tx| store::catalog::lock::<K>(tx, &key).await).await), found, "{key}");
    }
    let by_id = plain.id.to_string();
    let many = database.write(async |tx: &mut Tx| store::catalog::find_many::<K>(tx, &["ref", &by_id, "no", "ref"]).await).await;
    assert_eq!(many.len(), 2);
    assert!(database.write(async |tx: &mut Tx| store::catalog::find_many::<K>(tx, &[]).await).await.is_empty());
    let changed = Entry { id: plain.id, reference: Some("other".into()), ..samples::full_entry::<K>() };
    database.write(async |tx: &mut Tx| store::catalog::save(tx, &changed).await).await;
    let after = store::catalog::find::<K>(&database.db, "other").await.expect("read").expect("entry");
    saved_all_but(&plain, &changed, &after, &["created_at"]);
    database.write(async |tx: &mut Tx| store::catalog::delete::<K>(tx, plain.id).await).await;
    assert_eq!(id(store::catalog::find::<K>(&database.db, "other").await.expect("read")), None);
    assert_eq!(id(store::catalog::find::<K>(&database.db, "ref").await.expect("read")), Some(full.id));
}

on_both! {
    async fn keys_are_found_by_digest_and_revoked_once(database: &TestDatabase) {
        let key = |name: &str| ApiKey { name: name.into(), scope: Scope::Admin, ..samples::api_key() };
        let keys = [key("boot"), key("boot"), key("boot"), key("other")];
        for key in &keys {
            database.write(async |tx: &mut Tx| store::api_keys::insert(tx, key.clone()).await).await;
        }
        for digest in [keys[0].digest.as_str(), "none"] {
            let known = keys.iter().find(|key| key.digest == digest).cloned();
            assert_eq!(store::api_keys::by_digest(&database.db, digest).await.expect("read"), known);
            assert_eq!(database.write(async |tx: &mut Tx| store::api_keys::by_digest_in(tx, digest).await).await, known);
        }
        assert!(database.write(async |tx: &mut Tx| store::api_keys::revoke(tx, keys[1].id, samples::noon()).await).await);
        assert!(database.write(async |tx: &mut Tx| store::api_keys::revoke(tx, keys[1].id, samples::minute(1)).await).await);
        assert!(!database.write(async |tx: &mut Tx| store::api_keys::revoke(tx, samples::id(), samples::noon()).await).await);
        let others = database.write(async |tx: &mut Tx| store::api_keys::revoke_others_named(tx, "boot", &keys[0].digest, samples::minute(2)).await).await;
        assert_eq!(others, [ApiKey { revoked_at: Some(samples::minute(2)), ..keys[2].clone() }]);
        let all = store::api_keys::all(&database.db).await.expect("read");
        assert_eq!(all.iter().map(|key| key.id).collect::<Vec<_>>(), keys.each_ref().map(|key| key.id), "oldest first, revoked ones too");
        for (key, revoked_at) in keys.iter().zip([None, Some(samples::noon()), Some(samples::minute(2)), None]) {
            let now = store::api_keys::get(&database.db, key.id).await.expect("read");
            assert_eq!(now, Some(ApiKey { revoked_at, ..key.clone() }));
        }
    }

    async fn both_shelves_of_the_catalog(database: &TestDatabase) {
        shelf::<AddOn>(database).await;
        shelf::<Discount>(database).await;
    }

    async fn plans_are_found_saved_and_deleted(database: &TestDatabase) {
        let (plain, full) = (samples::plan(), Plan { reference: Some("gold".into()), ..samples::full_plan() });
        database.write(async |tx: &mut Tx| {
            store::plans::insert(tx, &plain).await?;
            store::plans::insert(tx, &full).await
        }).await;
        for (key, found) in [(plain.id.to_string(), Some(&plain)), ("gold".into(), Some(&full)), ("none".into(), None)] {
            assert_eq!(store::plans::find(&database.db, &key).await.expect("read").as_ref(), found);
            assert_eq!(database.write(async |tx: &mut Tx| store::plans::find_in(tx, &key).await).await.as_ref(), found);
            assert_eq!(database.write(async |tx: &mut Tx| store::plans::lock(tx, &key).await).await.as_ref(), found);
        }
        let changed = Plan { id: plain.id, ..samples::full_plan() };
        database.write(async |tx: &mut Tx| store::plans::save(tx, &changed).await).await;
        let after = store::plans::find(&database.db, &plain.id.to_string()).await.expect("read").expect("plan");
        saved_all_but(&plain, &changed, &after, &["created_at"]);
        assert_eq!(store::plans::find(&database.db, "gold").await.expect("read"), Some(full));
        database.write(async |tx: &mut Tx| store::plans::delete(tx, plain.id).await).await;
        assert_eq!(store::plans::find(&database.db, &plain.id.to_string()).await.expect("read"), None);
        assert_eq!(database.count("plans").await, 1);
    }

    async fn customers_are_found_saved_and_deleted(database: &TestDatabase) {
        let (plain, full) = (samples::customer(), Customer { reference: Some("ada".into()), ..samples::full_customer() });
        database.write(async |tx: &mut Tx| {
            store::customers::insert(tx, &plain).await?;
            store::customers::insert(tx, &full).await
        }).await;
        for (key, found) in [(plain.id.to_string(), Some(&plain)), (full.id.to_string(), Some(&full)), ("ada".into(), Some(&full)), ("none".into(), None)] {
            assert_eq!(store::customers::find(&database.db, &key).await.expect("read").as_ref(), found);
            assert_eq!(database.write(async |tx: &mut Tx| store::customers::find_in(tx, &key).await).await.as_ref(), found);
            assert_eq!(database.write(async |tx: &mut Tx| store::customers::lock(tx, &key).await).await.as_ref(), found);
        }
        let changed = Customer { id: plain.id, ..samples::full_customer() };
        database.write(async |tx: &mut Tx| store::customers::save(tx, &changed).await).await;
        let after = store::customers::find(&database.db, &plain.id.to_string()).await.expect("read").expect("customer");
        saved_all_but(&plain, &changed, &after, &["timeline", "balance", "created_at"]);

        let ids = [plain.id, full.id, samples::id()];
        let rich = database.write(async |tx: &mut Tx| store::customers::lock_with_credit(tx, &ids).await).await;
        assert_eq!(rich, std::slice::from_ref(&full), "those without credit are left alone");
        let all = database.write(async |tx: &mut Tx| store::customers::lock_many(tx, &ids).await).await;
        assert_eq!(all.iter().map(|customer| customer.id).collect::<Vec<_>>(), [plain.id, full.id]);
        assert!(database.write(async |tx: &mut Tx| store::customers::lock_many(tx, &[]).await).await.is_empty());

        assert!(!database.write(async |tx: &mut Tx| store::customers::has_credits(tx, plain.id).await).await);
        let credit = rebilld::domain::customer::Credit { amount: 5, ..samples::full_credit(plain.id) };
        let richer = Customer { balance: 5, name: "not written".into(), ..after.clone() };
        database.write(async |tx: &mut Tx| store::customers::save_balances(tx, std::slice::from_ref(&richer), std::slice::from_ref(&credit)).await).await;
        let now = store::customers::find(&database.db, &plain.id.to_string()).await.expect("read");
        assert_eq!(now, Some(Customer { balance: 5, ..after }));
        assert_eq!(database.count("credits").await, 1);
        assert!(database.write(async |tx: &mut Tx| store::customers::has_credits(tx, plain.id).await).await);
        database.write(async |tx: &mut Tx| store::customers::delete(tx, plain.id).await).await;
        assert_eq!((database.count("customers").await, database.count("credits").await), (1, 0));
    }

    async fn a_customer_is_tied_down_by_what_runs_and_what_was_billed(database: &TestDatabase) {
        let ada = samples::customer();
        database.write(async |tx: &mut Tx| store::customers::insert(tx, &ada).await).await;
        for status in SubscriptionStatus::ALL {
            let row = Subscription { status: *status, parked_reason: (*status == SubscriptionStatus::Parked).then(String::new), ..samples::subscription(ada.id) };
            database.write(async |tx: &mut Tx| store::subscriptions::insert(tx, std::slice::from_ref(&row)).await).await;
            let running = database.write(async |tx: &mut Tx| store::customers::running(tx, ada.id).await).await;
            assert_eq!(running, (!status.is_ended()).then_some(row.id.to_string()), "{status}");
            let ended = Subscription { status: SubscriptionStatus::Cancelled, parked_reason: None, ..row };
            database.write(async |tx: &mut Tx| store::subscriptions::save(tx, std::slice::from_ref(&ended)).await).await;
        }
        assert!(!database.write(async |tx: &mut Tx| store::customers::has_invoices(tx, ada.id).await).await);
        database.write(async |tx: &mut Tx| store::invoices::insert(tx, &[samples::invoice(ada.id)]).await).await;
        assert!(database.write(async |tx: &mut Tx| store::customers::has_invoices(tx, ada.id).await).await);
        assert!(!database.write(async |tx: &mut Tx| store::customers::has_invoices(tx, samples::id()).await).await);
    }

    async fn methods_come_default_first_then_by_priority(database: &TestDatabase) {
        let (ada, bob) = (samples::customer(), samples::customer());
        let of = |priority, is_default| PaymentMethod { priority, is_default, ..samples::method(ada.id) };
        let methods = [of(5, false), of(9, true), of(-1, false), of(5, false)];
        database.write(async |tx: &mut Tx| {
            store::customers::insert(tx, &ada).await?;
            store::customers::insert(tx, &bob).await?;
            store::payment_methods::insert(tx, &samples::full_method(bob.id)).await?;
            tx.insert_rows(&methods).await
        }).await;
        let order = async || database.write(async |tx: &mut Tx| store::payment_methods::of_customer(tx, ada.id).await).await
            .iter().map(|method| methods.iter().position(|known| known.id == method.id).expect("known")).collect::<Vec<_>>();
        assert_eq!(order().await, [1, 2, 0, 3]);
        database.write(async |tx: &mut Tx| store::payment_methods::clear_default(tx, ada.id).await).await;
        assert_eq!(order().await, [2, 0, 3, 1]);
        let bobs = database.write(async |tx: &mut Tx| store::payment_methods::of_customer(tx, bob.id).await).await;
        assert!(bobs[0].is_default, "another's default stays");

        let before = store::payment_methods::get(&database.db, methods[0].id).await.expect("read").expect("method");
        let changed = PaymentMethod { id: before.id, ..samples::full_method(bob.id) };
        database.write(async |tx: &mut Tx| store::payment_methods::save(tx, &changed).await).await;
        let after = database.write(async |tx: &mut Tx| store::payment_methods::lock(tx, before.id).await).await.expect("method");
        let fixed = ["customer_id", "gateway", "kind", "customer_token", "payment_method_token", "channels", "created_at"];
        // A method of this kind never has a transaction id; equal on both.
        let different = PaymentMethod { transaction_id: before.transaction_id.clone(), ..changed };
        saved_all_but(&before, &different, &after, &fixed);

        let owner = async |id| database.write(async |tx: &mut Tx| store::payment_methods::owner(tx, id).await).await;
        assert_eq!((owner(methods[0].id).await, owner(bobs[0].id).await, owner(samples::id()).await), (Some(ada.id), Some(bob.id), None));
        let named = async || database.write(async |tx: &mut Tx| store::payment_methods::named_by(tx, methods[0].id).await).await;
        let mut naming = Subscription { payment_method_id: Some(methods[0].id), ..samples::subscription(ada.id) };
        assert_eq!(named().await, None);
        database.write(async |tx: &mut Tx| store::subscriptions::insert(tx, std::slice::from_ref(&naming)).await).await;
        assert_eq!(named().await, Some(naming.id.to_string()));
        naming.status = SubscriptionStatus::Completed;
        database.write(async |tx: &mut Tx| store::subscriptions::save(tx, std::slice::from_ref(&naming)).await).await;
        assert_eq!(named().await, None);
        database.write(async |tx: &mut Tx| store::payment_methods::delete(tx, methods[0].id).await).await;
        assert_eq!(store::payment_methods::get(&database.db, methods[0].id).await.expect("read"), None);
        assert_eq!(database.write(async |tx: &mut Tx| store::payment_methods::lock(tx, methods[0].id).await).await, None);
    }

    async fn a_clock_goes_with_everything_on_it_and_nothing_else(database: &TestDatabase) {
        let clock = samples::clock();
        let on_it = Customer { timeline: Timeline::Test(clock.id), ..samples::customer() };
        let beside = samples::customer();
        database.write(async |tx: &mut Tx| {
            store::clocks::insert(tx, clock.clone()).await?;
            for customer in [&on_it, &beside] {
                store::customers::insert(tx, customer).await?;
                store::customers::save_balances(tx, &[], &[samples::credit(customer.id)]).await?;
                store::payment_methods::insert(tx, &samples::method(customer.id)).await?;
                let subscription = samples::subscription(customer.id);
                store::subscriptions::insert(tx, std::slice::from_ref(&subscription)).await?;
                let invoice = rebilld::domain::invoice::Invoice { subscription_id: Some(subscription.id), ..samples::invoice(customer.id) };
                store::invoices::insert(tx, std::slice::from_ref(&invoice)).await?;
                let payment = samples::payment(&invoice);
                store::payments::insert(tx, std::slice::from_ref(&payment)).await?;
                store::refunds::insert(tx, samples::refund(payment.id, invoice.id)).await?;
                store::events::append(tx, &[samples::event("a.b", &customer.id.to_string())]).await?;
            }
            Ok(())
        }).await;
        assert_eq!(database.write(async |tx: &mut Tx| store::clocks::delete_customers(tx, clock.id).await).await, 1);
        assert!(database.write(async |tx: &mut Tx| store::clocks::delete(tx, clock.id).await).await);
        assert!(!database.write(async |tx: &mut Tx| store::clocks::delete(tx, clock.id).await).await);
        for table in ["customers", "credits", "payment_methods", "subscriptions", "invoices", "payments", "refunds"] {
            assert_eq!(database.count(table).await, 1, "{table}");
        }
        assert_eq!((database.count("clocks").await, database.count("events").await), (0, 2));
        assert!(store::customers::find(&database.db, &beside.id.to_string()).await.expect("read").is_some());
    }
}
