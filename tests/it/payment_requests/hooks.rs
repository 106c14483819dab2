//! Paysley's unsigned callback at our own server: it only ever makes us look.

use chrono::TimeDelta;
use rebilld::{billing::App, domain::payment_request::RequestStatus, http};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::*;

/// A daemon on the world's database that gateways can reach.
struct Reachable {
    world: World,
    url: String,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Reachable {
    async fn open(world: World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("address"));
        let world = world.with(|config| config.admin.public_url.clone_from(&url));
        let stop = CancellationToken::new();
        let app: Arc<App> = world.app.clone();
        let serving = tokio::spawn(http::serve(listener, app, stop.clone()));
        Self { world, url, stop, serving }
    }

    async fn post(&self, path: &str, body: Vec<u8>) -> u16 {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build().expect("client");
        client.post(format!("{}{path}", self.url)).body(body).send().await.expect("answered").status().as_u16()
    }

    async fn close(self) {
        self.stop.cancel();
        self.serving.await.expect("joined").expect("served");
    }
}

fn form(response: &serde_json::Value) -> Vec<u8> {
    form_urlencoded::Serializer::new(String::new()).append_pair("response", &response.to_string()).finish().into_bytes()
}

on_both! {
    async fn a_callback_makes_us_look_at_once_and_twice_is_once(world: World) {
        let server = Reachable::open(world.with(|config| config.collection.payment_request_poll = vec![TimeDelta::hours(1)])).await;
        let world = &server.world;
        asked_once(world, &["EMAIL"]).await;
        asked_once(world, &["EMAIL"]).await;
        world.advance("2026-01-10T07:00:00Z").await;
        for (number, request) in world.requests().await.into_iter().enumerate() {
            assert_eq!(rebilld::billing::payment_requests::work(&world.app, None).await.expect("worked"), 0, "nothing is due by itself");
            world.sandbox.sandbox().add_fault(rule("duplicate", "callback", 1));
            world.pays(&request).await;
            world.looks_into(&request).await;
            assert_eq!(world.prove().await, number + 1);
        }
        server.close().await;
    }

    async fn a_forged_callback_pays_nothing_whatever_it_says(world: World) {
        let server = Reachable::open(world).await;
        let world = &server.world;
        asked_once(world, &["EMAIL"]).await;
        world.advance("2026-01-10T07:00:00Z").await;
        let request = world.last_request().await;
        let forged = json!({ "status": "ACK", "result": "ACK", "result_code": 100, "payment_id": "forged", "transaction_id": request.request_id,
            "reference_number": request.reference, "payment_type": "CC.DB", "currency": "USD", "amount": 10 });
        for _ in 0..3 {
            assert_eq!(server.post("/hooks/paysley/paysley", form(&forged)).await, 200);
            world.settle_requests().await;
        }
        assert_eq!((world.last_request().await.status, world.payments().await.len()), (RequestStatus::Sent, 0));
        let mut unknown = forged.clone();
        unknown["reference_number"] = json!("NOBODY");
        for (path, body, status) in [
            ("/hooks/paysley/paysley", form(&unknown), 200),
            ("/hooks/paysley/paysley", b"response=%7Bbroken".to_vec(), 200),
            ("/hooks/paysley/paysley", vec![0xff; 100], 200),
            ("/hooks/paysley/paysley", Vec::new(), 200),
            ("/hooks/paysley/nobody", form(&forged), 200),
            ("/hooks/paysley/fluid", form(&forged), 200),
            ("/hooks/paysley/paysley", vec![b'x'; 20_000], 413),
            ("/hooks/other/paysley", form(&forged), 404),
        ] {
            assert_eq!(server.post(path, body).await, status, "{path}");
        }
        assert_eq!(world.prove().await, 0);
        server.close().await;
    }

    async fn a_callback_that_comes_before_our_answer_was_stored_is_the_answer(world: World) {
        let world = world.with(|config| config.collection.lookup_backoff = vec![TimeDelta::hours(1)]);
        let server = Reachable::open(world).await;
        let world = &server.world;
        asked_once(world, &["EMAIL"]).await;
        let timeline = rebilld::domain::clock::Timeline::Test(world.clock);
        let now = at("2026-01-10T06:00:00Z");
        rebilld::billing::subscriptions::open_due::open_due(&world.app, timeline, now).await.expect("opened");
        rebilld::billing::collection::run::collect_due(&world.app, timeline, now).await.expect("recorded");
        world.sandbox.sandbox().add_fault(rule("drop_after", "request", 1));
        world.settle_requests().await;
        let request = world.last_request().await;
        assert_eq!((request.status, request.request_id.as_deref()), (RequestStatus::Unknown, None));
        world.pays(&request).await;
        world.looks_into(&request).await;
        assert_eq!((world.last_request().await.status, world.prove().await), (RequestStatus::Paid, 1));
        assert_eq!(world.sandbox.sandbox().asked().len(), 1, "nobody was asked twice");
        server.close().await;
    }

    async fn a_flood_of_forged_callbacks_makes_us_look_once(world: World) {
        let server = Reachable::open(world.with(|config| config.collection.payment_request_poll = vec![TimeDelta::hours(1)])).await;
        let world = &server.world;
        asked_once(world, &["EMAIL"]).await;
        world.advance("2026-01-10T07:00:00Z").await;
        let request = world.last_request().await;
        let forged = form(&json!({ "reference_number": request.reference, "status": "ACK" }));
        let mut looks = 0;
        let begun = std::time::Instant::now();
        for _ in 0..20 {
            assert_eq!(server.post("/hooks/paysley/paysley", forged.clone()).await, 200);
            looks += rebilld::billing::payment_requests::work(&world.app, None).await.expect("worked");
        }
        assert!(looks as u64 <= 1 + begun.elapsed().as_secs(), "{looks} looks in {:?}", begun.elapsed());
        world.looks_into(&request).await;
        assert_eq!((world.last_request().await.status, world.prove().await), (RequestStatus::Sent, 0));
        server.close().await;
    }
}
