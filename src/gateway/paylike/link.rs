//! Paylike's payment link: built from public data, no call makes it and none takes it back. A payment by it is only a reservation, so
//! whoever pays by a link that is not wanted any more has paid nothing.

use async_trait::async_trait;
use reqwest::Url;

use super::{
    super::{
        Sent,
        http::HttpAnswer,
        json::text,
        remote_state::RemoteState,
        requests::{Ask, Asked, Outstanding, Polled, Received, Requests, Withdrawn},
    },
    Paylike,
};
use crate::domain::payment::{Decline, DeclineClass};

/// The gateway's own page; the same for every merchant.
const PAGE: &str = "https://pos.paylike.io/";

impl Paylike {
    /// The page with the merchant's public key and what is to be paid. The key and whether this is a test account are the
    /// gateway's to say.
    async fn link(&self, ask: &Ask) -> Asked {
        let merchant = match self.http.get("ask", self.http.url(&["merchants", &self.merchant_id])).await {
            Ok(HttpAnswer::Done(body)) => body,
            Ok(HttpAnswer::Refused { status, body }) => {
                let message = self.refusal_text(status, body.as_ref());
                return Asked::Refused(Decline { class: DeclineClass::GatewayFault, code: format!("http_{status}"), message });
            }
            // Only read so far: certainly nobody was asked.
            Err(no_answer) => return Asked::GatewayError { message: no_answer.message(), retry_after: None },
        };
        let merchant = merchant.get("merchant").unwrap_or(&merchant);
        let Some(key) = text(merchant, "key") else {
            let message = "the merchant has no public key".to_owned();
            return Asked::Refused(Decline { class: DeclineClass::GatewayFault, code: "no_key".into(), message });
        };
        let Ok(mut url) = Url::parse(PAGE) else {
            return Asked::GatewayError { message: "the link could not be built".into(), retry_after: None };
        };
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("key", key);
            if merchant.get("test") == Some(&true.into()) {
                query.append_pair("test", "1");
            }
            query
                .append_pair("currency", ask.currency.code())
                .append_pair("value", &ask.currency.major(ask.amount_minor))
                .append_pair("reference", &ask.reference)
                .append_pair("text", &ask.description);
            if let Some(locale) = &ask.locale {
                query.append_pair("locale", &locale.replace('-', "_"));
            }
        }
        Asked::Sent { request_id: None, link: Some(url.into()) }
    }
}

#[async_trait]
impl Requests for Paylike {
    fn sends(&self) -> bool {
        false
    }

    async fn ask(&self, ask: &Ask) -> Asked {
        self.link(ask).await
    }

    /// A reminder is sent by whoever sent the link; the gateway has nothing to do.
    async fn remind(&self, _request_id: Option<&str>, ask: &Ask) -> Asked {
        self.link(ask).await
    }

    async fn poll(&self, outstanding: &Outstanding) -> Polled {
        let sent = sent(outstanding);
        let matches = match self.matches(&sent).await {
            Ok(matches) => matches,
            Err(message) => return Polled::NoAnswer { message },
        };
        // The amount stands in the link, where anybody can change it: another one is not what was asked for, and stays reserved
        // until it runs out. Money that somebody has captured counts whatever it is.
        let ours = matches
            .into_iter()
            .filter(|transaction| transaction.captured > 0 || transaction.agrees(sent.amount_minor, sent.currency).is_ok());
        let mut received: Vec<_> = ours
            .filter_map(|transaction| {
                let (amount_minor, authorized) = match transaction.state(transaction.amount.unwrap_or(sent.amount_minor)) {
                    RemoteState::Taken { amount_minor } => (amount_minor, false),
                    RemoteState::Authorized => (sent.amount_minor, true),
                    _ => return None,
                };
                let currency = transaction.currency.as_deref().and_then(|code| code.parse().ok()).unwrap_or(sent.currency);
                Some((transaction.created, Received { transaction_id: transaction.id, amount_minor, currency, authorized }))
            })
            .collect();
        received.sort_by(|(a, x), (b, y)| (a, &x.transaction_id).cmp(&(b, &y.transaction_id)));
        Polled::Payments(received.into_iter().map(|(_, received)| received).collect())
    }

    /// Nothing to take back: what is paid by it from now on is never captured.
    async fn withdraw(&self, _request_id: &str) -> Withdrawn {
        Withdrawn::Gone
    }
}

fn sent(outstanding: &Outstanding) -> Sent {
    Sent {
        reference: outstanding.reference.clone(),
        amount_minor: outstanding.amount_minor,
        currency: outstanding.currency,
        transaction_id: None,
        sent_at: outstanding.sent_at,
    }
}
