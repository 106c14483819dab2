//! All routes: the switches, and one prefix for each gateway.

use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    response::Response,
    routing::{MethodRouter, any},
};
use tower::ServiceExt;

use super::{
    admin,
    call::{IncomingCall, SandboxGateway},
    handle::Sandbox,
    paysley,
    reply::{CallEnding, Dropped},
};

/// All routes. A handler cannot close a connection: only [`super::serve`] does; any other server sends a 502 instead.
pub fn router(sandbox: Arc<Sandbox>) -> Router {
    let fluidpay = gateway(SandboxGateway::FluidPay, Arc::clone(&sandbox));
    let paysley = gateway(SandboxGateway::Paysley, Arc::clone(&sandbox));
    let root = any({
        let sandbox = Arc::clone(&sandbox);
        move |request: Request| {
            let gateway = if paysley::owns(request.uri().path()) { SandboxGateway::Paysley } else { SandboxGateway::Paylike };
            serve_call(sandbox, gateway, request)
        }
    });
    Router::new()
        .nest("/_sandbox", admin::routes(sandbox))
        .route("/api", fluidpay.clone())
        .route("/api/{*path}", fluidpay)
        .route("/v2", paysley.clone())
        .route("/v2/{*path}", paysley)
        .fallback_service(Router::new().fallback(root))
}

/// Answers one request within this process. None: the connection would be closed.
pub async fn answer(router: Router, request: Request) -> Option<Response> {
    let answered: Result<Response, Infallible> = router.oneshot(request).await;
    let Ok(response) = answered;
    response.extensions().get::<Dropped>().is_none().then_some(response)
}

fn gateway(gateway: SandboxGateway, sandbox: Arc<Sandbox>) -> MethodRouter {
    any(move |request: Request| serve_call(sandbox, gateway, request))
}

async fn serve_call(sandbox: Arc<Sandbox>, gateway: SandboxGateway, request: Request) -> Response<Body> {
    let call = IncomingCall::read(gateway, request).await;
    // A task of its own, so that the money moves even if the client disconnects now.
    let at_once = sandbox.at_once.fetch_add(1, Ordering::Relaxed) + 1;
    sandbox.most_at_once.fetch_max(at_once, Ordering::Relaxed);
    let task = sandbox.calls.spawn(Arc::clone(&sandbox).process(call));
    let ending = task.await.unwrap_or(CallEnding::Dropped);
    sandbox.at_once.fetch_sub(1, Ordering::Relaxed);
    Response::<Body>::from(ending)
}
