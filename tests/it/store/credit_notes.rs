//! What credit notes and balances ask of the store: whom a balance could pay, what nobody else holds, and what is claimed.

use rebilld::{
    domain::{
        customer::{Credit, Customer},
        id::CustomerId,
        invoice::{Invoice, InvoiceStatus},
        payment::{Payment, PaymentStatus},
        refund::{Refund, RefundStatus},
    },
    store::{self, Tx, sums::CustomerSums},
};

use super::{TestDatabase, on_both, samples};

async fn customer(database: &TestDatabase, balance: i64, currency: &str) -> CustomerId {
    let customer = Customer { balance, currency: currency.parse().expect("currency"), ..samples::customer() };
    database.write(async |tx: &mut Tx| store::customers::insert(tx, &customer).await).await;
    customer.id
}

async fn invoices(database: &TestDatabase, rows: &[Invoice]) {
    database.write(async |tx: &mut Tx| store::invoices::insert(tx, rows).await).await;
}

on_both! {
    async fn credit_notes_are_found_by_their_invoice(database: &TestDatabase) {
        let ada = customer(database, 0, "USD").await;
        let of = samples::invoice(ada);
        invoices(database, std::slice::from_ref(&of)).await;
        let notes = [samples::credit_note(&of), samples::full_credit_note(&of)];
        database.write(async |tx: &mut Tx| store::credit_notes::insert(tx, &notes).await).await;
        assert_eq!(store::credit_notes::of_invoice(&database.db, of.id).await.expect("read"), notes);
        assert_eq!(store::credit_notes::of_invoice(&database.db, samples::id()).await.expect("read"), []);
        assert_eq!(store::credit_notes::get(&database.db, notes[1].id).await.expect("read").as_ref(), Some(&notes[1]));
    }

    async fn a_balance_pays_what_is_open_in_its_currency_oldest_first(database: &TestDatabase) {
        let (rich, poor, foreign) =
            (customer(database, 5, "USD").await, customer(database, 0, "USD").await, customer(database, 5, "EUR").await);
        let owed = |customer, minute| Invoice { due_at: samples::minute(minute), ..samples::invoice(customer) };
        let rows = [
            owed(rich, 7),
            owed(rich, 3),
            owed(poor, 1),
            owed(foreign, 1),
            Invoice { status: InvoiceStatus::Uncollectible, ..owed(rich, 1) },
        ];
        invoices(database, &rows).await;
        let all = [rich, poor, foreign];
        let payable = database.write(async |tx: &mut Tx| store::invoices::payable_by_balance(tx, &all).await).await;
        assert_eq!(payable.iter().map(|row| row.id).collect::<Vec<_>>(), [rows[1].id, rows[0].id]);
        assert_eq!((payable[0].customer_id, payable[0].subscription_id), (rich, None));
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        let covered = database.write(async |tx: &mut Tx| store::invoices::covered_by_balance(tx, &ids[..4]).await).await;
        assert_eq!(covered, [(ids[0], rich), (ids[1], rich)]);
    }

    async fn what_another_transaction_holds_is_passed_over(database: &TestDatabase) {
        let ada = customer(database, 5, "USD").await;
        let (free, held) = (samples::invoice(ada), samples::invoice(ada));
        invoices(database, &[free.clone(), held.clone()]).await;
        let subscription = samples::subscription(ada);
        let plan = samples::installment_plan(ada);
        database.write(async |tx: &mut Tx| {
            store::subscriptions::insert(tx, std::slice::from_ref(&subscription)).await?;
            tx.insert_rows(std::slice::from_ref(&plan)).await
        }).await;
        // SQLite has one writer at a time, so there nobody holds anything.
        let holder = if database.db.is_postgres() {
            let mut tx = database.db.begin().await.expect("tx");
            store::invoices::lock(&mut tx, held.id).await.expect("locked");
            store::subscriptions::lock(&mut tx, subscription.id).await.expect("locked");
            store::installments::lock_many(&mut tx, &[plan.id]).await.expect("locked");
            Some(tx)
        } else {
            None
        };
        let others = usize::from(holder.is_none());
        let got = database.write(async |tx: &mut Tx| store::invoices::lock_free(tx, &[free.id, held.id]).await).await;
        assert_eq!(got.len(), 1 + others);
        assert!(got.contains(&free.id));
        assert_eq!(database.write(async |tx: &mut Tx| store::subscriptions::lock_free(tx, &[subscription.id]).await).await.len(), others);
        assert_eq!(database.write(async |tx: &mut Tx| store::installments::lock_free(tx, &[plan.id]).await).await.len(), others);
        drop(holder);
    }

    async fn what_is_on_its_way_back_or_disputed_is_claimed(database: &TestDatabase) {
        let ada = customer(database, 0, "USD").await;
        let rows = [samples::invoice(ada), samples::invoice(ada), samples::invoice(ada)];
        invoices(database, &rows).await;
        let payment = |of: &Invoice, disputed| Payment {
            status: PaymentStatus::Succeeded, amount: 900, amount_captured: 900, amount_disputed: disputed, ..samples::payment(of)
        };
        let payments = [payment(&rows[0], 0), payment(&rows[1], 30), payment(&rows[2], 0)];
        let refund = |amount, status| Refund { amount, status, ..samples::refund(payments[0].id, rows[0].id) };
        database.write(async |tx: &mut Tx| {
            store::payments::insert(tx, &payments).await?;
            store::refunds::insert(tx, refund(7, RefundStatus::Unknown)).await?;
            store::refunds::insert(tx, refund(50, RefundStatus::Succeeded)).await
        }).await;
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        let mut claimed = database.write(async |tx: &mut Tx| store::refunds::claimed_of(tx, &ids).await).await;
        claimed.sort_unstable();
        assert_eq!(claimed, [(ids[0], 7), (ids[1], 30)]);
        let mut seen = store::refunds::seen_claimed_of(&database.db, &ids).await.expect("read");
        seen.sort_unstable();
        assert_eq!(seen, claimed);
    }

    async fn what_came_from_a_customer_is_added_up(database: &TestDatabase) {
        let ada = customer(database, 70, "USD").await;
        let of = samples::invoice(ada);
        invoices(database, std::slice::from_ref(&of)).await;
        let payment = Payment {
            status: PaymentStatus::Succeeded, amount: 900, amount_captured: 900, amount_refunded: 200, amount_disputed: 30,
            ..samples::payment(&of)
        };
        let credit = |amount, invoice_id| Credit { amount, invoice_id, ..samples::credit(ada) };
        database.write(async |tx: &mut Tx| {
            store::payments::insert(tx, std::slice::from_ref(&payment)).await?;
            store::customers::save_balances(tx, &[], &[credit(100, None), credit(-30, Some(of.id))]).await
        }).await;
        let expected = CustomerSums { id: ada, balance: 70, granted: 100, received: 900, refunded: 200, disputed: 30 };
        assert_eq!(store::sums::of_customers(&database.db, samples::minute(-60)).await.expect("read"), [expected]);
    }
}
