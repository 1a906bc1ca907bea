//! The pages of runs and pipelines.
use std::fmt::Write;

use hyper::Response;
use hyper::http::request::Parts;
use k2p_logs::rfc3339;
use k2p_pipelines::runs::{FinishedRun, PipelineSummary};
use k2p_runtime::http::{BoxBody, Query};

use super::super::runlogs::{RunLogs, text_of};
use super::super::runs::{self, Filter, RunsPage};
use super::super::sd::segment;
use super::super::{Exposer, respond};
use super::format::{count, span};
use super::html::{Tone, badge, cell, esc, table};
use super::sections::{document, empty, main_section, section};

/// `GET /runs`.
pub(in crate::expose) async fn runs(exposer: &Exposer, parts: &Parts, query: &Query) -> Response<BoxBody> {
    let filter = match Filter::of(query) {
        Ok(filter) => filter,
        Err(detail) => return respond::bad_request(&detail),
    };
    match runs::find(exposer, parts, &filter).await {
        Ok(page) => super::shown(document(exposer, "Runs", &list(&page, &filter, super::wall(exposer)))),
        Err(why) => runs::incomplete(&why),
    }
}

/// `GET /runs/{id}`.
pub(in crate::expose) async fn run(exposer: &Exposer, parts: &Parts, query: &Query, id: &str) -> Response<BoxBody> {
    match runs::find_run(exposer, parts, query, id).await {
        Ok(found) => {
            let body: String = found
                .runs
                .iter()
                .map(|found| one(&found.run, super::wall(exposer)) + &logs(&found.run, &found.logs))
                .collect();
            super::shown(document(exposer, &format!("Run {id}"), &body))
        }
        Err(response) => *response,
    }
}

/// `GET /pipelines`.
pub(in crate::expose) async fn pipelines(exposer: &Exposer, parts: &Parts) -> Response<BoxBody> {
    match runs::find_pipelines(exposer, parts).await {
        Ok(found) => super::shown(document(exposer, "Pipelines", &all_pipelines(&found))),
        Err(why) => runs::incomplete(&why),
    }
}

fn status_text(run: &FinishedRun) -> String {
    let text = serde_json::to_value(run.status).ok();
    text.as_ref().and_then(|t| t.as_str()).unwrap_or("UNKNOWN").to_owned()
}

fn status(run: &FinishedRun) -> String {
    let text = status_text(run);
    let tone = match text.as_str() {
        "SUCCEEDED" => Tone::Good,
        "QUEUED" | "RUNNING" | "PARTIAL" => Tone::Busy,
        "FAILED" | "LOST" => Tone::Bad,
        _ => Tone::Quiet,
    };
    let sla = if run.sla_missed { format!(" {}", badge(Tone::Bad, "SLA missed")) } else { String::new() };
    badge(tone, &text.to_lowercase()) + &sla
}

fn text(value: Option<&str>) -> String {
    value.map_or("–".to_owned(), |v| esc(v).into_owned())
}

fn run_path(run: &FinishedRun) -> String {
    format!("/runs/{}?pipeline={}", segment(&run.run_id), segment(&run.pipeline_id))
}

const RUN_COLUMNS: [(&str, &str); 7] = [
    ("", "Run"),
    ("", "Pipeline"),
    ("", "State"),
    ("num", "Started, ago"),
    ("num", "Took"),
    ("", "Step"),
    ("", "Owner"),
];

fn list(page: &RunsPage, filter: &Filter, wall: f64) -> String {
    let mut rows = String::new();
    for run in &page.runs {
        let name = format!("<a href=\"{}\">{}</a>", esc(&run_path(run)), esc(&run.run_id));
        let pipeline =
            format!("<a href=\"/runs?pipeline={}\">{}</a>", segment(&run.pipeline_id), esc(&run.pipeline_id));
        let cells = [
            cell("name key", "Run", &name),
            cell("name", "Pipeline", &pipeline),
            cell("", "State", &status(run)),
            cell("num", "Started, ago", &span(run.start_seconds.map(|s| wall - s))),
            cell("num", "Took", &span(run.duration_seconds)),
            cell("", "Step", &text(run.current_step.as_deref())),
            cell("", "Owner", &text(run.owner.as_deref())),
        ];
        let _infallible = write!(rows, "<tr>{}</tr>", cells.concat());
    }
    let table = match rows.is_empty() {
        true => empty("No run matches."),
        false => table("Runs, the last seen first", &RUN_COLUMNS, &rows),
    };
    let number = format!("{}{}", count(page.total as u64), if page.at_least { "+" } else { "" });
    main_section("runs", "Runs", &number, &(form(filter) + &table + &paging(page, filter)))
}

fn form(filter: &Filter) -> String {
    let value = |v: &Option<String>| v.as_deref().map(|v| esc(v).into_owned()).unwrap_or_default();
    format!(
        "<form class=\"search\" action=\"/runs\" role=\"search\">\
         <label for=\"pipeline\">Pipeline</label><input id=\"pipeline\" name=\"pipeline\" value=\"{}\" autocomplete=\"off\">\
         <label for=\"state\">State</label><input id=\"state\" name=\"status\" value=\"{}\" placeholder=\"failed\" autocomplete=\"off\">\
         <label for=\"owner\">Owner</label><input id=\"owner\" name=\"owner\" value=\"{}\" autocomplete=\"off\">\
         <button>Find</button></form>\n",
        value(&filter.pipeline),
        value(&filter.status),
        value(&filter.owner)
    )
}

fn paging(page: &RunsPage, filter: &Filter) -> String {
    if page.offset == 0 && !page.has_more {
        return String::new();
    }
    let mut query = String::new();
    for (name, value) in [("pipeline", &filter.pipeline), ("status", &filter.status), ("owner", &filter.owner)] {
        query.extend(value.as_ref().map(|v| format!("{name}={}&amp;", segment(v))));
    }
    let link = |offset: usize, text: &str, rel: &str| {
        format!("<a rel=\"{rel}\" href=\"/runs?{query}limit={}&amp;offset={offset}\">{text}</a>", page.limit)
    };
    let before = match page.offset {
        0 => String::new(),
        offset => link(offset.saturating_sub(page.limit), "Newer", "prev"),
    };
    let after = if page.has_more { link(page.offset + page.limit, "Older", "next") } else { String::new() };
    format!("<nav class=\"paging\" aria-label=\"Pages of runs\">{before}{after}</nav>\n")
}

fn one(run: &FinishedRun, wall: f64) -> String {
    let tiles = [
        ("State", status(run)),
        ("Took", span(run.duration_seconds)),
        ("Started, ago", span(run.start_seconds.map(|s| wall - s))),
        (
            "Attempt",
            format!("{} of {}", run.retry_count + 1, run.max_retries.map_or("?".to_owned(), |n| (n + 1).to_string())),
        ),
        ("SLA", span(run.sla_target_seconds)),
        ("Trigger", text(run.trigger_type.as_deref())),
        ("Triggered by", text(run.triggered_by.as_deref())),
        ("Owner", text(run.owner.as_deref())),
        ("Graph", text(run.dag_version.as_deref())),
    ];
    let tiles: String =
        tiles.iter().map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>")).collect();
    let head = format!(
        "<section>\n<h1>{}</h1>\n<p class=\"badges\"><a href=\"/runs?pipeline={}\">{}</a></p>\n<dl class=\"tiles\">{tiles}</dl>\n</section>\n",
        esc(&run.run_id),
        segment(&run.pipeline_id),
        esc(&run.pipeline_id)
    );
    [head, error(run), steps(run), lineage(run)].concat()
}

fn error(run: &FinishedRun) -> String {
    let Some(error) = &run.last_error else { return String::new() };
    let step = error.step.as_deref().map(|s| format!(" in {}", esc(s))).unwrap_or_default();
    let stack = error.stack.as_deref().map(|s| {
        // Wider than the screen: to be scrolled, also from the keyboard. Its lines are what makes a stack readable; each is escaped by itself.
        let lines: Vec<_> = s.lines().map(esc).collect();
        format!("<pre tabindex=\"0\" role=\"region\" aria-label=\"Stack\">{}</pre>", lines.join("\n"))
    });
    let body = format!(
        "<p class=\"why\">{}{step}: {}</p>{}\n",
        text(error.kind.as_deref()),
        text(error.message.as_deref()),
        stack.unwrap_or_default()
    );
    section("error", "Last error", "", &body)
}

const STEP_COLUMNS: [(&str, &str); 6] = [
    ("", "Step"),
    ("num", "Took"),
    ("num", "Rows read"),
    ("num", "Rows written"),
    ("num", "Log events"),
    ("num", "Errors"),
];

fn steps(run: &FinishedRun) -> String {
    let mut rows = String::new();
    for step in &run.steps {
        let open = if step.finished { String::new() } else { format!(" {}", badge(Tone::Busy, "open")) };
        let cells = [
            cell("name", "Step", &(esc(&step.name).into_owned() + &open)),
            cell("num", "Took", &span(step.duration_seconds)),
            cell("num", "Rows read", &count(step.rows_read.max(0.0) as u64)),
            cell("num", "Rows written", &count(step.rows_written.max(0.0) as u64)),
            cell("num", "Log events", &count(step.events)),
            cell("num", "Errors", &count(step.errors)),
        ];
        let _infallible = write!(rows, "<tr>{}</tr>", cells.concat());
    }
    if rows.is_empty() {
        return String::new();
    }
    section(
        "steps",
        "Steps",
        &run.steps.len().to_string(),
        &table("Steps, as they were first seen", &STEP_COLUMNS, &rows),
    )
}

const LINEAGE_COLUMNS: [(&str, &str); 5] =
    [("", "Dataset"), ("", "Operation"), ("", "Version"), ("", "Partition"), ("num", "Rows")];

fn lineage(run: &FinishedRun) -> String {
    let mut rows = String::new();
    for (operation, datasets) in [("read", &run.reads), ("write", &run.writes)] {
        for dataset in datasets {
            let cells = [
                cell("name key", "Dataset", &esc(&dataset.dataset)),
                cell("", "Operation", operation),
                cell("", "Version", &text(dataset.version.as_deref())),
                cell("", "Partition", &text(dataset.partition.as_deref())),
                cell("num", "Rows", &dataset.rows.map_or("–".to_owned(), |n| count(n.max(0.0) as u64))),
            ];
            let _infallible = write!(rows, "<tr>{}</tr>", cells.concat());
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let number = (run.reads.len() + run.writes.len()).to_string();
    section("lineage", "Lineage", &number, &table("Datasets read and written", &LINEAGE_COLUMNS, &rows))
}

const LOG_COLUMNS: [(&str, &str); 4] = [("", "Time"), ("", "Level"), ("", "Step"), ("", "Message")];

/// A page of the run's log events; why there is none, or not all.
fn logs(run: &FinishedRun, found: &RunLogs) -> String {
    let mut rows = String::new();
    for entry in &found.entries {
        let field = |name: &str| text(text_of(entry, name).as_deref());
        let level = text_of(entry, "k2p_level").unwrap_or_default();
        let tone = match level.as_str() {
            "ERROR" | "FATAL" => Tone::Bad,
            "WARN" => Tone::Busy,
            _ => Tone::Quiet,
        };
        let level = if level.is_empty() { "–".to_owned() } else { badge(tone, &level.to_lowercase()) };
        let cells = [
            cell("", "Time", &esc(&rfc3339(entry.at))),
            cell("", "Level", &level),
            cell("", "Step", &field("step")),
            cell("detail", "Message", &field("message")),
        ];
        let _infallible = write!(rows, "<tr>{}</tr>", cells.concat());
    }
    let unknown = found.unknown.as_deref().map(|why| empty(&format!("Not all log events are known: {why}.")));
    let table = match rows.is_empty() {
        true if unknown.is_some() => String::new(),
        true => empty("No log event names this run or one of its correlation ids."),
        false => table("Log events, as they arrived", &LOG_COLUMNS, &rows),
    };
    let more = found.cursor.as_deref().map(|cursor| {
        let path = format!("{}&logs_cursor={}", run_path(run), segment(cursor));
        format!(
            "<nav class=\"paging\" aria-label=\"Pages of log events\"><a rel=\"next\" href=\"{}\">Later</a></nav>\n",
            esc(&path)
        )
    });
    let body = [unknown.unwrap_or_default(), table, more.unwrap_or_default()].concat();
    section("logs", "Log events", &found.entries.len().to_string(), &body)
}

const PIPELINE_COLUMNS: [(&str, &str); 8] = [
    ("", "Pipeline"),
    ("num", "Running"),
    ("num", "Queued"),
    ("num", "24 h"),
    ("num", "7 d"),
    ("num", "30 d"),
    ("num", "p95"),
    ("", "Last failure"),
];

fn all_pipelines(found: &[PipelineSummary]) -> String {
    let mut rows = String::new();
    for pipeline in found {
        let rate = |ratio: Option<f64>| ratio.map_or("–".to_owned(), |r| format!("{:.1} %", r * 100.0));
        let name =
            format!("<a href=\"/runs?pipeline={}\">{}</a>", segment(&pipeline.pipeline_id), esc(&pipeline.pipeline_id));
        let failure = pipeline.last_failure.as_ref().map_or("–".to_owned(), |f| {
            let path = format!("/runs/{}?pipeline={}", segment(&f.run_id), segment(&pipeline.pipeline_id));
            let what = f.message.as_deref().or(f.error_type.as_deref()).unwrap_or("failed");
            format!("<a href=\"{}\">{}</a>", esc(&path), esc(what))
        });
        let summary = &pipeline.summary;
        let cells = [
            cell("name key", "Pipeline", &name),
            cell("num", "Running", &pipeline.running.to_string()),
            cell("num", "Queued", &pipeline.queued.to_string()),
            cell("num", "24 h", &rate(summary.last_24h.ratio)),
            cell("num", "7 d", &rate(summary.last_7d.ratio)),
            cell("num", "30 d", &rate(summary.last_30d.ratio)),
            cell("num", "p95", &span(summary.p95_duration_seconds)),
            cell("detail", "Last failure", &failure),
        ];
        let _infallible = write!(rows, "<tr>{}</tr>", cells.concat());
    }
    let body = match rows.is_empty() {
        true => empty("No pipeline has sent an event yet."),
        false => table("Pipelines: attempts that succeeded, of those that ended", &PIPELINE_COLUMNS, &rows),
    };
    main_section("pipelines", "Pipelines", &found.len().to_string(), &body)
}
