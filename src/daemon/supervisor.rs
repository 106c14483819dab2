//! What systemd is told: ready, reloading, stopping, and that the job loops turn. Without systemd all of it does nothing.

use std::{net::SocketAddr, sync::mpsc, time::Duration};

use sd_notify::NotifyState;

use crate::jobs::cron::Pulses;

/// How long a message to systemd may take.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(1);

/// Only once the database is open, the listener bound and the jobs turning.
pub fn ready(addr: SocketAddr) {
    notify(&[NotifyState::Ready, NotifyState::Status(&format!("listening on {addr}"))]);
}

pub fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("finishing calls in flight")]);
}

/// Reads the settings again between the two messages that systemd wants to see around it.
pub async fn reloading(reload: impl Future<Output = ()>) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "no monotonic time for systemd"),
    }
    reload.await;
    notify(&[NotifyState::Ready]);
}

/// Pings the watchdog while every loop turns; for ever, if there is one.
pub async fn watch(pulses: Pulses) {
    let Some(timeout) = sd_notify::watchdog_enabled() else { return };
    // systemd advises to ping at half of its timeout.
    let mut ping = tokio::time::interval((timeout / 2).max(Duration::from_millis(10)));
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

/// Sent from a thread of its own: a socket that nobody reads blocks, and must not keep us from stopping.
fn notify(states: &[NotifyState]) {
    let text = states.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let (done, sent) = mpsc::channel();
    std::thread::spawn(move || {
        // Whoever waited may have gone on by now.
        let _ = done.send(sd_notify::notify(&[NotifyState::Custom(&text)]));
    });
    match sent.recv_timeout(NOTIFY_TIMEOUT) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "systemd could not be told"),
        Err(_) => tracing::warn!("systemd does not read what it is told"),
    }
}
