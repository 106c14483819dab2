//! SIGHUP: reads the settings again. The log level and the dunning policies change at
//! once; the log names every other change, which needs a restart.

use std::path::Path;

use crate::{
    billing::{App, dunning_policies},
    config, telemetry,
};

/// Reads the settings and applies what can change at once. Settings with a fault change nothing.
pub async fn reload(app: &App, file: Option<&Path>) {
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
    match dunning_policies::configure(app, &fresh).await {
        Ok(changes) => {
            for change in changes {
                tracing::info!("reload: dunning policy {change}");
            }
        }
        Err(error) => tracing::error!("reload: the dunning policies stay as they are: {error}"),
    }
    let waiting = app.config.changes_needing_restart(&fresh);
    if waiting.is_empty() {
        tracing::info!("reload: done");
    } else {
        tracing::warn!("reload: changes of {} need a restart and have no effect until then", waiting.join(", "));
    }
}
