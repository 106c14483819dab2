//! Messages to systemd: ready, reloading, stopping, and the watchdog ping while
//! the job loops run. Without systemd they do nothing.

use std::{net::SocketAddr, sync::mpsc, time::Duration};

use sd_notify::NotifyState;

use crate::jobs::pulse::Pulses;

/// How long a message to systemd may take.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(1);

/// Tells systemd that the daemon is ready: the database is open, the listener bound, and the jobs run.
pub fn ready(addr: SocketAddr) {
    notify(&[NotifyState::Ready, NotifyState::Status(&format!("listening on {addr}"))]);
}

/// Tells systemd that the daemon drains.
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

/// Pings systemd's watchdog while every job loop runs. Never returns if there is a watchdog; returns at once if there is none.
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

/// Sends from a thread of its own: a socket that nobody reads blocks the sender, which would keep the daemon from stopping.
fn notify(states: &[NotifyState]) {
    let text = states.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let (done, sent) = mpsc::channel();
    std::thread::spawn(move || {
        // Fails if the receiver no longer waits; then nobody wants the result.
        let _ = done.send(sd_notify::notify(&[NotifyState::Custom(&text)]));
    });
    match sent.recv_timeout(NOTIFY_TIMEOUT) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "systemd could not be told"),
        Err(_) => tracing::warn!("systemd does not read what it is told"),
    }
}
