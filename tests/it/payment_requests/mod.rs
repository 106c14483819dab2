//! Customers who are asked to pay: stories over real HTTP with the pretend Paysley and Paylike, on both databases.

mod faults;
mod hooks;
mod ladder;
mod paid;
mod races;
mod schedules;

use std::{sync::Arc, time::Duration};

use rebilld::{
    billing,
    config::Config,
    domain::{
        payment_request::{PaymentRequest, RequestStatus},
        subscription::Subscription,
    },
    sandbox::{Pay, Rule},
    store,
};
use serde_json::json;

use crate::world::*;

fn rule(fault: &str, operation: &str, times: u32) -> Rule {
    serde_json::from_value(json!({ "match": { "gateway": "paysley", "operation": operation }, "fault": fault, "times": times }))
        .expect("a rule")
}

/// A subscription whose customer is asked by these channels, once, on 10 January.
async fn asked_once(world: &World, channels: &[&str]) -> Subscription {
    let customer = world.customer("UTC").await;
    world.asks(customer, channels).await;
    let mut sub = world.monthly(customer, "2026-01-10").await;
    sub.duration = 1;
    world.add(sub).await
}

impl World {
    /// The same world run by a daemon with other settings.
    fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.app.config.clone();
        change(&mut config);
        self.app = app(self.app.db.clone(), config, "test");
        self
    }

    async fn last_request(&self) -> PaymentRequest {
        self.requests().await.pop().expect("somebody was asked")
    }

    /// The customer opens the newest link and pays.
    async fn pays(&self, request: &PaymentRequest) -> String {
        let pay = Pay { reference: Some(request.reference.clone()), ..Pay::default() };
        self.sandbox.sandbox().pay(pay).await.expect("paid")
    }

    /// The gateway says that something has happened, and it is looked into.
    async fn hears(&self, request: &PaymentRequest) {
        assert!(
            billing::payment_requests::poll_by_reference(&self.app, &request.gateway, &request.reference).await.expect("heard")
        );
        self.looks_into(request).await;
    }

    /// Waits until somebody has looked at what was last said of a request.
    async fn looks_into(&self, request: &PaymentRequest) {
        for _ in 0..500 {
            self.settle_requests().await;
            let now = store::payment_requests::get(&self.app.db, request.id).await.expect("read").expect("there");
            if !now.needs_poll() && now.lease_owner.is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it is not looked into: {:?}", self.requests().await);
    }

    /// Looks again and again until a request stands there.
    async fn request_becomes(&self, status: RequestStatus) -> PaymentRequest {
        for _ in 0..500 {
            self.settle_requests().await;
            let request = self.last_request().await;
            if request.status == status {
                return request;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no request becomes {status}: {:?}", self.requests().await);
    }

    /// Looks again and again until everything that came twice has gone back.
    async fn all_goes_back(&self) {
        for _ in 0..500 {
            self.settle_requests().await;
            billing::refunds::look_up::look_up_refunds(&self.app).await.expect("looked up");
            if self.payments().await.iter().all(|payment| payment.overpayment <= payment.amount_refunded) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it does not go back: {:?}", self.payments().await);
    }
}
