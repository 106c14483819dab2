//! Gateway operations: what every call to a gateway has in common, whatever it is about.

pub mod lookups;
pub mod recover;
pub(crate) mod retry;
pub(crate) mod run;

use std::{fmt::Display, panic::AssertUnwindSafe};

use futures_util::FutureExt;

/// Awaits a call of an adapter. A panic of the adapter becomes the outcome that `unknown` makes of a message: the call may have got as
/// far as the gateway, and the panic must not take the other calls of the run with it.
pub(crate) async fn catch_panic<T>(
    subject: impl Display,
    gateway: &str,
    call: impl Future<Output = T>,
    unknown: impl FnOnce(String) -> T,
) -> T {
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(%subject, gateway, "the adapter panicked; the outcome is looked up");
        unknown("the adapter panicked".to_owned())
    })
}
