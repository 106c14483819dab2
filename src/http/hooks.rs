//! The addresses that gateways call when something has happened. The calls are not signed, so rebilld believes none of them: it takes
//! out a reference and asks the gateway. Anybody may call, and the answer tells nothing.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, RawPathParams, State},
    http::{StatusCode, header::RETRY_AFTER},
    response::IntoResponse,
    routing::post,
};
use parking_lot::Mutex;
use serde_json::Value;

use crate::billing::{App, payment_requests};

/// A callback is a few hundred bytes.
const MAX_BODY_BYTES: usize = 16 * 1024;
/// The most calls that are looked into in one second. The regular lookups find what the other calls reported.
const A_SECOND: u32 = 50;
/// No reference of ours is longer.
const MAX_REFERENCE: usize = 40;

pub fn routes() -> Router<Arc<App>> {
    let window = Arc::new(Mutex::new(Window::default()));
    let paysley = post(async move |app: State<Arc<App>>, path: RawPathParams, body: Bytes| {
        let second = app.clock.now().timestamp();
        if !window.lock().admits(second) {
            return (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, "1")]).into_response();
        }
        paysley(app, path, body).await.into_response()
    });
    Router::new().route("/hooks/paysley/{gateway}", paysley.layer(DefaultBodyLimit::max(MAX_BODY_BYTES)))
}

/// The calls of one second.
#[derive(Debug, Default)]
struct Window {
    second: i64,
    calls: u32,
}

impl Window {
    fn admits(&mut self, second: i64) -> bool {
        if self.second != second {
            *self = Self { second, calls: 0 };
        }
        self.calls += 1;
        self.calls <= A_SECOND
    }
}

/// Paysley: a form whose field `response` holds JSON, in quotes or not.
async fn paysley(State(app): State<Arc<App>>, path: RawPathParams, body: Bytes) -> StatusCode {
    let gateway = path.iter().find_map(|(name, value)| (name == "gateway").then_some(value)).unwrap_or_default();
    let Some(reference) = reference(&body).filter(|_| app.gateways.get(gateway).is_some()) else { return StatusCode::OK };
    match payment_requests::poll_by_reference(&app, gateway, &reference).await {
        Ok(known) => tracing::debug!(gateway, reference, known, "a gateway called"),
        // An error would only make the gateway call again, and the next lookup finds the payment anyway.
        Err(error) => tracing::warn!(gateway, %error, "a gateway's call could not be noted"),
    }
    StatusCode::OK
}

fn reference(body: &[u8]) -> Option<String> {
    let (_, response) = form_urlencoded::parse(body).find(|(name, _)| name == "response")?;
    let said: Value = serde_json::from_str(response.trim().trim_matches('\'')).ok()?;
    // A text that was quoted once more.
    let said = said.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(said);
    let reference = said.get("reference_number")?.as_str()?;
    let ours =
        !reference.is_empty() && reference.len() <= MAX_REFERENCE && reference.bytes().all(|byte| byte.is_ascii_alphanumeric());
    ours.then(|| reference.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{A_SECOND, Window, reference};

    #[test]
    fn a_flood_is_turned_away_until_the_next_second() {
        let mut window = Window::default();
        for second in [7, 8] {
            assert_eq!((0..1000).filter(|_| window.admits(second)).count(), A_SECOND as usize);
        }
    }

    fn form(response: &str) -> Vec<u8> {
        form_urlencoded::Serializer::new(String::new()).append_pair("response", response).finish().into_bytes()
    }

    #[test]
    fn the_reference_is_read_from_every_way_of_quoting_and_nothing_else() {
        for fine in [r#"{"reference_number":"REF1"}"#, r#"'{"reference_number":"REF1"}'"#, r#""{\"reference_number\":\"REF1\"}""#]
        {
            assert_eq!(reference(&form(fine)).as_deref(), Some("REF1"), "{fine}");
        }
        let long = format!(r#"{{"reference_number":"{}"}}"#, "A".repeat(41));
        for bad in [
            "",
            "x",
            "{}",
            "[]",
            r#"{"reference_number":7}"#,
            r#"{"reference_number":""}"#,
            r#"{"reference_number":"' or 1=1"}"#,
            &long,
        ] {
            assert_eq!(reference(&form(bad)), None, "{bad}");
        }
        assert_eq!(reference(b"{\"reference_number\":\"REF1\"}"), None, "no form");
        assert_eq!(reference(&[0xff, 0, b'=']), None);
    }
}
