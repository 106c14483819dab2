//! Actions that the state of things does not allow: 409, and nothing changed.

use serde_json::{Value, json};

use super::{
    super::{TestServer, on_both},
    stage::Stage,
};

on_both! {
    async fn an_action_out_of_place_is_409_and_changes_nothing(server: &TestServer) {
        let stage = Stage::set(server).await;
        let before = stage.fingerprint(server).await;
        let actions: &[(&str, Value)] = &[
            ("/v1/subscriptions/{cancelled}/cancel", json!({"when": "now"})),
            ("/v1/subscriptions/{cancelled}/cancel", json!({"when": "period_end"})),
            ("/v1/subscriptions/{cancelled}/pause", json!({})),
            ("/v1/subscriptions/{cancelled}/resume", json!({})),
            ("/v1/subscriptions/{cancelled}/skip", json!({"cycles": 2})),
            ("/v1/subscriptions/{cancelled}/reschedule", json!({"next_bill_date": "2026-07-01"})),
            ("/v1/subscriptions/{cancelled}/change", json!({"when": "now", "amount": 5})),
            ("/v1/subscriptions/{cancelled}/change", json!({"when": "period_end", "amount": 5, "preview": true})),
            ("/v1/subscriptions/{cancelled}/unpark", json!({})),
            ("/v1/subscriptions/{cancelled}/keep", json!({})),
            ("/v1/subscriptions/{sub}/resume", json!({})),
            ("/v1/subscriptions/{sub}/unpark", json!({})),
            ("/v1/subscriptions/{sub}/keep", json!({})),
            ("/v1/subscriptions/{trialing}/resume", json!({})),
            ("/v1/subscriptions/{trialing}/unpark", json!({})),
            ("/v1/subscriptions/{paused}/pause", json!({})),
            ("/v1/subscriptions/{paused}/unpark", json!({})),
            ("/v1/subscriptions/{paused}/skip", json!({})),
            ("/v1/subscriptions/{parked}/resume", json!({})),
            ("/v1/subscriptions/{parked}/pause", json!({})),
            ("/v1/subscriptions/{parked}/skip", json!({})),
            ("/v1/subscriptions/{paid_sub}/retry", json!({})),
            ("/v1/installment-plans/{inst_cancelled}/cancel", json!({})),
            ("/v1/installment-plans/{inst_cancelled}/pay-off", json!({})),
            ("/v1/installment-plans/{inst_cancelled}/installments/1/pay", json!({})),
            ("/v1/installment-plans/{inst_cancelled}/skip", json!({})),
            ("/v1/installment-plans/{inst_cancelled}/reschedule", json!({"next_date": "2026-07-15"})),
            ("/v1/installment-plans/{inst_cancelled}/restore", json!({})),
            ("/v1/installment-plans/{inst}/restore", json!({"arrears": "end", "preview": true})),
            ("/v1/installment-plans/{inst_cancelled}/installments/1/split", json!({"parts": [{"date": "2026-08-01", "amount": 50}, {"date": "2026-08-02", "amount": 250}]})),
            ("/v1/invoices/{inv_paid}/void", json!({})),
            ("/v1/invoices/{inv_paid}/collect", json!({})),
            ("/v1/invoices/{inv_paid}/mark_uncollectible", json!({"reason": "x"})),
            ("/v1/invoices/{inv}/refund", json!({"reason": "x"})),
            ("/v1/invoices/{inv}/refund", json!({"reason": "x", "amount": 1})),
            ("/v1/invoices/{inv}/refund", json!({"reason": "x", "to": "credit"})),
            ("/v1/invoices/{inv_stuck}/refund", json!({"reason": "x", "to": "credit"})),
            // Its payment is parked: nobody knows whether it was taken.
            ("/v1/invoices/{inv_stuck}/void", json!({})),
            ("/v1/invoices/{inv_stuck}/collect", json!({})),
            ("/v1/invoices/{inv_stuck}/mark_uncollectible", json!({})),
            ("/v1/invoices/{inv_stuck}/refund", json!({"reason": "x"})),
            ("/v1/payment-requests", json!({"invoice_id": stage.names["inv_paid"], "gateway": "paysley"})),
            ("/v1/payments/{pay_done}/resolve", json!({"outcome": "succeeded", "note": "x"})),
            ("/v1/payments/{pay_done}/resolve", json!({"outcome": "not_processed", "note": "x"})),
        ];
        let mut wrong = Vec::new();
        for (path, body) in actions {
            let answer = server.post(&stage.fill(path), body.clone()).await;
            let now = stage.fingerprint(server).await;
            if answer.status != 409 || now != before {
                wrong.push(format!("{path} {body}: {} {}", answer.status, answer.text.chars().take(300).collect::<String>()));
                assert!(now == before, "{wrong:#?} changed {:#?}", now.iter().filter(|line| !before.contains(line)).collect::<Vec<_>>());
            } else {
                answer.problem(409);
            }
        }
        for path in ["/v1/customers/{cus}", "/v1/customers/ada"] {
            server.delete(&stage.fill(path)).await.problem(409);
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(stage.fingerprint(server).await == before);
    }

    async fn a_clock_on_its_way_refuses_another_errand(server: &TestServer) {
        let stage = Stage::set(server).await;
        // Nobody moves clocks here, so it stays on its way.
        let advance = stage.fill("/v1/clocks/{clk}/advance");
        server.post(&advance, json!({"by": "1d"})).await.ok(202);
        let before = stage.fingerprint(server).await;
        server.post(&advance, json!({"by": "1d"})).await.problem(409);
        server.delete(&stage.fill("/v1/clocks/{clk}")).await.problem(409);
        assert!(stage.fingerprint(server).await == before);
    }

    async fn a_method_in_use_stays(server: &TestServer) {
        let stage = Stage::set(server).await;
        let body = json!({"customer": {"id": "ada"}, "amount": 1, "billing_frequency": "monthly", "payment_method_id": stage.names["pm"]});
        server.made("/v1/subscriptions", body).await;
        let before = stage.fingerprint(server).await;
        server.delete(&stage.fill("/v1/payment-methods/{pm}")).await.problem(409);
        assert!(stage.fingerprint(server).await == before);
    }
}
