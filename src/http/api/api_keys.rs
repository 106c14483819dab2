//! `/v1/api-keys`: the text of a key is in the answer that makes it, and nowhere else.

use std::sync::Arc;

use axum::{Extension, Json, extract::State, http::StatusCode};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    billing::{App, api_keys},
    domain::{
        api_key::{ApiKey, Scope},
        id::{self, ApiKeyId},
    },
    http::{
        auth::Caller,
        body::{JsonBody, PathId},
        error::Problem,
        idempotency::KeepInstead,
        page::{List, ListQuery},
    },
    input::body,
    store,
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(revoke))
}

body! {
    pub struct ApiKeyInput {
        /// The purpose of the key, shown in lists.
        pub name: String line up to 200,
        /// What the key allows.
        pub scope: Scope,
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ApiKeyAnswer {
    #[schema(value_type = String)]
    id: ApiKeyId,
    name: String,
    scope: Scope,
    last_four: String,
    created_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
    /// The text of the key. Only the answer that makes the key has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl From<ApiKey> for ApiKeyAnswer {
    fn from(key: ApiKey) -> Self {
        let ApiKey { id, name, scope, last_four, created_at, revoked_at, digest: _ } = key;
        Self { id, name, scope, last_four, created_at, revoked_at, key: None }
    }
}

/// Lists the keys, without their texts.
#[utoipa::path(get, path = "/v1/api-keys", tag = "api-keys", params(ListQuery<id::ApiKey>), responses((status = 200, body = List<ApiKeyAnswer>)))]
async fn list(State(app): State<Arc<App>>, page: ListQuery<id::ApiKey>) -> Result<Json<List<ApiKeyAnswer>>, Problem> {
    let found = store::page::list::<ApiKey>(&app.db, page.request([])).await?;
    Ok(Json(List::of(found, ApiKeyAnswer::from)))
}

/// Makes a key. No later answer shows the text of the key.
#[utoipa::path(post, path = "/v1/api-keys", tag = "api-keys", request_body = ApiKeyInput, responses((status = 201, body = ApiKeyAnswer)))]
async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    JsonBody(new): JsonBody<ApiKeyInput>,
) -> Result<(StatusCode, Extension<KeepInstead>, Json<ApiKeyAnswer>), Problem> {
    let (key, text) = api_keys::create(&app, &caller.actor, &new.name, new.scope).await?;
    let mut answer = ApiKeyAnswer::from(key);
    // A repeat is told about the key, not the key: its text is stored nowhere.
    let kept = KeepInstead(serde_json::to_string(&answer).unwrap_or_default());
    answer.key = Some(text);
    Ok((StatusCode::CREATED, Extension(kept), Json(answer)))
}

/// Revokes a key, at once.
#[utoipa::path(delete, path = "/v1/api-keys/{id}", tag = "api-keys", params(("id" = String, Path)), responses((status = 204)))]
async fn revoke(State(app): State<Arc<App>>, caller: Caller, PathId(id): PathId<id::ApiKey>) -> Result<StatusCode, Problem> {
    api_keys::revoke(&app, &caller.actor, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
