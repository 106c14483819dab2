//! Settling an answer again where the database was in the way: money may have moved, so the answer must not be lost.

use std::{fmt::Display, time::Duration};

use crate::billing::{App, Result};

/// How often any failure is tried again. After that only a passing one is, for as long as the lease of the call runs.
const TRIES: u32 = 5;

/// Settles an answer; tries again after a failure, with growing waits. A deadlock or a lost connection passes. Once the lease has ended,
/// another daemon looks up what became of the call.
pub(crate) async fn settle<T, F: Future<Output = Result<T>>>(
    app: &App,
    subject: impl Display,
    once: impl Fn() -> F,
) -> Result<T> {
    let begun = app.clock.now();
    let mut tries = 0;
    loop {
        match once().await {
            Err(error) if tries < TRIES || error.is_passing() && app.clock.now() < begun + app.config.collection.lease => {
                tries += 1;
                tracing::warn!(%subject, %error, tries, "an answer of a gateway could not be written, trying again");
                tokio::time::sleep(Duration::from_millis(50 << tries.min(TRIES))).await;
            }
            done => return done,
        }
    }
}
