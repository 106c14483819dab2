//! `/openapi.json`: what the code says about itself, and what holds for every operation alike.

use std::collections::HashSet;

use axum::http::Method;
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, HttpMethod, InfoBuilder, OpenApi, Ref, RefOr, ResponseBuilder, SecurityRequirement,
    path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem},
    schema::{ObjectBuilder, Type},
    security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa::{PartialSchema, ToSchema};

use super::error::Problem;
use crate::input::FieldError;

/// Completes what was collected from the routes.
pub fn complete(mut openapi: OpenApi) -> OpenApi {
    openapi.info = InfoBuilder::new()
        .title("rebilld")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Recurring billing. Amounts are integers in minor units, instants RFC 3339 in UTC. Lists are newest first. Any POST \
             takes an `Idempotency-Key`.",
        ))
        .build();
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    let ours = ComponentsBuilder::new()
        .security_scheme("key", bearer)
        .schema(Problem::name(), Problem::schema())
        .schema(FieldError::name(), FieldError::schema())
        .build();
    let mut components = openapi.components.take().unwrap_or_default();
    components.security_schemes.extend(ours.security_schemes);
    components.schemas.extend(ours.schemas);
    openapi.components = Some(components);
    openapi.security = Some(vec![SecurityRequirement::new("key", std::iter::empty::<String>())]);
    for item in openapi.paths.paths.values_mut() {
        for (method, operation) in operations(item) {
            refusals(operation);
            if method == HttpMethod::Post {
                takes_idempotency_key(operation);
            }
        }
    }
    openapi
}

/// The operations that read their query.
pub fn queried(openapi: &mut OpenApi) -> HashSet<(Method, String)> {
    let mut queried = HashSet::new();
    for (path, item) in &mut openapi.paths.paths {
        for (method, operation) in operations(item) {
            let parameters = operation.parameters.iter().flatten();
            let reads = |parameter: &Parameter| parameter.parameter_in == ParameterIn::Query;
            if parameters.into_iter().any(|parameter| matches!(parameter, RefOr::T(parameter) if reads(parameter))) {
                queried.insert((as_axum(&method), path.clone()));
            }
        }
    }
    queried
}

fn as_axum(method: &HttpMethod) -> Method {
    match method {
        HttpMethod::Put => Method::PUT,
        HttpMethod::Post => Method::POST,
        HttpMethod::Delete => Method::DELETE,
        HttpMethod::Patch => Method::PATCH,
        _ => Method::GET,
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (HttpMethod, &mut Operation)> {
    let PathItem { get, put, post, delete, patch, .. } = item;
    [
        (HttpMethod::Get, get),
        (HttpMethod::Put, put),
        (HttpMethod::Post, post),
        (HttpMethod::Delete, delete),
        (HttpMethod::Patch, patch),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

fn refusals(operation: &mut Operation) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
    let refused = ResponseBuilder::new().description("What is wrong.").content("application/problem+json", content).build();
    operation.responses.responses.insert("default".to_owned(), RefOr::T(refused));
}

fn takes_idempotency_key(operation: &mut Operation) {
    let key = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .description(Some("The same key and request get the same answer for 24 hours."))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String).max_length(Some(255))))
        .build();
    operation.parameters.get_or_insert_default().push(key.into());
}
