//! Settlement: what a gateway's answer does to payment, invoice and subscription, committed in groups by a single writer.
//!
//! Guards "unknown is never charged again": only a look-up that found nothing sends a payment again, as the same payment.

use std::{collections::BTreeSet, ops::Deref, sync::Arc};

use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use crate::{
    billing::{
        App, Result,
        gateway_operations::catch_panic,
        gateways::{self, Call},
    },
    domain::{
        event::Actor,
        id::{InvoiceId, PaymentId},
        invoice::{InvoiceStatus, NextAction},
        payment::{Decline, NotCollectable, Outcome, Payment, transition::GatewayAnswer},
    },
    gateway::{Charge, Configured, Found, Mandate, Other, ReturnOutcome, Sent, Source, circuit::listening},
    store,
};

use super::batch::SettlementBatch;
pub(crate) use crate::domain::payment::transition::Step;

struct Report {
    payment: Payment,
    answer: GatewayAnswer,
    reply: oneshot::Sender<Option<(Step, Payment)>>,
}

/// Where calls report to.
pub(crate) struct Settler(mpsc::Sender<Report>);

impl Settler {
    /// Settles an answer; says what to do next, if anything. Answers after the commit.
    pub(crate) async fn report(&self, payment: Payment, answer: GatewayAnswer) -> Option<(Step, Payment)> {
        let (reply, next) = oneshot::channel();
        self.0.send(Report { payment, answer, reply }).await.ok()?;
        next.await.ok().flatten()
    }

    /// Whether the writer has given up: no outcome can be written any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// The single writer of outcomes.
pub(crate) struct Writer<A> {
    app: A,
    reports: mpsc::Receiver<Report>,
}

pub(crate) fn channel<A: Deref<Target = App>>(app: A) -> (Settler, Writer<A>) {
    let (sender, reports) = mpsc::channel(1024);
    (Settler(sender), Writer { app, reports })
}

/// The most outcomes in one commit.
const GROUP: usize = 500;

impl<A: Deref<Target = App>> Writer<A> {
    /// Runs until every [`Settler`] is gone.
    pub(crate) async fn run(mut self) -> Result<()> {
        let mut group = Vec::with_capacity(GROUP);
        while self.reports.recv_many(&mut group, GROUP).await > 0 {
            // Answers that are ready now join the same commit.
            tokio::task::yield_now().await;
            while group.len() < GROUP
                && let Ok(report) = self.reports.try_recv()
            {
                group.push(report);
            }
            let (claims, replies): (Vec<_>, Vec<_>) =
                group.drain(..).map(|report| ((report.payment, report.answer), report.reply)).unzip();
            let nexts = self.settle(&claims).await?;
            for (reply, next) in replies.into_iter().zip(nexts) {
                // A caller that is gone leaves the payment to its lease.
                let _ = reply.send(next);
            }
        }
        Ok(())
    }

    async fn settle(&self, claims: &[(Payment, GatewayAnswer)]) -> Result<Vec<Option<(Step, Payment)>>> {
        let begun = self.app.clock.now();
        let mut tries = 0;
        loop {
            match settle_group(&self.app, claims).await {
                // Money may have moved: the answers must not be lost to a passing fault such as a deadlock. After a lease others
                // look them up.
                Err(error)
                    if tries < 5 || error.is_passing() && self.app.clock.now() < begun + self.app.config.collection.lease =>
                {
                    tries += 1;
                    tracing::warn!(%error, tries, "settling outcomes failed, trying again");
                    tokio::time::sleep(std::time::Duration::from_millis(50 << tries.min(5))).await;
                }
                done => return done,
            }
        }
    }
}

/// Everything that a group of answers changes, in one transaction. Locks in the order subscription, installment plan, invoice, payment.
async fn settle_group(app: &App, claims: &[(Payment, GatewayAnswer)]) -> Result<Vec<Option<(Step, Payment)>>> {
    let mut tx = app.db.begin().await?;
    let claimed: Vec<&Payment> = claims.iter().map(|(payment, _)| payment).collect();
    let plain: BTreeSet<PaymentId> =
        claims.iter().filter(|(payment, answer)| answer.is_plain_success(payment)).map(|(payment, _)| payment.id).collect();
    let mut batch = SettlementBatch::load(app, &mut tx, &claimed, |id| plain.contains(&id)).await?;
    let nexts = claims.iter().map(|(claimed, answer)| batch.settle(claimed, answer)).collect();
    batch.save(&mut tx).await?;
    tx.commit().await?;
    Ok(nexts)
}

/// Settles an invoice that is due and cannot be sent to any gateway.
pub(crate) async fn without_gateway(app: &App, id: InvoiceId, obstacle: NotCollectable) -> Result<()> {
    let Some(seen) = store::invoices::get(&app.db, id).await? else { return Ok(()) };
    let mut tx = app.db.begin().await?;
    let mut batch = SettlementBatch::load_invoice(app, &mut tx, &seen).await?;
    // The claim let go of the lock: whether it is still due is asked again.
    let still_due = batch.invoice(id).is_some_and(|invoice| {
        invoice.status == InvoiceStatus::Open
            && invoice.next_attempt_at.is_some_and(|at| at <= batch.now())
            && (obstacle != NotCollectable::LadderEnded || invoice.next_action == NextAction::GiveUp)
    });
    if still_due {
        if obstacle == NotCollectable::LadderEnded {
            batch.give_up(id);
        } else {
            let decline =
                Decline { class: obstacle.class(), code: obstacle.code().to_owned(), message: "no gateway was asked".to_owned() };
            batch.event("invoice.not_collectable", id, json!({ "code": decline.code }), &Actor::System);
            batch.decline(id, &decline);
        }
        batch.save(&mut tx).await?;
        tx.commit().await?;
    }
    Ok(())
}

/// Asks the gateway, within its limit of calls at a time. None: not asked, since another daemon has taken the payment over.
pub(crate) async fn ask(app: &App, gateway: &Arc<Configured>, payment: &Payment, step: Step) -> Option<GatewayAnswer> {
    let _permit = gateway.permits.acquire().await.ok()?;
    if step == Step::Charge
        && let Some(until) = gateways::too_late_for(app, &Call::of(app, payment))
    {
        return Some(GatewayAnswer::Paused(until));
    }
    if step == Step::Charge || step == Step::Capture {
        match keep_lease(app, payment).await {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => {
                tracing::warn!(%error, payment = %payment.id, "the lease could not be renewed; the payment is left to recovery");
                return None;
            }
        }
    }
    let called = catch_panic(payment.id, &gateway.name, call(gateway, payment, step), |message| match step {
        Step::Charge | Step::Capture => GatewayAnswer::Outcome(Outcome::Unknown { message }),
        Step::LookUp => GatewayAnswer::NoAnswer(message),
        Step::Void => GatewayAnswer::Voided(ReturnOutcome::Unknown { message }),
    });
    let (answer, line) = listening(called).await;
    // A look-up says nothing of how charges fare.
    if step != Step::LookUp {
        gateways::note(app, &Call::of(app, payment), line.met(answer.gateway_fault())).await;
    }
    Some(answer)
}

async fn call(gateway: &Configured, payment: &Payment, step: Step) -> GatewayAnswer {
    let charge = charge_of(payment);
    let transaction_id = payment.transaction_id.as_deref().unwrap_or_default();
    match step {
        Step::Charge => GatewayAnswer::Outcome(gateway.adapter.charge(&charge).await),
        Step::Capture => GatewayAnswer::Outcome(gateway.adapter.capture(transaction_id, &charge).await),
        Step::LookUp => match gateway.adapter.look_up(&sent(payment)).await {
            Found::Outcome(outcome) => GatewayAnswer::Outcome(outcome),
            Found::Several { best, others } => several(gateway, payment, &charge, best, others).await,
            Found::Nothing => GatewayAnswer::NotFound,
            Found::Disagrees { message } => GatewayAnswer::Disagrees(message),
            Found::NoAnswer { message } => GatewayAnswer::NoAnswer(message),
        },
        Step::Void => {
            let released = gateway.adapter.void(transaction_id, &charge).await;
            tracing::info!(payment = %payment.id, ?released, "authorization released");
            GatewayAnswer::Voided(released)
        }
    }
}

/// Reserved more than once: one of them is ours. Taken more than once: for a human.
async fn several(gateway: &Configured, payment: &Payment, charge: &Charge, best: Outcome, others: Vec<Other>) -> GatewayAnswer {
    for stray in others.iter().filter(|other| other.taken_minor.is_none()) {
        let released = gateway.adapter.void(&stray.transaction_id, charge).await;
        tracing::warn!(payment = %payment.id, stray = stray.transaction_id, ?released, "reserved more than once: one is given free");
    }
    if others.iter().any(|other| other.taken_minor.is_some()) {
        GatewayAnswer::TakenTwice { best, others }
    } else {
        GatewayAnswer::Outcome(best)
    }
}

/// A payment that waited long for its turn renews its lease first; false if another daemon has it by now.
async fn keep_lease(app: &App, payment: &Payment) -> Result<bool> {
    let lease = app.config.collection.lease;
    if payment.lease_expires_at.is_some_and(|expires| expires - lease / 2 > app.clock.now()) {
        return Ok(true);
    }
    let mut tx = app.db.begin().await?;
    // Not before: who waited here for long would renew it up to an instant that has passed.
    let now = app.clock.now();
    let renewed = store::payments::renew_lease(&mut tx, payment.id, payment.lease_token, now, now + lease).await?;
    tx.commit().await?;
    Ok(renewed)
}

pub(crate) fn charge_of(payment: &Payment) -> Charge {
    let source = match (&payment.prior_transaction_id, &payment.customer_token) {
        (Some(transaction_id), _) => Source::PriorTransaction { transaction_id: transaction_id.clone() },
        (None, token) => Source::VaultToken {
            customer_token: token.clone().unwrap_or_default(),
            payment_method_token: payment.payment_method_token.clone(),
        },
    };
    Charge {
        reference: payment.reference.clone(),
        idempotency_key: payment.idempotency_key.clone(),
        source,
        amount_minor: payment.amount,
        currency: payment.currency,
        description: payment.description.clone(),
        // A vault customer's first transaction is not known to us; a prior transaction is itself the mandate.
        mandate: Mandate { reason: payment.reason, initial_transaction_id: payment.prior_transaction_id.clone() },
    }
}

fn sent(payment: &Payment) -> Sent {
    Sent {
        reference: payment.reference.clone(),
        amount_minor: payment.amount,
        currency: payment.currency,
        transaction_id: payment.transaction_id.clone(),
        sent_at: payment.sent_at,
    }
}
