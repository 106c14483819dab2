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
        money::Currency,
        plan::{CatchUp, WhilePastDue},
        proration::FirstPeriod,
        subscription::{SubscriptionStatus, When},
    },
    http::api::catalog::{ModifierBody, modifiers},
    input::{Amount, Faults, Input, Name, Patch, Text, Whole, body},
};

body! {
    pub struct CustomerRef {
        /// Id or reference.
        pub id: Name<255>,
    }
}

body! {
    /// Left out: the plan's, else the default. Without a plan, amount and billing_frequency are required.
    pub struct NewSubscription {
        pub customer: CustomerRef,
        /// Id or reference of the plan whose terms are copied.
        pub plan_id: Option<Name<255>>,
        /// Shown on invoices; left out: the plan's name.
        pub description: Option<Text<255>>,
        /// For one unit of quantity, minor units.
        pub amount: Option<Amount>,
        pub quantity: Option<Whole<1, 100_000>>,
        /// Left out: the plan's, else the customer's.
        pub currency: Option<Currency>,
        /// IANA name; left out: the customer's.
        pub timezone: Option<Zone>,
        pub billing_frequency | payment_frequency: Option<Frequency>,
        /// Every how many days, weeks, months … ; 1 if left out.
        pub billing_cycle_interval: Option<Whole<1, 1000>>,
        /// Which days: `7` (every 7 days), `1,4` (weekdays), `1,15` or `31` (days of the month; 31 and 0 are its last).
        pub billing_days: Option<Text<100>>,
        /// Number of charges; 0 = until cancelled.
        pub duration | total_number_of_payments: Option<Whole<0, 100_000>>,
        /// First charge: a date, or an instant as Paysley writes it. Left out: the end of the trial, else today.
        pub next_bill_date | payment_start_date: Option<Start>,
        /// Lets the first charge lie in the past; the catch-up policy says what is billed of it.
        pub backdated: bool = false,
        /// Exclusive: nothing is charged on or after it.
        pub ends_on: Option<NaiveDate>,
        pub trial_days: Option<Whole<0, 100_000>>,
        /// What is charged between a start that is none of the billing days and the first of them.
        pub first_period: Option<FirstPeriod>,
        /// Charged at once, beside the schedule; minor units.
        pub initial_payment_amount: Option<Amount>,
        /// In place of the plan's, also when empty.
        pub add_ons: Option<Vec<ModifierBody>>,
        /// In place of the plan's, also when empty.
        pub discounts: Option<Vec<ModifierBody>>,
        /// Left out: whatever is the customer's default when it is charged.
        pub payment_method_id: Option<PaymentMethodId>,
        pub business_day: Option<BusinessDay>,
        pub holiday_calendar: Option<Name<100>>,
        pub catch_up: Option<CatchUp>,
        pub while_past_due: Option<WhilePastDue>,
        /// Id or reference of what follows a failed payment; left out: the plan's, else whichever is the default then.
        pub dunning_policy_id: Option<Name<255>>,
        /// So many days before each bill date the charge is authorized, to be captured on it; null or 0: not before.
        pub authorize_days_before: Option<Whole<0, 30>>,
        pub metadata: Option<Metadata>,
    }
}

impl From<NewSubscription> for SubscribeInput {
    fn from(new: NewSubscription) -> Self {
        Self {
            customer: new.customer.id.0,
            plan_id: new.plan_id.map(|text| text.0),
            description: new.description.map(|text| text.0),
            amount: new.amount.map(|amount| amount.0),
            quantity: new.quantity.map(|quantity| quantity.0),
            currency: new.currency,
            timezone: new.timezone,
            billing_frequency: new.billing_frequency,
            billing_cycle_interval: new.billing_cycle_interval.map(|interval| interval.0),
            billing_days: new.billing_days.map(|text| text.0),
            duration: new.duration.map(|duration| duration.0),
            next_bill_date: new.next_bill_date,
            backdated: new.backdated,
            paid_through: None,
            ends_on: new.ends_on,
            trial_days: new.trial_days.map(|days| days.0),
            first_period: new.first_period,
            initial_payment_amount: new.initial_payment_amount.map(|amount| amount.0),
            add_ons: modifiers(new.add_ons),
            discounts: modifiers(new.discounts),
            payment_method_id: new.payment_method_id,
            business_day: new.business_day,
            holiday_calendar: new.holiday_calendar.map(|name| name.0),
            catch_up: new.catch_up,
            while_past_due: new.while_past_due,
            dunning_policy_id: new.dunning_policy_id.map(|text| text.0),
            authorize_days_before: new.authorize_days_before.map(|days| days.0),
            metadata: new.metadata,
        }
    }
}

/// The first charge: `2026-11-21`, or an instant whose local date counts.
impl Input for Start {
    fn read(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        match value.as_str() {
            Some(text) if text.contains(['T', 't', ' ']) => DateTime::<Utc>::read(value, at, faults).map(Self::At),
            _ => NaiveDate::read(value, at, faults).map(Self::Date),
        }
    }

    fn schema() -> RefOr<Schema> {
        NaiveDate::schema()
    }
}

/// A body of terms that may be changed while a subscription runs, and what goes with them.
macro_rules! terms_body {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])* $field:ident: $type:ty $(= $default:expr)?),* $(,)? }) => {
        body! {
            $(#[$meta])*
            pub struct $name {
                $($(#[doc = $doc])* pub $field: $type $(= $default)?,)*
                /// Id or reference. Another plan brings its terms along, except those given here.
                pub plan_id: Option<Name<255>>,
                /// Shown on invoices.
                pub description: Option<Text<255>>,
                /// For one unit of quantity, minor units.
                pub amount: Option<Amount>,
                pub quantity: Option<Whole<1, 100_000>>,
                pub billing_frequency | payment_frequency: Option<Frequency>,
                pub billing_cycle_interval: Option<Whole<1, 1000>>,
                /// Another frequency without days takes them from the next bill date.
                pub billing_days: Patch<Text<100>>,
                /// Number of charges, those already made included; 0 = until cancelled.
                pub duration | total_number_of_payments: Option<Whole<0, 100_000>>,
                /// Exclusive: nothing is charged on or after it.
                pub ends_on: Patch<NaiveDate>,
                /// All of them anew.
                pub add_ons: Option<Vec<ModifierBody>>,
                /// All of them anew.
                pub discounts: Option<Vec<ModifierBody>>,
                /// Null: the customer's default.
                pub payment_method_id: Patch<PaymentMethodId>,
                pub business_day: Option<BusinessDay>,
                pub holiday_calendar: Patch<Name<100>>,
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
                pub initial_payment_amount: Option<Amount>,
                /// Only null: to move the end of a trial, reschedule the first charge.
                pub trial_days: Option<Whole<0, 100_000>>,
                /// Id or reference; it holds from the next failure on. Null: whichever is the default then.
                pub dunning_policy_id: Patch<Name<255>>,
                /// So many days before each bill date the charge is authorized; 0: not before.
                pub authorize_days_before: Option<Whole<0, 30>>,
                /// Only says what it would come to, and stores nothing.
                pub preview: bool = false,
            }
        }

        impl $name {
            pub fn terms(self) -> TermsInput {
                TermsInput {
                    plan_id: self.plan_id.map(|text| text.0),
                    description: self.description.map(|text| text.0),
                    amount: self.amount.map(|amount| amount.0),
                    quantity: self.quantity.map(|quantity| quantity.0),
                    billing_frequency: self.billing_frequency,
                    billing_cycle_interval: self.billing_cycle_interval.map(|interval| interval.0),
                    billing_days: self.billing_days.change().map(|text| text.map(|text| text.0)),
                    duration: self.duration.map(|duration| duration.0),
                    ends_on: self.ends_on.change(),
                    add_ons: modifiers(self.add_ons),
                    discounts: modifiers(self.discounts),
                    payment_method_id: self.payment_method_id.change(),
                    business_day: self.business_day,
                    holiday_calendar: self.holiday_calendar.change().map(|name| name.map(|name| name.0)),
                    catch_up: self.catch_up,
                    while_past_due: self.while_past_due,
                    authorize_days_before: self.authorize_days_before.map(|days| days.0),
                    dunning_policy_id: self.dunning_policy_id.change().map(|name| name.map(|name| name.0)),
                    timezone: self.timezone,
                    metadata: self.metadata,
                    keep_anchor: self.keep_anchor,
                    fixed: FixedTerms {
                        currency: self.currency,
                        first_period: self.first_period,
                        initial_payment_amount: self.initial_payment_amount.map(|amount| amount.0),
                        trial_days: self.trial_days.map(|days| days.0),
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
        pub cycles: Whole<1, 1000> = Whole(1),
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
        pub count: Whole<1, 1000> = Whole(12),
    }
}
