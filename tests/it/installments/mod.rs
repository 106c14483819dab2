//! Stories of installment plans on a test clock, on both databases: each part charged once, and the total always adds up.

mod faults;
mod manual_operations;
mod operations;
mod restore;
mod sequences;
mod whole_plans;

use rebilld::{
    billing::{
        customers::CustomerRef,
        installment_plans::{
            self, Overview,
            create::{self, InstallmentPlanInput},
        },
    },
    domain::{event::Actor, frequency::Frequency, id::CustomerId},
};

use crate::world::*;

const OPERATOR: Actor = Actor::System;

/// 100.00 in monthly parts from a date on.
pub fn monthly(customer: CustomerId, first_date: &str, installments: i64) -> InstallmentPlanInput {
    InstallmentPlanInput {
        customer: CustomerRef { id: customer.to_string() },
        description: Some("Bicycle".into()),
        amount: 10_000,
        installments: Some(installments),
        billing_frequency: Some(Frequency::Monthly),
        first_date: Some(date(first_date)),
        ..InstallmentPlanInput::default()
    }
}

impl World {
    pub async fn plan(&self, input: InstallmentPlanInput) -> Overview {
        create::create(&self.app, &OPERATOR, input).await.expect("a plan")
    }

    /// A customer whose FluidPay token does this, and the plan they have.
    pub async fn plan_with(&self, token: &str, make: impl FnOnce(CustomerId) -> InstallmentPlanInput) -> Overview {
        let customer = self.customer("UTC").await;
        self.method(customer, false, token).await;
        self.plan(make(customer)).await
    }

    pub async fn overview(&self, plan: &Overview) -> Overview {
        installment_plans::overview(&self.app, &key(plan)).await.expect("the plan")
    }

    pub async fn move_to(&self, plan: &Overview, number: i64, to: &str) -> Overview {
        manual_operations::change(&self.app, &OPERATOR, &key(plan), number, Some(date(to)), None, None).await.expect("moved")
    }

    pub async fn plan_events(&self, plan: &Overview) -> Vec<String> {
        self.events(Some(key(plan))).await
    }
}

pub fn key(plan: &Overview) -> String {
    plan.schedule.plan.id.to_string()
}

/// `1 2026-01-31 3333 paid`, by number.
pub fn parts(plan: &Overview) -> Vec<String> {
    let text = |part: &rebilld::domain::installment_plan::Installment| {
        format!("{} {} {} {}", part.number, part.date, part.amount, part.status)
    };
    plan.schedule.installments.iter().map(text).collect()
}

/// Paid, pending, balance.
pub fn money(plan: &Overview) -> (i64, i64, i64) {
    (plan.paid, plan.pending, plan.balance)
}
