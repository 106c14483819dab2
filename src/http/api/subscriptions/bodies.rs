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
        /// The number of charges to skip.
        pub cycles: i64 in 1..=1000 = 1,
    }
}

body! {
    pub struct UnparkInput {
        /// What to do with the missed cycles. Left out: as the `catch_up` of the subscription says.
        pub bill: Option<Missed>,
    }
}

body! {
    pub struct CountQuery {
        /// The number of charges to show.
        pub count: i64 in 1..=1000 = 12,
    }
}
