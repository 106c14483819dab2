//! An API key: what lets a program or a person in, and how far. Only a digest of its text is ever stored.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{id::ApiKeyId, text_enum};

text_enum! {
    /// How far a key reaches; each includes the ones before it.
    pub enum Scope {
        Read = "read",
        Write = "write",
        /// Also keys, test clocks, and what decides about money by hand.
        Admin = "admin",
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct ApiKey {
    pub id: ApiKeyId,
    pub name: String,
    /// SHA-256 of the text, hex. The text has full entropy, so it needs no slow hash.
    pub digest: String,
    /// For people to tell keys apart.
    pub last_four: String,
    pub scope: Scope,
    pub created_at: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
}
