//! Dunning policies, and what was tried at a credential.

use chrono::TimeDelta;
use rebilld::{
    domain::{
        clock::Timeline,
        dunning::Policy,
        installment_plan::InstallmentPlan,
        payment::{DeclineClass, Payment, PaymentStatus},
        payment_method::PaymentMethod,
        plan::Plan,
        subscription::{Subscription, SubscriptionStatus},
    },
    store::{self, Tx},
};

use super::{TestDatabase, on_both, samples};

on_both! {
    async fn policies_are_kept_found_and_removed(database: &TestDatabase) {
        let (plain, default) = (Policy { reference: Some("plain".into()), ..samples::policy() }, samples::full_policy());
        for policy in [&plain, &default] {
            database.write(async |tx: &mut Tx| store::dunning_policies::insert(tx, policy).await).await;
        }
        let key = plain.id.to_string();
        for key in [key.as_str(), "plain"] {
            assert_eq!(store::dunning_policies::find(&database.db, key).await.expect("read"), Some(plain.clone()));
            assert_eq!(database.write(async |tx: &mut Tx| store::dunning_policies::hold(tx, key).await).await, Some(plain.clone()));
            assert_eq!(database.write(async |tx: &mut Tx| store::dunning_policies::lock(tx, key).await).await, Some(plain.clone()));
        }
        assert_eq!(store::dunning_policies::find(&database.db, "nobody").await.expect("read"), None);
        assert_eq!(database.write(async |tx: &mut Tx| store::dunning_policies::lock_all(tx).await).await, [plain.clone(), default.clone()]);
        assert_eq!(database.write(async |tx: &mut Tx| store::dunning_policies::in_force(tx, &[]).await).await, std::slice::from_ref(&default));
        assert_eq!(database.write(async |tx: &mut Tx| store::dunning_policies::in_force(tx, &[plain.id]).await).await.len(), 2);
        let second = Policy { is_default: true, ..samples::policy() };
        database.refused(async |tx: &mut Tx| store::dunning_policies::insert(tx, &second).await).await;
        database.write(async |tx: &mut Tx| store::dunning_policies::clear_default(tx).await).await;
        let changed = Policy { is_default: true, name: "changed".into(), steps: default.steps.clone(), ..plain.clone() };
        database.write(async |tx: &mut Tx| store::dunning_policies::save(tx, &changed).await).await;
        assert_eq!(store::dunning_policies::find(&database.db, "plain").await.expect("read"), Some(changed));
        database.write(async |tx: &mut Tx| store::dunning_policies::delete(tx, plain.id).await).await;
        assert_eq!(store::dunning_policies::find(&database.db, "plain").await.expect("read"), None);
    }

    async fn what_is_under_a_policy_is_known_until_it_ends(database: &TestDatabase) {
        let ada = samples::customer();
        database.write(async |tx: &mut Tx| store::customers::insert(tx, &ada).await).await;
        let users = [samples::id(), samples::id(), samples::id(), samples::id()];
        let plan = Plan { dunning_policy_id: Some(users[0]), ..samples::plan() };
        let sub = Subscription { dunning_policy_id: Some(users[1]), ..samples::subscription(ada.id) };
        let inst = InstallmentPlan { dunning_policy_id: Some(users[2]), ..samples::installment_plan(ada.id) };
        let ended = Subscription { dunning_policy_id: Some(users[3]), status: SubscriptionStatus::Cancelled, due_at: None, ..samples::subscription(ada.id) };
        database.write(async |tx: &mut Tx| {
            store::plans::insert(tx, &plan).await?;
            store::subscriptions::insert(tx, &[sub.clone(), ended]).await?;
            tx.insert_rows(std::slice::from_ref(&inst)).await
        }).await;
        let mut found = Vec::new();
        for id in users {
            found.push(database.write(async |tx: &mut Tx| store::dunning_policies::named_by(tx, id).await).await);
        }
        assert_eq!(found, [Some(plan.id.to_string()), Some(sub.id.to_string()), Some(inst.id.to_string()), None]);
    }

    async fn attempts_are_counted_by_credential_timeline_and_time(database: &TestDatabase) {
        let ada = samples::customer();
        let invoices = [samples::invoice(ada.id), samples::invoice(ada.id), samples::invoice(ada.id), samples::invoice(ada.id)];
        let of = |invoice: usize, credential: &str, status, class, minute| Payment {
            credential: Some(credential.into()),
            status,
            decline_class: class,
            created_at: samples::minute(minute),
            ..samples::payment(&invoices[invoice])
        };
        use PaymentStatus::{Declined, GatewayError, Parked, Succeeded, Unknown};
        let (soft, hard) = (Some(DeclineClass::Soft), Some(DeclineClass::Hard));
        let rows = [
            of(0, "a", Declined, soft, 10),
            of(0, "a", Declined, None, 11),
            of(0, "b", Declined, hard, 12),
            of(0, "a", Declined, Some(DeclineClass::GatewayFault), 13),
            of(0, "a", Declined, Some(DeclineClass::AccountRefused), 13),
            of(0, "a", Declined, Some(DeclineClass::ChargeRefused), 13),
            of(0, "a", Succeeded, None, 14),
            of(0, "a", GatewayError, None, 15),
            of(0, "a", Declined, soft, 1),
            of(1, "a", Unknown, None, 20),
            of(2, "a", Parked, None, 21),
            of(3, "a", PaymentStatus::Authorized, None, 22),
            Payment { timeline: Timeline::Test(samples::id()), ..of(0, "a", Declined, soft, 30) },
            Payment { credential: None, ..of(0, "a", Declined, soft, 31) },
        ];
        database.write(async |tx: &mut Tx| {
            store::customers::insert(tx, &ada).await?;
            store::invoices::insert(tx, &invoices).await?;
            store::payments::insert(tx, &rows).await
        }).await;
        let known = ["a".to_owned(), "c".to_owned()];
        let since = samples::minute(1);
        let found = database.write(async |tx: &mut Tx| store::payments::attempts_at(tx, &known, Timeline::Wall, since).await).await;
        let mut found: Vec<_> = found.into_iter().map(|attempt| (attempt.created_at - samples::minute(0), attempt.status)).collect();
        found.sort_by_key(|attempt| attempt.0);
        let at = TimeDelta::minutes;
        assert_eq!(found, [(at(10), Declined), (at(11), Declined), (at(20), Unknown), (at(21), Parked)]);
        let tried = database.write(async |tx: &mut Tx| store::payments::declined_of(tx, &[invoices[0].id, invoices[1].id]).await).await;
        assert!(tried.iter().all(|tried| tried.invoice_id == invoices[0].id));
        let tried: Vec<_> = tried.iter().map(|tried| (tried.credential.as_deref(), tried.decline_class)).collect();
        assert_eq!(tried[..3], [(Some("a"), soft), (Some("a"), None), (Some("b"), hard)]);
        assert_eq!(tried.len(), 6, "without the gateway's fault");
    }

    async fn methods_are_read_locked_and_closed_by_the_crowd(database: &TestDatabase) {
        let (ada, bob) = (samples::customer(), samples::customer());
        let second = PaymentMethod { is_default: false, priority: 2, ..samples::method(ada.id) };
        let first = PaymentMethod { is_default: false, priority: 1, ..samples::method(ada.id) };
        let default = PaymentMethod { is_default: true, priority: 9, ..samples::method(ada.id) };
        let other = samples::method(bob.id);
        database.write(async |tx: &mut Tx| {
            store::customers::insert(tx, &ada).await?;
            store::customers::insert(tx, &bob).await?;
            store::payment_methods::insert_many(tx, &[second.clone(), first.clone(), default.clone(), other.clone()]).await
        }).await;
        let found = database.write(async |tx: &mut Tx| store::payment_methods::of_customers(tx, &[ada.id]).await).await;
        assert_eq!(found, [default.clone(), first.clone(), second.clone()]);
        assert_eq!(database.write(async |tx: &mut Tx| store::payment_methods::of_customers(tx, &[ada.id, bob.id]).await).await.len(), 4);
        let names = || vec![String::from("a"), String::from("b")];
        assert_eq!(database.write(async |tx: &mut Tx| tx.try_lock_names(names()).await).await, names());
        if database.db.is_postgres() {
            // On SQLite there is one writer at a time.
            let mut holder = database.db.begin().await.expect("tx");
            assert_eq!(holder.try_lock_names(vec!["a".into(), "a".into()]).await.expect("held"), ["a", "a"], "the holder may ask again");
            assert_eq!(database.write(async |tx: &mut Tx| tx.try_lock_names(names()).await).await, ["b"]);
            holder.commit().await.expect("committed");
            assert_eq!(database.write(async |tx: &mut Tx| tx.try_lock_names(names()).await).await, names());
        }
        let ids = [first.id, second.id];
        let now = samples::minute(5);
        let ended = database.write(async |tx: &mut Tx| store::payment_methods::end_mandates(tx, &ids, now).await).await;
        assert!(ended.len() == 2 && ended.iter().all(|method| method.mandate_ended_at == Some(now)));
        let later = samples::minute(6);
        let again = database.write(async |tx: &mut Tx| store::payment_methods::end_mandates(tx, &[first.id, default.id], later).await).await;
        assert_eq!(again.iter().map(|method| method.id).collect::<Vec<_>>(), [default.id], "once");
    }
}
