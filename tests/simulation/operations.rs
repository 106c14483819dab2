//! What people ask for while the daemon works: one list of operations, each told of by what came of it.

use chrono::{Days, NaiveDate};
use rebilld::{
    billing::{
        App, BillingError, Result,
        customers::{self, CustomerInput, CustomerRef},
        gateways,
        installment_plans::create::{self, InstallmentPlanInput},
        invoices,
        payment_methods::{self, PaymentMethodInput},
        payments, refunds,
        subscriptions::{
            cancel::{self, CancelInput},
            change::{self, ChangeInput},
            keep,
            pause::{self, PauseInput},
            reschedule::{self, RescheduleInput},
            resume, retry, skip,
            subscribe::{Start, SubscribeInput, subscribe},
            terms::TermsInput,
            unpark::{self, Missed},
            update::{self, SubscriptionPatch},
        },
    },
    domain::{
        clock::Timeline,
        event::Actor,
        frequency::Frequency,
        id::{CustomerId, InvoiceId, PaymentMethodId, SubscriptionId},
        payment::{Payment, Resolution},
        payment_method::MethodKind,
        plan::{CatchUp, WhilePastDue},
        subscription::When,
    },
    input::Patch,
    sandbox::Movement,
    store::db::Record,
};

use super::{dice::Dice, world::World};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    NewCustomer,
    Subscribe,
    InstallmentPlan,
    Cancel,
    CancelAtPeriodEnd,
    Keep,
    Pause,
    Resume,
    Skip,
    Reschedule,
    Change,
    Void,
    Collect,
    WriteOff,
    Retry,
    Refund,
    RefundToCredit,
    GiveCredit,
    NewMethod,
    /// A subscription is charged to another method from now on, or to whichever is the default.
    OtherMethod,
    /// The same, by a change that begins a new period.
    ChangeToOtherMethod,
    RemoveMethod,
    Unpark,
    Resolve,
    /// Somebody pauses a gateway: nothing is charged there until it goes on.
    PauseGateway,
    ResumeGateway,
    /// The gateway closes its day: what was taken can only be refunded from now on.
    GatewaySettles,
}

/// How often each is asked for.
pub const OPERATIONS: &[(u32, Operation)] = {
    use Operation::*;
    &[
        (2, NewCustomer),
        (8, Subscribe),
        (3, InstallmentPlan),
        (8, Cancel),
        (2, CancelAtPeriodEnd),
        (1, Keep),
        (4, Pause),
        (5, Resume),
        (2, Skip),
        (2, Reschedule),
        (6, Change),
        (5, Void),
        (6, Collect),
        (2, WriteOff),
        (6, Retry),
        (10, Refund),
        (3, RefundToCredit),
        (3, GiveCredit),
        (6, NewMethod),
        (4, OtherMethod),
        (2, ChangeToOtherMethod),
        (2, RemoveMethod),
        (2, Unpark),
        (4, Resolve),
        (2, PauseGateway),
        (3, ResumeGateway),
        (4, GatewaySettles),
    ]
};

const ACTOR: Actor = Actor::System;

/// One row of these, if there is any.
async fn any<T: Record + Clone>(app: &App, dice: &mut Dice, sql: &'static str) -> Result<T> {
    let rows: Vec<T> = app.db.query(sql).all().await?;
    if rows.is_empty() {
        Err(BillingError::WrongState("there is none".to_owned()))
    } else {
        Ok(rows[dice.index(rows.len())].clone())
    }
}

async fn subscription(app: &App, dice: &mut Dice) -> Result<SubscriptionId> {
    Ok(any::<(SubscriptionId,)>(app, dice, "select id from subscriptions order by id").await?.0)
}

async fn customer(app: &App, dice: &mut Dice) -> Result<CustomerId> {
    Ok(any::<(CustomerId,)>(app, dice, "select id from customers order by id").await?.0)
}

async fn open_invoice(app: &App, dice: &mut Dice) -> Result<InvoiceId> {
    Ok(any::<(InvoiceId,)>(app, dice, "select id from invoices where status = 'open' order by id").await?.0)
}

async fn paid_invoice(app: &App, dice: &mut Dice) -> Result<InvoiceId> {
    Ok(any::<(InvoiceId,)>(app, dice, "select id from invoices where amount_paid > 0 order by id").await?.0)
}

/// A subscription, and a method of its customer or none.
async fn other_method(app: &App, dice: &mut Dice) -> Result<(SubscriptionId, TermsInput)> {
    let sql = "select subscriptions.id, payment_methods.id from subscriptions
        join payment_methods on payment_methods.customer_id = subscriptions.customer_id order by subscriptions.id, payment_methods.id";
    let (id, method) = any::<(SubscriptionId, PaymentMethodId)>(app, dice, sql).await?;
    let payment_method_id = if dice.chance(200) { Patch::Null } else { Patch::Value(method) };
    Ok((id, TermsInput { payment_method_id, ..TermsInput::default() }))
}

fn some_of(dice: &mut Dice) -> Option<i64> {
    dice.chance(500).then(|| 1 + dice.number(900))
}

fn today(app: &App) -> NaiveDate {
    app.clock.now().date_naive()
}

impl Operation {
    pub async fn perform(self, app: &App, world: &World, dice: &mut Dice) -> Result<String> {
        use Operation::*;
        let later = |dice: &mut Dice| today(app).checked_add_days(Days::new(1 + dice.below(20))).expect("a date");
        let told = match self {
            NewCustomer => {
                let id =
                    customers::create(app, &ACTOR, CustomerInput { name: "Ada".into(), ..CustomerInput::default() }).await?.id;
                new_method(app, world, dice, id).await?;
                subscribe(app, &ACTOR, terms(app, dice, id)).await?.id.to_string()
            }
            Subscribe => {
                let id = customer(app, dice).await?;
                subscribe(app, &ACTOR, terms(app, dice, id)).await?.id.to_string()
            }
            InstallmentPlan => {
                let input = InstallmentPlanInput {
                    customer: CustomerRef { id: customer(app, dice).await?.to_string() },
                    amount: 3000 + dice.number(5000),
                    installments: Some(2 + dice.number(3)),
                    billing_frequency: Some(dice.pick(&[Frequency::Daily, Frequency::Weekly])),
                    ..InstallmentPlanInput::default()
                };
                create::create(app, &ACTOR, input).await?;
                String::new()
            }
            Cancel => {
                let id = subscription(app, dice).await?;
                cancel::cancel(app, &ACTOR, id, CancelInput { when: When::Now, credit: dice.chance(300) }, false).await?;
                id.to_string()
            }
            CancelAtPeriodEnd => {
                let id = subscription(app, dice).await?;
                cancel::cancel(app, &ACTOR, id, CancelInput { when: When::PeriodEnd, credit: false }, false).await?;
                id.to_string()
            }
            Keep => {
                let id = subscription(app, dice).await?;
                keep::keep(app, &ACTOR, id, false).await?;
                id.to_string()
            }
            Pause => {
                let id = subscription(app, dice).await?;
                let until = dice.chance(700).then(|| later(dice));
                let when = dice.pick(&[When::Now, When::PeriodEnd]);
                pause::pause(app, &ACTOR, id, PauseInput { until, when, credit: when == When::Now && dice.chance(300) }, false)
                    .await?;
                id.to_string()
            }
            Resume => {
                let id = any::<(SubscriptionId,)>(app, dice, "select id from subscriptions where status = 'paused' order by id")
                    .await?
                    .0;
                resume::resume(app, &ACTOR, id, false).await?;
                id.to_string()
            }
            Skip => {
                let id = subscription(app, dice).await?;
                skip::skip(app, &ACTOR, id, 1 + dice.number(2), false).await?;
                id.to_string()
            }
            Reschedule => {
                let id = subscription(app, dice).await?;
                reschedule::reschedule(
                    app,
                    &ACTOR,
                    id,
                    RescheduleInput { next_bill_date: later(dice), keep_anchor: dice.chance(500) },
                    false,
                )
                .await?;
                id.to_string()
            }
            Change => {
                let id = subscription(app, dice).await?;
                let amount = Some(200 + dice.number(3000));
                let frequency = dice.chance(300).then(|| dice.pick(&[Frequency::Daily, Frequency::Weekly, Frequency::Monthly]));
                let input = TermsInput { amount, billing_frequency: frequency, ..TermsInput::default() };
                change::change(
                    app,
                    &ACTOR,
                    id,
                    ChangeInput { when: dice.pick(&[When::Now, When::PeriodEnd]), terms: input },
                    false,
                )
                .await?;
                id.to_string()
            }
            Void => invoices::void(app, &ACTOR, open_invoice(app, dice).await?, "not owed").await?.number,
            Collect => invoices::collect(app, &ACTOR, open_invoice(app, dice).await?).await?.number,
            WriteOff => invoices::mark_uncollectible(app, &ACTOR, open_invoice(app, dice).await?, "lost").await?.number,
            Retry => retry::retry(app, &ACTOR, subscription(app, dice).await?).await?.id.to_string(),
            Refund => {
                let id = paid_invoice(app, dice).await?;
                refunds::refund(app, &ACTOR, id, some_of(dice), "asked").await?.len().to_string()
            }
            RefundToCredit => {
                let id = paid_invoice(app, dice).await?;
                refunds::to_credit(app, &ACTOR, id, some_of(dice), "asked").await?.id.to_string()
            }
            GiveCredit => {
                let id = customer(app, dice).await?;
                customers::give_credit(app, &ACTOR, &id.to_string(), 100 + dice.number(3000), None, "sorry".into()).await?;
                id.to_string()
            }
            NewMethod => {
                let id = customer(app, dice).await?;
                new_method(app, world, dice, id).await?
            }
            OtherMethod => {
                let (id, terms) = other_method(app, dice).await?;
                update::update(app, &ACTOR, id, SubscriptionPatch { terms, ..SubscriptionPatch::default() }, false).await?;
                id.to_string()
            }
            ChangeToOtherMethod => {
                let (id, terms) = other_method(app, dice).await?;
                let when = dice.pick(&[When::Now, When::Now, When::PeriodEnd]);
                change::change(app, &ACTOR, id, ChangeInput { when, terms }, false).await?;
                id.to_string()
            }
            RemoveMethod => {
                let sql = "select id from payment_methods order by id";
                let id = any::<(PaymentMethodId,)>(app, dice, sql).await?.0;
                payment_methods::delete(app, &ACTOR, id).await?;
                id.to_string()
            }
            Unpark => {
                let id = any::<(SubscriptionId,)>(app, dice, "select id from subscriptions where status = 'parked' order by id")
                    .await?
                    .0;
                let bill = dice.pick(&[None, Some(Missed::All), Some(Missed::Current), Some(Missed::None)]);
                unpark::unpark(app, &ACTOR, id, bill, false).await?;
                id.to_string()
            }
            Resolve => {
                let payment: Payment = any(app, dice, "select * from payments where status = 'parked' order by id").await?;
                resolve(app, world, &payment).await?;
                payment.id.to_string()
            }
            PauseGateway => {
                let gateway = dice.pick(&["fluid", "paylike"]);
                gateways::pause(app, &ACTOR, gateway, "they asked for it").await?;
                gateway.to_owned()
            }
            ResumeGateway => {
                let gateway = dice.pick(&["fluid", "paylike"]);
                gateways::resume(app, &ACTOR, gateway).await?;
                gateway.to_owned()
            }
            GatewaySettles => world.sandbox.settle().to_string(),
        };
        Ok(told)
    }
}

/// As an operator does who looks into the gateway's own books.
pub async fn resolve(app: &App, world: &World, payment: &Payment) -> Result<()> {
    let ledger = world.sandbox.ledger();
    let taken = ledger
        .iter()
        .find(|entry| entry.reference == payment.reference && matches!(entry.kind, Movement::Charge | Movement::Capture));
    let resolution = if taken.is_some() { Resolution::Succeeded } else { Resolution::NotProcessed };
    let transaction_id = taken.map(|entry| entry.transaction_id.clone());
    payments::resolve(app, &ACTOR, payment.id, resolution, transaction_id, None, "looked at the gateway").await?;
    Ok(())
}

fn terms(app: &App, dice: &mut Dice, customer: CustomerId) -> SubscribeInput {
    let start = today(app).checked_add_days(Days::new(dice.below(4)));
    SubscribeInput {
        customer: CustomerRef { id: customer.to_string() },
        description: Some("Gym".into()),
        amount: Some(500 + dice.number(2000)),
        billing_frequency: Some(dice.pick(&[Frequency::Daily, Frequency::Weekly, Frequency::Weekly, Frequency::Monthly])),
        authorize_days_before: dice.chance(350).then(|| 1 + dice.number(3)),
        duration: dice.chance(300).then(|| 2 + dice.number(4)),
        next_bill_date: start.map(Start::Date),
        catch_up: Some(dice.pick(&[CatchUp::BillAll, CatchUp::BillCurrent, CatchUp::Skip])),
        while_past_due: Some(dice.pick(&[WhilePastDue::Bill, WhilePastDue::Hold])),
        ..SubscribeInput::default()
    }
}

async fn new_method(app: &App, world: &World, dice: &mut Dice, customer: CustomerId) -> Result<String> {
    let paylike = dice.chance(450);
    let token = if paylike { world.sandbox.paylike_tokens(1) } else { world.sandbox.fluidpay_tokens(1, "sim") }.remove(0);
    let input = PaymentMethodInput {
        gateway: if paylike { "paylike" } else { "fluid" }.into(),
        kind: if paylike { MethodKind::PriorTransaction } else { MethodKind::VaultToken },
        customer_token: (!paylike).then(|| token.clone()),
        payment_method_token: None,
        transaction_id: paylike.then_some(token),
        channels: None,
        expires: None,
        last_four: None,
        default: dice.pick(&[Some(true), Some(true), None, Some(false)]),
        priority: None,
    };
    Ok(payment_methods::add(app, &ACTOR, &customer.to_string(), input).await?.id.to_string())
}

/// The next instant at which a daemon has something to do.
pub async fn next_due(app: &App) -> Result<Option<chrono::DateTime<chrono::Utc>>> {
    let looked_up: (Option<chrono::DateTime<chrono::Utc>>,) = app
        .db
        .query(
            "select min(at) from (select min(next_lookup_at) as at from payments union all
             select min(next_lookup_at) from refunds union all select min(next_lookup_at) from authorizations) looks",
        )
        .one()
        .await?;
    let mut next = looked_up.0;
    for job in rebilld::jobs::JOBS.iter().filter(|job| job.name != "roll_outs") {
        if let Some(earliest) = job.earliest {
            next = next.into_iter().chain(earliest(app, Timeline::Wall).await?).min();
        }
    }
    Ok(next)
}
