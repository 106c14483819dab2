//! Looks up authorizations whose outcome is unknown, and voids those that wait for it. By real time, on every timeline.

use super::ask::execute;
use crate::{
    billing::{App, Result, gateway_operations::lookups::look_up_each},
    domain::clock::Timeline,
};

/// Asks the gateways about every authorization whose lookup is due; only those of `timeline`, if one is given. Answers how many.
pub async fn look_up(app: &App, timeline: Option<Timeline>) -> Result<usize> {
    look_up_each(app, timeline, |authorization| async {
        execute(app, authorization).await;
        Ok(())
    })
    .await
}
