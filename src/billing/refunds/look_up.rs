//! Looks up refunds whose outcome is unknown.

use futures_util::{StreamExt, stream};

use super::call::look_up;
use crate::{
    billing::{App, Result, gateway_operations::lookups::look_up_due},
    domain::refund::Refund,
};

/// Asks the gateways about every refund whose lookup is due. Answers how many.
pub async fn look_up_refunds(app: &App) -> Result<usize> {
    look_up_due(app, None, |claimed| look_up_batch(app, claimed)).await
}

async fn look_up_batch(app: &App, claimed: Vec<Refund>) -> Result<()> {
    stream::iter(claimed)
        .for_each_concurrent(None, |refund| async move {
            let id = refund.id;
            // An answer that could not be written is asked for again when the claim ends.
            if let Err(error) = look_up(app, refund).await {
                tracing::warn!(%error, refund = %id, "what became of a refund could not be written");
            }
        })
        .await;
    Ok(())
}
