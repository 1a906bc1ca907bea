//! The table of what the bridge answers.
use k2p_core::ownership::State;
use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use super::super::{admin, api, events, explain, groups, runs, sd};
use crate::live::Policy;

/// One path with one method.
pub(super) struct Operation {
    pub(super) path: &'static str,
    /// In lower case.
    pub(super) method: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) parameters: Vec<Parameter>,
    /// What is posted.
    pub(super) takes: Option<Takes>,
    /// What it answers if all is well: code, meaning, body.
    pub(super) answers: Vec<(u16, &'static str, Answer)>,
    /// With a problem.
    pub(super) errors: &'static [u16],
}

/// The body of an answer.
pub(super) enum Answer {
    Nothing,
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// Text of one of these types.
    Text(&'static [&'static str]),
}

/// The body of a request.
pub(super) struct Takes {
    pub(super) about: &'static str,
    pub(super) types: &'static [&'static str],
}

pub(super) enum Place {
    Path,
    Query,
    Header,
}

pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) place: Place,
    pub(super) required: bool,
    pub(super) about: &'static str,
    pub(super) schema: Value,
}

impl Operation {
    /// Its name for generated clients.
    pub(super) fn id(&self) -> String {
        let path = self.path.replace("/api/v1", "/api").replace(['{', '}'], "");
        let words = path.split(['/', '-', '.', '_']).filter(|word| !word.is_empty());
        let mut id = self.method.to_owned();
        for word in words {
            let (first, rest) = word.split_at(1);
            id += &first.to_uppercase();
            id += rest;
        }
        id
    }

    fn with(mut self, parameters: Vec<Parameter>) -> Operation {
        self.parameters.extend(parameters);
        self
    }

    fn fails(mut self, errors: &'static [u16]) -> Operation {
        self.errors = errors;
        self
    }

    fn takes(mut self, about: &'static str, types: &'static [&'static str]) -> Operation {
        self.takes = Some(Takes { about, types });
        self
    }

    fn or(mut self, code: u16, about: &'static str, answer: Answer) -> Operation {
        self.answers.push((code, about, answer));
        self
    }
}

fn operation(
    method: &'static str,
    path: &'static str,
    tag: &'static str,
    summary: &'static str,
    answer: Answer,
) -> Operation {
    let answers = vec![(200, "As asked.", answer)];
    Operation { path, method, tag, summary, parameters: Vec::new(), takes: None, answers, errors: &[400] }
}

fn of<T: JsonSchema>() -> Answer {
    Answer::Json(SchemaGenerator::subschema_for::<T>)
}

fn parameter(name: &'static str, place: Place, about: &'static str, schema: Value) -> Parameter {
    let required = matches!(place, Place::Path);
    Parameter { name, place, required, about, schema }
}

fn path_parameter(name: &'static str, about: &'static str) -> Parameter {
    parameter(name, Place::Path, about, json!({"type": "string", "minLength": 1}))
}

fn text(name: &'static str, about: &'static str) -> Parameter {
    parameter(name, Place::Query, about, json!({"type": "string"}))
}

fn required(parameter: Parameter) -> Parameter {
    Parameter { required: true, ..parameter }
}

fn number(name: &'static str, about: &'static str, min: usize, max: usize, default: usize) -> Parameter {
    let schema = json!({"type": "integer", "minimum": min, "maximum": max, "default": default});
    parameter(name, Place::Query, about, or_empty(&schema))
}

/// One of these names, or nothing.
fn one_of(name: &'static str, about: &'static str, names: &[&str]) -> Parameter {
    let names = [names, &[""]].concat();
    parameter(name, Place::Query, about, json!({"type": "string", "enum": names}))
}

fn seconds(name: &'static str, about: &'static str) -> Parameter {
    parameter(name, Place::Query, about, or_empty(&json!({"type": "number"})))
}

/// Forms send what was not filled in as empty parameters.
fn or_empty(schema: &Value) -> Value {
    json!({"anyOf": [schema, {"const": ""}]})
}

fn slice(default: usize, max_offset: usize, max_limit: usize) -> Vec<Parameter> {
    vec![
        number("offset", "So many are left out before the answer.", 0, max_offset, 0),
        number("limit", "At most so many are answered.", 1, max_limit, default),
    ]
}

/// What a scrape may be answered with.
const EXPOSITIONS: &[&str] = &["text/plain", "application/openmetrics-text", "application/vnd.google.protobuf"];
const PLAIN: &[&str] = &["text/plain"];
const LEVELS: &[&str] = &["trace", "debug", "info", "warn", "error", "fatal"];

/// Every operation.
pub(super) fn all() -> Vec<Operation> {
    [scrapes(), bridge(), pushes(), pipelines(), jobs(), administration()].into_iter().flatten().collect()
}

fn scrapes() -> Vec<Operation> {
    let timeout = || {
        let about = "Seconds that the client will wait; what is no number is ignored.";
        parameter("X-Prometheus-Scrape-Timeout-Seconds", Place::Header, about, json!({"type": "string"}))
    };
    let scrape = |path, summary| operation("get", path, "scrapes", summary, Answer::Text(EXPOSITIONS));
    vec![
        scrape("/metrics", "Everything live on this bridge, and its own metrics")
            .with(vec![text("origin", "Only origins that match, e.g. {cluster=\"acme\"}."), timeout()])
            .fails(&[400, 503]),
        scrape("/metrics/self", "The bridge's own metrics").with(vec![timeout()]).fails(&[400, 503]),
        scrape("/origins/{key}/metrics", "One origin, from any bridge")
            .with(vec![path_parameter("key", "The origin's key in canonical form."), timeout()])
            .fails(&[400, 404, 410, 503]),
        scrape("/partitions/{topic}/{partition}/metrics", "One partition, from any bridge")
            .with(vec![
                path_parameter("topic", "A topic that the bridge consumes."),
                parameter(
                    "partition",
                    Place::Path,
                    "Its number.",
                    json!({"type": "integer", "minimum": 0, "maximum": i32::MAX}),
                ),
                timeout(),
            ])
            .or(307, "Its owner, where web.route is redirect.", Answer::Nothing)
            .fails(&[400, 404, 502, 503]),
        operation("get", "/sd", "scrapes", "Prometheus HTTP service discovery", of::<Vec<sd::Target>>())
            .with(vec![one_of(
                "by",
                "A target for each partition (default), or for each origin.",
                &["partition", "origin"],
            )])
            .fails(&[400, 503]),
    ]
}

fn bridge() -> Vec<Operation> {
    let get = |path, summary, answer| operation("get", path, "bridge", summary, answer);
    let states = State::ALL.map(State::as_str);
    let max = i32::MAX as usize;
    vec![
        get("/api/v1/status", "This bridge", of::<api::Status<'static>>()),
        get("/api/v1/origins", "The origins of this bridge", of::<api::Origins>())
            .with(vec![
                text("search", "In the key, case ignored."),
                text("topic", "Of this topic."),
                one_of("up", "With a dump that is not stale, or without.", &["true", "false"]),
            ])
            .with(slice(1000, max, 100_000)),
        get("/api/v1/partitions", "The partitions of the group", of::<api::Partitions>())
            .with(vec![
                text("topic", "Of this topic."),
                text("owner", "Held by the bridge of this address."),
                one_of("state", "In this state on this bridge.", &states),
            ])
            .with(slice(1000, max, 100_000)),
        get("/api/v1/explain", "Why an origin or a metric is there, or missing", of::<explain::Explanation>()).with(
            vec![
                required(parameter(
                    "origin",
                    Place::Query,
                    "Its key or labels.",
                    json!({"type": "string", "minLength": 1}),
                )),
                text("metric", "A metric of its dump."),
            ],
        ),
        get("/api/v1/openapi.json", "This description", Answer::Json(|_| json_object())),
        get("/-/healthy", "Whether the process is sound", Answer::Text(PLAIN)).fails(&[400, 500]),
        get("/-/ready", "Whether every assigned partition can be scraped", Answer::Text(PLAIN)).fails(&[400, 503]),
    ]
}

fn json_object() -> Schema {
    schemars::json_schema!({"type": "object"})
}

/// As the Pushgateway's clients know it: refusals are plain text.
fn pushes() -> Vec<Operation> {
    let plain = |code, about| (code, about, Answer::Text(PLAIN));
    let pushed = |method, path, summary| {
        let id = "INCARNATION;SEQUENCE: a repetition counts once.";
        let mut push = operation(method, path, "pushes", summary, Answer::Nothing)
            .with(vec![
                path_parameter("job", "The group's job."),
                text("ttl", "When the group goes if it is not pushed before, e.g. 1d."),
                text("topic", "Which topic of pushes, where there are several."),
                parameter("k2p-id", Place::Header, id, json!({"type": "string"})),
            ])
            .fails(&[404]);
        push.answers.extend([
            plain(400, "Not a push, and why."),
            plain(408, "The body did not come in time."),
            plain(413, "The body is too large."),
            plain(415, "A content encoding that is not known."),
            plain(429, "Too many pushes of this client."),
            plain(503, "Not known to be in Kafka: send it again."),
        ]);
        push
    };
    let job = "/metrics/job/{job}";
    let body = "Text format, OpenMetrics or delimited protobuf; plain, gzip, zstd or snappy.";
    let types: &[&str] = &["text/plain", "application/openmetrics-text", "application/vnd.google.protobuf"];
    let mut delete = pushed("delete", job, "Removes a group");
    delete.answers[0] = (202, "Removed.", Answer::Nothing);
    let get = |path, summary, answer| operation("get", path, "pushes", summary, answer);
    vec![
        get("/api/v1/groups", "The pushed groups", of::<groups::Groups>())
            .with(vec![
                text("search", "In the grouping key, case ignored."),
                text("job", "Of this job."),
                one_of("failed", "Whose last push failed, or did not.", &["true", "false"]),
            ])
            .with(slice(100, 100_000, 1000))
            .fails(&[400, 503]),
        get("/api/v1/groups/{key}", "One group and what it holds", of::<groups::GroupText>())
            .with(vec![path_parameter("key", "Its grouping key in canonical form.")])
            .fails(&[400, 404, 503]),
        get("/api/v1/metrics", "All groups as a Pushgateway says them", of::<groups::Metrics>()).fails(&[400, 503]),
        pushed("put", job, "Replaces a group; labels follow the job: /label/value").takes(body, types),
        pushed("post", job, "Replaces the families of the same name in a group").takes(body, types),
        delete,
    ]
}

fn pipelines() -> Vec<Operation> {
    let get = |path, summary, answer| operation("get", path, "pipelines", summary, answer);
    vec![
        get("/api/v1/runs", "Runs, the last seen first", of::<runs::RunsPage>())
            .with(vec![
                text("pipeline", "Of this pipeline."),
                text("status", "QUEUED, RUNNING, SUCCEEDED, FAILED, PARTIAL or LOST."),
                text("owner", "Of this owner."),
                seconds("since", "Last seen not before, Unix seconds."),
                seconds("until", "First seen not after, Unix seconds."),
            ])
            .with(slice(100, 100_000, 1000))
            .fails(&[400, 503]),
        get("/api/v1/runs/{id}", "The runs of that id, with their log events", of::<runs::RunsOfId>())
            .with(vec![
                path_parameter("id", "The run's id."),
                text("pipeline", "Of this pipeline."),
                number("logs_limit", "At most so many log events.", 0, 1000, 100),
                one_of("logs_level", "Not below.", LEVELS),
                text("logs_cursor", "Where an earlier answer ended."),
            ])
            .fails(&[400, 404, 503]),
        get("/api/v1/pipelines", "How the pipelines do", of::<runs::Pipelines>()).fails(&[400, 503]),
        operation(
            "post",
            "/api/v1/events",
            "pipelines",
            "Takes events; answered when Kafka has them",
            of::<events::Answer>(),
        )
        .takes(
            "One JSON object a line (schemas: deploy/docs); plain, gzip, zstd or snappy.",
            &["application/x-ndjson", "application/json", "text/plain"],
        )
        .with(vec![
            text("topic", "Which topic of events, where there are several."),
            parameter(
                "k2p-id",
                Place::Header,
                "INCARNATION;SEQUENCE: a repetition counts once.",
                json!({"type": "string"}),
            ),
        ])
        .fails(&[400, 404, 408, 413, 415, 429, 503]),
    ]
}

fn jobs() -> Vec<Operation> {
    let get = |path, summary, answer| operation("get", path, "jobs", summary, answer);
    let cursor = || text("cursor", "Where an earlier answer ended.");
    let limit = || number("limit", "At most so many.", 1, k2p_logs::MAX_LIMIT, 1000);
    let id = || path_parameter("id", "The job's id.");
    vec![
        get("/api/v1/jobs", "Jobs that have logs", of::<k2p_logs::Jobs>())
            .with(vec![limit(), cursor()])
            .fails(&[400, 404, 503]),
        get("/api/v1/jobs/{id}/logs", "A page of a job's log", of::<k2p_logs::Page>())
            .with(vec![
                id(),
                text("since", "RFC 3339, or Unix seconds, milliseconds or nanoseconds."),
                one_of("level", "Not below.", LEVELS),
                limit(),
                cursor(),
            ])
            .fails(&[400, 404, 503]),
        get("/api/v1/jobs/{id}/metrics", "A job's metric points", Answer::Text(PLAIN))
            .with(vec![id()])
            .fails(&[400, 404, 503]),
    ]
}

fn administration() -> Vec<Operation> {
    let policies = Policy::ALL.map(Policy::as_str);
    let both = |path, summary, errors| {
        ["post", "put"]
            .map(|method| operation(method, path, "administration", summary, Answer::Text(PLAIN)).fails(errors))
    };
    let mut all = vec![
        operation(
            "put",
            "/api/v1/admin/policy",
            "administration",
            "Switches a topic's policy",
            of::<admin::Switched<'static>>(),
        )
        .with(vec![
            required(text("topic", "A topic that the bridge consumes.")),
            required(parameter(
                "policy",
                Place::Query,
                "What it does when it falls behind.",
                json!({"type": "string", "enum": policies}),
            )),
        ])
        .fails(&[400, 403, 404]),
        operation(
            "delete",
            "/api/v1/origins/{key}",
            "administration",
            "Removes an origin",
            of::<admin::Forgotten<'static>>(),
        )
        .with(vec![path_parameter("key", "The origin's key in canonical form.")])
        .fails(&[400, 403, 404, 503]),
    ];
    let mut wipe =
        operation("put", "/api/v1/admin/wipe", "administration", "Removes every pushed group", Answer::Nothing);
    wipe.answers = vec![(202, "Removed.", Answer::Nothing)];
    all.push(wipe.fails(&[400, 403, 404, 503]));
    all.extend(both("/-/reload", "Reads the configuration again", &[400, 403, 500]));
    all.extend(both("/-/drain", "Hands every partition over (admin API)", &[400, 403, 500]));
    all
}
