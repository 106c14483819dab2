//! What disputes ask of the store: whom to ask about, in order and once, and one open dispute for a payment.

use rebilld::{
    domain::{
        dispute::{Dispute, DisputeStatus},
        payment::{Payment, PaymentStatus},
    },
    store::{self, Error, Tx},
};

use super::{Ground, on_both, samples};

/// Payments of one invoice that are to be asked about so many minutes after noon.
async fn payments(ground: &Ground, due: &[Option<i64>]) -> Vec<Payment> {
    let ada = samples::customer();
    let invoice = samples::invoice(ada.id);
    let rows: Vec<Payment> = due
        .iter()
        .map(|due| Payment {
            status: PaymentStatus::Succeeded,
            dispute_check_at: due.map(samples::minute),
            ..samples::payment(&invoice)
        })
        .collect();
    ground
        .write(async |tx: &mut Tx| {
            store::customers::insert(tx, &ada).await?;
            store::invoices::insert(tx, &[invoice]).await?;
            store::payments::insert(tx, &rows).await
        })
        .await;
    rows
}

on_both! {
    async fn whoever_is_due_is_asked_about_once(ground) {
        let rows = payments(ground, &[Some(0), Some(-5), Some(1), None]).await;
        let claim = async || ground.write(async |tx: &mut Tx| {
            store::disputes::claim_checks(tx, samples::noon(), samples::minute(9), 10).await
        }).await;
        let mut claimed: Vec<_> = claim().await.into_iter().map(|payment| payment.id).collect();
        claimed.sort();
        assert_eq!(claimed, [rows[0].id, rows[1].id]);
        assert!(claim().await.is_empty());
        let changed = Payment { amount_disputed: 1, dispute_check_at: None, amount: 7, ..rows[0].clone() };
        ground.write(async |tx: &mut Tx| store::disputes::save_payment(tx, &changed).await).await;
        let now = store::payments::get(&ground.db, rows[0].id).await.expect("read").expect("there");
        assert_eq!(now, Payment { amount: rows[0].amount, ..changed }, "nothing else is written");
        assert_eq!(store::disputes::amount_of_invoice(&ground.db, rows[0].invoice_id).await.expect("read"), 1);
        assert_eq!(store::disputes::amount_of_invoice(&ground.db, samples::id()).await.expect("read"), 0);
    }

    async fn a_payment_has_one_open_dispute(ground) {
        let rows = payments(ground, &[None]).await;
        let first = samples::dispute(&rows[0]);
        ground.write(async |tx: &mut Tx| store::disputes::insert(tx, std::slice::from_ref(&first)).await).await;
        let second = samples::dispute(&rows[0]);
        let refused = ground.refused(async |tx: &mut Tx| store::disputes::insert(tx, std::slice::from_ref(&second)).await).await;
        assert!(matches!(refused, Error::Conflict), "{refused:?}");
        assert_eq!(ground.write(async |tx: &mut Tx| store::disputes::lock_open_of(tx, rows[0].id).await).await, Some(first.clone()));
        let closed = Dispute { status: DisputeStatus::Closed, closed_at: Some(samples::noon()), ..first };
        ground.write(async |tx: &mut Tx| store::disputes::save(tx, &closed).await).await;
        assert_eq!(store::disputes::get(&ground.db, closed.id).await.expect("read"), Some(closed));
        assert_eq!(ground.write(async |tx: &mut Tx| store::disputes::lock_open_of(tx, rows[0].id).await).await, None);
        ground.write(async |tx: &mut Tx| store::disputes::insert(tx, &[second]).await).await;
    }
}
