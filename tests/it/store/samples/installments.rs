//! Rows of installment plans and their parts.

use rebilld::domain::{
    calendar::BusinessDay,
    clock::Timeline,
    customer::Metadata,
    frequency::Frequency,
    id::{CustomerId, InstallmentPlanId},
    installment_plan::{Installment, InstallmentPlan, InstallmentPlanStatus, InstallmentStatus},
    money::Currency,
};

use super::{edges, first, hard, id, last, metadata, noon};

pub fn installment_plan(customer: CustomerId) -> InstallmentPlan {
    InstallmentPlan {
        id: id(),
        reference: None,
        customer_id: customer,
        payment_method_id: None,
        timeline: Timeline::Wall,
        status: InstallmentPlanStatus::Open,
        description: String::new(),
        currency: Currency::USD,
        amount: 1000,
        down_payment: 0,
        timezone: "UTC".parse().expect("zone"),
        billing_frequency: None,
        billing_cycle_interval: None,
        billing_days: None,
        anchor_date: None,
        business_day: BusinessDay::None,
        holiday_calendar: None,
        dunning_policy_id: None,
        default_after: 0,
        failed_in_a_row: 0,
        metadata: Metadata::new(),
        due_at: None,
        ended_at: None,
        created_at: noon(),
        updated_at: noon(),
    }
}

pub fn full_installment_plan(customer: CustomerId) -> InstallmentPlan {
    InstallmentPlan {
        reference: Some(hard()),
        payment_method_id: Some(id()),
        timeline: Timeline::Test(id()),
        status: InstallmentPlanStatus::Defaulted,
        description: hard(),
        currency: "JPY".parse().expect("currency"),
        amount: i64::MAX,
        down_payment: i64::MAX - 1,
        timezone: "Europe/Berlin".parse().expect("zone"),
        billing_frequency: Some(Frequency::TwiceMonthly),
        billing_cycle_interval: Some(i64::MAX),
        billing_days: Some(hard()),
        anchor_date: Some(edges().1),
        business_day: BusinessDay::ModifiedFollowing,
        holiday_calendar: Some(hard()),
        dunning_policy_id: Some(id()),
        default_after: i64::MAX,
        failed_in_a_row: i64::MAX,
        metadata: metadata(),
        ended_at: Some(last()),
        created_at: first(),
        updated_at: last(),
        ..installment_plan(customer)
    }
}

pub fn installment(plan: InstallmentPlanId, number: i64) -> Installment {
    Installment::scheduled(plan, number, edges().0, first(), 1)
}

pub fn full_installment(plan: InstallmentPlanId) -> Installment {
    let status = InstallmentStatus::Failed;
    Installment { status, invoice_id: Some(id()), ..Installment::scheduled(plan, i64::MAX, edges().1, last(), i64::MAX) }
}
