//! The JSON endpoints, one file for each noun; each has a `routes()` that is merged here.

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;

use crate::billing::App;

pub mod api_keys;
pub mod clocks;
pub mod events;
pub mod health;
pub mod system;

/// Every route of the endpoint.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .merge(api_keys::routes())
        .merge(clocks::routes())
        .merge(events::routes())
        .merge(health::routes())
        .merge(system::routes())
}
