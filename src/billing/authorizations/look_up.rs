//! Looks up authorizations whose outcome is unknown, and voids those that wait for it. By real time, on every timeline.

use futures_util::{StreamExt, stream};

use super::ask::execute;
use crate::{
    billing::{App, Result, gateway_operations::lookups::look_up_due},
    domain::{authorization::Authorization, clock::Timeline},
};

/// Asks the gateways about every authorization whose lookup is due; only those of `timeline`, if one is given. Answers how many.
pub async fn look_up(app: &App, timeline: Option<Timeline>) -> Result<usize> {
    look_up_due(app, timeline, |claimed| look_up_batch(app, claimed)).await
}

async fn look_up_batch(app: &App, claimed: Vec<Authorization>) -> Result<()> {
    stream::iter(claimed).for_each_concurrent(None, |authorization| execute(app, authorization)).await;
    Ok(())
}
