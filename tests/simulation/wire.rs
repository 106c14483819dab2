//! The way to the pretend gateways without a socket: the real adapters' requests, the real sandbox's answers, and what goes wrong
//! in between.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{body::Body, http};
use rebilld::{
    gateway::http::{NoAnswer, Wire},
    sandbox,
};
use serde_json::{Value, json};
use tokio::{sync::oneshot, time::sleep};

use super::{
    faults::{Call, FLUIDPAY_CODES, Fault, PAYLIKE_CODES},
    life::Life,
};

/// One life's way.
pub struct InProcess(pub Arc<Life>);

type Answered = Result<http::Response<Vec<u8>>, NoAnswer>;

fn lost() -> NoAnswer {
    NoAnswer::unknown("the connection was lost: by the simulation")
}

fn status(code: u16, wait: Option<u64>) -> Answered {
    let mut response = http::Response::builder().status(code).header("content-type", "application/json");
    if let Some(wait) = wait {
        response = response.header("retry-after", wait.to_string());
    }
    Ok(response
        .body(json!({ "status": "failed", "msg": "fault", "message": "fault" }).to_string().into_bytes())
        .expect("a response"))
}

/// What is asked, told from the request.
pub struct Asked {
    pub call: Call,
    pub paylike: bool,
    pub reference: Option<String>,
    method: http::Method,
    path: String,
    body: Vec<u8>,
    headers: http::HeaderMap,
}

impl Asked {
    fn read(request: &reqwest::Request) -> Self {
        let url = request.url();
        let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let body = request.body().and_then(|body| body.as_bytes()).unwrap_or_default().to_vec();
        let paylike = !path.starts_with("/api/");
        let mut headers = request.headers().clone();
        let key = if paylike { format!("Basic {}", basic(sandbox::PAYLIKE_KEY)) } else { sandbox::FLUIDPAY_KEY.to_owned() };
        headers.insert("authorization", key.parse().expect("printable"));
        let json: Value = serde_json::from_slice(&body).unwrap_or_default();
        let reference = json["order_id"].as_str().or_else(|| json["order_id"]["value"].as_str());
        let reference = reference.or_else(|| json["custom"]["reference"].as_str()).map(str::to_owned);
        Self {
            call: Call::of(request.method().as_str(), url.path()),
            paylike,
            reference,
            method: request.method().clone(),
            path,
            body,
            headers,
        }
    }

    fn request(&self) -> http::Request<Body> {
        let mut request = http::Request::new(Body::from(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.path.parse().expect("a path");
        *request.headers_mut() = self.headers.clone();
        request
    }
}

fn basic(key: &str) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    BASE64_STANDARD.encode(format!(":{key}"))
}

#[async_trait]
impl Wire for InProcess {
    async fn send(&self, request: reqwest::Request, timeout: Duration) -> Result<reqwest::Response, NoAnswer> {
        let life = &self.0;
        let asked = Arc::new(Asked::read(&request));
        let said = format!("{:?} {} {}", asked.call, asked.path, String::from_utf8_lossy(&asked.body));
        life.call(&said).await;
        life.world.about_to_call(&asked).await;
        let fault = life.world.fault_for(&asked);
        if let Some(fault) = fault {
            life.world.tell(&life.name, &format!("fault {fault:?}"));
        }
        life.world.calls(&asked);
        let answered = self.travel(asked.clone(), fault, timeout).await;
        life.world.tell(
            &life.name,
            &match &answered {
                Ok(response) => format!("answer {} {}", response.status(), String::from_utf8_lossy(response.body())),
                Err(no_answer) => format!("no answer: {no_answer:?}"),
            },
        );
        life.call("called").await;
        life.world.hears(&asked);
        answered.map(reqwest::Response::from)
    }
}

impl InProcess {
    async fn travel(&self, asked: Arc<Asked>, fault: Option<Fault>, timeout: Duration) -> Answered {
        let world = &self.0.world;
        let there = world.dice(|dice| dice.millis(1, 300));
        let away = timeout + world.dice(|dice| dice.millis(1, 10_000));
        match fault {
            None => self.deliver(&asked, there, timeout).await,
            Some(Fault::NotConnected) => {
                sleep(there).await;
                Err(NoAnswer::NotProcessed { message: "could not connect: nobody is there".into(), retry_after: None })
            }
            Some(Fault::DropBefore) => {
                sleep(there).await;
                Err(lost())
            }
            Some(Fault::DropAfter) => {
                self.deliver(&asked, there, timeout).await?;
                Err(lost())
            }
            Some(Fault::SlowAnswer) => {
                let _ = self.deliver(&asked, there, timeout).await;
                sleep(timeout).await;
                Err(NoAnswer::unknown("no answer in time"))
            }
            // Within the lease: what comes later than that, no lookup can know of.
            Some(Fault::Late) => self.deliver(&asked, away, timeout).await,
            Some(Fault::ServerError) => {
                sleep(there).await;
                status(500 + world.dice(|dice| dice.pick(&[0, 1, 2, 3, 4])), None)
            }
            Some(Fault::ServerErrorAfter) => {
                self.deliver(&asked, there, timeout).await?;
                status(500 + world.dice(|dice| dice.pick(&[0, 1, 2, 3, 4])), None)
            }
            Some(Fault::TooMany) => {
                sleep(there).await;
                status(429, world.dice(|dice| dice.chance(500).then(|| 1 + dice.below(600))))
            }
            Some(Fault::Nonsense) => {
                let mut answer = self.deliver(&asked, there, timeout).await?;
                let bodies: [&[u8]; 5] = [
                    b"<html>proxy</html>",
                    b"",
                    b"{}",
                    b"[]",
                    b"{\"status\":\"success\",\"data\":[{\"id\":\"x\",\"order_id\":\"other\"}]}",
                ];
                *answer.body_mut() = world.dice(|dice| dice.pick(&bodies)).to_vec();
                // An empty list proves that nothing is there; no gateway is known to make that up for what it has.
                let empty = asked.call == Call::Search && matches!(answer.body().as_slice(), b"[]" | b"{}" | b"");
                if empty { Err(lost()) } else { Ok(answer) }
            }
            Some(Fault::Twice) => {
                world.doubles(&asked);
                let (first, second) = (self.deliver(&asked, there, timeout).await, self.deliver(&asked, there, timeout).await);
                if world.dice(|dice| dice.chance(500)) { first } else { second }
            }
            Some(Fault::Declined) => {
                let codes = if asked.paylike { PAYLIKE_CODES } else { FLUIDPAY_CODES };
                self.declined(&asked, world.dice(|dice| dice.pick(codes)), there, timeout).await
            }
            Some(Fault::Partial) => self.declined(&asked, 110, there, timeout).await,
            Some(Fault::StaleSearch) => {
                let mut answer = self.deliver(&asked, there, timeout).await?;
                let mut body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
                let list = if body.is_array() { &mut body } else { &mut body["data"] };
                if let Some(list) = list.as_array_mut() {
                    let reference =
                        |item: &Value| item["order_id"].as_str().or(item["custom"]["reference"].as_str()).map(str::to_owned);
                    list.retain(|item| !reference(item).is_some_and(|reference| world.is_fresh(&reference)));
                    *answer.body_mut() = body.to_string().into_bytes();
                }
                Ok(answer)
            }
        }
    }

    async fn declined(&self, asked: &Arc<Asked>, code: u16, there: Duration, timeout: Duration) -> Answered {
        let world = &self.0.world;
        world.declines(asked, code);
        let criteria = json!({ "operation": if asked.paylike { "authorize" } else { "charge" }, "reference": asked.reference });
        let rule = json!({ "match": criteria, "fault": format!("decline:{code}"), "times": 1 });
        world.sandbox.add_fault(serde_json::from_value(rule).expect("a rule"));
        self.deliver(asked, there, timeout).await
    }

    /// Brings it to the gateway after so long, whether or not anybody waits for the answer by then.
    async fn deliver(&self, asked: &Arc<Asked>, after: Duration, timeout: Duration) -> Answered {
        let (tell, told) = oneshot::channel();
        let (world, asked) = (self.0.world.clone(), asked.clone());
        tokio::spawn(async move {
            sleep(after).await;
            world.arrives(&asked);
            let response = sandbox::answer(world.router.clone(), asked.request()).await;
            let answer = match response {
                None => Err(lost()),
                Some(response) => {
                    let (parts, body) = response.into_parts();
                    let bytes = axum::body::to_bytes(body, 1 << 20).await.expect("the sandbox's answer");
                    Ok(http::Response::from_parts(parts, bytes.to_vec()))
                }
            };
            let _ = tell.send(answer);
        });
        match tokio::time::timeout(timeout, told).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(lost()),
            Err(_) => Err(NoAnswer::unknown("no answer in time")),
        }
    }
}
