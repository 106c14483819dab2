//! The JSON endpoints, one file for each noun; each has a `routes()` that is merged here.

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;

use crate::billing::App;

pub mod add_ons;
pub mod api_keys;
pub mod authorizations;
pub mod catalog;
pub mod clocks;
pub mod credit_notes;
pub mod customers;
pub mod discounts;
pub mod disputes;
pub mod dunning_policies;
pub mod events;
pub mod forecast;
pub mod gateways;
pub mod health;
pub mod installment_plans;
pub mod instances;
pub mod invoices;
pub mod jobs;
pub mod payment_methods;
pub mod payment_requests;
pub mod payments;
pub mod plans;
pub mod refunds;
pub mod roll_outs;
pub mod schedules;
pub mod subscriptions;
pub mod system;

/// Every route of the endpoint.
pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .merge(add_ons::routes())
        .merge(api_keys::routes())
        .merge(authorizations::routes())
        .merge(clocks::routes())
        .merge(customers::routes())
        .merge(discounts::routes())
        .merge(dunning_policies::routes())
        .merge(credit_notes::routes())
        .merge(disputes::routes())
        .merge(events::routes())
        .merge(forecast::routes())
        .merge(gateways::routes())
        .merge(health::routes())
        .merge(installment_plans::routes())
        .merge(instances::routes())
        .merge(invoices::routes())
        .merge(jobs::routes())
        .merge(payments::routes())
        .merge(payment_methods::routes())
        .merge(payment_requests::routes())
        .merge(plans::routes())
        .merge(refunds::routes())
        .merge(roll_outs::routes())
        .merge(schedules::routes())
        .merge(subscriptions::routes())
        .merge(system::routes())
}
