//! Queries and the short inputs of requests about installment plans. The other inputs stand beside their verbs, in `billing`.

use chrono::NaiveDate;

use crate::{
    billing::installment_plans::create::PartInput,
    domain::{
        id::{ClockId, CustomerId},
        installment_plan::{InstallmentPlanStatus, change::Spread, restore::Arrears, shift::MAX_CYCLES},
        money::MAX_AMOUNT_MINOR,
    },
    input::body,
};

body! {
    pub struct InstallmentPatch {
        /// Not before today.
        pub date: Option<NaiveDate>,
        /// Minor units; the total stays.
        pub amount: Option<i64> in 1..=MAX_AMOUNT_MINOR,
        /// With an amount: `last` changes the last other open installment by the difference, `even` all of them.
        pub spread: Option<Spread>,
    }
}

body! {
    pub struct SkipInstallmentsInput {
        /// The number of cycles by which every scheduled installment moves.
        pub cycles: i64 in 1..=MAX_CYCLES = 1,
    }
}

body! {
    pub struct RescheduleInstallmentsInput {
        /// Of the next installment, not before today; the others follow at the plan's frequency or, in a plan of explicit dates, at
        /// the distances they have.
        pub next_date: NaiveDate,
    }
}

body! {
    pub struct RestoreInput {
        /// What becomes of what failed, and of what fell due meanwhile: `collect` it now, `spread` it evenly over the installments to
        /// come, or put each at the `end` on a date of its own.
        pub arrears: Arrears = Arrears::default(),
    }
}

body! {
    pub struct SplitInput {
        /// Two or more parts. Their sum is the amount of the installment.
        pub parts: Vec<PartInput>,
    }
}

body! {
    pub struct InstallmentPlanFilters {
        pub customer_id: Option<CustomerId>,
        pub status: Option<InstallmentPlanStatus>,
        pub reference: Option<String> up to 255,
        pub clock_id: Option<ClockId>,
    }
}
