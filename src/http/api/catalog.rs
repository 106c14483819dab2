//! What the endpoints of add-ons and discounts have in common, and how plans and subscriptions name them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        catalog::Entry,
        id::Kind,
        invoice::{Adjustment, Modifier},
        money::Percentage,
    },
    input::body,
};

body! {
    pub struct EntryFilters {
        pub reference: Option<String> up to 255,
    }
}

/// An add-on or a discount.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntryAnswer {
    id: String,
    reference: Option<String>,
    name: String,
    description: String,
    /// Minor units; null if the entry has a percentage.
    amount: Option<i64>,
    /// Percent of the base charge; null if the entry has an amount.
    #[schema(value_type = Option<f64>)]
    percentage: Option<Percentage>,
    /// The number of charges to which the entry applies; 0 = every charge.
    duration: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl<K: Kind> From<Entry<K>> for EntryAnswer {
    fn from(entry: Entry<K>) -> Self {
        let (amount, percentage) = parts(entry.adjustment());
        let Entry { id, reference, name, description, duration, created_at, updated_at, .. } = entry;
        Self { id: id.to_string(), reference, name, description, amount, percentage, duration, created_at, updated_at }
    }
}

fn parts(adjustment: Adjustment) -> (Option<i64>, Option<Percentage>) {
    match adjustment {
        Adjustment::Amount(amount) => (Some(amount), None),
        Adjustment::Percentage(percentage) => (None, Some(percentage)),
    }
}

/// The copy of an add-on or discount that a plan or subscription holds.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModifierAnswer {
    /// The id of the add-on or discount that was copied.
    id: String,
    name: String,
    description: String,
    /// Minor units; null if the entry has a percentage.
    amount: Option<i64>,
    /// Percent of the base charge; null if the entry has an amount.
    #[schema(value_type = Option<f64>)]
    percentage: Option<Percentage>,
    /// The number of charges to which the entry applies; 0 = every charge.
    duration: i64,
}

impl From<Modifier> for ModifierAnswer {
    fn from(modifier: Modifier) -> Self {
        let (amount, percentage) = parts(modifier.adjustment);
        let Modifier { id, name, description, duration, .. } = modifier;
        Self { id, name, description, amount, percentage, duration }
    }
}

/// The endpoints of one kind of entry.
macro_rules! entry_endpoints {
    ($kind:ident, $tag:literal, $all:literal, $one:literal) => {
        use std::sync::Arc;

        use axum::{Json, extract::State, http::StatusCode};
        use utoipa_axum::{router::OpenApiRouter, routes};

        use crate::{
            billing::{
                App, BillingError,
                catalog::{self, EntryInput, EntryPatch},
            },
            domain::{catalog::Entry, id::$kind},
            http::{
                api::catalog::{EntryAnswer, EntryFilters},
                auth::Caller,
                body::{JsonBody, PathKey},
                error::Problem,
                page::{List, ListQuery},
            },
            store::{self, catalog::CatalogKind},
        };

        pub fn routes() -> OpenApiRouter<Arc<App>> {
            OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, update, delete))
        }

        /// Lists them.
        #[utoipa::path(get, path = $all, tag = $tag, params(ListQuery<$kind, EntryFilters>), responses((status = 200, body = List<EntryAnswer>)))]
        async fn list(State(app): State<Arc<App>>, page: ListQuery<$kind, EntryFilters>) -> Result<Json<List<EntryAnswer>>, Problem> {
            let wanted = [("reference", page.filters.reference.clone())];
            let found = store::page::list::<Entry<$kind>>(&app.db, page.request(wanted)).await?;
            Ok(Json(List::of(found, EntryAnswer::from)))
        }

        /// Makes one: exactly one of amount and percentage.
        #[utoipa::path(post, path = $all, tag = $tag, request_body = EntryInput, responses((status = 201, body = EntryAnswer)))]
        async fn create(
            State(app): State<Arc<App>>,
            caller: Caller,
            JsonBody(input): JsonBody<EntryInput>,
        ) -> Result<(StatusCode, Json<EntryAnswer>), Problem> {
            let entry = catalog::create::<$kind>(&app, &caller.actor, input).await?;
            Ok((StatusCode::CREATED, Json(entry.into())))
        }

        /// Shows one, by id or reference.
        #[utoipa::path(get, path = $one, tag = $tag, params(("id" = String, Path)), responses((status = 200, body = EntryAnswer)))]
        async fn get(State(app): State<Arc<App>>, PathKey(key): PathKey) -> Result<Json<EntryAnswer>, Problem> {
            let found = store::catalog::find::<$kind>(&app.db, &key).await?;
            let entry = found.ok_or_else(|| BillingError::not_found($kind::NOUN, key))?;
            Ok(Json(entry.into()))
        }

        /// Changes one. Plans and subscriptions that use it keep their copies until it is rolled out.
        #[utoipa::path(patch, path = $one, tag = $tag, params(("id" = String, Path)), request_body = EntryPatch, responses((status = 200, body = EntryAnswer)))]
        async fn update(
            State(app): State<Arc<App>>,
            caller: Caller,
            PathKey(key): PathKey,
            JsonBody(patch): JsonBody<EntryPatch>,
        ) -> Result<Json<EntryAnswer>, Problem> {
            Ok(Json(catalog::update::<$kind>(&app, &caller.actor, &key, patch).await?.into()))
        }

        /// Removes one. Plans and subscriptions that use it keep their copies.
        #[utoipa::path(delete, path = $one, tag = $tag, params(("id" = String, Path)), responses((status = 204)))]
        async fn delete(State(app): State<Arc<App>>, caller: Caller, PathKey(key): PathKey) -> Result<StatusCode, Problem> {
            catalog::delete::<$kind>(&app, &caller.actor, &key).await?;
            Ok(StatusCode::NO_CONTENT)
        }
    };
}
pub(crate) use entry_endpoints;
