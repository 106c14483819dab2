//! The listener: one task per connection, connections that are really closed, and a stop that lets calls in flight finish.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, http::Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::TokioIo,
    server::graceful::{GracefulShutdown, Watcher},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::{
    handle::{Now, Options, Sandbox},
    ledger::{LedgerEntry, Summary},
    reply::Dropped,
    router::router,
};

/// How long a stop waits for open connections, and then for calls in flight.
const STOP_WAIT: Duration = Duration::from_secs(10);

/// A sandbox that is listening. Dropping it stops it without waiting.
pub struct SandboxServer {
    addr: SocketAddr,
    sandbox: Arc<Sandbox>,
    stopping: CancellationToken,
    listening: Option<JoinHandle<()>>,
}

/// Starts a new sandbox on this address; port 0 takes a free one.
pub async fn start(listen: SocketAddr, now: Now, options: Options) -> io::Result<SandboxServer> {
    serve(TcpListener::bind(listen).await?, Sandbox::new(now, options))
}

/// Serves a sandbox on a listener that is already bound. Needs a Tokio runtime around it.
pub fn serve(listener: TcpListener, sandbox: Arc<Sandbox>) -> io::Result<SandboxServer> {
    let addr = listener.local_addr()?;
    let stopping = CancellationToken::new();
    let listening = tokio::spawn(accept(listener, router(Arc::clone(&sandbox)), stopping.clone()));
    Ok(SandboxServer { addr, sandbox, stopping, listening: Some(listening) })
}

impl SandboxServer {
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://` and the address: Paylike's base URL. FluidPay's is this and `/api`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub fn sandbox(&self) -> &Arc<Sandbox> {
        &self.sandbox
    }

    pub fn ledger(&self) -> Vec<LedgerEntry> {
        self.sandbox.ledger()
    }

    pub fn summary(&self) -> Summary {
        self.sandbox.summary()
    }

    /// Stops listening, then waits for open connections and for calls in flight, ten seconds at most for each.
    pub async fn stop(mut self) {
        self.stopping.cancel();
        if let Some(listening) = self.listening.take() {
            // Fails if the accept loop panicked; then nothing is left to stop.
            let _ = listening.await;
        }
        self.sandbox.calls.close();
        let _ = tokio::time::timeout(STOP_WAIT, self.sandbox.calls.wait()).await;
        self.sandbox.calls.reopen();
    }
}

impl Drop for SandboxServer {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

async fn accept(listener: TcpListener, router: Router, stopping: CancellationToken) {
    let connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                tokio::spawn(connection(stream, router.clone(), connections.watcher()));
            }
            // Out of file descriptors: wait until some connection ends.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    drop(listener);
    let _ = tokio::time::timeout(STOP_WAIT, connections.shutdown()).await;
}

async fn connection(stream: TcpStream, router: Router, watcher: Watcher) {
    // So that small answers do not wait for acknowledgements. If it fails, the sandbox is slower and nothing else.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<Incoming>| answer(router.clone(), request));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // An error is a client that disconnected, or a connection that was closed on purpose.
    let _ = watcher.watch(connection).await;
}

/// An error from the service is the one way to make hyper close a connection without a status line.
async fn answer(router: Router, request: hyper::Request<Incoming>) -> Result<Response<Body>, Dropped> {
    let answered: Result<Response<Body>, Infallible> = router.oneshot(request.map(Body::new)).await;
    let Ok(response) = answered;
    match response.extensions().get::<Dropped>() {
        Some(dropped) => Err(*dropped),
        None => Ok(response),
    }
}
