//! `/v1/events`: the record of everything that happened.

use std::sync::Arc;

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    billing::App,
    domain::{
        event::Event,
        id::{self, ClockId, EventId},
    },
    http::{
        error::Problem,
        page::{List, ListQuery},
    },
    input::body,
    store,
};

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list))
}

body! {
    pub struct EventFilters {
        /// Only this kind of event, such as `invoice.paid`.
        pub r#type: Option<String> up to 100,
        /// Only events of the record with this id.
        pub subject: Option<String> up to 100,
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct EventAnswer {
    #[schema(value_type = String)]
    id: EventId,
    #[serde(rename = "type")]
    kind: String,
    /// The id of the record that the event is about.
    subject: String,
    /// `system`, or the id of the API key of the request.
    actor: String,
    data: Value,
    /// The test clock of the event; null: the wall clock.
    #[schema(value_type = Option<String>)]
    clock_id: Option<ClockId>,
    /// The instant of the event by that clock, UTC.
    occurred_at: DateTime<Utc>,
}

impl From<Event> for EventAnswer {
    fn from(event: Event) -> Self {
        let Event { id, timeline, kind, subject, actor, data, occurred_at } = event;
        Self { id, kind, subject, actor, data, clock_id: timeline.clock_id(), occurred_at }
    }
}

/// Lists events.
#[utoipa::path(get, path = "/v1/events", tag = "events", params(ListQuery<id::Event, EventFilters>), responses((status = 200, body = List<EventAnswer>)))]
async fn list(State(app): State<Arc<App>>, page: ListQuery<id::Event, EventFilters>) -> Result<Json<List<EventAnswer>>, Problem> {
    let filters = &page.filters;
    let wanted = [("type", &filters.r#type), ("subject", &filters.subject)].map(|(column, text)| (column, text.clone()));
    let found = store::page::list::<Event>(&app.db, page.request(wanted)).await?;
    Ok(Json(List::of(found, EventAnswer::from)))
}
