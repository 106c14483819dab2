//! The HTTP door: what people and programs ask for. It reads through `store` and writes through `billing` only.

pub mod api;
pub mod auth;
pub mod body;
pub mod error;
pub mod input;
pub mod page;

use std::sync::Arc;

use axum::{Router, extract::DefaultBodyLimit, middleware, routing::get};

use crate::billing::App;

/// The largest body that is read.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Everything that answers at the admin address.
pub fn router(app: Arc<App>) -> Router {
    let (routes, openapi) = api::routes().split_for_parts();
    let openapi = axum::Json(openapi);
    routes
        .route("/openapi.json", get(move || async move { openapi }))
        .route_layer(middleware::from_fn_with_state(app.clone(), auth::check))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(error::shape))
        .with_state(app)
}
