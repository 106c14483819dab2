//! What is wrong with a field, read from its schema: values that it must refuse.

use serde_json::{Value, json};

pub const CARD: &str = "4111 1111 1111 1111";

/// Follows a reference into the components of the document.
pub fn resolved<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str().and_then(|target| target.strip_prefix('#')) {
        Some(pointer) => document.pointer(pointer).expect("a component"),
        None => schema,
    }
}

pub fn has_type(schema: &Value, name: &str) -> bool {
    match &schema["type"] {
        Value::String(one) => one == name,
        Value::Array(all) => all.iter().any(|one| one == name),
        _ => false,
    }
}

/// Values that a field of this schema and name must refuse.
pub fn values(schema: &Value, name: &str) -> Vec<Value> {
    let mut wrong = Vec::new();
    let others = [
        ("string", json!("a text")),
        ("integer", json!(7)),
        ("number", json!(7.5)),
        ("boolean", json!(true)),
        ("object", json!({"no_such_field": 1})),
        ("array", json!([])),
        ("null", json!(null)),
    ];
    let numeric = has_type(schema, "integer") || has_type(schema, "number");
    for (kind, value) in others {
        let fits = has_type(schema, kind) || (kind == "integer" && has_type(schema, "number"));
        if !fits {
            wrong.push(value);
        }
    }
    if numeric {
        wrong.extend([
            json!("5"),
            json!(9_223_372_036_854_775_808_u64),
            json!(1e30),
            json!(-1e30),
            json!(i64::MAX),
            json!(i64::MIN),
            json!(1.5e-9),
        ]);
        wrong.extend(schema["minimum"].as_i64().map(|least| json!(least - 1)));
        wrong.extend(schema["maximum"].as_i64().map(|most| json!(most + 1)));
    }
    if has_type(schema, "integer") {
        wrong.extend([json!(1.5), json!([1])]);
    }
    if has_type(schema, "boolean") {
        wrong.extend([json!("true"), json!(1), json!(0)]);
    }
    if has_type(schema, "array") {
        wrong.extend([json!([7]), json!([null]), json!([[]]), json!(vec![json!({"id": "extra"}); 1001])]);
    }
    if has_type(schema, "string") {
        wrong.extend([json!("nul \0 byte"), json!("bell \u{7} rings"), json!(CARD), json!("4111-1111-1111-1111"), json!(["a"])]);
        let most = schema["maxLength"].as_u64().map_or(100, |most| usize::try_from(most).expect("a length"));
        wrong.push(json!("x".repeat(most.max(100) + 1)));
        wrong.push(json!("😀".repeat(100_000)));
        if schema["minLength"].as_u64() == Some(1) {
            wrong.extend([json!(""), json!("  \t "), json!("two\nlines")]);
        }
        if schema["enum"].is_array() {
            wrong.extend([json!(""), json!("no such word")]);
        }
        if schema["pattern"].is_string() {
            wrong.extend([
                json!(""),
                json!("x"),
                json!("evt_01h455vb4pex5vsknk084sn02q"),
                json!("plan_81h455vb4pex5vsknk084sn02q"),
            ]);
        }
        match schema["format"].as_str() {
            Some("date") => {
                let dates = [
                    "2026-02-30",
                    "2026-13-01",
                    "2026-00-01",
                    "tomorrow",
                    "99999-01-01",
                    "0000-01-01",
                    "9999-01-01",
                    "",
                    "2026-2-3",
                    "20260203",
                ];
                wrong.extend(dates.map(Value::from));
            }
            Some("date-time") => {
                let instants = [
                    "2026-06-01",
                    "2026-02-30T00:00:00Z",
                    "2026-06-01T25:00:00Z",
                    "2026-06-01T00:00:00",
                    "99999-01-01T00:00:00Z",
                    "now",
                    "",
                ];
                wrong.extend(instants.map(Value::from));
            }
            _ => {}
        }
    }
    wrong.extend(by_name(name));
    wrong
}

/// What only the meaning of a field forbids.
fn by_name(name: &str) -> Vec<Value> {
    let texts: &[&str] = match name {
        "billing_days" => &["32", "0,5", "15,1", "x", "1,,2", "-1", "1;15", "1,1"],
        "billing_frequency" => &["fortnightly", "MONTH"],
        "timezone" => &["Mars/Base", "+02:00", "europe", "UTC "],
        "currency" => &["ZZZ", "XAU", "US", "dollars"],
        "expires" => &["2026-13", "2026", "13/26", "2026-1"],
        "last_four" => &["12345", "12", "abcd"],
        "email" => &["ada", "a@b", "a@b.co\r\nBcc: c@d.co", "a@b.co,c@d.co"],
        "phone" => &["call me", "123", "+49 30 1234567890123456"],
        "locale" => &["english", "e n", "-"],
        "by" => &["soon", "-1d", "0d", "99999y", "P", "1.5d", ""],
        "bill_at" => &["25:00", "6:00", "24:00", "06:00:00", "06:60"],
        "gateway" => &["nope"],
        "reference" => &["a b", "a/b"],
        "holiday_calendar" => &["nowhere"],
        "dunning_policy_id" => &["any", "dun_01h455vb4pex5vsknk084sn02q"],
        "at" => &["6:00", "24:00", "06:60", "06:00:00"],
        "payment_method_id" => &["pm_01h455vb4pex5vsknk084sn02q"],
        "plan_id" => &["nothing", "plan_01h455vb4pex5vsknk084sn02q"],
        "clock_id" => &["clk_01h455vb4pex5vsknk084sn02q"],
        "id" => &["nobody"],
        "channels" => return vec![json!(["FAX"]), json!(["EMAIL", 7])],
        "metadata" => return vec![json!({"card": CARD}), json!({"a": {"b": [CARD]}}), json!({"big": "x".repeat(20_000)})],
        _ => &[],
    };
    texts.iter().map(|text| json!(text)).collect()
}
