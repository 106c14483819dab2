//! The HTTP interface: what people and programs ask for. It reads through `store`, and writes through `billing` only.

pub mod api;
pub mod auth;
pub mod body;
pub mod error;
pub mod hooks;
pub mod idempotency;
mod layers;
mod openapi;
pub mod page;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{Router, extract::DefaultBodyLimit, middleware, routing::get};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;

use crate::{billing::App, domain::id};

/// The largest body that is read.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Everything that answers at the admin address.
pub fn router(app: Arc<App>) -> Router {
    with_tracking(app, TaskTracker::new())
}

/// What `/openapi.json` answers.
pub fn openapi() -> OpenApi {
    openapi::complete(api::routes().into_openapi())
}

/// Serves until `shutdown`, then until every request under way has its answer and every change is done.
pub async fn serve(listener: TcpListener, app: Arc<App>, shutdown: CancellationToken) -> std::io::Result<()> {
    let tracker = TaskTracker::new();
    let router = with_tracking(app, tracker.clone());
    axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await?;
    tracker.close();
    tracker.wait().await;
    Ok(())
}

fn with_tracking(app: Arc<App>, tracker: TaskTracker) -> Router {
    let (routes, openapi) = api::routes().split_for_parts();
    let mut openapi = openapi::complete(openapi);
    let queried = Arc::new(openapi::queried(&mut openapi));
    let openapi = axum::Json(openapi);
    let routes = routes.route_layer(middleware::from_fn_with_state(queried, layers::refuse_query));
    with_layers(routes.route("/openapi.json", get(move || async move { openapi })).merge(hooks::routes()), app, tracker)
}

/// Routes with all layers that a request passes through. The last layer here sees a request first.
fn with_layers(routes: Router<Arc<App>>, app: Arc<App>, tracker: TaskTracker) -> Router {
    let running = Arc::new(idempotency::Running::default());
    let ids = Arc::new(layers::RequestIds::new(app.id::<id::Event>().bits()));
    routes
        .route_layer(CatchPanicLayer::custom(layers::panicked))
        .route_layer(middleware::from_fn_with_state((app.clone(), running), idempotency::replay))
        .route_layer(middleware::from_fn_with_state(tracker, layers::detach))
        .route_layer(middleware::from_fn_with_state(app.clone(), auth::check))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(layers::limit_time))
        .layer(middleware::from_fn(error::shape))
        .layer(middleware::from_fn_with_state(ids, layers::observe))
        .with_state(app)
}
