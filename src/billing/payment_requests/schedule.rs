//! Schedules that a gateway runs by itself once the customer has agreed: its payments are found by looking, and each becomes a paid
//! invoice of its own, once.

use chrono::NaiveDate;

use super::{
    NewRequest, channels_for, event, may_ask,
    operate::{check_channels, choose_gateway},
};
use crate::{
    billing::{App, BillingError, Result, checks::Checks, customers},
    domain::{
        calendar,
        event::Actor,
        frequency::Frequency,
        money::Currency,
        payment_request::{PaymentRequest, Role},
    },
    gateway::requests::RequestSchedule,
    store,
};

/// What an operator asks for.
#[derive(Debug, Clone)]
pub struct ScheduleInput {
    /// Id or reference.
    pub customer: String,
    /// Minor units.
    pub amount: i64,
    /// None: the customer's.
    pub currency: Option<Currency>,
    pub description: String,
    pub frequency: Frequency,
    /// In the customer's time zone, after today.
    pub starts_on: NaiveDate,
    pub payments: Option<i64>,
    pub initial: Option<i64>,
    pub gateway: Option<String>,
    pub channels: Option<Vec<String>>,
}

/// Asks a customer to agree to a schedule that the gateway runs. It runs by real time, whatever clock the customer is on.
pub async fn schedule(app: &App, actor: &Actor, input: ScheduleInput) -> Result<PaymentRequest> {
    let mut tx = app.db.begin().await?;
    let customer = customers::locked(&mut tx, &input.customer).await?;
    let now = app.now_in(&mut tx, customer.timeline).await?;
    let wall = app.clock.now();
    let mut checks = Checks::default();
    if !matches!(input.frequency, Frequency::Weekly | Frequency::Monthly | Frequency::Quarterly | Frequency::Yearly) {
        checks.fault("payment_frequency", "must be one of weekly, monthly, quarterly, yearly");
    }
    if input.amount < 1 {
        checks.fault("amount", "must be at least 1");
    }
    if input.initial.is_some_and(|initial| initial < 1) {
        checks.fault("initial_payment_amount", "must be at least 1, or be left out");
    }
    let starts_at = calendar::instant(input.starts_on, app.rules.bill_at, customer.timezone.0);
    if starts_at <= wall {
        checks.fault("payment_start_date", "must be in the future: the gateway runs the schedule by real time");
    }
    let able = |name: &&str| {
        let gateway = app.gateways.get(name).filter(|gateway| may_ask(gateway, customer.timeline));
        gateway.and_then(|gateway| gateway.adapter.requests()).is_some_and(|requests| requests.runs_schedules())
    };
    let found = choose_gateway(app, &mut checks, input.gateway.as_deref(), able);
    let channels = match (input.channels, found) {
        (Some(channels), _) => {
            check_channels(&mut checks, &customer, &channels);
            channels
        }
        (None, Some(gateway)) => channels_for(gateway, &customer).unwrap_or_else(|| {
            checks.fault("channels", "the customer has neither email nor phone");
            Vec::new()
        }),
        (None, None) => Vec::new(),
    };
    checks.done()?;
    let Some(gateway) = found else { return Err(BillingError::invalid("gateway", "runs no schedules")) };
    let plan = NewRequest { gateway, role: Role::Schedule, channels, payment_method_id: None };
    let mut request = super::blank(app, &customer, plan, now, wall);
    request.amount = input.amount;
    request.currency = input.currency.unwrap_or(customer.currency);
    request.description = input.description;
    request.payment_frequency = Some(input.frequency);
    request.payment_start_at = Some(starts_at);
    request.total_number_of_payments = input.payments;
    request.initial_payment_amount = input.initial;
    store::payment_requests::insert(&mut tx, std::slice::from_ref(&request)).await?;
    store::events::append(&mut tx, &[event(app, now, actor, "created", &request)]).await?;
    tx.commit().await?;
    app.wakeups.requests.notify_one();
    Ok(request)
}

/// The schedule as the gateway needs to know it.
pub(crate) fn asked(request: &PaymentRequest) -> Option<RequestSchedule> {
    Some(RequestSchedule {
        frequency: request.payment_frequency?,
        starts_at: request.payment_start_at?,
        payments: request.total_number_of_payments,
        initial_minor: request.initial_payment_amount,
    })
}
