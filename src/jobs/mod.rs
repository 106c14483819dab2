//! The jobs: everything that happens by itself. Each is declared once. In production `cron` wakes them; under a test clock `advance`
//! asks the same table for the next instant with work.

use std::{future::Future, pin::Pin, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tokio::sync::Notify;

use crate::{
    billing::{self, App, Result, Wakeups, jobs::runs::Counts},
    domain::clock::Timeline,
    store,
};

pub mod advance;
pub mod cron;
pub mod occurrences;
pub mod pulse;
mod run;
pub mod simulate;
mod tick;

type Work<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

type Earliest = for<'a> fn(&'a App, Timeline) -> Work<'a, Option<DateTime<Utc>>>;

/// When a job is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobSchedule {
    /// At every tick (`jobs.tick`).
    EveryTick,
    /// Six-field cron expression, UTC: each occurrence is run by one daemon of all.
    Cron(&'static str),
}

pub struct Job {
    pub name: &'static str,
    pub about: &'static str,
    pub schedule: JobSchedule,
    pub wake: fn(&Wakeups) -> &Arc<Notify>,
    /// Does all that is due on a timeline by an instant.
    pub run: for<'a> fn(&'a Arc<App>, Timeline, DateTime<Utc>) -> Work<'a, Counts>,
    /// The earliest instant at which there is work on a timeline; jobs without it do nothing under a test clock.
    pub earliest: Option<Earliest>,
}

/// A job that ended a run so recently is never late: a run may take a while.
const NEVER_LATE_WITHIN: TimeDelta = TimeDelta::hours(2);

/// What a run came to.
#[derive(Debug)]
pub enum Ran {
    /// Nothing is due before this instant, if ever.
    Idle(Option<DateTime<Utc>>),
    Did(Counts),
}

impl Job {
    /// How long after the end of a run the job is late: two periods of its own timetable, but no less than two hours.
    pub fn late_after(&self) -> TimeDelta {
        let timetable = match self.schedule {
            JobSchedule::EveryTick => None,
            JobSchedule::Cron(expression) => expression.parse::<occurrences::Timetable>().ok(),
        };
        timetable.map_or(NEVER_LATE_WITHIN, |timetable| (timetable.longest_gap() * 2).max(NEVER_LATE_WITHIN))
    }

    /// Runs where it has work by now. Asking first is a plain read; a run that finds nothing is a transaction, or several.
    pub async fn run_due(&self, app: &Arc<App>, timeline: Timeline, now: DateTime<Utc>) -> Result<Ran> {
        if let Some(earliest) = self.earliest {
            let next = earliest(app, timeline).await?;
            if next.is_none_or(|at| at > now) {
                return Ok(Ran::Idle(next));
            }
        }
        Ok(Ran::Did((self.run)(app, timeline, now).await?))
    }
}

/// Every job there is.
pub const JOBS: &[Job] = &[
    Job {
        name: "bill_run",
        about: "opens the cycles and installments that are due: invoices with their lines",
        schedule: JobSchedule::EveryTick,
        wake: |wakeups| &wakeups.bill,
        run: |app, timeline, now| {
            Box::pin(async move {
                let opened = billing::subscriptions::open_due::open_due(app, timeline, now).await?;
                let installments = billing::installment_plans::open_due::open_due(app, timeline, now).await?;
                if opened.cycles > 0 || installments > 0 {
                    app.wakeups.collect.notify_one();
                }
                Ok(counts([
                    ("cycles_opened", opened.cycles),
                    ("installments_opened", installments),
                    ("subscriptions_parked", opened.parked),
                ]))
            })
        },
        earliest: Some(|app, timeline| Box::pin(async move { Ok(store::next_due::bill(&app.db, timeline).await?) })),
    },
    Job {
        name: "collection",
        about: "charges the invoices that are due, and ends dunning",
        schedule: JobSchedule::EveryTick,
        wake: |wakeups| &wakeups.collect,
        run: |app, timeline, now| {
            Box::pin(async move {
                let collected = billing::collection::run::collect_due(app, timeline, now).await?;
                if collected.payments > 0 {
                    app.wakeups.look_up.notify_one();
                }
                if collected.requests > 0 {
                    app.wakeups.requests.notify_one();
                }
                Ok(counts([
                    ("payments", collected.payments),
                    ("customers_asked", collected.requests),
                    ("settled_without_gateway", collected.without_gateway),
                    ("postponed", collected.postponed),
                ]))
            })
        },
        earliest: Some(|app, timeline| Box::pin(async move { Ok(store::invoices::earliest_attempt(&app.db, timeline).await?) })),
    },
    Job {
        name: "authorizations",
        about: "authorizes charges some days before their bill date, where asked for; voids authorizations that are no longer needed",
        schedule: JobSchedule::EveryTick,
        wake: |wakeups| &wakeups.authorize,
        run: |app, timeline, now| {
            Box::pin(async move {
                let looked = billing::authorizations::authorize_due(app, timeline, now).await?;
                Ok(counts([("authorizations_asked", looked.asked), ("authorizations_voided", looked.voided)]))
            })
        },
        earliest: Some(|app, timeline| {
            Box::pin(async move { Ok(store::authorizations::earliest_due(&app.db, timeline).await?) })
        }),
    },
    Job {
        name: "payment_requests",
        about: "asks customers to pay, looks up what they have paid, reminds them, expires requests; returns overpayments",
        schedule: JobSchedule::EveryTick,
        wake: |wakeups| &wakeups.requests,
        run: |app, timeline, now| {
            Box::pin(async move {
                let marked = billing::payment_requests::due(app, timeline, now).await?;
                // Gateways live by real time: in production one run does it for every timeline.
                let only = Some(timeline).filter(|timeline| *timeline != Timeline::Wall);
                let called = billing::payment_requests::work(app, only).await?;
                let returned = billing::payment_requests::return_overpayments(app).await?;
                Ok(counts([
                    ("requests_due", Value::from(marked)),
                    ("requests_called_about", called.into()),
                    ("overpayments_returned", returned.into()),
                ]))
            })
        },
        earliest: Some(|app, timeline| Box::pin(async move { Ok(store::next_due::request(&app.db, timeline).await?) })),
    },
    Job {
        name: "lookups",
        about: "looks up payments, authorizations and refunds whose outcome is unknown; frees the claims of daemons that are gone",
        schedule: JobSchedule::EveryTick,
        wake: |wakeups| &wakeups.look_up,
        run: |app, _, _| {
            Box::pin(async move {
                let freed = billing::gateway_operations::recover::recover(app, false).await?;
                let payments = billing::payments::look_up::look_up_payments(app, None).await?;
                let refunds = billing::refunds::look_up::look_up_refunds(app).await?;
                let authorizations = billing::authorizations::look_up(app, None).await?;
                Ok(counts([
                    ("claims_freed", Value::from(freed)),
                    ("payments_looked_up", payments.into()),
                    ("refunds_looked_up", refunds.into()),
                    ("authorizations_looked_up", authorizations.into()),
                ]))
            })
        },
        // A test clock waits for these by itself.
        earliest: Some(|app, timeline| {
            Box::pin(async move {
                if timeline != Timeline::Wall {
                    return Ok(None);
                }
                Ok(store::next_due::lookup(&app.db).await?)
            })
        }),
    },
    Job {
        name: "roll_outs",
        about: "applies roll-outs of catalog edits to the subscriptions",
        schedule: JobSchedule::EveryTick,
        wake: |wakeups| &wakeups.roll_outs,
        run: |app, _, _| {
            Box::pin(async move { Ok(counts([("subscriptions_rolled_out", billing::roll_outs::work(app).await?)])) })
        },
        // Whatever clock a subscription lives by, its roll-out was asked for on the wall's.
        earliest: Some(|app, timeline| {
            Box::pin(async move {
                if timeline != Timeline::Wall {
                    return Ok(None);
                }
                Ok(store::roll_outs::running(&app.db).await?.first().map(|roll_out| roll_out.created_at))
            })
        }),
    },
    Job {
        name: "invariants",
        about: "checks the invariants: all sums agree and nothing is forgotten; says when one breaks or holds again",
        schedule: JobSchedule::Cron("30 */5 * * * *"),
        wake: |wakeups| &wakeups.invariants,
        run: |app, _, _| {
            Box::pin(async move {
                let turned = billing::invariants::watch(app).await?;
                Ok(counts([("broken", turned.broken), ("restored", turned.restored)]))
            })
        },
        earliest: None,
    },
    Job {
        name: "disputes",
        about: "asks gateways, a few times in the months after a payment, whether the customer's bank has taken it back",
        schedule: JobSchedule::Cron("0 23 */6 * * *"),
        wake: |wakeups| &wakeups.disputes,
        run: |app, _, _| {
            Box::pin(async move { Ok(counts([("payments_asked_about", billing::disputes::check(app, app.clock.now()).await?)])) })
        },
        earliest: None,
    },
    Job {
        name: "housekeeping",
        about: "removes what is kept for a while only: answers for repeats, old job runs, daemons long gone",
        schedule: JobSchedule::Cron("0 7 * * * *"),
        wake: |wakeups| &wakeups.housekeeping,
        run: |app, _, _| {
            Box::pin(async move {
                let removed = billing::jobs::housekeeping::housekeeping(app).await?;
                Ok(counts([
                    ("idempotency_keys", removed.idempotency_keys),
                    ("runs", removed.runs),
                    ("instances", removed.instances),
                ]))
            })
        },
        earliest: None,
    },
];

pub fn job(name: &str) -> Option<&'static Job> {
    JOBS.iter().find(|job| job.name == name)
}

fn counts<T: Into<Value>, const N: usize>(pairs: [(&str, T); N]) -> Counts {
    pairs.into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect()
}

/// Whether a run found anything to do.
fn did_something(counts: &Counts) -> bool {
    counts.values().any(|count| count.as_i64() != Some(0))
}
