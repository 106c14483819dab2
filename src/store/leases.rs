//! Leases of calls to a gateway: a row is claimed before its call, becomes unknown if its daemon falls silent, and is looked up then.
//!
//! Payments, authorizations, refunds and payment requests share these functions. Each brings its own statements, which say what may be
//! claimed there.

use chrono::{DateTime, Utc};

use super::{Db, Result, Tx, db::Record};
use crate::domain::{
    authorization::Authorization, clock::Timeline, payment::Payment, payment_request::PaymentRequest, refund::Refund,
};

/// The statements over the lookups of one table.
pub trait LookedUp: Record {
    fn key(&self) -> String;

    /// Claims what is to be looked up. `$1` owner, `$2` now, `$3` due again at, `$4` timeline or null, `$5` limit.
    const CLAIM_LOOKUPS: &'static str;
    /// Locks the claimed lookups that are still the claimer's, in the order in which all lock. `$1` ids, `$2` owner.
    const LOCK_LOOKUPS: &'static str;
    /// `$1` due again at, `$2` ids.
    const KEEP_LOOKUPS: &'static str;
    /// `$1` now, `$2` owner.
    const RELEASE_LOOKUPS: &'static str;
    /// `$1` timeline.
    const EARLIEST_LOOKUP: &'static str;
}

/// The statements over the leases of one table: a row is leased from its record to the answer of its call.
pub trait Leased: LookedUp {
    fn lease_token(&self) -> i64;
    fn lease_expires_at(&self) -> Option<DateTime<Utc>>;

    /// `$1` now, `$2` a daemon that has started again, or null.
    const EXPIRE_LEASES: &'static str;
    /// Before a call. `$1` until, `$2` id, `$3` lease token, `$4` now: from then on the call may be made.
    const RENEW_LEASE: &'static str;
}

/// What was given up (`gateway_error`) is looked up once more: the money may have come all the same.
impl LookedUp for Payment {
    fn key(&self) -> String {
        self.id.to_string()
    }

    const CLAIM_LOOKUPS: &'static str = "update payments set lease_owner = $1, lease_token = lease_token + 1, next_lookup_at = $3
         where id in once(
             select id from payments where next_lookup_at <= $2 and status in ('unknown', 'gateway_error') and ($4 is null or timeline = $4)
             order by next_lookup_at limit $5 for update skip locked)
         returning *";
    const LOCK_LOOKUPS: &'static str = "select id from payments where id in list($1) and lease_owner = $2 and status in ('unknown', 'gateway_error') and next_lookup_at is not null
             order by id for update";
    const KEEP_LOOKUPS: &'static str = "update payments set next_lookup_at = $1 where id in list($2)";
    const RELEASE_LOOKUPS: &'static str = "update payments set next_lookup_at = $1, lease_owner = null where lease_owner = $2 and next_lookup_at is not null and status in ('unknown', 'gateway_error')";
    const EARLIEST_LOOKUP: &'static str = "select min(next_lookup_at) from payments where timeline = $1 and status = 'unknown'";
}

impl Leased for Payment {
    fn lease_token(&self) -> i64 {
        self.lease_token
    }

    fn lease_expires_at(&self) -> Option<DateTime<Utc>> {
        self.lease_expires_at
    }

    const EXPIRE_LEASES: &'static str = "update payments set status = 'unknown', next_lookup_at = $1, lease_owner = null, lease_expires_at = null, lease_token = lease_token + 1, called_at = $1
         where id in once(
             select id from payments where lease_expires_at is not null and status in ('pending', 'authorized')
             and (lease_expires_at <= $1 or lease_owner = $2) limit 500 for update skip locked)";
    const RENEW_LEASE: &'static str = "update payments set lease_expires_at = $1, called_at = $4
             where id = $2 and lease_token = $3 and status in ('pending', 'authorized')";
}

/// Whatever has an instant to be looked at is claimed, whatever its status: a void that is due waits in the same place.
impl LookedUp for Authorization {
    fn key(&self) -> String {
        self.id.to_string()
    }

    const CLAIM_LOOKUPS: &'static str =
        "update authorizations set lease_owner = $1, lease_token = lease_token + 1, next_lookup_at = $3
         where id in once(
             select id from authorizations where next_lookup_at <= $2 and ($4 is null or timeline = $4)
             order by next_lookup_at limit $5 for update skip locked)
         returning *";
    const LOCK_LOOKUPS: &'static str =
        "select id from authorizations where id in list($1) and lease_owner = $2 and next_lookup_at is not null
             order by id for update";
    const KEEP_LOOKUPS: &'static str = "update authorizations set next_lookup_at = $1 where id in list($2)";
    const RELEASE_LOOKUPS: &'static str =
        "update authorizations set next_lookup_at = $1, lease_owner = null where lease_owner = $2 and next_lookup_at is not null";
    const EARLIEST_LOOKUP: &'static str =
        "select min(next_lookup_at) from authorizations where timeline = $1 and status in ('pending', 'unknown', 'voiding')";
}

impl Leased for Authorization {
    fn lease_token(&self) -> i64 {
        self.lease_token
    }

    fn lease_expires_at(&self) -> Option<DateTime<Utc>> {
        self.lease_expires_at
    }

    const EXPIRE_LEASES: &'static str =
        "update authorizations set status = 'unknown', next_lookup_at = $1, lease_owner = null, lease_expires_at = null,
             lease_token = lease_token + 1
         where id in once(
             select id from authorizations where lease_expires_at is not null and status = 'pending'
             and (lease_expires_at <= $1 or lease_owner = $2) limit 500 for update skip locked)";
    const RENEW_LEASE: &'static str = "update authorizations set lease_expires_at = $1, called_at = $4
             where id = $2 and lease_token = $3 and status = 'pending'";
}

impl LookedUp for Refund {
    fn key(&self) -> String {
        self.id.to_string()
    }

    const CLAIM_LOOKUPS: &'static str = "update refunds set lease_owner = $1, lease_token = lease_token + 1, next_lookup_at = $3
         where id in once(
             select id from refunds where next_lookup_at <= $2 and status = 'unknown' and ($4 is null or timeline = $4)
             order by next_lookup_at limit $5 for update skip locked)
         returning *";
    const LOCK_LOOKUPS: &'static str =
        "select id from refunds where id in list($1) and lease_owner = $2 and status = 'unknown' and next_lookup_at is not null
             order by id for update";
    const KEEP_LOOKUPS: &'static str = "update refunds set next_lookup_at = $1 where id in list($2)";
    const RELEASE_LOOKUPS: &'static str = "update refunds set next_lookup_at = $1, lease_owner = null where lease_owner = $2 and next_lookup_at is not null and status = 'unknown'";
    const EARLIEST_LOOKUP: &'static str = "select min(next_lookup_at) from refunds where timeline = $1 and status in ('pending', 'unknown', 'parked') and status = 'unknown'";
}

/// No gateway takes a key that makes a repeated refund harmless. So `sent_at` is set anew when a lease ends: until then the call may
/// have been made.
impl Leased for Refund {
    fn lease_token(&self) -> i64 {
        self.lease_token
    }

    fn lease_expires_at(&self) -> Option<DateTime<Utc>> {
        self.lease_expires_at
    }

    const EXPIRE_LEASES: &'static str = "update refunds set status = 'unknown', next_lookup_at = $1, lease_owner = null, lease_expires_at = null, lease_token = lease_token + 1, sent_at = $1
         where id in once(
             select id from refunds where lease_expires_at is not null and status = 'pending'
             and (lease_expires_at <= $1 or lease_owner = $2) limit 500 for update skip locked)";
    const RENEW_LEASE: &'static str = "update refunds set lease_expires_at = $1, sent_at = $4
             where id = $2 and lease_token = $3 and status = 'pending'";
}

/// A request is claimed for its next call, whatever that is, and needs no lease beside its claim: the call that asks a customer is written
/// down first, and is looked up once the claim has ended. `claimed_at` tells what was heard before the claim from what was heard since.
impl LookedUp for PaymentRequest {
    fn key(&self) -> String {
        self.id.to_string()
    }

    const CLAIM_LOOKUPS: &'static str =
        "update payment_requests set lease_owner = $1, lease_token = lease_token + 1, claimed_at = $2, next_check_at = $3
         where id in once(
             select id from payment_requests where next_check_at <= $2 and ($4 is null or timeline = $4)
             order by next_check_at limit $5 for update skip locked)
         returning *";
    const LOCK_LOOKUPS: &'static str =
        "select id from payment_requests where id in list($1) and lease_owner = $2 and next_check_at is not null
             order by id for update";
    const KEEP_LOOKUPS: &'static str = "update payment_requests set next_check_at = $1 where id in list($2)";
    const RELEASE_LOOKUPS: &'static str =
        "update payment_requests set next_check_at = $1, lease_owner = null where lease_owner = $2 and next_check_at is not null";
    const EARLIEST_LOOKUP: &'static str =
        "select min(next_check_at) from payment_requests where timeline = $1 and next_check_at is not null";
}

/// Claims rows whose lookup is due; of one timeline, if it is given. If the claimer dies, they fall due again at `until`.
pub async fn claim_lookups<L: LookedUp>(
    tx: &mut Tx,
    owner: &str,
    timeline: Option<Timeline>,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<L>> {
    tx.query(L::CLAIM_LOOKUPS)
        .bind(owner.to_owned())
        .bind(now)
        .bind(until)
        .bind(timeline.map(|timeline| timeline.to_string()))
        .bind(limit)
        .all()
        .await
}

/// Prolongs those of these claimed lookups that are still this claimer's.
pub async fn keep_lookups<L: LookedUp>(tx: &mut Tx, owner: &str, ids: &[impl ToString], until: DateTime<Utc>) -> Result<u64> {
    let held: Vec<(String,)> =
        tx.query(L::LOCK_LOOKUPS).bind_list(ids.iter().map(ToString::to_string)).bind(owner.to_owned()).all().await?;
    tx.query(L::KEEP_LOOKUPS).bind(until).bind_list(held.into_iter().map(|row| row.0)).run().await
}

/// Makes the lookups that the previous run of this daemon had claimed due at once.
pub async fn release_lookups<L: LookedUp>(tx: &mut Tx, now: DateTime<Utc>, owner: &str) -> Result<u64> {
    tx.query(L::RELEASE_LOOKUPS).bind(now).bind(owner.to_owned()).run().await
}

/// When the next lookup on a timeline is due, wall time.
pub async fn earliest_lookup<L: LookedUp>(db: &Db, timeline: Timeline) -> Result<Option<DateTime<Utc>>> {
    let row: (Option<DateTime<Utc>>,) = db.query(L::EARLIEST_LOOKUP).bind(timeline).one().await?;
    Ok(row.0)
}

/// Marks as unknown the rows whose daemon has gone silent. `restarted_as`: and those of the previous run of this daemon.
pub async fn expire<L: Leased>(tx: &mut Tx, now: DateTime<Utc>, restarted_as: Option<&str>) -> Result<u64> {
    tx.query(L::EXPIRE_LEASES).bind(now).bind(restarted_as.map(str::to_owned)).run().await
}

/// Renews the lease of an operation before its call. False: another daemon holds the operation now.
pub async fn renew_lease<L: Leased>(tx: &mut Tx, row: &L, now: DateTime<Utc>, until: DateTime<Utc>) -> Result<bool> {
    let renewed = tx.query(L::RENEW_LEASE).bind(until).bind(row.key()).bind(row.lease_token()).bind(now).run().await?;
    Ok(renewed > 0)
}
