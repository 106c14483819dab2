//! Instances: which daemons work on this database, and that no two of them go by one name, since a name is what claims are known by.

use std::time::Duration;

use rand::{TryRng, rngs::SysRng};

use crate::{
    billing::{App, BillingError, Result},
    store::{self, db::AdvisoryLock, instances::Instance},
};

/// Between two signs of life.
pub const BEAT: Duration = Duration::from_secs(5);

/// Without a sign of life for this long a daemon counts as gone.
pub const SILENCE: Duration = Duration::from_secs(15);

const POLL: Duration = Duration::from_millis(50);

/// This daemon's place among the instances, for one life.
pub struct Presence {
    token: String,
    /// None: a namesake's connection outlives it, such as after a power cut.
    lock: Option<AdvisoryLock>,
}

/// Begins a life. Refused while another daemon of this name gives signs of life; one that has just died is no obstacle, since the
/// database lets go of its name at once, or at the latest after [`SILENCE`].
pub async fn arrive(app: &App) -> Result<Presence> {
    let mut random = [0; 16];
    SysRng.try_fill_bytes(&mut random).map_err(|error| store::Error::Database(format!("no randomness for a token: {error}")))?;
    let token = format!("{:032x}", u128::from_be_bytes(random));
    let lock = lock(app).await?;
    let now = app.clock.now();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let instance =
        Instance { name: app.instance.clone(), token: token.clone(), version, started_at: now, seen_at: now, stopped_at: None };
    let mut tx = app.db.begin().await?;
    store::instances::arrive(&mut tx, instance).await?;
    tx.commit().await?;
    Ok(Presence { token, lock })
}

async fn lock(app: &App) -> Result<Option<AdvisoryLock>> {
    let before = store::instances::get(&app.db, &app.instance).await?;
    for _ in 0..SILENCE.as_millis() / POLL.as_millis() {
        if let Some(lock) = app.db.try_lock_name(&app.instance).await? {
            return Ok(Some(lock));
        }
        let now = store::instances::get(&app.db, &app.instance).await?;
        if let Some(other) = now.filter(|now| before.as_ref().is_none_or(|before| before.seen_at != now.seen_at)) {
            return Err(BillingError::WrongState(format!(
                "instance.name: another daemon named {} works on this database (version {}, since {}): give each a name of its own, \
                 or stop that one",
                other.name, other.version, other.started_at
            )));
        }
        tokio::time::sleep(POLL).await;
    }
    tracing::warn!(instance = app.instance, "a silent namesake's connection is still open: its name is taken over");
    Ok(None)
}

/// Gives signs of life for as long as this is awaited. Ends once another daemon has begun a life under this name.
pub async fn stay(app: &App, presence: &mut Presence) {
    loop {
        tokio::time::sleep(BEAT).await;
        // The database was away, or we were: the name may be free, or somebody else's.
        if let Some(lock) = &mut presence.lock
            && !lock.is_kept().await
        {
            presence.lock = None;
        }
        if presence.lock.is_none() {
            presence.lock = app.db.try_lock_name(&app.instance).await.ok().flatten();
        }
        match beat(app, &presence.token).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::warn!(%error, "no sign of life could be given"),
        }
    }
}

async fn beat(app: &App, token: &str) -> Result<bool> {
    let mut tx = app.db.begin().await?;
    let ours = store::instances::beat(&mut tx, &app.instance, token, app.clock.now()).await?;
    tx.commit().await?;
    Ok(ours)
}

/// Ends a life in good order.
pub async fn leave(app: &App, presence: Presence) -> Result<()> {
    let mut tx = app.db.begin().await?;
    store::instances::leave(&mut tx, &app.instance, &presence.token, app.clock.now()).await?;
    tx.commit().await?;
    if let Some(lock) = presence.lock {
        lock.unlock().await;
    }
    Ok(())
}
