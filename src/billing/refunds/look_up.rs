//! Looks up refunds whose outcome is unknown.

use super::call::look_up;
use crate::billing::{App, Result, gateway_operations::lookups::look_up_each};

/// Asks the gateways about every refund whose lookup is due. Answers how many.
pub async fn look_up_refunds(app: &App) -> Result<usize> {
    look_up_each(app, None, |refund| look_up(app, refund)).await
}
