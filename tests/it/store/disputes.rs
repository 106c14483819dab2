//! What disputes ask of the store: whom to ask about, in order and once, and one open dispute for a payment.

use rebilld::{
    domain::{
        dispute::{Dispute, DisputeStatus},
        id::Id,
        payment::{Payment, PaymentStatus},
    },
    store::{self, Error, Tx},
};

use super::{TestDatabase, on_both, samples};

/// So many payments of one invoice that took money.
async fn payments(database: &TestDatabase, count: usize) -> Vec<Payment> {
    let ada = samples::customer();
    let invoice = samples::invoice(ada.id);
    let rows: Vec<Payment> =
        (0..count).map(|_| Payment { status: PaymentStatus::Succeeded, ..samples::payment(&invoice) }).collect();
    database
        .write(async |tx: &mut Tx| {
            store::customers::insert(tx, &ada).await?;
            store::invoices::insert(tx, &[invoice]).await?;
            store::payments::insert(tx, &rows).await
        })
        .await;
    rows
}

on_both! {
    async fn payments_are_walked_along_in_their_order(database: &TestDatabase) {
        let mut rows = payments(database, 4).await;
        rows.sort_by_key(|payment| payment.id);
        let declined = Payment { status: PaymentStatus::Declined, ..rows[1].clone() };
        database.write(async |tx: &mut Tx| store::payments::save(tx, &[declined]).await).await;
        let ids = |rows: Vec<Payment>| rows.into_iter().map(|payment| payment.id).collect::<Vec<_>>();
        let between = async |from, until, limit| ids(store::disputes::payments_between(&database.db, from, until, limit).await.expect("read"));
        let (first, last) = (Id::from_bits(0), Id::from_bits(u128::MAX));
        assert_eq!(between(first, last, 9).await, [rows[0].id, rows[2].id, rows[3].id]);
        assert_eq!((between(rows[0].id, last, 1).await, between(first, rows[2].id, 9).await), (vec![rows[2].id], vec![rows[0].id]));

        assert_eq!(store::disputes::reached(&database.db, 3).await.expect("read"), None);
        for reached in [rows[0].id, rows[2].id] {
            database.write(async |tx: &mut Tx| store::disputes::reach(tx, 3, reached).await).await;
            assert_eq!(store::disputes::reached(&database.db, 3).await.expect("read"), Some(reached));
        }
        assert_eq!(store::disputes::reached(&database.db, 7).await.expect("read"), None);

        let changed = Payment { amount_disputed: 1, amount: 7, ..rows[0].clone() };
        database.write(async |tx: &mut Tx| store::disputes::save_payment(tx, &changed).await).await;
        let now = store::payments::get(&database.db, rows[0].id).await.expect("read").expect("there");
        assert_eq!(now, Payment { amount: rows[0].amount, ..changed }, "nothing else is written");
        assert_eq!(store::disputes::amount_of_invoice(&database.db, rows[0].invoice_id).await.expect("read"), 1);
        assert_eq!(store::disputes::amount_of_invoice(&database.db, samples::id()).await.expect("read"), 0);
    }

    async fn a_payment_has_one_open_dispute(database: &TestDatabase) {
        let rows = payments(database, 1).await;
        let first = samples::dispute(&rows[0]);
        database.write(async |tx: &mut Tx| store::disputes::insert(tx, std::slice::from_ref(&first)).await).await;
        let open = async |from| store::disputes::payments_in_dispute(&database.db, from, 9).await.expect("read").len();
        assert_eq!((open(Id::from_bits(0)).await, open(rows[0].id).await), (1, 0));
        let second = samples::dispute(&rows[0]);
        let refused = database.refused(async |tx: &mut Tx| store::disputes::insert(tx, std::slice::from_ref(&second)).await).await;
        assert!(matches!(refused, Error::Conflict), "{refused:?}");
        assert_eq!(database.write(async |tx: &mut Tx| store::disputes::lock_open_of(tx, rows[0].id).await).await, Some(first.clone()));
        let closed = Dispute { status: DisputeStatus::Closed, closed_at: Some(samples::noon()), ..first };
        database.write(async |tx: &mut Tx| store::disputes::save(tx, &closed).await).await;
        assert_eq!(store::disputes::get(&database.db, closed.id).await.expect("read"), Some(closed));
        assert_eq!(database.write(async |tx: &mut Tx| store::disputes::lock_open_of(tx, rows[0].id).await).await, None);
        database.write(async |tx: &mut Tx| store::disputes::insert(tx, &[second]).await).await;
    }
}
