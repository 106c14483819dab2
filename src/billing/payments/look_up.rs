//! Looks up payments whose outcome is unknown, and those that were given up and are asked about once more.

use futures_util::{StreamExt, stream};

use super::settle;
use crate::{
    billing::{App, Result, collection::execute::execute, gateway_operations::lookups::look_up_due},
    domain::{
        clock::Timeline,
        payment::{Payment, transition::PaymentStep},
    },
};

/// Asks the gateways about every payment whose lookup is due; only those of `timeline`, if one is given. Answers how many.
pub async fn look_up_payments(app: &App, timeline: Option<Timeline>) -> Result<usize> {
    look_up_due(app, timeline, |claimed| look_up_batch(app, claimed)).await
}

async fn look_up_batch(app: &App, claimed: Vec<Payment>) -> Result<()> {
    let (settler, writer) = settle::channel(app);
    let calls = async {
        stream::iter(claimed)
            .for_each_concurrent(None, |payment| async { drop(execute(app, payment, PaymentStep::LookUp, &settler).await) })
            .await;
        drop(settler);
    };
    let ((), written) = tokio::join!(calls, writer.run());
    written
}
