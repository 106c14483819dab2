//! `/v1/payment-requests`: asked for, listed, acted upon; counted in the metrics. Nobody is really asked: no job runs here.

use rebilld::domain::payment_request::{PaymentRequest, RequestStatus};
use serde_json::json;

use super::{TestServer, on_both};

on_both! {
    async fn an_operator_asks_reminds_and_withdraws(server: &TestServer) {
        let clock = server.clock("2026-06-01T00:00:00Z").await;
        server.made("/v1/customers", json!({"name": "Ada", "reference": "ada", "clock_id": clock, "email": "ada@example.com"})).await;
        server.made("/v1/subscriptions", json!({"customer": {"id": "ada"}, "amount": 1000, "billing_frequency": "monthly"})).await;
        server.bill(&clock, "2026-06-02T12:00:00Z").await;
        let invoice = server.invoices().await.remove(0).id.to_string();
        let asked = server.made("/v1/payment-requests", json!({"invoice_id": invoice, "gateway": "paysley"})).await;
        let path = format!("/v1/payment-requests/{}", asked["id"].as_str().expect("id"));
        assert_eq!((&asked["status"], &asked["amount"], &asked["channels"], &asked["role"]), (&json!("pending"), &json!(1000), &json!(["EMAIL"]), &json!("extra")));
        assert_eq!(server.get(&path).await.ok(200), asked);
        for (query, found) in [("", 1), ("?status=pending", 1), ("?status=paid", 0), ("?gateway=paysley", 1), ("?gateway=kurv", 0)] {
            let list = server.get(&format!("/v1/payment-requests{query}")).await.ok(200);
            assert_eq!(list["data"].as_array().map(Vec::len), Some(found), "{query}");
        }
        let shown = server.get(&format!("/v1/invoices/{invoice}")).await.ok(200);
        assert_eq!(shown["payment_requests"][0]["id"], asked["id"]);
        server.measures("rebilld_payment_requests_open 1").await;

        server.post(&format!("{path}/check"), json!({})).await.ok(200);
        server.post(&format!("{path}/remind"), json!({})).await.ok(200);
        assert_eq!(server.post(&format!("{path}/withdraw"), json!({})).await.ok(200)["ending"], json!("withdrawn"));
        for verb in ["remind", "withdraw"] {
            server.post(&format!("{path}/{verb}"), json!({})).await.problem(409);
        }
        let events = server.get(&format!("/v1/events?subject={}", asked["id"].as_str().expect("id"))).await.ok(200);
        let kinds: Vec<_> = events["data"].as_array().expect("events").iter().map(|event| event["type"].as_str().expect("type")).collect();
        assert_eq!(kinds, ["payment_request.withdrawal_asked", "payment_request.reminder_asked", "payment_request.created"]);
    }

    async fn a_schedule_is_asked_for_in_paysleys_own_words(server: &TestServer) {
        server.made("/v1/customers", json!({"name": "Ada", "reference": "ada", "email": "ada@example.com"})).await;
        let body = json!({"customer": {"id": "ada"}, "amount": 500, "payment_frequency": "MONTHLY", "payment_start_date": "2999-01-31",
            "total_number_of_payments": 12, "initial_payment_amount": 100, "description": "Club"});
        let asked = server.made("/v1/payment-requests", body).await;
        assert_eq!((&asked["invoice_id"], &asked["gateway"], &asked["role"]), (&json!(null), &json!("paysley"), &json!("schedule")), "the only one that runs schedules");
        assert_eq!((&asked["payment_frequency"], &asked["payment_start_at"]), (&json!("monthly"), &json!("2999-01-31T06:00:00Z")));
        assert_eq!((&asked["total_number_of_payments"], &asked["initial_payment_amount"]), (&json!(12), &json!(100)));
        let stored: PaymentRequest = server.app.db.query("select * from payment_requests").one().await.expect("one");
        assert_eq!((stored.status, stored.amount, stored.currency.code()), (RequestStatus::Pending, 500, "USD"));
    }
}
