//! Settlement: what a gateway's answer does to payment, invoice and subscription, committed in groups by a single writer.
//!
//! Guards "unknown is never charged again": only a lookup that found nothing sends a payment again, as the same payment.

use std::{collections::BTreeSet, ops::Deref};

use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use crate::{
    billing::{App, Result, gateway_operations::retry},
    domain::{
        event::Actor,
        id::{InvoiceId, PaymentId},
        invoice::{InvoiceStatus, NextAction},
        payment::{
            Decline, NotCollectable, Payment,
            transition::{PaymentReply, PaymentStep},
        },
    },
    store,
};

use super::batch::SettlementBatch;

struct Report {
    payment: Payment,
    answer: PaymentReply,
    reply: oneshot::Sender<Option<(PaymentStep, Payment)>>,
}

/// Where calls report to.
pub(crate) struct Settler(mpsc::Sender<Report>);

impl Settler {
    /// Settles an answer; says what to do next, if anything. Answers after the commit.
    pub(crate) async fn report(&self, payment: Payment, answer: PaymentReply) -> Option<(PaymentStep, Payment)> {
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
            let nexts = retry::settle(&self.app, "payments", || settle_group(&self.app, &claims)).await?;
            for (reply, next) in replies.into_iter().zip(nexts) {
                // A caller that is gone leaves the payment to its lease.
                let _ = reply.send(next);
            }
        }
        Ok(())
    }
}

/// Everything that a group of answers changes, in one transaction. Locks in the order subscription, installment plan, invoice, payment.
async fn settle_group(app: &App, claims: &[(Payment, PaymentReply)]) -> Result<Vec<Option<(PaymentStep, Payment)>>> {
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
pub(crate) async fn without_gateway(app: &App, id: InvoiceId, why: NotCollectable) -> Result<()> {
    let Some(seen) = store::invoices::get(&app.db, id).await? else { return Ok(()) };
    let mut tx = app.db.begin().await?;
    let mut batch = SettlementBatch::load_invoice(app, &mut tx, &seen).await?;
    // The claim let go of the lock: whether it is still due is asked again.
    let still_due = batch.invoice(id).is_some_and(|invoice| {
        invoice.status == InvoiceStatus::Open
            && invoice.next_attempt_at.is_some_and(|at| at <= batch.now())
            && (why != NotCollectable::LadderEnded || invoice.next_action == NextAction::GiveUp)
    });
    if still_due {
        if why == NotCollectable::LadderEnded {
            batch.give_up(id);
        } else {
            let decline = Decline { class: why.class(), code: why.code().to_owned(), message: "no gateway was asked".to_owned() };
            batch.event("invoice.not_collectable", id, json!({ "code": decline.code }), &Actor::System);
            batch.decline(id, &decline, None);
        }
        batch.save(&mut tx).await?;
        tx.commit().await?;
    }
    Ok(())
}
