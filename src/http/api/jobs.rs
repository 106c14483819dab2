//! `/v1/jobs` and `/v1/runs`: what happens by itself, and what happened.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    billing::App,
    domain::id::{self, RunId},
    http::{
        body::{OptionalJsonBody, QueryParams},
        error::Problem,
        page::{List, ListQuery, NoFilters},
    },
    input::body,
    jobs::{JOBS, Job, JobSchedule},
    store::{
        self,
        page::{PageRows, Request},
        runs::JobRun,
    },
};

/// How long a run that was asked for is waited for.
const TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

pub fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(run)).routes(routes!(runs))
}

#[derive(Debug, Serialize, ToSchema)]
pub struct RunAnswer {
    #[schema(value_type = String)]
    id: RunId,
    job: String,
    /// Name of the daemon that ran it.
    instance: String,
    /// `ok` or `failed`.
    result: String,
    /// What it did.
    #[schema(value_type = Object)]
    counts: Map<String, Value>,
    error: Option<String>,
    started_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
}

impl From<JobRun> for RunAnswer {
    fn from(run: JobRun) -> Self {
        let JobRun { id, job, instance, result, counts, error, started_at, ended_at } = run;
        Self { id, job, instance, result, counts, error, started_at, ended_at }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct JobAnswer {
    name: &'static str,
    about: &'static str,
    /// A cron expression of six fields in UTC, or `every 1s`: correctness never depends on it.
    schedule: String,
    /// The newest one in the history; runs that found nothing to do are not kept.
    last_run: Option<RunAnswer>,
}

body! {
    pub struct RunFilters {
        /// Only runs of this job.
        pub job: Option<String> up to 100,
    }
}

async fn newest(app: &App, job: &str, instance: Option<&str>) -> Result<Option<JobRun>, Problem> {
    let instance = instance.map(|name| ("instance", name.to_owned()));
    let request =
        Request { filters: [("job", job.to_owned())].into_iter().chain(instance).collect(), limit: 1, ..Request::default() };
    Ok(store::page::list::<JobRun>(&app.db, request).await?.rows.into_iter().next())
}

/// Lists the jobs.
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", responses((status = 200, body = List<JobAnswer>)))]
async fn list(State(app): State<Arc<App>>, _: QueryParams<NoFilters>) -> Result<Json<List<JobAnswer>>, Problem> {
    let mut rows = Vec::new();
    for Job { name, about, schedule, .. } in JOBS {
        let schedule = match schedule {
            JobSchedule::EveryTick => format!("every {:?}", app.config.jobs.tick),
            JobSchedule::Cron(expression) => (*expression).to_owned(),
        };
        rows.push(JobAnswer { name, about, schedule, last_run: newest(&app, name, None).await?.map(RunAnswer::from) });
    }
    Ok(Json(List::of(PageRows { rows, has_more: false }, |job| job)))
}

/// Runs a job now, or once more after the run that is under way.
#[utoipa::path(
    post, path = "/v1/jobs/{name}/run", tag = "jobs", params(("name" = String, Path)),
    responses((status = 200, body = RunAnswer), (status = 202, description = "It was asked to run and has not ended yet.", body = Object))
)]
async fn run(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    OptionalJsonBody(NoFilters {}): OptionalJsonBody<NoFilters>,
) -> Result<Response, Problem> {
    let Some(job) = JOBS.iter().find(|job| job.name == name) else {
        let names: Vec<&str> = JOBS.iter().map(|job| job.name).collect();
        return Err(Problem::not_found(format!("There is no such job; the jobs are {}.", names.join(", "))));
    };
    // Another daemon's run says nothing about what is asked of this one.
    let here = Some(app.instance.as_str());
    let before = newest(&app, job.name, here).await?.map(|run| run.id);
    app.requested_runs.add(job.name);
    (job.wake)(&app.wakeups).notify_one();
    let ended = async {
        loop {
            match newest(&app, job.name, here).await {
                Ok(Some(run)) if Some(run.id) != before => return Ok(run),
                Ok(_) => tokio::time::sleep(POLL).await,
                Err(problem) => return Err(problem),
            }
        }
    };
    tokio::select! {
        run = ended => Ok(Json(RunAnswer::from(run?)).into_response()),
        () = app.stopping.cancelled() => Ok(asked(job)),
        () = tokio::time::sleep(TIMEOUT) => Ok(asked(job)),
    }
}

fn asked(job: &Job) -> Response {
    (StatusCode::ACCEPTED, Json(json!({"job": job.name, "result": "asked"}))).into_response()
}

/// Lists the runs that did something, were asked for, or failed.
#[utoipa::path(get, path = "/v1/runs", tag = "jobs", params(ListQuery<id::Run, RunFilters>), responses((status = 200, body = List<RunAnswer>)))]
async fn runs(State(app): State<Arc<App>>, page: ListQuery<id::Run, RunFilters>) -> Result<Json<List<RunAnswer>>, Problem> {
    let job = page.filters.job.clone();
    let found = store::page::list::<JobRun>(&app.db, page.request([("job", job)])).await?;
    Ok(Json(List::of(found, RunAnswer::from)))
}
