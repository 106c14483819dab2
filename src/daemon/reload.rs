//! SIGHUP: the settings are read again. The log level changes at once; for the rest the log names what needs a restart.

use std::path::Path;

use crate::{
    config::{self, Config},
    telemetry,
};

/// Settings with a fault change nothing.
pub fn reload(running: &Config, file: Option<&Path>) {
    let fresh = match config::load(file) {
        Ok(fresh) => fresh,
        Err(error) => {
            tracing::error!("reload: {error}; everything stays as it is");
            return;
        }
    };
    match telemetry::set_level(&fresh.log) {
        Ok(true) => tracing::info!(level = fresh.log.level, "reload: log level set"),
        Ok(false) => tracing::info!("reload: RUST_LOG is set, so log.level is not looked at"),
        Err(error) => tracing::error!("reload: {error}"),
    }
    let waiting = running.changes_needing_restart(&fresh);
    if waiting.is_empty() {
        tracing::info!("reload: done");
    } else {
        tracing::warn!("reload: changes of {} need a restart and have no effect until then", waiting.join(", "));
    }
}
