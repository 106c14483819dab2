//! What every request passes through: an id and a line in the log, a time limit, and a task of its own for what changes
//! something, so that a dropped connection never stops a change halfway.

use std::{
    any::Any,
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::{body::query_pairs, error::Problem};
use crate::{
    domain::card_number::looks_like_card_number,
    input::{Faults, refuse_unknown},
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Two gateway calls at their default time-out, and some.
const TIME_LIMIT: Duration = Duration::from_secs(75);

/// Makes request ids: a random start for this process, and a count.
pub struct RequestIds {
    start: u64,
    count: AtomicU64,
}

impl RequestIds {
    /// `seed` only has to differ between processes.
    pub fn new(seed: u128) -> Self {
        let halves = [seed >> 64, seed & u128::from(u64::MAX)].map(|half| u64::try_from(half).unwrap_or(0));
        Self { start: halves[0] ^ halves[1], count: AtomicU64::new(1) }
    }

    fn next(&self) -> String {
        format!("req_{:016x}{:06x}", self.start, self.count.fetch_add(1, Ordering::Relaxed))
    }
}

/// Gives the request its id (or takes the caller's), logs it, and puts the id on the answer.
pub async fn observe(State(ids): State<Arc<RequestIds>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok());
    let usable =
        |id: &&str| !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    let id = given.filter(usable).map_or_else(|| ids.next(), str::to_owned);
    let method = request.method().clone();
    let path = match request.uri().path() {
        path if looks_like_card_number(path) => "(hidden: it looks like a card number)".to_owned(),
        path => path.to_owned(),
    };
    let span = tracing::info_span!("request", %id, %method, path);
    let begun = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let (status, ms) = (response.status().as_u16(), u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
    span.in_scope(|| {
        if method == Method::GET {
            tracing::debug!(status, ms, "answered");
        } else {
            tracing::info!(status, ms, "answered");
        }
    });
    let mut response = match response.extensions().get::<Problem>() {
        Some(problem) if response.status().is_server_error() => {
            Problem { request_id: Some(id.clone()), ..problem.clone() }.into_response()
        }
        _ => response,
    };
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The routes that read their query, by method and path.
pub type Queried = Arc<HashSet<(Method, String)>>;

/// Refuses a query where none is read, so that a filter is never ignored in silence.
pub async fn refuse_query(State(queried): State<Queried>, route: MatchedPath, request: Request, next: Next) -> Response {
    let pairs = request.uri().query().is_some_and(|query| !query.is_empty());
    let method = if request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
    let asked = (method, route.as_str().to_owned());
    if !pairs || !route.as_str().starts_with("/v1/") || queried.contains(&asked) {
        return next.run(request).await;
    }
    let (parts, _) = request.into_parts();
    let mut faults = Faults::of_query();
    match query_pairs(&parts, &mut faults) {
        Ok(pairs) => {
            refuse_unknown(&pairs, &[], "", &mut faults);
            Problem::invalid(faults.into_list()).into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

/// Answers 503 when the time is up. A change still goes on, see [`detach`].
pub async fn limit_time(request: Request, next: Next) -> Response {
    let waits = request.uri().path().ends_with("/advance") && request.uri().query().is_some_and(|query| query.contains("wait"));
    if waits {
        return next.run(request).await;
    }
    tokio::time::timeout(TIME_LIMIT, next.run(request)).await.unwrap_or_else(|_| {
        let detail = "This takes too long to wait for. A change goes on: look at its result before repeating it.";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response()
    })
}

/// Runs a change in a task of its own: neither a dropped connection nor the time limit leaves it half done.
pub async fn detach(State(tracker): State<TaskTracker>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let task = tracker.spawn(next.run(request).in_current_span());
    task.await.unwrap_or_else(|_| Problem::internal().into_response())
}

/// Answers 500 to the request that panicked.
pub fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request panicked; the place is above");
    Problem::internal().into_response()
}
