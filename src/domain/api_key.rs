//! An API key: what lets a program or a person in, and how far. Only a digest of its text is ever stored.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{id::ApiKeyId, text_enum};

text_enum! {
    /// How far a key reaches. Each scope includes the scopes before it.
    pub enum Scope {
        /// The key reads everything but keys.
        Read = "read",
        /// The key also changes everything that belongs to customers and the catalog.
        Write = "write",
        /// The key also changes keys and test clocks, and decides about money by hand.
        Admin = "admin",
    }
}

/// A key of the API, as it is stored. The text of the key is answered once and never stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct ApiKey {
    /// Names the key in requests and events.
    pub id: ApiKeyId,
    /// What the key is for, in the words of whoever made it.
    pub name: String,
    /// SHA-256 of the text, hex. The text has full entropy, so it needs no slow hash.
    pub digest: String,
    /// For people to tell keys apart.
    pub last_four: String,
    /// What the key allows.
    pub scope: Scope,
    /// Wall time, UTC.
    pub created_at: DateTime<Utc>,
    /// When the key was revoked, wall time, UTC. None means that the key is valid.
    pub revoked_at: Option<DateTime<Utc>>,
}
