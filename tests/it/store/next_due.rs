//! What is waited for by real time: the first of all its parts, whatever clock they are of.

use chrono::{DateTime, Utc};
use rebilld::{
    domain::{authorization::Authorization, clock::Timeline, payment::Payment, payment_request::PaymentRequest, refund::Refund},
    store::{self, Tx},
};

use super::{TestDatabase, on_both, samples};

async fn awaited(database: &TestDatabase) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
    let look_up = store::next_due::lookup(&database.db).await.expect("read");
    (look_up, store::next_due::request(&database.db, Timeline::Wall).await.expect("read"))
}

on_both! {
    async fn the_first_of_all_is_awaited(database: &TestDatabase) {
        assert_eq!(awaited(database).await, (None, None));
        let ada = samples::customer();
        let (subscription, invoice) = (samples::subscription(ada.id), samples::invoice(ada.id));
        database.write(async |tx: &mut Tx| {
            store::customers::insert(tx, &ada).await?;
            store::subscriptions::insert(tx, std::slice::from_ref(&subscription)).await?;
            store::invoices::insert(tx, std::slice::from_ref(&invoice)).await
        }).await;
        // Each is sooner than all before it.
        let at = |minute: i64| Some(samples::minute(minute));
        let elsewhere = Timeline::Test(samples::id());
        let mut payment = Payment { timeline: elsewhere, lease_expires_at: at(9), ..samples::payment(&invoice) };
        database.write(async |tx: &mut Tx| store::payments::insert(tx, std::slice::from_ref(&payment)).await).await;
        assert_eq!(awaited(database).await, (at(9), None));
        payment.next_lookup_at = at(8);
        database.write(async |tx: &mut Tx| store::payments::save(tx, std::slice::from_ref(&payment)).await).await;
        assert_eq!(awaited(database).await, (at(8), None));
        let mut authorization = Authorization { lease_expires_at: at(7), ..samples::authorization(&subscription) };
        database.write(async |tx: &mut Tx| store::authorizations::insert(tx, std::slice::from_ref(&authorization)).await).await;
        assert_eq!(awaited(database).await, (at(7), None));
        authorization.next_lookup_at = at(6);
        database.write(async |tx: &mut Tx| store::authorizations::save(tx, std::slice::from_ref(&authorization)).await).await;
        assert_eq!(awaited(database).await, (at(6), None));
        let mut refund = Refund { lease_expires_at: at(5), next_lookup_at: None, ..samples::refund(payment.id, invoice.id) };
        database.write(async |tx: &mut Tx| store::refunds::insert(tx, refund.clone()).await).await;
        assert_eq!(awaited(database).await, (at(5), None));
        refund.next_lookup_at = at(4);
        database.write(async |tx: &mut Tx| store::refunds::save(tx, refund.clone()).await).await;
        assert_eq!(awaited(database).await, (at(4), None));
        let request = PaymentRequest { timeline: elsewhere, next_check_at: at(3), ..samples::payment_request(&invoice) };
        database.write(async |tx: &mut Tx| store::payment_requests::insert(tx, std::slice::from_ref(&request)).await).await;
        assert_eq!(awaited(database).await, (at(4), at(3)));
        assert_ne!(store::next_due::request(&database.db, elsewhere).await.expect("read"), at(3), "gateways live by real time");
        payment.return_at = at(2);
        database.write(async |tx: &mut Tx| store::payments::save(tx, std::slice::from_ref(&payment)).await).await;
        assert_eq!(awaited(database).await, (at(4), at(2)));
    }
}
