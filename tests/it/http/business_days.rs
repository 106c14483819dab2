//! Named calendars of bank holidays, several at once: each subscription's charges leave its own closed days, and the anchor never
//! moves.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde_json::{Value, json};

use super::{TestServer, on_both};

/// What every server of these tests is configured with.
pub fn calendars() -> BTreeMap<String, Vec<NaiveDate>> {
    let dates = |days: &[&str]| days.iter().map(|day| day.parse().expect("date")).collect();
    BTreeMap::from([
        ("england".to_owned(), dates(&["2026-08-31", "2026-12-25", "2026-12-28", "2027-01-01"])),
        ("denmark".to_owned(), dates(&["2026-04-30", "2026-12-24", "2026-12-25", "2026-12-31", "2027-01-01"])),
    ])
}

async fn preview(server: &TestServer, body: Value) -> Vec<Value> {
    server.post("/v1/schedules/preview", body).await.ok(200)["data"].as_array().expect("charges").clone()
}

fn of(charges: &[Value], field: &str) -> Vec<String> {
    charges.iter().map(|charge| charge[field].as_str().expect("a date").to_owned()).collect()
}

/// A month's last day and its weekday, and when it is charged by the following, the preceding and the modified rule: by weekends
/// alone, in England, in Denmark; blank where that is no different from weekends alone.
type Month = (&'static str, &'static str, [&'static str; 3], [&'static str; 3], [&'static str; 3]);

/// Thirteen months.
const MONTHS: [Month; 13] = [
    ("2026-01-31", "Sat", ["2026-02-02", "2026-01-30", "2026-01-30"], [""; 3], [""; 3]),
    ("2026-02-28", "Sat", ["2026-03-02", "2026-02-27", "2026-02-27"], [""; 3], [""; 3]),
    ("2026-03-31", "Tue", ["2026-03-31", "2026-03-31", "2026-03-31"], [""; 3], [""; 3]),
    ("2026-04-30", "Thu", ["2026-04-30", "2026-04-30", "2026-04-30"], [""; 3], ["2026-05-01", "2026-04-29", "2026-04-29"]),
    ("2026-05-31", "Sun", ["2026-06-01", "2026-05-29", "2026-05-29"], [""; 3], [""; 3]),
    ("2026-06-30", "Tue", ["2026-06-30", "2026-06-30", "2026-06-30"], [""; 3], [""; 3]),
    ("2026-07-31", "Fri", ["2026-07-31", "2026-07-31", "2026-07-31"], [""; 3], [""; 3]),
    ("2026-08-31", "Mon", ["2026-08-31", "2026-08-31", "2026-08-31"], ["2026-09-01", "2026-08-28", "2026-08-28"], [""; 3]),
    ("2026-09-30", "Wed", ["2026-09-30", "2026-09-30", "2026-09-30"], [""; 3], [""; 3]),
    ("2026-10-31", "Sat", ["2026-11-02", "2026-10-30", "2026-10-30"], [""; 3], [""; 3]),
    ("2026-11-30", "Mon", ["2026-11-30", "2026-11-30", "2026-11-30"], [""; 3], [""; 3]),
    ("2026-12-31", "Thu", ["2026-12-31", "2026-12-31", "2026-12-31"], [""; 3], ["2027-01-04", "2026-12-30", "2026-12-30"]),
    ("2027-01-31", "Sun", ["2027-02-01", "2027-01-29", "2027-01-29"], [""; 3], [""; 3]),
];

on_both! {
    async fn thirteen_months_of_moved_charges_never_move_the_anchor(server: &TestServer) {
        let terms = json!({"start_date": "2026-01-31", "billing_frequency": "monthly", "billing_days": "31", "amount": 1000, "count": 13});
        let anchors: Vec<&str> = MONTHS.iter().map(|month| month.0).collect();
        for (day, weekday, ..) in MONTHS {
            assert_eq!(day.parse::<NaiveDate>().expect("date").format("%a").to_string(), weekday, "{day}");
        }
        for (i, rule) in ["following", "preceding", "modified_following"].into_iter().enumerate() {
            for calendar in [None, Some("england"), Some("denmark")] {
                let mut body = terms.clone();
                body["business_day"] = json!(rule);
                body["holiday_calendar"] = json!(calendar);
                let charges = preview(server, body).await;
                let expected = MONTHS.map(|(_, _, weekends, england, denmark)| {
                    let own = match calendar { None => "", Some("england") => england[i], _ => denmark[i] };
                    if own.is_empty() { weekends[i] } else { own }
                });
                assert_eq!(of(&charges, "bill_date"), expected, "{rule} {calendar:?}");
                // What is paid for is the same month, on whatever day it is paid; the price, too.
                assert_eq!(of(&charges, "period_start"), anchors, "{rule} {calendar:?}");
                assert_eq!(of(&charges[..12], "period_end"), anchors[1..], "{rule} {calendar:?}");
                assert!(charges.iter().all(|charge| charge["amount"] == 1000), "{charges:?}");
            }
        }
        assert_eq!(of(&preview(server, terms).await, "bill_date"), anchors);
    }

    async fn each_subscription_keeps_its_own_calendar(server: &TestServer) {
        let clock = server.clock("2026-01-05T00:00:00Z").await;
        server.made("/v1/customers", json!({"name": "Ada", "reference": "ada", "clock_id": clock})).await;
        let plan = |name: &str, calendar: Value| json!({"name": name, "reference": name, "amount": 100, "billing_frequency": "monthly",
            "billing_days": "31", "business_day": "following", "holiday_calendar": calendar});
        for (name, calendar, expected) in [
            ("london", json!("england"), ["2026-04-30", "2026-09-01", "2026-12-31"]),
            ("copenhagen", json!("denmark"), ["2026-05-01", "2026-08-31", "2027-01-04"]),
            ("anywhere", json!(null), ["2026-04-30", "2026-08-31", "2026-12-31"]),
        ] {
            server.made("/v1/plans", plan(name, calendar)).await;
            let made = server.made("/v1/subscriptions", json!({"customer": {"id": "ada"}, "plan_id": name, "next_bill_date": "2026-03-31"})).await;
            let path = format!("/v1/subscriptions/{}/schedule?count=12", made["id"].as_str().expect("id"));
            let dates = of(server.get(&path).await.ok(200)["data"].as_array().expect("charges"), "bill_date");
            assert_eq!([&dates[1], &dates[5], &dates[9]], expected, "{name}");
        }
    }

    async fn a_calendar_nobody_configured_is_refused_by_name(server: &TestServer) {
        let terms = json!({"billing_frequency": "monthly", "business_day": "following", "holiday_calendar": "atlantis"});
        let answer = server.post("/v1/schedules/preview", terms).await;
        assert_eq!(answer.faults(), ["holiday_calendar"]);
        assert_eq!(answer.json()["errors"][0]["message"], "is no configured calendar: there are denmark, england");
        for calendar in ["England", "england ,denmark", "us"] {
            let body = json!({"billing_frequency": "monthly", "business_day": "preceding", "holiday_calendar": calendar});
            assert_eq!(server.post("/v1/schedules/preview", body).await.faults(), ["holiday_calendar"], "{calendar}");
        }
    }
}
