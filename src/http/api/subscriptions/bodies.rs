//! What requests about subscriptions say: the seed gateway's bodies, Paysley's names beside them, and ours.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;
use utoipa::openapi::{RefOr, Schema};

use crate::{
    billing::subscriptions::{
        subscribe::{Start, SubscribeInput},
        terms::{FixedTerms, TermsInput},
        unpark::Missed,
    },
    domain::{
        calendar::{BusinessDay, Zone},
        customer::Metadata,
        frequency::Frequency,
        id::{CustomerId, PaymentMethodId, PlanId},
        money::{Currency, MAX_AMOUNT_MINOR},
        plan::{CatchUp, WhilePastDue},
        proration::FirstPeriod,
        subscription::{SubscriptionStatus, When},
    },
    http::api::catalog::{ModifierBody, modifiers},
    input::{Faults, Input, Patch, body},
};

body! {
    pub struct CustomerRef {
        /// Id or reference.
        pub id: String line up to 255,
    }
}

body! {
    /// Left out: the plan's, else the default. Without a plan, amount and billing_frequency are required.
    pub struct NewSubscription {
        pub customer: CustomerRef,
        /// Id or reference of the plan whose terms are copied.
        pub plan_id: Option<String> line up to 255,
        /// Shown on invoices; left out: the plan's name.
        pub description: Option<String> up to 255,
        /// For one unit of quantity, minor units.
        pub amount: Option<i64> in 0..=MAX_AMOUNT_MINOR,
        pub quantity: Option<i64> in 1..=100_000,
        /// Left out: the plan's, else the customer's.
        pub currency: Option<Currency>,
        /// IANA name; left out: the customer's.
        pub timezone: Option<Zone>,
        pub billing_frequency | payment_frequency: Option<Frequency>,
        /// Every how many days, weeks, months … ; 1 if left out.
        pub billing_cycle_interval: Option<i64> in 1..=1000,
        /// Which days: `7` (every 7 days), `1,4` (weekdays), `1,15` or `31` (days of the month; 31 and 0 are its last).
        pub billing_days: Option<String> up to 100,
        /// Number of charges; 0 = until cancelled.
        pub duration | total_number_of_payments: Option<i64> in 0..=100_000,
        /// First charge: a date, or an instant as Paysley writes it. Left out: the end of the trial, else today.
        pub next_bill_date | payment_start_date: Option<Start>,
        /// Lets the first charge lie in the past; the catch-up policy says what is billed of it.
        pub backdated: bool = false,
        /// Exclusive: nothing is charged on or after it.
        pub ends_on: Option<NaiveDate>,
        pub trial_days: Option<i64> in 0..=100_000,
        /// What is charged between a start that is none of the billing days and the first of them.
        pub first_period: Option<FirstPeriod>,
        /// Charged at once, beside the schedule; minor units.
        pub initial_payment_amount: Option<i64> in 0..=MAX_AMOUNT_MINOR,
        /// In place of the plan's, also when empty.
        pub add_ons: Option<Vec<ModifierBody>>,
        /// In place of the plan's, also when empty.
        pub discounts: Option<Vec<ModifierBody>>,
        /// Left out: whatever is the customer's default when it is charged.
        pub payment_method_id: Option<PaymentMethodId>,
        pub business_day: Option<BusinessDay>,
        pub holiday_calendar: Option<String> line up to 100,
        pub catch_up: Option<CatchUp>,
        pub while_past_due: Option<WhilePastDue>,
        /// Id or reference of what follows a failed payment; left out: the plan's, else whichever is the default then.
        pub dunning_policy_id: Option<String> line up to 255,
        /// So many days before each bill date the charge is authorized, to be captured on it; null or 0: not before.
        pub authorize_days_before: Option<i64> in 0..=30,
        pub metadata: Option<Metadata>,
    }
}

impl From<NewSubscription> for SubscribeInput {
    fn from(new: NewSubscription) -> Self {
        Self {
            customer: new.customer.id,
            plan_id: new.plan_id,
            description: new.description,
            amount: new.amount,
            quantity: new.quantity,
            currency: new.currency,
            timezone: new.timezone,
            billing_frequency: new.billing_frequency,
            billing_cycle_interval: new.billing_cycle_interval,
            billing_days: new.billing_days,
            duration: new.duration,
            next_bill_date: new.next_bill_date,
            backdated: new.backdated,
            paid_through: None,
            ends_on: new.ends_on,
            trial_days: new.trial_days,
            first_period: new.first_period,
            initial_payment_amount: new.initial_payment_amount,
            add_ons: modifiers(new.add_ons),
            discounts: modifiers(new.discounts),
            payment_method_id: new.payment_method_id,
            business_day: new.business_day,
            holiday_calendar: new.holiday_calendar,
            catch_up: new.catch_up,
            while_past_due: new.while_past_due,
            dunning_policy_id: new.dunning_policy_id,
            authorize_days_before: new.authorize_days_before,
            metadata: new.metadata,
        }
    }
}

/// The first charge: `2026-11-21`, or an instant whose local date counts.
impl Input for Start {
    fn read(value: &Value, (): &(), at: &str, faults: &mut Faults) -> Option<Self> {
        match value.as_str() {
            Some(text) if text.contains(['T', 't', ' ']) => DateTime::<Utc>::read(value, &(), at, faults).map(Self::At),
            _ => NaiveDate::read(value, &(), at, faults).map(Self::Date),
        }
    }

    fn schema((): &()) -> RefOr<Schema> {
        NaiveDate::schema(&())
    }
}

/// A body of terms that may be changed while a subscription runs, and what goes with them.
macro_rules! terms_body {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])* $field:ident: $outer:ident $(< $inner:ty >)?),* $(,)? }) => {
        body! {
            $(#[$meta])*
            pub struct $name {
                $($(#[doc = $doc])* pub $field: $outer $(<$inner>)?,)*
                /// Id or reference. Another plan brings its terms along, except those given here.
                pub plan_id: Option<String> line up to 255,
                /// Shown on invoices.
                pub description: Option<String> up to 255,
                /// For one unit of quantity, minor units.
                pub amount: Option<i64> in 0..=MAX_AMOUNT_MINOR,
                pub quantity: Option<i64> in 1..=100_000,
                pub billing_frequency | payment_frequency: Option<Frequency>,
                pub billing_cycle_interval: Option<i64> in 1..=1000,
                /// Another frequency without days takes them from the next bill date.
                pub billing_days: Patch<String> up to 100,
                /// Number of charges, those already made included; 0 = until cancelled.
                pub duration | total_number_of_payments: Option<i64> in 0..=100_000,
                /// Exclusive: nothing is charged on or after it.
                pub ends_on: Patch<NaiveDate>,
                /// All of them anew.
                pub add_ons: Option<Vec<ModifierBody>>,
                /// All of them anew.
                pub discounts: Option<Vec<ModifierBody>>,
                /// Null: the customer's default.
                pub payment_method_id: Patch<PaymentMethodId>,
                pub business_day: Option<BusinessDay>,
                pub holiday_calendar: Patch<String> line up to 100,
                pub catch_up: Option<CatchUp>,
                pub while_past_due: Option<WhilePastDue>,
                /// IANA name.
                pub timezone: Option<Zone>,
                /// All of it anew.
                pub metadata: Option<Metadata>,
                /// Whether a new frequency, interval or bill date leaves the old days in place; else the schedule starts anew.
                pub keep_anchor: Option<bool>,
                /// May be repeated, never changed.
                pub currency: Option<Currency>,
                /// May be repeated, never changed: it only counts at the start.
                pub first_period: Option<FirstPeriod>,
                /// May be repeated, never changed: it only counts at the start.
                pub initial_payment_amount: Option<i64> in 0..=MAX_AMOUNT_MINOR,
                /// Only null: to move the end of a trial, reschedule the first charge.
                pub trial_days: Option<i64> in 0..=100_000,
                /// Id or reference; it holds from the next failure on. Null: whichever is the default then.
                pub dunning_policy_id: Patch<String> line up to 255,
                /// So many days before each bill date the charge is authorized; 0: not before.
                pub authorize_days_before: Option<i64> in 0..=30,
                /// Only says what it would come to, and stores nothing.
                pub preview: bool = false,
            }
        }

        impl $name {
            pub fn terms(self) -> TermsInput {
                TermsInput {
                    plan_id: self.plan_id,
                    description: self.description,
                    amount: self.amount,
                    quantity: self.quantity,
                    billing_frequency: self.billing_frequency,
                    billing_cycle_interval: self.billing_cycle_interval,
                    billing_days: self.billing_days.change(),
                    duration: self.duration,
                    ends_on: self.ends_on.change(),
                    add_ons: modifiers(self.add_ons),
                    discounts: modifiers(self.discounts),
                    payment_method_id: self.payment_method_id.change(),
                    business_day: self.business_day,
                    holiday_calendar: self.holiday_calendar.change(),
                    catch_up: self.catch_up,
                    while_past_due: self.while_past_due,
                    authorize_days_before: self.authorize_days_before,
                    dunning_policy_id: self.dunning_policy_id.change(),
                    timezone: self.timezone,
                    metadata: self.metadata,
                    keep_anchor: self.keep_anchor,
                    fixed: FixedTerms {
                        currency: self.currency,
                        first_period: self.first_period,
                        initial_payment_amount: self.initial_payment_amount,
                        trial_days: self.trial_days,
                    },
                }
            }
        }
    };
}

terms_body! {
    /// Terms from the next cycle on. What is left out stays; null takes away.
    SubscriptionPatch {
        /// May be repeated, never changed.
        customer: Option<CustomerRef>,
        /// Moves the next charge.
        next_bill_date: Option<NaiveDate>,
    }
}

terms_body! {
    /// Any term. `now` credits unused days and charges the rest of the period; `period_end` waits for the next cycle.
    ChangeBody {
        when: When,
    }
}

body! {
    pub struct SubscriptionFilters {
        pub customer_id: Option<CustomerId>,
        pub plan_id: Option<PlanId>,
        pub status: Option<SubscriptionStatus>,
        pub clock_id: Option<crate::domain::id::ClockId>,
    }
}

body! {
    pub struct PauseInput {
        /// The day on which it goes on by itself; left out: it waits to be resumed.
        pub until: Option<NaiveDate>,
        /// `period_end` goes on to the end of the paid period first.
        pub when: When = When::Now,
        /// With `now`: the days to come that were billed go to the customer's credit, and are charged by day again from the day on
        /// which it is resumed.
        pub credit: bool = false,
        /// Only says what it would come to, and stores nothing.
        pub preview: bool = false,
    }
}

body! {
    pub struct Nothing {}
}

body! {
    /// Nothing needs to be said.
    pub struct NoInput {
        /// Only says what it would come to, and stores nothing.
        pub preview: bool = false,
    }
}

body! {
    pub struct SkipInput {
        /// How many charges are passed over.
        pub cycles: i64 in 1..=1000 = 1,
        /// Only says what it would come to, and stores nothing.
        pub preview: bool = false,
    }
}

body! {
    pub struct RescheduleInput {
        /// The day of the next charge.
        pub next_bill_date: NaiveDate,
        /// Only this charge moves; else the schedule starts anew there.
        pub keep_anchor: bool = false,
        /// Only says what it would come to, and stores nothing.
        pub preview: bool = false,
    }
}

body! {
    pub struct CancelInput {
        /// `now` also voids what is still owed.
        pub when: When,
        /// With `now`: what was paid for days to come goes to the customer's credit.
        pub credit: bool = false,
        /// Only says what it would come to, and stores nothing.
        pub preview: bool = false,
    }
}

body! {
    pub struct UnparkInput {
        /// What becomes of the missed cycles; left out: what the subscription's `catch_up` says.
        pub bill: Option<Missed>,
        /// Only says what it would come to, and stores nothing.
        pub preview: bool = false,
    }
}

body! {
    pub struct CountQuery {
        /// How many charges.
        pub count: i64 in 1..=1000 = 12,
    }
}
