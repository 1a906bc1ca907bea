//! The pages of pushed groups.
use std::fmt::Write;

use bytes::Bytes;
use hyper::header::{HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use k2p_push::GroupingKey;
use k2p_runtime::http::{BoxBody, BoxError, Query, empty as no_body, read_body};

use super::super::groups::{self, Filter, GroupInfo, GroupText, Groups};
use super::super::paging::Slice;
use super::super::sd::segment;
use super::super::{Exposer, admin, push, respond};
use super::format::{bytes, count, span};
use super::html::{Tone, badge, cell, esc, table};
use super::sections::{document, empty, main_section, section};

/// A form with one box.
const MAX_FORM: usize = 1024;

/// `GET /groups`.
pub(in crate::expose) async fn groups(exposer: &Exposer, parts: &Parts, query: &Query) -> Response<BoxBody> {
    let filter = match Filter::of(query) {
        Ok(filter) => filter,
        Err(detail) => return respond::bad_request(&detail),
    };
    match groups::find(exposer, parts, &filter).await {
        Ok(page) => super::shown(document(exposer, "Groups", &list(&page, &filter, super::wall(exposer)))),
        Err(why) => groups::incomplete(&why),
    }
}

/// `GET /groups/{key}`.
pub(in crate::expose) async fn group(exposer: &Exposer, parts: &Parts, key: &str) -> Response<BoxBody> {
    match groups::find_group(exposer, parts, key).await {
        Ok(found) => {
            let body = one(&found, super::wall(exposer)) + &deletion(exposer, key);
            super::shown(document(exposer, &format!("Group {key}"), &body))
        }
        Err(response) => *response,
    }
}

/// `POST /groups/{key}/delete`: the form of that page, its box checked.
pub(in crate::expose) async fn delete<B>(exposer: &Exposer, parts: &Parts, key: &str, body: B) -> Response<BoxBody>
where
    B: hyper::body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    if let Err(refused) = admin::allowed(exposer) {
        return *refused;
    }
    let form = match read_body(body, MAX_FORM).await {
        Ok(form) => form,
        Err(error) => return error.response(),
    };
    let form = std::str::from_utf8(&form).ok().and_then(|text| Query::parse(text).ok());
    if form.as_ref().and_then(|form| form.get("sure")) != Some("yes") {
        return respond::bad_request("The box was not checked: nothing is deleted. Go back and check it.");
    }
    let found = match groups::find_group(exposer, parts, key).await {
        Ok(found) => found,
        Err(response) => return *response,
    };
    let Ok(key) = GroupingKey::from_record(found.group.key.as_bytes()) else {
        return respond::bad_request("That is no grouping key in canonical form.");
    };
    if let Err(refused) = push::remove(exposer, &found.group.topic, &key).await {
        return *refused;
    }
    tracing::warn!(group = key.canonical(), client = admin::client(parts), "group deleted by the admin API");
    let mut response = Response::new(no_body());
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(LOCATION, HeaderValue::from_static("/groups"));
    response
}

fn last(group: &GroupInfo) -> String {
    match (group.last_push_successful, group.push_time_seconds) {
        (false, _) => badge(Tone::Bad, "failed"),
        (true, Some(_)) => badge(Tone::Good, "ok"),
        (true, None) => badge(Tone::Quiet, "never"),
    }
}

fn names(group: &GroupInfo) -> String {
    const NAMED: usize = 3;
    let mut text: Vec<String> = group.families.iter().take(NAMED).map(|f| esc(&f.name).into_owned()).collect();
    if group.families.len() > NAMED {
        text.push(format!("{} more", group.families.len() - NAMED));
    }
    text.join(", ")
}

const COLUMNS: [(&str, &str); 7] = [
    ("", "Group"),
    ("", "Last push"),
    ("num", "Pushed, ago"),
    ("num", "Failed, ago"),
    ("num", "Expires in"),
    ("num", "Series"),
    ("", "Holds"),
];

fn list(page: &Groups, filter: &Filter, wall: f64) -> String {
    let mut rows = String::new();
    for group in &page.groups {
        let name = format!("<a href=\"/groups/{}\">{}</a>", segment(&group.key), esc(&group.key));
        let cells = [
            cell("name key", "Group", &name),
            cell("", "Last push", &last(group)),
            cell("num", "Pushed, ago", &span(group.push_time_seconds.map(|s| wall - s))),
            cell("num", "Failed, ago", &span(group.push_failure_time_seconds.map(|s| wall - s))),
            cell("num", "Expires in", &span(group.expires_seconds.map(|s| s - wall))),
            cell("num", "Series", &count(group.series)),
            cell("detail", "Holds", &names(group)),
        ];
        let _infallible = write!(rows, "<tr>{}</tr>", cells.concat());
    }
    let table = match rows.is_empty() {
        true => empty("No group matches. Jobs push to /metrics/job/NAME."),
        false => table("Groups, by grouping key", &COLUMNS, &rows),
    };
    main_section("groups", "Groups", &count(page.total as u64), &(form(filter) + &table + &paging(page, filter)))
}

fn form(filter: &Filter) -> String {
    format!(
        "<form class=\"search\" action=\"/groups\" role=\"search\">\
         <label for=\"search\">Grouping key</label>\
         <input id=\"search\" name=\"search\" value=\"{}\" autocomplete=\"off\">\
         <label for=\"failed\">Last push</label><select id=\"failed\" name=\"failed\">{}{}{}</select>\
         <button>Find</button></form>\n",
        esc(&filter.search),
        option("", "any", filter.failed.is_none()),
        option("true", "failed", filter.failed == Some(true)),
        option("false", "ok", filter.failed == Some(false)),
    )
}

fn option(value: &str, text: &str, selected: bool) -> String {
    let selected = if selected { " selected" } else { "" };
    format!("<option value=\"{value}\"{selected}>{text}</option>")
}

fn paging(page: &Groups, filter: &Filter) -> String {
    if page.offset == 0 && !page.has_more {
        return String::new();
    }
    let query = filter.query();
    let Slice { offset, limit } = filter.slice;
    let link = |offset: usize, text: &str, rel: &str| {
        let place = format!("{query}&limit={limit}&offset={offset}");
        format!("<a rel=\"{rel}\" href=\"/groups?{}\">{text}</a>", esc(&place))
    };
    let before = if offset == 0 { String::new() } else { link(offset.saturating_sub(limit), "Before", "prev") };
    let after = if page.has_more { link(offset + limit, "After", "next") } else { String::new() };
    let here = format!("{} to {} of {}", offset + 1, offset + page.groups.len(), page.total);
    format!("<nav class=\"paging\" aria-label=\"Pages of groups\">{before}<span>{here}</span>{after}</nav>\n")
}

const FAMILY_COLUMNS: [(&str, &str); 5] =
    [("", "Family"), ("", "Type"), ("num", "Series"), ("num", "Pushed, ago"), ("", "Help")];

fn one(found: &GroupText, wall: f64) -> String {
    let group = &found.group;
    let tiles = [
        ("Last push", last(group)),
        ("Pushed, ago", span(group.push_time_seconds.map(|s| wall - s))),
        ("Failed, ago", span(group.push_failure_time_seconds.map(|s| wall - s))),
        ("Expires in", group.expires_seconds.map_or("never".to_owned(), |s| span(Some(s - wall)))),
        ("Series", count(group.series)),
        ("Memory", bytes(group.bytes)),
        ("Partition", format!("{}/{}", esc(&group.topic), group.partition)),
    ];
    let tiles: String =
        tiles.iter().map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>")).collect();
    let failure = group.failure.as_deref().map(|why| format!("<p class=\"why\">Refused: {}</p>", esc(why)));
    let mut rows = String::new();
    for family in &group.families {
        let cells = [
            cell("name key", "Family", &esc(&family.name)),
            cell("", "Type", &esc(&family.r#type)),
            cell("num", "Series", &count(family.series)),
            cell("num", "Pushed, ago", &span(Some(wall - family.push_time_seconds))),
            cell("detail", "Help", &family.help.as_deref().map_or("–".into(), esc)),
        ];
        let _infallible = write!(rows, "<tr>{}</tr>", cells.concat());
    }
    let families = match rows.is_empty() {
        true => empty("It holds nothing but the times of its pushes."),
        false => table("Families", &FAMILY_COLUMNS, &rows),
    };
    let lines: Vec<_> = found.text.lines().map(esc).collect();
    let text = format!("<pre tabindex=\"0\" role=\"region\" aria-label=\"Text format\">{}</pre>\n", lines.join("\n"));
    let head = format!(
        "<section>\n<h1>{}</h1>\n<p class=\"path\">{}</p>\n{}<dl class=\"tiles\">{tiles}</dl>\n</section>\n",
        esc(&group.key),
        esc(&group.path),
        failure.unwrap_or_default()
    );
    head + &section("families", "Families", &group.families.len().to_string(), &families)
        + &section("text", "As it is scraped", "", &text)
}

/// The box has to be checked: the confirmation, also without JavaScript.
fn deletion(exposer: &Exposer, key: &str) -> String {
    if !exposer.config.admin_api {
        return String::new();
    }
    let form = format!(
        "<form action=\"/groups/{}/delete\" method=\"post\">\
         <input id=\"sure\" type=\"checkbox\" name=\"sure\" value=\"yes\" required>\
         <label for=\"sure\">Delete this group; it is back when it is pushed again</label>\
         <button>Delete</button></form>\n",
        segment(key)
    );
    section("delete", "Delete", "", &form)
}
