//! The verbs: one file per use case. They alone combine `store` and `gateway`, and they alone write.

pub mod api_keys;
pub mod authorizations;
pub mod bench;
pub mod catalog;
pub mod checks;
pub mod collection;
pub mod credit_notes;
pub mod customers;
pub mod disputes;
pub mod dunning_policies;
pub mod forecast;
pub mod gateway_operations;
pub mod gateways;
pub mod idempotency;
pub mod import;
pub mod installment_plans;
pub mod invariants;
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
mod task;
pub mod test_clocks;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::{Mutex, RwLock};
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    config::Config,
    domain::{
        calendar::Holidays,
        clock::Timeline,
        dunning::DunningRules,
        event::{Actor, Event},
        id::{Id, IdSource, Kind},
        subscription::Rules,
    },
    gateway::Gateways,
    input::FieldError,
    store::{self, Db, Tx},
};

/// Everything a verb needs, passed by reference.
pub struct App {
    pub db: Db,
    /// Wall time. Due work asks `now_of` instead, which knows test clocks.
    pub clock: Clock,
    pub ids: IdSource,
    pub gateways: Gateways,
    pub config: Config,
    pub rules: Rules,
    /// The rules after a failure where no dunning policy applies; a reload of the settings changes them.
    pub dunning_rules: RwLock<Arc<DunningRules>>,
    /// Marks this daemon's claims.
    pub instance: String,
    pub wakeups: Wakeups,
    pub last_runs: jobs::runs::LastRuns,
    pub requested_runs: jobs::runs::RequestedRuns,
    /// How far the counting of cycles has come.
    pub cycle_scan: Mutex<invariants::CycleScan>,
    /// Cancelled when the daemon is to stop: nothing new is claimed from then on.
    pub stopping: CancellationToken,
}

/// Wakes jobs that have work which should not wait for the next tick.
#[derive(Default)]
pub struct Wakeups {
    pub bill: Arc<Notify>,
    pub collect: Arc<Notify>,
    pub authorize: Arc<Notify>,
    pub disputes: Arc<Notify>,
    pub look_up: Arc<Notify>,
    pub advance: Arc<Notify>,
    pub requests: Arc<Notify>,
    pub roll_outs: Arc<Notify>,
    pub invariants: Arc<Notify>,
    pub housekeeping: Arc<Notify>,
}

/// Why a verb did nothing.
#[derive(Debug, thiserror::Error)]
pub enum BillingError {
    #[error("there is no {what} {id}")]
    NotFound { what: &'static str, id: String },
    /// The state does not allow it.
    #[error("{0}")]
    WrongState(String),
    #[error("{}", .0.iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<FieldError>),
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl BillingError {
    pub fn not_found(what: &'static str, id: impl ToString) -> Self {
        Self::NotFound { what, id: id.to_string() }
    }

    /// Whether the same call may succeed in a moment: the database was away, or another transaction in the way.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Store(store::Error::Unreachable(_) | store::Error::Busy))
    }

    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError::new(field, message)])
    }

    /// Reads a conflict as a fault of `reference`, where that is the only unique value of a `noun`.
    pub(crate) fn reference_taken(noun: &str) -> impl FnOnce(store::Error) -> Self {
        move |error| match error {
            store::Error::Conflict => Self::invalid("reference", format!("is another {noun}'s already")),
            other => other.into(),
        }
    }
}

pub type Result<T, E = BillingError> = std::result::Result<T, E>;

impl App {
    pub fn new(db: Db, clock: Clock, config: Config, gateways: Gateways, seed: [u8; 32]) -> Self {
        let holidays = config
            .billing
            .holidays
            .iter()
            .map(|(name, days)| (name.clone(), days.iter().copied().collect::<Holidays>()))
            .collect();
        let rules = Rules { bill_at: config.billing.bill_at, holidays, catch_up_limit: config.billing.catch_up_limit.into() };
        let dunning_rules = RwLock::new(Arc::new(config.collection.dunning_rules()));
        let instance = config.instance_name();
        Self {
            db,
            clock,
            ids: IdSource::seeded(seed),
            gateways,
            config,
            rules,
            dunning_rules,
            instance,
            wakeups: Wakeups::default(),
            last_runs: jobs::runs::LastRuns::default(),
            requested_runs: jobs::runs::RequestedRuns::default(),
            cycle_scan: Mutex::default(),
            stopping: CancellationToken::new(),
        }
    }

    /// A new id. Ids follow wall time on every timeline, so that lists are in order of creation.
    pub fn id<K: Kind>(&self) -> Id<K> {
        self.ids.next(self.clock.now())
    }

    /// An event, to be inserted in the transaction that makes it true.
    pub fn event(
        &self,
        timeline: Timeline,
        now: DateTime<Utc>,
        actor: &Actor,
        kind: &str,
        subject: impl ToString,
        data: Value,
    ) -> Event {
        Event {
            id: self.id(),
            timeline,
            kind: kind.to_owned(),
            subject: subject.to_string(),
            actor: actor.text(),
            data,
            occurred_at: now,
        }
    }

    /// Now, by the clock that drives a timeline.
    pub async fn now_of(&self, timeline: Timeline) -> Result<DateTime<Utc>> {
        match timeline {
            Timeline::Wall => Ok(self.clock.now()),
            Timeline::Test(id) => match store::clocks::get(&self.db, id).await? {
                Some(clock) => Ok(clock.now_at),
                None => Err(BillingError::not_found("clock", id)),
            },
        }
    }

    /// Like [`Self::now_of`], inside a transaction: a test clock is locked.
    pub async fn now_in(&self, tx: &mut Tx, timeline: Timeline) -> Result<DateTime<Utc>> {
        match timeline {
            Timeline::Wall => Ok(self.clock.now()),
            Timeline::Test(id) => match store::clocks::hold(tx, id).await? {
                Some(clock) => Ok(clock.now_at),
                None => Err(BillingError::not_found("clock", id)),
            },
        }
    }
}
