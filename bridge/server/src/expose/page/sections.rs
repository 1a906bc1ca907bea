//! The sections of the page.
use std::fmt::Write;

use super::super::Exposer;
use super::super::list::{Here, OriginInfo, PartitionInfo};
use super::super::sd::{origin_path, segment};
use super::Status;
use super::format::{bytes, count, duration};
use super::html::{Tone, badge, cell, esc, table};
use crate::live::Marker;
use k2p_core::merge::ConflictKind;
use k2p_core::ownership::State;

/// What the status page shows.
pub(super) fn render(status: &Status<'_>) -> String {
    [summary(status), partitions(status), origins(status), refusals(status), conflicts(status)].concat()
}

/// A whole document; `title` is text, `main` is markup.
pub(super) fn document(exposer: &Exposer, title: &str, main: &str) -> String {
    let build = &exposer.state.build;
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title} · Kafka2Prom</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <link rel=\"stylesheet\" href=\"/static/status.css\">\n\
         <script src=\"/static/status.js\" defer></script>\n</head>\n<body>\n\
         <header><div class=\"wide\"><p class=\"brand\"><a href=\"/\">Kafka2Prom</a></p>\
         <nav aria-label=\"Elsewhere on this bridge\">{pipelines}{groups}<a href=\"/metrics\">Metrics</a>\
         <a href=\"/metrics/self\">Own metrics</a><a href=\"/sd\">Discovery</a>\
         <a href=\"/api/v1/status\">JSON</a></nav></div></header>\n\
         <main class=\"wide\" id=\"status\">\n{main}</main>\n\
         <footer class=\"wide\"><p>Kafka2Prom {version} ({revision}). \
         <span id=\"refresh\" role=\"status\">Reload the page to see what is new.</span></p></footer>\n\
         </body>\n</html>\n",
        title = esc(title),
        pipelines = pipelines(exposer),
        groups = groups(exposer),
        version = esc(&build.version),
        revision = esc(&build.revision),
    )
}

/// Links to what only topics of events fill.
fn pipelines(exposer: &Exposer) -> &'static str {
    match exposer.config.topics.iter().any(|t| t.kind == "events") {
        true => "<a href=\"/pipelines\">Pipelines</a><a href=\"/runs\">Runs</a>",
        false => "",
    }
}

/// A link to what only topics of pushes fill.
fn groups(exposer: &Exposer) -> &'static str {
    match exposer.config.topics.iter().any(|t| t.kind == "push") {
        true => "<a href=\"/groups\">Groups</a>",
        false => "",
    }
}

fn summary(status: &Status<'_>) -> String {
    let ready = match &status.unready {
        None => badge(Tone::Good, "ready"),
        Some(_) => badge(Tone::Busy, "not ready"),
    };
    let kafka = match status.kafka_up {
        true => badge(Tone::Good, "Kafka reachable"),
        false => badge(Tone::Bad, "Kafka away"),
    };
    let map = match status.group_complete {
        true => badge(Tone::Good, "group map complete"),
        false => badge(Tone::Busy, "group map incomplete"),
    };
    let why = status.unready.as_deref().map(|why| format!("<p class=\"why\">{}</p>", esc(why)));
    let here: Vec<&Here> = status.partitions.iter().filter_map(|p| p.here.as_ref()).collect();
    let exposed = here.iter().filter(|h| h.exposed).count();
    let lag: u64 = here.iter().filter_map(|h| h.lag_records).sum();
    let living: usize = here.iter().filter(|h| h.exposed).map(|h| h.origins).sum();
    let tiles = [
        ("Partitions exposed", format!("{exposed} of {}", here.len())),
        ("Origins", count(living as u64)),
        ("Series", count(status.series)),
        ("Cache", bytes(status.cache_bytes)),
        ("Records behind", count(lag)),
        ("Uptime", duration(status.uptime_ms)),
    ];
    let mut out = format!(
        "<section aria-labelledby=\"bridge\">\n<h1 id=\"bridge\">{}</h1>\n\
         <p class=\"badges\">{ready} {kafka} {map}</p>\n{}<dl class=\"tiles\">",
        esc(status.address),
        why.unwrap_or_default()
    );
    for (name, value) in tiles {
        let _infallible = write!(out, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    out + "</dl>\n<nav class=\"jump\" aria-label=\"On this page\"><a href=\"#partitions\">Partitions</a>\
           <a href=\"#origins\">Origins</a><a href=\"#rejections\">Recent rejections</a></nav>\n\
           </section>\n"
}

const PARTITION_COLUMNS: [(&str, &str); 9] = [
    ("", "Partition"),
    ("", "State"),
    ("num", "Lag"),
    ("num", "Queue"),
    ("num", "Lease"),
    ("num", "Origins"),
    ("num", "Series"),
    ("num", "Memory"),
    ("", "Owner"),
];

fn partitions(status: &Status<'_>) -> String {
    let rows: String = status.partitions.iter().map(|p| partition_row(p, status.address)).collect();
    let body = match rows.is_empty() {
        true => empty("No partition is known yet: the group was not joined, or its topics have none."),
        false => table("The group's partitions", &PARTITION_COLUMNS, &rows),
    };
    section("partitions", "Partitions", &status.partitions.len().to_string(), &body)
}

fn partition_row(p: &PartitionInfo, address: &str) -> String {
    let name = format!("{}/{}", esc(&p.topic), p.partition);
    let owner = owner(p, address);
    let Some(here) = &p.here else {
        let state = match p.marker {
            Some(Marker::Held) => badge(Tone::Quiet, "held elsewhere"),
            Some(Marker::Released) => badge(Tone::Busy, "released"),
            _ => badge(Tone::Busy, "no marker"),
        };
        let blank = |label| cell("num none", label, "–");
        let cells = ["Lag", "Queue", "Lease", "Origins", "Series", "Memory"].map(blank).concat();
        return format!(
            "<tr>{}{}{cells}{}</tr>",
            cell("name", "Partition", &name),
            cell("", "State", &state),
            cell("mono", "Owner", &owner)
        );
    };
    let cells = [
        cell("name", "Partition", &name),
        cell("", "State", &state(here)),
        cell("num", "Lag", &lag(here)),
        cell("num", "Queue", &queue(here)),
        cell("num", "Lease", &duration((here.lease_remaining_seconds * 1000.0) as i64)),
        cell("num", "Origins", &count(here.origins as u64)),
        cell("num", "Series", &count(here.series)),
        cell("num", "Memory", &bytes(here.cache_bytes)),
        cell("mono", "Owner", &owner),
    ];
    format!("<tr>{}</tr>", cells.concat())
}

fn owner(p: &PartitionInfo, address: &str) -> String {
    match &p.owner {
        Some(owner) if owner == address => format!("{} <small>this bridge</small>", esc(owner)),
        Some(owner) => esc(owner).into_owned(),
        None if p.here.is_some() => "<small>this bridge, not claimed yet</small>".to_owned(),
        None => "<small>nobody</small>".to_owned(),
    }
}

fn state(here: &Here) -> String {
    if let Some(why) = &here.blocked {
        return badge(Tone::Bad, "stands still") + &format!("<p class=\"why\">{}</p>", esc(why));
    }
    let text = here.state.as_str().replace('_', " ");
    let tone = match here.state {
        State::Live if here.exposed => Tone::Good,
        State::Live => return badge(Tone::Bad, "live, but its lease lapsed"),
        State::Fenced => Tone::Bad,
        State::Gone => Tone::Quiet,
        State::Waiting => {
            let left = duration((here.wait_remaining_seconds * 1000.0) as i64);
            return badge(Tone::Busy, &format!("waiting, {left} left"));
        }
        _ => Tone::Busy,
    };
    badge(tone, &text)
}

fn lag(here: &Here) -> String {
    let Some(records) = here.lag_records else {
        return "unknown".to_owned();
    };
    match here.lag_seconds {
        Some(s) if s > 0.0 => {
            format!("{} <small>{}</small>", count(records), duration((s * 1000.0) as i64))
        }
        _ => count(records),
    }
}

fn queue(here: &Here) -> String {
    let policy = here.policy.as_str().replace('_', " ");
    let (full, of) = (bytes(here.queue_bytes), bytes(here.queue_capacity_bytes));
    format!("{full} <small>of {of}, {policy}</small>")
}

const ORIGIN_COLUMNS: [(&str, &str); 7] = [
    ("", "Origin"),
    ("", "State"),
    ("num", "Age"),
    ("num", "Series"),
    ("num", "Dump"),
    ("num", "Memory"),
    ("", "Partition"),
];

fn origins(status: &Status<'_>) -> String {
    let page = &status.origins;
    let rows: String = page.items.iter().map(origin_row).collect();
    let body = match (rows.is_empty(), status.search.is_empty()) {
        (false, _) => table("The origins of this bridge", &ORIGIN_COLUMNS, &rows),
        (true, true) => empty("No origin has sent a dump to a partition of this bridge yet."),
        (true, false) => empty("No origin of this bridge matches."),
    };
    let form = format!(
        "<form method=\"get\" action=\"/\" role=\"search\"><label for=\"search\">Find an origin\
         </label><input id=\"search\" name=\"search\" type=\"search\" value=\"{}\" \
         placeholder=\"part of its key\" autocomplete=\"off\"><button>Find</button></form>\n",
        esc(status.search)
    );
    let body = form + &body + &paging(status);
    section("origins", "Origins", &count(page.total as u64), &body)
}

fn origin_row(o: &OriginInfo) -> String {
    let state = match (o.up, &o.last_refusal) {
        (true, None) => badge(Tone::Good, "up"),
        (true, Some(_)) => badge(Tone::Bad, "last dump refused"),
        (false, _) => badge(Tone::Quiet, "stale"),
    };
    let refused = o.last_refusal.as_deref().map(|r| format!("<p class=\"why\">{}</p>", esc(r)));
    let name = format!("<a href=\"{}\">{}</a>{}", esc(&origin_path(&o.key)), esc(&o.key), refused.unwrap_or_default());
    let explain = format!(
        "{}/{} <small><a href=\"/api/v1/explain?origin={}\">explain</a></small>",
        esc(&o.topic),
        o.partition,
        segment(&o.key)
    );
    let cells = [
        cell("name key", "Origin", &name),
        cell("", "State", &state),
        cell("num", "Age", &duration((o.age_seconds * 1000.0) as i64)),
        cell("num", "Series", &count(o.series)),
        cell("num", "Dump", &bytes(o.dump_bytes)),
        cell("num", "Memory", &bytes(o.cache_bytes)),
        cell("place", "Partition", &explain),
    ];
    format!("<tr>{}</tr>", cells.concat())
}

fn paging(status: &Status<'_>) -> String {
    let page = &status.origins;
    let pages = page.total.div_ceil(page.limit).max(1);
    if pages == 1 && page.offset == 0 {
        return String::new();
    }
    let this = page.offset / page.limit + 1;
    let link = |n: usize, text: &str, rel: &str| {
        let search = segment(status.search);
        format!("<a rel=\"{rel}\" href=\"/?search={search}&amp;page={n}#origins\">{text}</a>")
    };
    let before = if this > 1 { link((this - 1).min(pages), "Previous", "prev") } else { String::new() };
    let after = if this < pages { link(this + 1, "Next", "next") } else { String::new() };
    format!(
        "<nav class=\"paging\" aria-label=\"Pages of origins\">{before}<span>Page {this} of {pages}\
         </span>{after}</nav>\n"
    )
}

const REFUSAL_COLUMNS: [(&str, &str); 5] =
    [("num", "Ago"), ("", "Reason"), ("", "Origin"), ("", "What and why"), ("", "Record")];

fn refusals(status: &Status<'_>) -> String {
    let mut rows = String::new();
    for (place, refusal) in &status.refusals {
        let record = format!("{} <small>offset {}</small>", esc(place), refusal.offset);
        let cells = [
            cell("num", "Ago", &duration(status.wall.saturating_sub(refusal.time))),
            cell("", "Reason", &badge(Tone::Bad, &refusal.reason.replace('_', " "))),
            cell("name key", "Origin", &esc(&refusal.origin)),
            cell("detail", "What and why", &esc(&refusal.detail)),
            cell("place", "Record", &record),
        ];
        let _infallible = write!(rows, "<tr>{}</tr>", cells.concat());
    }
    let body = match rows.is_empty() {
        true => empty("Nothing was refused since this bridge took its partitions."),
        false => table("The last refusals, the newest first", &REFUSAL_COLUMNS, &rows),
    };
    section("rejections", "Recent rejections", &status.refusals.len().to_string(), &body)
}

const CONFLICT_COLUMNS: [(&str, &str); 3] = [("", "Kind"), ("", "Family"), ("", "Who says what")];

/// One clash of two histograms brings many: the first ones tell the story.
const CONFLICTS_SHOWN: usize = 10;

/// What the origins disagree on; nothing, not even a title, where they agree.
fn conflicts(status: &Status<'_>) -> String {
    let conflicts = &status.conflicts;
    if conflicts.is_empty() {
        return String::new();
    }
    let mut rows = String::new();
    for conflict in conflicts.first().iter().take(CONFLICTS_SHOWN) {
        let cells = [
            cell("", "Kind", &badge(Tone::Busy, conflict.kind.as_str())),
            cell("name key", "Family", &esc(&conflict.family)),
            cell("detail", "Who says what", &esc(&conflict.detail)),
        ];
        let _infallible = write!(rows, "<tr>{}</tr>", cells.concat());
    }
    let total: u64 = ConflictKind::ALL.iter().map(|k| conflicts.count(*k)).sum();
    let body = table("Conflicts, as of the last whole scrape", &CONFLICT_COLUMNS, &rows);
    section("conflicts", "Conflicts between origins", &count(total), &body)
}

/// A part of a page.
pub(super) fn section(id: &str, title: &str, number: &str, body: &str) -> String {
    headed("h2", id, title, number, body)
}

/// The part that a page is about.
pub(super) fn main_section(id: &str, title: &str, number: &str, body: &str) -> String {
    headed("h1", id, title, number, body)
}

fn headed(heading: &str, id: &str, title: &str, number: &str, body: &str) -> String {
    format!(
        "<section aria-labelledby=\"{id}\">\n<{heading} id=\"{id}\">{title} <span class=\"number\">\
         {number}</span></{heading}>\n{body}</section>\n"
    )
}

pub(super) fn empty(text: &str) -> String {
    format!("<p class=\"empty\">{text}</p>\n")
}
