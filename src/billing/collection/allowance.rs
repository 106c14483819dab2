//! Caps on declined attempts, checked inside the claim: what was declined lately at each credential, and what is under way.
//!
//! Guards the card networks' rule: a credential is tried only so often within a time, whichever invoice it is tried for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use crate::{
    billing::{App, Result},
    domain::{
        cap::{Allowance, Cap, room},
        clock::Timeline,
        id::InvoiceId,
        payment::PaymentStatus,
    },
    store::{self, Tx, invoices::ChosenMethod},
};

/// After so many successes of a credential in one run, it may be charged for several invoices at once.
const TRUSTED_AFTER: usize = 8;

/// How often each credential succeeded in this run, for the credentials that more was due at than could be under way. Each success
/// lets one more attempt be under way.
#[derive(Debug, Default, Clone)]
pub(crate) struct SuccessTally(HashMap<String, usize>);

impl SuccessTally {
    pub(crate) fn watch(&mut self, credential: String) {
        self.0.entry(credential).or_default();
    }

    pub(crate) fn count(&mut self, credential: &str) {
        if let Some(count) = self.0.get_mut(credential) {
            *count += 1;
        }
    }

    fn vouch_for(&self, credential: &str) -> usize {
        self.0.get(credential).map_or(0, |count| count.saturating_sub(TRUSTED_AFTER))
    }
}

#[derive(Default)]
struct Attempts {
    declined: Vec<DateTime<Utc>>,
    under_way: Vec<DateTime<Utc>>,
}

/// What is about to be charged, as caps count it.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub gateway: String,
    pub credential: String,
}

impl Target {
    fn of(method: &ChosenMethod) -> Option<Self> {
        Some(Self { gateway: method.gateway.clone()?, credential: method.credential()? })
    }
}

/// What a claim knows of the credentials it is about to charge.
pub(crate) struct Credentials<'a> {
    caps: HashMap<String, Vec<Cap>>,
    attempts: HashMap<String, Attempts>,
    /// Credentials that another daemon holds the locks of: it claims something for them at this moment.
    elsewhere: BTreeSet<String>,
    tally: &'a SuccessTally,
    now: DateTime<Utc>,
    /// Credentials that had to wait for attempts under way.
    pub(crate) blocked: Vec<String>,
}

impl<'a> Credentials<'a> {
    pub(crate) async fn read(
        app: &App,
        tx: &mut Tx,
        timeline: Timeline,
        now: DateTime<Utc>,
        methods: &BTreeMap<InvoiceId, ChosenMethod>,
        tally: &'a SuccessTally,
    ) -> Result<Self> {
        let targets: Vec<Target> = methods.values().filter_map(Target::of).collect();
        Self::of(app, tx, timeline, now, &targets, tally).await
    }

    pub(crate) async fn of(
        app: &App,
        tx: &mut Tx,
        timeline: Timeline,
        now: DateTime<Utc>,
        targets: &[Target],
        tally: &'a SuccessTally,
    ) -> Result<Self> {
        let mut known =
            Self { caps: HashMap::new(), attempts: HashMap::new(), elsewhere: BTreeSet::new(), tally, now, blocked: Vec::new() };
        for Target { gateway, .. } in targets {
            if !known.caps.contains_key(gateway) {
                known.caps.insert(gateway.clone(), app.config.caps_of(gateway));
            }
        }
        let Some(longest) = known.caps.values().flatten().map(|cap| cap.within).max() else { return Ok(known) };
        let all: BTreeSet<String> = targets.iter().map(|target| target.credential.clone()).collect();
        // Two daemons must not both use what one credential may still be tried.
        let ours = tx.try_lock_names(all.iter().cloned().collect()).await?;
        known.elsewhere = all;
        for credential in &ours {
            known.elsewhere.remove(credential);
        }
        for attempt in store::payments::attempts_at(tx, &ours, timeline, now - longest).await? {
            let attempts = known.attempts.entry(attempt.credential).or_default();
            match attempt.status {
                // Nobody knows when an operator will resolve a parked one: it counts as declined.
                PaymentStatus::Declined | PaymentStatus::Parked => attempts.declined.push(attempt.created_at),
                _ => attempts.under_way.push(attempt.created_at),
            }
        }
        Ok(known)
    }

    /// Whether this method may be charged now. If it may, the attempt counts as under way.
    pub(crate) fn take(&mut self, method: &ChosenMethod) -> Allowance {
        Target::of(method).map_or(Allowance::Now, |target| self.charge(target))
    }

    /// Like [`Self::take`], for a target.
    pub(crate) fn charge(&mut self, Target { gateway, credential }: Target) -> Allowance {
        let caps = self.caps.get(&gateway).map_or(&[][..], Vec::as_slice);
        if caps.is_empty() {
            return Allowance::Now;
        }
        if self.elsewhere.contains(&credential) {
            return Allowance::Blocked;
        }
        let attempts = self.attempts.entry(credential.clone()).or_default();
        let vouched = if attempts.declined.is_empty() { self.tally.vouch_for(&credential) } else { 0 };
        let under_way = attempts.under_way.get(vouched..).unwrap_or_default();
        let found = room(caps, &attempts.declined, under_way, self.now);
        match found {
            Allowance::Now => attempts.under_way.push(self.now),
            Allowance::Blocked => self.blocked.push(credential),
            Allowance::At(_) => {}
        }
        found
    }
}
