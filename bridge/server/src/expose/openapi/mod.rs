//! `GET /api/v1/openapi.json`: the HTTP face described for programs, OpenAPI 3.1.
//!
//! The schemas are made of the very types that are serialised; paths, methods and parameters
//! stand in one table ([`operations`]), which a test holds against the routes.
mod operations;

use std::sync::OnceLock;

use bytes::Bytes;
use hyper::{Response, StatusCode};
use k2p_runtime::http::{BoxBody, text};
use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use super::BuildInfo;
use operations::{Answer, Operation, Parameter, Place, Takes};

/// An error, RFC 9457.
#[derive(JsonSchema, serde::Deserialize)]
#[allow(dead_code, reason = "what it describes is written by k2p_runtime::http::problem")]
struct Problem {
    /// Always `about:blank`: the title names the kind.
    r#type: String,
    /// The kind of error.
    title: String,
    /// The HTTP status.
    status: u16,
    /// The cause and the remedy.
    detail: String,
}

pub(super) fn answer(build: &BuildInfo) -> Response<BoxBody> {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    let document = DOCUMENT.get_or_init(|| Bytes::from(document(build).to_string()));
    text(StatusCode::OK, "application/json", document.clone())
}

fn document(build: &BuildInfo) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into());
    let mut schemas = settings.for_serialize().into_generator();
    let problem = schemas.subschema_for::<Problem>();
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations::all() {
        let described = describe(&operation, &mut schemas, problem.as_value());
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = described;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Kafka2Prom bridge",
            "version": build.version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Any bridge of a group answers for all, or says 503 where it cannot. \
                Errors are application/problem+json with the cause and the remedy.",
        },
        "paths": paths,
        "components": {"schemas": schemas.take_definitions(true)},
    })
}

fn describe(operation: &Operation, schemas: &mut SchemaGenerator, problem: &Value) -> Value {
    let mut responses = Map::new();
    for (code, about, answer) in &operation.answers {
        responses.insert(code.to_string(), response(about, answer, schemas));
    }
    for code in operation.errors {
        let about = StatusCode::from_u16(*code).ok().and_then(|s| s.canonical_reason()).unwrap_or_default();
        let content = json!({"application/problem+json": {"schema": problem}});
        responses.insert(code.to_string(), json!({"description": about, "content": content}));
    }
    let parameters: Vec<Value> = operation.parameters.iter().map(parameter).collect();
    let mut described = json!({
        "operationId": operation.id(),
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(Takes { about, types }) = &operation.takes {
        let content: Map<String, Value> = types.iter().map(|t| ((*t).to_owned(), json!({"schema": {}}))).collect();
        described["requestBody"] = json!({"description": about, "required": true, "content": content});
    }
    described
}

fn response(about: &str, answer: &Answer, schemas: &mut SchemaGenerator) -> Value {
    let mut content = Map::new();
    match answer {
        Answer::Nothing => {}
        Answer::Json(schema) => {
            content.insert("application/json".to_owned(), json!({"schema": schema(schemas)}));
        }
        Answer::Text(types) => {
            content.extend(types.iter().map(|t| ((*t).to_owned(), json!({"schema": {"type": "string"}}))));
        }
    }
    json!({"description": about, "content": content})
}

fn parameter(parameter: &Parameter) -> Value {
    let place = match parameter.place {
        Place::Path => "path",
        Place::Query => "query",
        Place::Header => "header",
    };
    json!({
        "name": parameter.name,
        "in": place,
        "required": parameter.required,
        "description": parameter.about,
        "schema": parameter.schema,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::route::Route;
    use super::*;

    fn described() -> Value {
        document(&BuildInfo { version: "1.2.3".to_owned(), revision: "abc".to_owned() })
    }

    /// A path of that template, with something for each variable.
    fn example(path: &str) -> String {
        path.replace("{partition}", "0").replace(['{', '}'], "")
    }

    #[test]
    fn every_operation_is_a_route_with_that_method() {
        for operation in operations::all() {
            let path = example(operation.path);
            let route = Route::find(&path).unwrap_or_else(|e| panic!("{path}: {e:?}"));
            let method = operation.method.to_uppercase();
            assert!(route.allows(&method), "{method} {path}: it answers {}", route.allow());
        }
    }

    /// What a program may ask for is described; pages, their files and the peers' own are not.
    #[test]
    fn every_route_is_described() {
        let described: Vec<_> = operations::all().iter().map(|o| (example(o.path), o.method.to_uppercase())).collect();
        for path in Route::FIXED {
            let route = Route::find(path).unwrap();
            let aside = ["/internal/", "/static/"].iter().any(|p| path.starts_with(p));
            if aside || matches!(route, Route::Page | Route::RunsPage | Route::PipelinesPage | Route::GroupsPage) {
                continue;
            }
            for method in route.allow().split(", ").filter(|m| *m != "HEAD") {
                let found = described.iter().any(|(p, m)| p == path && m == method);
                assert!(found, "{method} {path} is not in the OpenAPI description");
            }
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = described();
        let text = document.to_string();
        let mut seen = 0;
        for reference in text.split("\"$ref\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
            seen += 1;
        }
        assert!(seen > 20, "{seen}");
        assert!(!text.contains("$defs"), "a schema that OpenAPI does not find");
    }

    #[tokio::test]
    async fn errors_are_as_they_are_described() {
        use http_body_util::BodyExt;
        let response = super::super::respond::bad_request("The parameter limit must be a number.");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem.status, 400);
    }

    #[test]
    fn names_of_operations_are_unique() {
        let mut ids: Vec<String> = operations::all().iter().map(Operation::id).collect();
        ids.sort();
        let all = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }
}
