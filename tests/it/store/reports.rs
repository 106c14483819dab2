//! Figures over a span, counted by hand; and what is said of a database's file before it is opened.

use rebilld::{
    domain::{
        clock::Timeline,
        event::Event,
        invoice::{Invoice, InvoiceStatus},
        money::Currency,
        payment::{Payment, PaymentStatus},
    },
    store::{
        self, Tx,
        reports::{Figures, Taken},
    },
};

use super::{TestDatabase, on_both, samples};

on_both! {
    async fn figures_are_those_of_their_span_timeline_and_currency(database: &TestDatabase) {
        let (ada, test) = (samples::customer(), Timeline::Test(samples::id()));
        let yen: Currency = "JPY".parse().expect("currency");
        let invoice = |timeline, currency| Invoice { timeline, currency, ..samples::invoice(ada.id) };
        let invoices = [invoice(test, Currency::USD), invoice(test, Currency::USD), invoice(test, yen), invoice(Timeline::Wall, Currency::USD),
            Invoice { status: InvoiceStatus::Uncollectible, ..invoice(test, yen) }];
        let payment = |i: usize, status: PaymentStatus, captured, at: i64| Payment {
            status,
            currency: invoices[i].currency,
            amount: 1000,
            amount_captured: captured,
            resolved_at: Some(samples::minute(at)),
            ..samples::payment(&invoices[i])
        };
        use PaymentStatus::{Declined, GatewayError, Refunded, Succeeded};
        let payments = [
            payment(0, Declined, 0, 1),
            payment(0, Succeeded, 700, 2),
            payment(1, Refunded, 300, 3),
            payment(1, GatewayError, 0, 3),
            payment(2, Succeeded, 50, 0),
            payment(2, Succeeded, 60, 10),
            payment(3, Succeeded, 9000, 2),
        ];
        let lost = Event { timeline: test, occurred_at: samples::minute(9), ..samples::event("invoice.uncollectible", &invoices[4].id.to_string()) };
        database.write(async |tx: &mut Tx| {
            store::customers::insert(tx, &ada).await?;
            store::invoices::insert(tx, &invoices).await?;
            store::payments::insert(tx, &payments).await?;
            store::events::append(tx, &[lost]).await
        }).await;
        let left = store::reports::unfinished(&database.db, test).await.expect("read");
        assert_eq!((left.invoices_open, left.payments_parked, left.subscriptions_parked), (3, 0, 0));
        assert_eq!(store::reports::unfinished(&database.db, Timeline::Wall).await.expect("read").invoices_open, 1);
        let figures = async |timeline, from, to| store::reports::between(&database.db, timeline, samples::minute(from), samples::minute(to)).await.expect("figures");
        let dollars = Figures { charges: 2, declines: 1, recovered: 1, lost: 0, total: 1000 };
        let yens = Figures { charges: 1, declines: 0, recovered: 0, lost: 1, total: 50 };
        assert_eq!(figures(test, 0, 10).await, [(Currency::USD, dollars), (yen, yens)].into());
        assert_eq!(figures(test, 10, 11).await, [(yen, Figures { lost: 0, total: 60, ..yens })].into(), "half-open");
        assert_eq!(figures(test, 20, 30).await, [].into());
        assert_eq!(figures(Timeline::Wall, 0, 10).await[&Currency::USD].total, 9000);

        let taken = store::reports::taken(&database.db, test).await.expect("taken");
        let expected: Vec<Taken> = [1, 2, 4, 5].map(|i: usize| Taken {
            reference: payments[i].reference.clone(),
            transaction_id: None,
            amount_captured: payments[i].amount_captured,
            currency: payments[i].currency,
        }).to_vec();
        assert_eq!(taken, expected);
    }
}

#[test]
fn a_file_is_looked_at_before_it_is_opened() {
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("sqlite://{}/none.db", folder.path().display());
    assert!(store::sqlite_file::check(&url, false).is_err());
    assert_eq!(store::sqlite_file::check(&url, true), Ok(()));
    assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 0, "looking makes nothing");
}
