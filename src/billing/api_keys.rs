//! API keys: made, revoked, and the one from the settings. The text of a key is answered once and never stored.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rand::{TryRng, rngs::SysRng};
use secrecy::ExposeSecret;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{App, BillingError, Result};
use crate::{
    domain::{
        api_key::{ApiKey, Scope},
        clock::Timeline,
        event::Actor,
        id::ApiKeyId,
    },
    store,
};

/// By which the key of the settings is known.
pub const BOOTSTRAP: &str = "bootstrap";

/// SHA-256 of a key's text, hex: all that is stored of it.
pub fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// Makes a key; answers it and its text, which nobody can ask for again.
pub async fn create(app: &App, actor: &Actor, name: &str, scope: Scope) -> Result<(ApiKey, String)> {
    let mut secret = [0u8; 32];
    SysRng.try_fill_bytes(&mut secret).map_err(|error| store::Error::Database(format!("no randomness for a key: {error}")))?;
    let text = format!("rk_{}", BASE64_URL_SAFE_NO_PAD.encode(secret));
    let key = key(app, name, scope, &text);
    let mut tx = app.db.begin().await?;
    insert(app, &mut tx, actor, &key).await?;
    tx.commit().await?;
    Ok((key, text))
}

pub async fn revoke(app: &App, actor: &Actor, id: ApiKeyId) -> Result<()> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    if !store::api_keys::revoke(&mut tx, id, now).await? {
        return Err(BillingError::not_found("API key", id));
    }
    let event = app.event(Timeline::Wall, now, actor, "api_key.revoked", id, json!({}));
    store::events::append(&mut tx, &[event]).await?;
    tx.commit().await?;
    Ok(())
}

/// Sees to it that `admin.bootstrap_key` is an admin key, and the only one of its kind. One that was revoked stays so.
pub async fn bootstrap(app: &App) -> Result<()> {
    match taken_over(app).await {
        // Another daemon started at the same moment.
        Err(BillingError::Store(store::Error::Conflict)) => taken_over(app).await,
        done => done,
    }
}

async fn taken_over(app: &App) -> Result<()> {
    let text = app.config.admin.bootstrap_key.expose_secret();
    let now = app.clock.now();
    let digest = digest(text);
    let mut tx = app.db.begin().await?;
    for gone in store::api_keys::revoke_others_named(&mut tx, BOOTSTRAP, &digest, now).await? {
        let event = app.event(
            Timeline::Wall,
            now,
            &Actor::System,
            "api_key.revoked",
            gone.id,
            json!({"reason": "no longer in the settings"}),
        );
        store::events::append(&mut tx, &[event]).await?;
    }
    if !text.is_empty() {
        match store::api_keys::by_digest_in(&mut tx, &digest).await? {
            Some(known) if known.revoked_at.is_some() => {
                tracing::warn!(key = %known.id, "admin.bootstrap_key was revoked and is not accepted: remove it from the settings");
            }
            Some(_) => {}
            None => insert(app, &mut tx, &Actor::System, &key(app, BOOTSTRAP, Scope::Admin, text)).await?,
        }
    }
    tx.commit().await?;
    Ok(())
}

fn key(app: &App, name: &str, scope: Scope, text: &str) -> ApiKey {
    let last_four: String = text.chars().skip(text.chars().count().saturating_sub(4)).collect();
    let now = app.clock.now();
    ApiKey { id: app.id(), name: name.to_owned(), digest: digest(text), last_four, scope, created_at: now, revoked_at: None }
}

async fn insert(app: &App, tx: &mut store::Tx, actor: &Actor, key: &ApiKey) -> Result<()> {
    store::api_keys::insert(tx, key.clone()).await?;
    let data = json!({"name": key.name, "scope": key.scope, "last_four": key.last_four});
    let event = app.event(Timeline::Wall, key.created_at, actor, "api_key.created", key.id, data);
    store::events::append(tx, &[event]).await?;
    Ok(())
}
