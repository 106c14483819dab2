//! Rows to store: of each table one with every optional column null, and one with every column at its hardest.

mod aside;
mod installments;
mod money;

use std::sync::LazyLock;

pub use aside::*;
use chrono::{DateTime, NaiveDate, Utc};
pub use installments::*;
pub use money::*;
use rebilld::domain::{
    api_key::{ApiKey, Scope},
    calendar::BusinessDay,
    catalog::Entry,
    clock::{ClockStatus, TestClock, Timeline},
    customer::{Credit, Customer, Metadata},
    dunning::{ByClass, Channel, FinalAction, Override, Policy, PolicySource, Step},
    frequency::Frequency,
    id::{CustomerId, Id, IdSource, Kind},
    invoice::{Adjustment, Modifier},
    money::Currency,
    payment_method::{MethodKind, PaymentMethod},
    plan::{CatchUp, Plan, WhilePastDue},
    proration::FirstPeriod,
    subscription::{BilledDays, Change, Subscription, SubscriptionStatus, Waiting},
};
use serde_json::{Map, Value, json};

use crate::world::{at, date};

/// Quotes of all kinds, SQL and JSON syntax, line ends, combining and 4-byte characters; not trimmed by anybody.
pub const HARD: &str = " O'Brien \"q\" \\u0000 \\ `x` $1 %s; -- /* */ \r\n\t é e\u{301} 日本 😀𝔘 \u{202e} ";

pub fn id<K: Kind>() -> Id<K> {
    static IDS: LazyLock<IdSource> = LazyLock::new(|| IdSource::seeded([9; 32]));
    IDS.next(noon())
}

pub fn noon() -> DateTime<Utc> {
    at("2026-06-01T12:00:00Z")
}

pub fn minute(n: i64) -> DateTime<Utc> {
    noon() + chrono::Duration::minutes(n)
}

pub fn first() -> DateTime<Utc> {
    at("0001-01-01T00:00:00.000001Z")
}

fn last() -> DateTime<Utc> {
    at("9999-12-31T23:59:59.999999Z")
}

fn edges() -> (NaiveDate, NaiveDate) {
    (date("0001-01-01"), date("9999-12-31"))
}

pub fn hard() -> String {
    HARD.to_owned()
}

pub fn nested() -> Value {
    json!({
        HARD: HARD, "": null, "a": {"b": [1, -1.5, true, null, [[]], {}, {"c": {"d": "😀"}}]}, "big": i64::MAX, "small": i64::MIN,
        "unsigned": u64::MAX, "fraction": 0.1, "exponent": 1e21,
    })
}

fn metadata() -> Metadata {
    nested().as_object().expect("object").clone()
}

pub fn clock() -> TestClock {
    TestClock {
        id: id(),
        name: String::new(),
        now_at: noon(),
        status: ClockStatus::Idle,
        target_at: None,
        lease_owner: None,
        lease_expires_at: None,
        counts: Map::new(),
        created_at: noon(),
    }
}

pub fn full_clock() -> TestClock {
    TestClock {
        name: hard(),
        now_at: first(),
        status: ClockStatus::Advancing,
        target_at: Some(last()),
        lease_owner: Some(hard()),
        lease_expires_at: Some(last()),
        counts: metadata(),
        created_at: first(),
        ..clock()
    }
}

pub fn api_key() -> ApiKey {
    let id = id();
    ApiKey {
        id,
        name: "plain".into(),
        digest: id.to_string(),
        last_four: "abcd".into(),
        scope: Scope::Read,
        created_at: noon(),
        revoked_at: None,
    }
}

pub fn full_api_key() -> ApiKey {
    ApiKey { name: hard(), digest: hard(), last_four: hard(), scope: Scope::Admin, revoked_at: Some(last()), ..api_key() }
}

/// Exactly one of amount and percentage is ever set, so that two rows cover the columns.
pub fn entry<K: Kind>() -> Entry<K> {
    Entry {
        id: id(),
        reference: None,
        name: "plain".into(),
        description: String::new(),
        amount: Some(0),
        percentage: None,
        duration: 0,
        created_at: noon(),
        updated_at: noon(),
    }
}

pub fn full_entry<K: Kind>() -> Entry<K> {
    Entry {
        reference: Some(hard()),
        name: hard(),
        description: hard(),
        amount: None,
        percentage: Some(i64::MAX),
        duration: i64::MAX,
        created_at: first(),
        updated_at: last(),
        ..entry()
    }
}

fn modifiers() -> Vec<Modifier> {
    let modifier = |adjustment| Modifier {
        id: "addon_x".into(),
        name: hard(),
        description: hard(),
        adjustment,
        duration: i64::MAX,
        applied_from: i64::MAX,
    };
    vec![
        modifier(Adjustment::Amount(i64::MAX)),
        modifier(Adjustment::Percentage("12.345".parse().expect("percentage"))),
        modifier(Adjustment::Percentage("1000".parse().expect("percentage"))),
    ]
}

pub fn plan() -> Plan {
    Plan {
        id: id(),
        reference: None,
        name: "plain".into(),
        description: String::new(),
        amount: 0,
        currency: Currency::USD,
        billing_frequency: Frequency::Monthly,
        billing_cycle_interval: 1,
        billing_days: None,
        duration: 0,
        trial_days: 0,
        catch_up: CatchUp::BillAll,
        while_past_due: WhilePastDue::Bill,
        business_day: BusinessDay::None,
        holiday_calendar: None,
        dunning_policy_id: None,
        add_ons: vec![],
        discounts: vec![],
        created_at: noon(),
        updated_at: noon(),
    }
}

pub fn full_plan() -> Plan {
    Plan {
        reference: Some(hard()),
        name: hard(),
        description: hard(),
        amount: i64::MAX,
        currency: "BHD".parse().expect("currency"),
        billing_frequency: Frequency::TwiceMonthly,
        billing_cycle_interval: i64::MAX,
        billing_days: Some("1,15".into()),
        duration: i64::MAX,
        trial_days: i64::MAX,
        catch_up: CatchUp::Skip,
        while_past_due: WhilePastDue::Hold,
        business_day: BusinessDay::ModifiedFollowing,
        holiday_calendar: Some(hard()),
        dunning_policy_id: Some(id()),
        add_ons: modifiers(),
        discounts: modifiers(),
        created_at: first(),
        updated_at: last(),
        ..plan()
    }
}

pub fn customer() -> Customer {
    Customer {
        id: id(),
        reference: None,
        timeline: Timeline::Wall,
        name: "Ada".into(),
        email: None,
        phone: None,
        locale: None,
        timezone: "UTC".parse().expect("zone"),
        currency: Currency::USD,
        balance: 0,
        metadata: Metadata::new(),
        created_at: noon(),
        updated_at: noon(),
    }
}

pub fn full_customer() -> Customer {
    Customer {
        reference: Some(hard()),
        timeline: Timeline::Test(id()),
        name: hard(),
        email: Some(hard()),
        phone: Some(hard()),
        locale: Some(hard()),
        timezone: "America/Argentina/ComodRivadavia".parse().expect("zone"),
        currency: "JPY".parse().expect("currency"),
        balance: i64::MAX,
        metadata: metadata(),
        created_at: first(),
        updated_at: last(),
        ..customer()
    }
}

pub fn credit(customer: CustomerId) -> Credit {
    Credit {
        id: id(),
        customer_id: customer,
        amount: i64::MIN,
        currency: Currency::USD,
        reason: String::new(),
        invoice_id: None,
        created_at: noon(),
    }
}

pub fn full_credit(customer: CustomerId) -> Credit {
    Credit { amount: i64::MAX, reason: hard(), invoice_id: Some(id()), created_at: last(), ..credit(customer) }
}

pub fn method(customer: CustomerId) -> PaymentMethod {
    PaymentMethod {
        id: id(),
        customer_id: customer,
        gateway: "fluid".into(),
        kind: MethodKind::PaymentRequest,
        customer_token: None,
        payment_method_token: None,
        transaction_id: None,
        channels: vec![],
        expires: None,
        last_four: None,
        is_default: false,
        priority: i64::MIN,
        mandate_ended_at: None,
        created_at: noon(),
        updated_at: noon(),
    }
}

/// A method has a customer token or a transaction id, never both.
pub fn full_method(customer: CustomerId) -> PaymentMethod {
    PaymentMethod {
        gateway: hard(),
        kind: MethodKind::VaultToken,
        customer_token: Some(hard()),
        payment_method_token: Some(hard()),
        channels: vec![hard(), String::new()],
        expires: Some(hard()),
        last_four: Some(hard()),
        is_default: true,
        priority: i64::MAX,
        mandate_ended_at: Some(first()),
        created_at: first(),
        updated_at: last(),
        ..method(customer)
    }
}

pub fn subscription(customer: CustomerId) -> Subscription {
    Subscription::beginning(
        id(),
        customer,
        Currency::USD,
        "UTC".parse().expect("zone"),
        Frequency::Monthly,
        date("2026-01-31"),
        noon(),
    )
}

/// Only a parked one has a reason, and that is never due: two rows cover the columns.
pub fn full_subscription(customer: CustomerId) -> Subscription {
    let (first_day, last_day) = edges();
    Subscription {
        plan_id: Some(id()),
        payment_method_id: Some(id()),
        timeline: Timeline::Test(id()),
        status: SubscriptionStatus::PastDue,
        description: hard(),
        currency: "KWD".parse().expect("currency"),
        amount: i64::MAX,
        quantity: i64::MAX,
        billing_frequency: Frequency::OneTime,
        billing_cycle_interval: i64::MAX,
        billing_days: Some(hard()),
        duration: i64::MAX,
        ends_on: Some(last_day),
        trial_ends_on: Some(first_day),
        timezone: "Asia/Kathmandu".parse().expect("zone"),
        first_period: FirstPeriod::Prorated,
        catch_up: CatchUp::BillCurrent,
        while_past_due: WhilePastDue::Hold,
        business_day: BusinessDay::Preceding,
        holiday_calendar: Some(hard()),
        initial_payment_amount: Some(i64::MAX),
        authorize_days_before: Some(i64::MAX),
        dunning_policy_id: Some(id()),
        add_ons: modifiers(),
        discounts: modifiers(),
        metadata: metadata(),
        anchor_date: first_day,
        passes_first_anchor: true,
        next_slot: i64::MAX,
        next_cycle: i64::MAX,
        cycles_billed: i64::MAX,
        next_bill_date: Some(last_day),
        next_bill_at: Some(last()),
        due_at: Some(first()),
        authorize_at: Some(last()),
        period_start: Some(first_day),
        period_end: Some(last_day),
        moved_to: Some(date("2028-02-29")),
        paused_on: Some(first_day),
        paused_until: Some(last_day),
        pause_at_period_end: true,
        credited_days: Some(vec![BilledDays {
            start: first_day,
            end: last_day,
            price: i64::MAX,
            of_days: 1,
            invoice_id: Some(id()),
        }]),
        cancel_at_period_end: true,
        waits_until: Some(last_day),
        scheduled_last: Some(Waiting::Cancel),
        // Cleared, set and left alone are three things.
        pending_change: Some(Change {
            description: Some(hard()),
            amount: Some(i64::MAX),
            billing_days: Some(None),
            ends_on: Some(Some(last_day)),
            payment_method_id: Some(None),
            add_ons: Some(modifiers()),
            metadata: Some(metadata()),
            keep_anchor: Some(false),
            ..Change::default()
        }),
        parked_reason: None,
        cancelled_at: Some(last()),
        created_at: first(),
        updated_at: last(),
        ..subscription(customer)
    }
}

pub fn policy() -> Policy {
    Policy {
        id: id(),
        reference: None,
        name: String::new(),
        steps: vec![],
        by_class: ByClass::default(),
        final_action: FinalAction::Cancel,
        is_default: false,
        source: PolicySource::Api,
        created_at: noon(),
        updated_at: noon(),
    }
}

pub fn full_policy() -> Policy {
    let step = Step {
        after_days: u32::MAX,
        at: Some("23:59".parse().expect("hour")),
        channels: Channel::ALL.to_vec(),
        next_method: true,
    };
    let own = Override { steps: vec![step.clone(), step.clone()], final_action: Some(FinalAction::Pause) };
    Policy {
        reference: Some(hard()),
        name: hard(),
        steps: vec![step.clone()],
        by_class: ByClass { soft: None, try_later: Some(own.clone()), hard: Some(own), new_card_needed: None },
        final_action: FinalAction::PaymentRequest,
        is_default: true,
        source: PolicySource::Configuration,
        created_at: first(),
        updated_at: last(),
        ..policy()
    }
}
