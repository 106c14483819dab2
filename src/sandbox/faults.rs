//! Fault switches: what goes wrong, for which calls, and how often.

use std::str::FromStr;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize, de};
use serde_json::Value;

use super::call::{CallOperation, SandboxGateway, Target};

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The connection closes and nothing has happened.
    DropBefore,
    /// The call is processed; its answer is lost.
    DropAfter,
    /// Sleeps, then processes the call, even if the client has disconnected by then.
    Delay { ms: u64 },
    /// Answers with this status and processes nothing.
    Status { status: u16, retry_after: Option<u64> },
    /// Processes, then answers with this status.
    StatusAfter { status: u16 },
    /// Declines a charge or an authorization with the gateway's own code.
    Decline { code: u16 },
    /// Sends a callback to the merchant twice.
    Duplicate,
}

impl Fault {
    /// A decline needs a call that asks a card, a duplicate needs a callback. Every other fault can hit any call.
    fn applies_to(self, operation: CallOperation) -> bool {
        match self {
            Self::Decline { .. } => matches!(operation, CallOperation::Charge | CallOperation::Authorize),
            Self::Duplicate => operation == CallOperation::Callback,
            _ => true,
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    /// The shorthand: `drop_before`, `drop_after`, `delay:250`, `429`, `status_after:500`, `decline:202`, `duplicate`.
    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("unknown fault `{text}`");
        let number = |digits: &str| digits.parse::<u16>().map_err(|_| unknown());
        match text.split_once(':') {
            None if text == "drop_before" => Ok(Self::DropBefore),
            None if text == "drop_after" => Ok(Self::DropAfter),
            None if text == "duplicate" => Ok(Self::Duplicate),
            None => Ok(Self::Status { status: number(text)?, retry_after: None }),
            Some(("delay", ms)) => Ok(Self::Delay { ms: ms.parse().map_err(|_| unknown())? }),
            Some(("status", status)) => Ok(Self::Status { status: number(status)?, retry_after: None }),
            Some(("status_after", status)) => Ok(Self::StatusAfter { status: number(status)? }),
            Some(("decline", code)) => Ok(Self::Decline { code: number(code)? }),
            Some(_) => Err(unknown()),
        }
    }
}

/// Which calls a fault hits.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Match {
    /// Any call whose path contains this text.
    Path(String),
    Fields(Criteria),
}

/// Every criterion that is given must hold. Without any, the fault hits every call.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Criteria {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<SandboxGateway>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<CallOperation>,
    /// The stored customer or the earlier transaction that pays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The transaction captured, refunded, voided or looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<i64>,
}

/// A call as faults see it.
#[derive(Debug)]
pub struct Aim<'a> {
    pub gateway: SandboxGateway,
    pub operation: CallOperation,
    pub path: &'a str,
    pub target: Target,
}

impl Match {
    fn holds(&self, aim: &Aim<'_>) -> bool {
        fn same<T: PartialEq>(wanted: &Option<T>, found: &Option<T>) -> bool {
            wanted.is_none() || wanted == found
        }
        match self {
            Self::Path(part) => aim.path.contains(part.as_str()),
            Self::Fields(wanted) => {
                wanted.gateway.is_none_or(|gateway| gateway == aim.gateway)
                    && wanted.operation.is_none_or(|operation| operation == aim.operation)
                    && same(&wanted.token, &aim.target.token)
                    && same(&wanted.transaction_id, &aim.target.transaction_id)
                    && same(&wanted.reference, &aim.target.reference)
                    && same(&wanted.amount, &aim.target.amount)
            }
        }
    }
}

/// A fault, the calls that it hits, and how often, as posted to `/_sandbox/faults`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(rename = "match", default = "everything", deserialize_with = "read_match")]
    pub matching: Match,
    #[serde(deserialize_with = "read_fault")]
    pub fault: Fault,
    /// How often the fault strikes: once if left out, until it is deleted if 0.
    #[serde(default = "once")]
    pub times: u64,
    /// How often the fault has struck.
    #[serde(default, skip_deserializing)]
    pub used: u64,
}

fn once() -> u64 {
    1
}

fn everything() -> Match {
    Match::Fields(Criteria::default())
}

fn read_match<'de, D: de::Deserializer<'de>>(deserializer: D) -> Result<Match, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(everything()),
        Value::String(part) => Ok(Match::Path(part)),
        fields => serde_json::from_value(fields).map(Match::Fields).map_err(de::Error::custom),
    }
}

fn read_fault<'de, D: de::Deserializer<'de>>(deserializer: D) -> Result<Fault, D::Error> {
    let fault = match Value::deserialize(deserializer)? {
        Value::String(text) => text.parse().map_err(de::Error::custom)?,
        Value::Number(status) => status.to_string().parse().map_err(de::Error::custom)?,
        fields => serde_json::from_value(fields).map_err(de::Error::custom)?,
    };
    match fault {
        Fault::Status { status, .. } | Fault::StatusAfter { status }
            if !(400..600).contains(&status) || StatusCode::from_u16(status).is_err() =>
        {
            Err(de::Error::custom("status must be from 400 to 599"))
        }
        fault => Ok(fault),
    }
}

/// The fault switches that are set, oldest first. The first that matches a call strikes.
#[derive(Debug, Default)]
pub struct FaultRules {
    rules: Vec<Rule>,
}

impl FaultRules {
    pub fn add(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    pub fn clear(&mut self) {
        self.rules.clear();
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The fault for this call, if one matches. A fault that has struck as often as it should is removed.
    pub fn strike(&mut self, aim: &Aim<'_>) -> Option<Fault> {
        let index = self.rules.iter().position(|rule| rule.fault.applies_to(aim.operation) && rule.matching.holds(aim))?;
        let rule = &mut self.rules[index];
        rule.used += 1;
        let fault = rule.fault;
        if rule.used == rule.times {
            self.rules.remove(index);
        }
        Some(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule(body: Value) -> Result<Rule, serde_json::Error> {
        serde_json::from_value(body)
    }

    fn charge(reference: &str) -> Aim<'static> {
        let target = Target { reference: Some(reference.to_owned()), amount: Some(100), ..Target::default() };
        Aim { gateway: SandboxGateway::FluidPay, operation: CallOperation::Charge, path: "/api/transaction", target }
    }

    #[test]
    fn a_rule_strikes_as_often_as_asked() {
        let mut faults = FaultRules::default();
        faults.add(rule(json!({"match": {"reference": "A"}, "fault": "drop_after", "times": 2})).expect("rule"));
        faults.add(rule(json!({"match": "transaction", "fault": {"kind": "delay", "ms": 5}, "times": 0})).expect("rule"));
        let struck: Vec<_> = ["B", "A", "A", "A"].map(|reference| faults.strike(&charge(reference))).into();
        let delay = Some(Fault::Delay { ms: 5 });
        assert_eq!(struck, [delay, Some(Fault::DropAfter), Some(Fault::DropAfter), delay]);
        assert_eq!((faults.rules().len(), faults.rules()[0].used), (1, 2));
    }

    #[test]
    fn shorthand_and_object_say_the_same() {
        for (short, long) in [
            (json!("429"), json!({"kind": "status", "status": 429})),
            (json!(503), json!({"kind": "status", "status": 503})),
            (json!("status_after:500"), json!({"kind": "status_after", "status": 500})),
            (json!("decline:202"), json!({"kind": "decline", "code": 202})),
            (json!("delay:250"), json!({"kind": "delay", "ms": 250})),
            (json!("drop_before"), json!({"kind": "drop_before"})),
        ] {
            let read = |fault: Value| rule(json!({"fault": fault})).expect("fault").fault;
            assert_eq!(read(short), read(long));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            json!({}),
            json!({"fault": "drop"}),
            json!({"fault": "200"}),
            json!({"fault": {"kind": "delay"}}),
            json!({"fault": {"kind": "delay", "ms": 1, "status": 500}}),
            json!({"fault": "drop_after", "match": {"refrence": "A"}}),
            json!({"fault": "drop_after", "match": {"operation": "steal"}}),
            json!({"fault": "drop_after", "times": -1}),
        ] {
            assert!(rule(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn declines_spare_captures_and_lookups() {
        let mut faults = FaultRules::default();
        faults.add(rule(json!({"fault": "decline:202"})).expect("rule"));
        let capture = Aim { operation: CallOperation::Capture, ..charge("A") };
        assert_eq!(faults.strike(&capture), None);
        assert_eq!(faults.strike(&charge("A")), Some(Fault::Decline { code: 202 }));
        assert!(faults.is_empty());
    }
}
