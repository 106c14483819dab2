//! `/v1/…/{id}/roll-out` and `/v1/roll-outs`: catalog edits taken to running subscriptions, listed first.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State, http::StatusCode};
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    billing::{
        App, BillingError,
        roll_outs::{self, Listed, PlanLine, SubscriptionLine},
    },
    domain::{
        id::{self, CustomerId, PlanId, RollOutId, SubscriptionId},
        invoice::Line,
        money::Currency,
        roll_out::{Effect, EntryType, Field, LeftAlone, Options, Overrides, RollOut, RollOutStatus},
    },
    http::{
        auth::Caller,
        body::{JsonBody, PathId, PathKey, QueryParams},
        error::Problem,
        page::{List, ListQuery},
    },
    input::{Preview, body},
    store,
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(of_plan))
        .routes(routes!(of_add_on))
        .routes(routes!(of_discount))
        .routes(routes!(list))
        .routes(routes!(get))
}

/// How many subscriptions are listed when nobody says.
const LIMIT: i64 = 50;

body! {
    /// First with `preview`, then again with the revision that the list had.
    pub struct RollOutInput {
        /// `period_end` (or `next_cycle`, as it was called before): from the next cycle on, without any charge now. `now`: where a paid
        /// period is running and its price changes, unused days are credited and the rest is charged; as `period_end` elsewhere.
        pub when: Effect,
        /// Fields of the entry; left out: all that subscriptions hold a copy of. Frequency and interval go together, and so do
        /// `business_day` and `holiday_calendar`; an amount stands for a percentage, too.
        pub fields: Option<Vec<Field>>,
        /// `keep`: a value that the entry has never had is the subscription's own, and stays.
        pub overrides: Overrides = Overrides::Keep,
        /// Whether a new frequency or interval leaves the old days in place; else each schedule starts anew.
        pub keep_anchor: bool = false,
        /// Of the list that is to be applied.
        pub revision: Option<String> line up to 64,
    }
}

// utoipa takes no generic type of ours as a body, but it takes this name.
type RollOutBody = Preview<RollOutInput>;

body! {
    pub struct RollOutQuery {
        /// Answer 200 once it is done, rather than 202 if there is much to do.
        pub wait: bool = false,
        /// How many subscriptions to list.
        pub limit: Option<i64> in 1..=250,
        /// List only those after this id, in order of their ids.
        pub after: Option<SubscriptionId>,
    }
}

body! {
    pub struct RollOutFilters {
        pub entry_id: Option<String> up to 100,
        pub status: Option<RollOutStatus>,
    }
}

/// The list of a preview, or the roll-out.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum PreviewOrRollOutAnswer {
    Listed(Box<RollOutPreviewAnswer>),
    RollOut(Box<RollOutAnswer>),
}

/// What would change.
#[derive(Debug, Serialize, ToSchema)]
pub struct RollOutPreviewAnswer {
    /// Send this revision with the request that applies the list.
    revision: String,
    /// The sums over all pages. Only the first page has them.
    totals: Option<RollOutTotalsAnswer>,
    /// Plans whose copy of an add-on or discount would change. Only the first page has them.
    plans: Vec<PlanLineAnswer>,
    /// The subscriptions, in order of their ids.
    data: Vec<SubscriptionLineAnswer>,
    has_more: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RollOutTotalsAnswer {
    /// The number of subscriptions that would change.
    subscriptions: i64,
    /// The number of subscriptions that would not change, by reason.
    #[schema(value_type = Object)]
    left_alone: LeftAlone,
    currencies: Vec<CurrencyTotalsAnswer>,
}

/// Amounts of the subscriptions that would change, minor units.
#[derive(Debug, Serialize, ToSchema)]
pub struct CurrencyTotalsAnswer {
    #[schema(value_type = String)]
    currency: Currency,
    subscriptions: i64,
    /// The sum of the charges now.
    amount: i64,
    /// The sum of the credits now.
    credit: i64,
    /// The sum of the next charges without the roll-out.
    next_before: i64,
    /// The sum of the next charges after the roll-out.
    next_after: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct PlanLineAnswer {
    #[schema(value_type = String)]
    plan_id: PlanId,
    name: String,
    /// The fields that differ.
    #[schema(value_type = Object)]
    before: Map<String, Value>,
    #[schema(value_type = Object)]
    after: Map<String, Value>,
}

/// What the roll-out would do to one subscription. Amounts in minor units.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubscriptionLineAnswer {
    #[schema(value_type = String)]
    subscription_id: SubscriptionId,
    #[schema(value_type = String)]
    customer_id: CustomerId,
    #[schema(value_type = String)]
    currency: Currency,
    /// The fields that differ.
    #[schema(value_type = Object)]
    before: Map<String, Value>,
    #[schema(value_type = Object)]
    after: Map<String, Value>,
    /// Fields whose values are the subscription's own and stay.
    kept: Vec<Field>,
    effective_date: NaiveDate,
    /// Of the invoice that would be opened now.
    lines: Vec<Line>,
    /// Their sum, before the customer's credit is used.
    amount: i64,
    /// What would go to the customer's credit.
    credit: i64,
    /// The next charge as things are; null when none is to come.
    next_before: Option<i64>,
    next_after: Option<i64>,
}

impl From<Listed> for RollOutPreviewAnswer {
    fn from(listed: Listed) -> Self {
        let plan = |line: PlanLine| {
            let PlanLine { plan_id, name, before, after } = line;
            PlanLineAnswer { plan_id, name, before, after }
        };
        let totals = listed.totals.map(|totals| RollOutTotalsAnswer {
            subscriptions: totals.subscriptions,
            left_alone: totals.left_alone,
            currencies: currencies(totals.currencies),
        });
        Self {
            revision: listed.revision,
            totals,
            plans: listed.plans.into_iter().map(plan).collect(),
            data: listed.lines.into_iter().map(SubscriptionLineAnswer::from).collect(),
            has_more: listed.has_more,
        }
    }
}

fn currencies(sums: BTreeMap<Currency, roll_outs::CurrencySums>) -> Vec<CurrencyTotalsAnswer> {
    let one = |(currency, sums): (Currency, roll_outs::CurrencySums)| {
        let roll_outs::CurrencySums { subscriptions, amount, credit, next_before, next_after } = sums;
        CurrencyTotalsAnswer { currency, subscriptions, amount, credit, next_before, next_after }
    };
    sums.into_iter().map(one).collect()
}

impl From<SubscriptionLine> for SubscriptionLineAnswer {
    fn from(line: SubscriptionLine) -> Self {
        let SubscriptionLine {
            subscription_id,
            customer_id,
            currency,
            before,
            after,
            kept,
            effective_date,
            lines,
            amount,
            credit,
            next_before,
            next_after,
        } = line;
        Self {
            subscription_id,
            customer_id,
            currency,
            before,
            after,
            kept,
            effective_date,
            lines,
            amount,
            credit,
            next_before,
            next_after,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RollOutAnswer {
    #[schema(value_type = String)]
    id: RollOutId,
    entry_type: EntryType,
    entry_id: String,
    when: Effect,
    /// Null: all.
    fields: Option<Vec<Field>>,
    overrides: Overrides,
    keep_anchor: bool,
    revision: String,
    status: RollOutStatus,
    plans_changed: i64,
    subscriptions_changed: i64,
    /// How many were left alone, by reason.
    #[schema(value_type = Object)]
    left_alone: LeftAlone,
    /// The id of the last subscription that was looked at, while it is running.
    done_through: Option<String>,
    /// The API key that asked for it.
    created_by: String,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

impl From<RollOut> for RollOutAnswer {
    fn from(roll_out: RollOut) -> Self {
        let Options { when, fields, overrides, keep_anchor } = roll_out.options;
        Self {
            id: roll_out.id,
            entry_type: roll_out.entry_type,
            entry_id: roll_out.entry_id,
            when,
            fields,
            overrides,
            keep_anchor,
            revision: roll_out.revision,
            status: roll_out.status,
            plans_changed: roll_out.plans_changed,
            subscriptions_changed: roll_out.subscriptions_changed,
            left_alone: roll_out.left_alone,
            done_through: roll_out.done_through,
            created_by: roll_out.actor,
            created_at: roll_out.created_at,
            finished_at: roll_out.finished_at,
        }
    }
}

/// Lists what rolling out a plan's edits would change, or does it.
#[utoipa::path(
    post, path = "/v1/plans/{id}/roll-out", tag = "roll-outs", params(("id" = String, Path), RollOutQuery), request_body = RollOutBody,
    responses((status = 200, body = PreviewOrRollOutAnswer), (status = 202, description = "It goes on by itself.", body = RollOutAnswer))
)]
async fn of_plan(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathKey(key): PathKey,
    QueryParams(query): QueryParams<RollOutQuery>,
    JsonBody(body): JsonBody<RollOutBody>,
) -> Result<(StatusCode, Json<PreviewOrRollOutAnswer>), Problem> {
    roll(&app, &caller, EntryType::Plan, &key, query, body).await
}

/// Lists what rolling out an add-on's edits would change, or does it. Plans that hold a copy change as well.
#[utoipa::path(
    post, path = "/v1/add-ons/{id}/roll-out", tag = "roll-outs", params(("id" = String, Path), RollOutQuery), request_body = RollOutBody,
    responses((status = 200, body = PreviewOrRollOutAnswer), (status = 202, description = "It goes on by itself.", body = RollOutAnswer))
)]
async fn of_add_on(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathKey(key): PathKey,
    QueryParams(query): QueryParams<RollOutQuery>,
    JsonBody(body): JsonBody<RollOutBody>,
) -> Result<(StatusCode, Json<PreviewOrRollOutAnswer>), Problem> {
    roll(&app, &caller, EntryType::AddOn, &key, query, body).await
}

/// Lists what rolling out a discount's edits would change, or does it. Plans that hold a copy change as well.
#[utoipa::path(
    post, path = "/v1/discounts/{id}/roll-out", tag = "roll-outs", params(("id" = String, Path), RollOutQuery), request_body = RollOutBody,
    responses((status = 200, body = PreviewOrRollOutAnswer), (status = 202, description = "It goes on by itself.", body = RollOutAnswer))
)]
async fn of_discount(
    State(app): State<Arc<App>>,
    caller: Caller,
    PathKey(key): PathKey,
    QueryParams(query): QueryParams<RollOutQuery>,
    JsonBody(body): JsonBody<RollOutBody>,
) -> Result<(StatusCode, Json<PreviewOrRollOutAnswer>), Problem> {
    roll(&app, &caller, EntryType::Discount, &key, query, body).await
}

async fn roll(
    app: &App,
    caller: &Caller,
    entry: EntryType,
    key: &str,
    query: RollOutQuery,
    Preview { input, preview }: RollOutBody,
) -> Result<(StatusCode, Json<PreviewOrRollOutAnswer>), Problem> {
    let RollOutInput { when, fields, overrides, keep_anchor, revision } = input;
    let options = Options { when, fields, overrides, keep_anchor };
    if preview {
        let limit = usize::try_from(query.limit.unwrap_or(LIMIT)).unwrap_or(1);
        let listed = roll_outs::list(app, entry, key, options, query.after, limit).await?;
        return Ok((StatusCode::OK, Json(PreviewOrRollOutAnswer::Listed(Box::new(listed.into())))));
    }
    for (field, given) in [("limit", query.limit.is_some()), ("after", query.after.is_some())] {
        if given {
            return Err(BillingError::invalid(field, "only goes with preview: true").into());
        }
    }
    let started = roll_outs::start(app, &caller.actor, entry, key, options, revision).await?;
    let latest = roll_outs::carry_on(app, started, query.wait).await?;
    let status = if latest.status == RollOutStatus::Done { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(PreviewOrRollOutAnswer::RollOut(Box::new(latest.into())))))
}

/// Lists roll-outs.
#[utoipa::path(get, path = "/v1/roll-outs", tag = "roll-outs", params(ListQuery<id::RollOut, RollOutFilters>), responses((status = 200, body = List<RollOutAnswer>)))]
async fn list(
    State(app): State<Arc<App>>,
    page: ListQuery<id::RollOut, RollOutFilters>,
) -> Result<Json<List<RollOutAnswer>>, Problem> {
    let RollOutFilters { entry_id, status } = page.filters.clone();
    let wanted = [("entry_id", entry_id), ("status", status.map(|status| status.to_string()))];
    let found = store::page::list::<RollOut>(&app.db, page.request(wanted)).await?;
    Ok(Json(List::of(found, RollOutAnswer::from)))
}

/// Shows a roll-out and how far it has come.
#[utoipa::path(get, path = "/v1/roll-outs/{id}", tag = "roll-outs", params(("id" = String, Path)), responses((status = 200, body = RollOutAnswer)))]
async fn get(State(app): State<Arc<App>>, PathId(id): PathId<id::RollOut>) -> Result<Json<RollOutAnswer>, Problem> {
    let found = store::roll_outs::get(&app.db, id).await?;
    Ok(Json(found.ok_or_else(|| BillingError::not_found("roll-out", id))?.into()))
}
