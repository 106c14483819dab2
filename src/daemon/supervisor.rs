//! What systemd is told: ready, reloading, stopping, and that the job loops turn. Without systemd all of it does nothing.

use std::{net::SocketAddr, time::Duration};

use sd_notify::NotifyState;

use crate::jobs::cron::Pulses;

/// Only once the database is open, the listener bound and the jobs turning.
pub fn ready(addr: SocketAddr) {
    notify(&[NotifyState::Ready, NotifyState::Status(&format!("listening on {addr}"))]);
}

pub fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("finishing calls in flight")]);
}

/// Reads the settings again between the two messages that systemd wants to see around it.
pub fn reloading(reload: impl FnOnce()) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "no monotonic time for systemd"),
    }
    reload();
    notify(&[NotifyState::Ready]);
}

/// Pings the watchdog while every loop turns; for ever, if there is one.
pub async fn watch(pulses: Pulses) {
    let Some(patience) = sd_notify::watchdog_enabled() else { return };
    // Half of it, as systemd advises.
    let mut ping = tokio::time::interval((patience / 2).max(Duration::from_millis(10)));
    loop {
        ping.tick().await;
        let still = pulses.still();
        if still.is_empty() {
            notify(&[NotifyState::Watchdog]);
        } else {
            tracing::error!(loops = still.join(", "), "these job loops stand still: the watchdog gets no ping");
        }
    }
}

fn notify(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd could not be told");
    }
}
