//! Queries and the short inputs of requests about subscriptions. The other inputs stand beside their verbs, in `billing`.

use crate::{
    billing::subscriptions::unpark::Missed,
    domain::{
        id::{ClockId, CustomerId, PlanId},
        subscription::SubscriptionStatus,
    },
    input::body,
};

body! {
    pub struct SubscriptionFilters {
        pub customer_id: Option<CustomerId>,
        pub plan_id: Option<PlanId>,
        pub status: Option<SubscriptionStatus>,
        pub clock_id: Option<ClockId>,
    }
}

body! {
    pub struct SkipInput {
        /// How many charges are passed over.
        pub cycles: i64 in 1..=1000 = 1,
    }
}

body! {
    pub struct UnparkInput {
        /// What becomes of the missed cycles; left out: what the subscription's `catch_up` says.
        pub bill: Option<Missed>,
    }
}

body! {
    pub struct CountQuery {
        /// How many charges.
        pub count: i64 in 1..=1000 = 12,
    }
}
