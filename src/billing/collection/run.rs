//! Collection: claims what is due, records a payment and commits, calls the gateway outside any transaction, settles in groups.
//!
//! Guards "never twice": a payment is in the database before its first call, and an invoice with a payment on its way is not
//! claimed again.

use std::{pin::pin, sync::Arc};

use chrono::{DateTime, Utc};
use futures_util::{
    FutureExt, StreamExt,
    future::{Fuse, FusedFuture},
    stream::FuturesUnordered,
};

use super::{allowance::SuccessTally, claim::claim, execute::execute};
use crate::{
    billing::{App, Result, payments::settle, task::offload},
    domain::{
        clock::Timeline,
        count,
        payment::{PaymentStatus, transition::PaymentStep},
    },
};

/// What a collection run did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Collected {
    pub payments: usize,
    /// Invoices whose customers are asked to pay, or asked again.
    pub requests: usize,
    /// Invoices settled without any gateway: no usable method, or the ladder ended.
    pub without_gateway: usize,
    /// Invoices that wait: their gateway is not charged now, or their credential must not be tried yet.
    pub postponed: usize,
}

/// Collects everything due on a timeline by `now`, until nothing is. Claims ahead while calls are under way, so that neither the
/// gateway nor the database waits for the other.
pub async fn collect_due(app: &Arc<App>, timeline: Timeline, now: DateTime<Utc>) -> Result<Collected> {
    let (settler, writer) = settle::channel(app.clone());
    let mut writing = pin!(offload(writer.run()).fuse());
    let mut written = Ok(());
    let mut collected = Collected::default();
    let batch = app.config.billing.batch as usize;
    let mut calls = FuturesUnordered::new();
    let mut claiming = pin!(Fuse::terminated());
    let mut fault = None;
    let mut tally = SuccessTally::default();
    // More is claimed once no more calls than this are left.
    let mut enough = batch;
    loop {
        // Nothing is claimed whose outcome could not be written down. What is under way must be settled all the same: dropping a
        // call would make its outcome unknown.
        let over = fault.is_some() || app.stopping.is_cancelled() || settler.is_closed();
        if claiming.is_terminated() {
            if !over && calls.len() <= enough {
                let (app, tally) = (app.clone(), tally.clone());
                claiming.set(offload(async move { claim(&app, timeline, now, count(batch), tally).await }).fuse());
            } else if calls.is_empty() {
                break;
            }
        }
        tokio::select! {
            // In this order and not at random, so that the simulation can run the same again.
            biased;
            claimed = &mut claiming, if !claiming.is_terminated() => match claimed {
                Ok(claimed) => {
                    collected.without_gateway += claimed.without_gateway;
                    collected.payments += claimed.payments.len();
                    collected.requests += claimed.requests;
                    collected.postponed += claimed.postponed;
                    fault = claimed.fault;
                    let count = claimed.payments.len() + claimed.requests + claimed.without_gateway + claimed.postponed;
                    claimed.blocked.into_iter().for_each(|credential| tally.watch(credential));
                    calls.extend(claimed.payments.into_iter().map(|payment| {
                        let authorized = payment.status == PaymentStatus::Authorized;
                        execute(app, payment, if authorized { PaymentStep::Capture } else { PaymentStep::Charge }, &settler)
                    }));
                    if count == 0 && calls.is_empty() {
                        break;
                    }
                    // Where little was due, a good part is finished first, else each claim would be a batch of one.
                    enough = if count == batch { batch } else { calls.len() / 2 };
                }
                Err(error) => fault = Some(error),
            },
            // Before the calls: others wait for the transaction that it has begun.
            ended = &mut writing, if !writing.is_terminated() => written = ended,
            Some(charged) = calls.next() => charged.iter().for_each(|credential| tally.count(credential)),
        }
    }
    drop(calls);
    drop(settler);
    if !writing.is_terminated() {
        written = writing.await;
    }
    written.and(fault.map_or(Ok(collected), Err))
}
