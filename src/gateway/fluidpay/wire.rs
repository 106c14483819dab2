//! FluidPay's answers: the envelope, a transaction, and what its status and code together say about the money.
//!
//! Judged on `data`, never on HTTP: a decline is HTTP 200 with `status: "success"`, and a failure may come as HTTP 200 too.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    super::{
        http::HttpAnswer,
        json::{integer, said},
        remote_state::{RemoteState, agrees},
    },
    codes::{CodeVerdict, verdict, words},
};
use crate::domain::{
    money::Currency,
    payment::{Decline, DeclineClass},
};

/// The code of a partial approval. For an authorization it counts as a decline: on the bill date the card may have all of it.
pub const PARTIAL: &str = "110";

/// Every field of an answer that is read, at any depth.
pub const FIELDS: &[&str] = &[
    "status",
    "msg",
    "message",
    "error",
    "data",
    "id",
    "type",
    "response",
    "response_body",
    "response_code",
    "processor_response_text",
    "amount",
    "base_amount",
    "amount_authorized",
    "amount_captured",
    "amount_refunded",
    "currency",
    "order_id",
    "created_at",
];

fn member<'a>(object: &'a Value, field: &str) -> Option<&'a Value> {
    debug_assert!(FIELDS.contains(&field), "{field} is read, but not kept");
    object.get(field)
}

/// What an answer carries.
#[derive(Debug)]
pub enum Envelope {
    /// `data` of a success; null when nothing matched or nothing needs saying.
    Data(Value),
    /// The gateway's own refusal of the request.
    Failed { status: u16, message: String },
    /// Neither.
    Strange,
}

pub fn open(answer: HttpAnswer) -> Envelope {
    let (status, mut body) = match answer {
        HttpAnswer::Done(body) => (200, body),
        HttpAnswer::Refused { status, body } => (status, body.unwrap_or(Value::Null)),
    };
    let failed =
        status != 200 || member(&body, "status").and_then(Value::as_str).is_some_and(|word| !word.starts_with("success"));
    let message =
        ["msg", "message", "error"].iter().find_map(|field| said(member(&body, field)?)).unwrap_or("no reason given").to_owned();
    match body.get_mut("data").map(Value::take) {
        // A transaction in a failure is still the better witness.
        Some(data) if !failed || Transaction::read(&data).is_some() => Envelope::Data(data),
        None if !failed => Envelope::Strange,
        _ => Envelope::Failed { status, message },
    }
}

/// One transaction, as far as it matters here. Read liberally: only the id must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    pub id: String,
    pub kind: String,
    pub status: String,
    pub response: String,
    pub code: Option<i64>,
    pub amounts: Vec<i64>,
    pub authorized: Option<i64>,
    pub captured: Option<i64>,
    pub refunded: Option<i64>,
    pub currency: Option<String>,
    pub order_id: Option<String>,
    pub created_at: Option<DateTime<Utc>>,
    pub reason: String,
}

impl Transaction {
    /// Takes the object itself or an array of one: documents and clients disagree.
    pub fn read(data: &Value) -> Option<Self> {
        let object = match data {
            Value::Array(items) => items.first()?,
            other => other,
        };
        let text = |field: &str| member(object, field).and_then(said);
        let word = |field: &str| text(field).unwrap_or_default().to_ascii_lowercase();
        let number = |field: &str| member(object, field).and_then(integer);
        // The details of the one payment method used: named `response_body`, or `response` in the seed's sample.
        let details = ["response_body", "response"]
            .iter()
            .find_map(|field| member(object, field)?.as_object()?.values().find(|value| value.is_object()));
        let detail = |field: &str| details.and_then(|details| member(details, field));
        let response = member(object, "response").and_then(Value::as_str).or_else(|| detail("response")?.as_str());
        Some(Self {
            id: text("id")?.to_owned(),
            kind: word("type"),
            status: word("status"),
            response: response.unwrap_or_default().to_ascii_lowercase(),
            code: number("response_code").or_else(|| detail("response_code").and_then(integer)),
            amounts: ["amount", "base_amount"].iter().filter_map(|field| number(field)).collect(),
            authorized: number("amount_authorized"),
            captured: number("amount_captured"),
            refunded: number("amount_refunded"),
            currency: text("currency").map(str::to_owned),
            order_id: member(object, "order_id").and_then(Value::as_str).map(str::to_owned),
            created_at: text("created_at").and_then(|at| at.parse().ok()),
            reason: detail("processor_response_text").and_then(Value::as_str).unwrap_or_default().trim().to_owned(),
        })
    }

    /// Whether it is the payment that was asked for; the error names both sides.
    pub fn agrees(&self, amount_minor: i64, currency: Currency) -> Result<(), String> {
        agrees(&self.id, &self.amounts, self.currency.as_deref(), amount_minor, currency)
    }

    /// Whether it never took any money.
    pub fn was_only_reserved(&self) -> bool {
        self.kind == "authorize" && self.captured.is_none_or(|captured| captured == 0)
    }

    pub fn state(&self, asked_minor: i64) -> RemoteState {
        let verdict = self.code.map(verdict);
        let contradiction = || {
            let code = self.code.unwrap_or_default();
            RemoteState::Unclear(format!("status {} contradicts code {code} (transaction {})", self.status, self.id))
        };
        let refused = verdict.and_then(CodeVerdict::refusal).is_some();
        match self.status.as_str() {
            "pending_settlement" | "settled" | "refunded" | "partially_refunded" | "authorized" if refused => contradiction(),
            "pending_settlement" | "settled" | "refunded" | "partially_refunded" => self.taken(asked_minor),
            "authorized" if self.authorized.is_some_and(|part| part > 0 && part < asked_minor) => {
                let message = format!("only {} of {asked_minor} was approved", self.authorized.unwrap_or_default());
                RemoteState::Declined(Decline { class: DeclineClass::Soft, code: PARTIAL.to_owned(), message })
            }
            "authorized" => RemoteState::Authorized,
            "declined" => self.declined(verdict).unwrap_or_else(contradiction),
            "voided" | "reversed" => RemoteState::Voided,
            // A bank payment that came back.
            "returned" | "late_return" => RemoteState::Declined(self.decline(DeclineClass::Soft, self.status.clone())),
            "" => match (self.response.as_str(), verdict) {
                (response, _) if response != "approved" && (response == "declined" || refused) => {
                    self.declined(verdict).unwrap_or_else(contradiction)
                }
                ("approved" | "", Some(CodeVerdict::Approved | CodeVerdict::Partial)) => self.taken(asked_minor),
                _ => RemoteState::Unclear(format!("the gateway gives no status (transaction {})", self.id)),
            },
            other => RemoteState::Unclear(format!("the gateway says {other} (transaction {})", self.id)),
        }
    }

    /// A partial approval takes what was authorized. Anything above what was asked is the gateway's own surcharge.
    fn taken(&self, asked_minor: i64) -> RemoteState {
        // Less may be captured than was authorized. What is not settled yet may say 0.
        let tells = |amount: Option<i64>| amount.filter(|&amount| amount > 0);
        match tells(self.captured).or(tells(self.authorized)) {
            Some(authorized) => RemoteState::Taken { amount_minor: authorized.min(asked_minor) },
            None if self.code == Some(110) => {
                RemoteState::Unclear(format!("partial approval without an amount (transaction {})", self.id))
            }
            None => RemoteState::Taken { amount_minor: asked_minor },
        }
    }

    fn declined(&self, verdict: Option<CodeVerdict>) -> Option<RemoteState> {
        let code = self.code.map_or_else(|| "declined".to_owned(), |code| code.to_string());
        // The seed's reading sample has no code: the status alone is a plain decline.
        let (class, doubtful) = verdict.map_or(Some((DeclineClass::Soft, false)), CodeVerdict::refusal)?;
        let decline = self.decline(class, code);
        Some(if doubtful { RemoteState::Doubtful(decline) } else { RemoteState::Declined(decline) })
    }

    fn decline(&self, class: DeclineClass, code: String) -> Decline {
        // The processor's words say nothing to an operator who has to mend something: the code's own come first.
        let message = match (self.code.and_then(words), self.reason.as_str()) {
            (Some(words), "") => words.to_owned(),
            (Some(words), reason) if !class.is_customers() || class == DeclineClass::TryLater => format!("{words}: {reason}"),
            (None, "") => "declined".to_owned(),
            (_, reason) => reason.to_owned(),
        };
        Decline { class, code, message }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::super::json::parse, *};

    fn sample(status: &str, code: i64) -> Value {
        json!({
            "id": "d1f0smq9ku6k3h2a7b80", "type": "sale", "amount": 2500, "amount_authorized": 2500, "currency": "usd",
            "order_id": "0ABCDEFGHJKMNPQRS", "response_body": {"card": {"response_code": code, "processor_response_text": " SAYS SO "}},
            "status": status, "response": "whatever", "response_code": code, "created_at": "2026-03-01T06:00:01.25Z",
        })
    }
    fn state(status: &str, code: i64) -> RemoteState {
        Transaction::read(&sample(status, code)).expect("readable").state(2500)
    }

    #[test]
    fn status_and_code_must_both_say_that_money_moved() {
        for status in ["pending_settlement", "settled", "refunded", "partially_refunded"] {
            assert_eq!(state(status, 100), RemoteState::Taken { amount_minor: 2500 }, "{status}");
            assert!(matches!(state(status, 202), RemoteState::Unclear(_)), "{status}");
        }
        assert_eq!(state("authorized", 100), RemoteState::Authorized);
        for (status, code) in
            [("pending", 99), ("unknown", 0), ("flagged", 100), ("declined", 100), ("declined", 99), ("brand_new", 100)]
        {
            assert!(matches!(state(status, code), RemoteState::Unclear(_)), "{status} {code}");
        }
        assert_eq!(state("voided", 100), RemoteState::Voided);
    }

    #[test]
    fn declines_carry_code_class_and_the_processors_words() {
        let expected = Decline { class: DeclineClass::Soft, code: "202".into(), message: "SAYS SO".into() };
        assert_eq!(state("declined", 202), RemoteState::Declined(expected));
        for code in [301, 400, 421, 430] {
            assert!(matches!(state("declined", code), RemoteState::Doubtful(_)), "{code} may hide a charge");
        }
    }

    #[test]
    fn a_partial_approval_takes_what_was_authorized() {
        let mut value = sample("pending_settlement", 110);
        value["amount_authorized"] = json!(1000);
        let read = |value: &Value| Transaction::read(value).expect("readable").state(2500);
        assert_eq!(read(&value), RemoteState::Taken { amount_minor: 1000 });
        value["amount_authorized"] = json!(0);
        assert!(matches!(read(&value), RemoteState::Unclear(_)));
    }

    #[test]
    fn both_shapes_of_a_reading_are_understood() {
        let mut old = sample("pending_settlement", 100);
        let object = old.as_object_mut().expect("object");
        let details = object.remove("response_body").expect("there");
        object.insert("response".into(), details);
        object.remove("response_code");
        let read = Transaction::read(&json!([old])).expect("array of one");
        assert_eq!((read.code, read.state(2500)), (Some(100), RemoteState::Taken { amount_minor: 2500 }));
        assert_eq!(Transaction::read(&json!([])), None);
        assert_eq!(Transaction::read(&Value::Null), None);
    }

    #[test]
    fn what_is_not_kept_of_an_answer_changes_nothing() {
        let mut odd = sample("declined", 202);
        odd["response"] = odd["response_body"].take();
        odd["amount_captured"] = json!("12.0");
        let all = [
            sample("settled", 100),
            odd,
            json!([sample("authorized", 110)]),
            json!({ "id": "x", "base_amount": 5 }),
            Value::Null,
        ];
        for data in all {
            let answer =
                json!({ "status": "success", "msg": "success", "data": data, "total_count": 1, "billing": { "id": "other" } });
            let kept = parse(answer.to_string().as_bytes(), Some(FIELDS)).expect("JSON");
            let Envelope::Data(read) = open(HttpAnswer::Done(kept)) else { panic!("{answer}") };
            assert_eq!(Transaction::read(&read), Transaction::read(&data), "{answer}");
        }
    }

    #[test]
    fn failures_are_seen_at_any_http_status() {
        let failed = json!({"status": "failed", "msg": "invalid customer", "data": null});
        for answer in [HttpAnswer::Done(failed.clone()), HttpAnswer::Refused { status: 400, body: Some(failed) }] {
            assert!(matches!(open(answer), Envelope::Failed { message, .. } if message == "invalid customer"));
        }
        let odd = json!({"status": "failed", "msg": "declined", "data": sample("declined", 200)});
        assert!(matches!(open(HttpAnswer::Refused { status: 402, body: Some(odd) }), Envelope::Data(_)));
        assert!(matches!(open(HttpAnswer::Done(json!({"hello": 1}))), Envelope::Strange));
        assert!(matches!(open(HttpAnswer::Done(json!({"status": "success", "data": null}))), Envelope::Data(Value::Null)));
    }

    #[test]
    fn another_amount_or_currency_is_another_payment() {
        let read = Transaction::read(&sample("settled", 100)).expect("readable");
        let eur = "EUR".parse().expect("known");
        assert_eq!(read.agrees(2500, Currency::USD), Ok(()));
        let both = read.agrees(2600, Currency::USD).expect_err("differs");
        assert!(both.contains("2600") && both.contains("2500"), "{both}");
        assert!(read.agrees(2500, eur).expect_err("differs").contains("usd"));
    }
}
