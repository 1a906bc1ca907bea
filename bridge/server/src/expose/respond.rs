//! The refusals that several routes share. Each says what, why and what to do.
use std::time::Duration;

use hyper::{Response, StatusCode};
use k2p_runtime::http::{BoxBody, problem};

/// After which a refused scrape may try again: less than any usual interval.
const RETRY: Duration = Duration::from_secs(1);

pub(super) fn not_found() -> Response<BoxBody> {
    let detail = "There is nothing at this path. The status page at / lists what there is.";
    problem(StatusCode::NOT_FOUND, "Not found", detail, None)
}

pub(super) fn bad_request(detail: &str) -> Response<BoxBody> {
    problem(StatusCode::BAD_REQUEST, "Bad request", detail, None)
}

pub(super) fn forbidden(detail: &str) -> Response<BoxBody> {
    problem(StatusCode::FORBIDDEN, "Forbidden", detail, None)
}

pub(super) fn unavailable(title: &str, detail: &str) -> Response<BoxBody> {
    problem(StatusCode::SERVICE_UNAVAILABLE, title, detail, Some(RETRY))
}

pub(super) fn missing(what: &str, detail: &str) -> Response<BoxBody> {
    problem(StatusCode::NOT_FOUND, &format!("Unknown {what}"), detail, None)
}
