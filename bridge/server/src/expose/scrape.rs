//! `GET /metrics` and `GET /metrics/self`.
use std::sync::Arc;
use std::time::Instant;

use hyper::Response;
use hyper::http::request::Parts;
use k2p_core::matcher::Matcher;
use k2p_core::merge::{ConflictKind, Conflicts, Sources};
use k2p_core::view::{Origin, PartitionView};
use k2p_runtime::http::{BoxBody, Query};
use prometheus::{Histogram, IntCounter, IntGauge};
use tokio::sync::OwnedSemaphorePermit;

use super::render::{self, Collect, Done};
use super::{Exposer, own, respond};

/// A scrape's place, from its arrival to its last byte.
pub(super) struct Hold {
    _place: OwnedSemaphorePermit,
    in_flight: IntGauge,
    duration: Histogram,
    aborted: IntCounter,
    started: Instant,
}

impl Hold {
    /// Says that its client went away.
    pub(super) fn aborted(&self) {
        self.aborted.inc();
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.in_flight.dec();
        self.duration.observe(self.started.elapsed().as_secs_f64());
    }
}

impl Exposer {
    /// A place for a scrape of that route; `None` if all are taken.
    pub(super) fn hold(&self, route: &'static str) -> Option<Hold> {
        let place = self.scrapes.clone().try_acquire_owned().ok()?;
        let metrics = &self.state.metrics;
        metrics.scrapes_in_flight.inc();
        Some(Hold {
            _place: place,
            in_flight: metrics.scrapes_in_flight.clone(),
            duration: metrics.scrape_seconds.with_label_values(&[route]),
            aborted: metrics.scrapes_aborted.with_label_values(&[route]),
            started: Instant::now(),
        })
    }
}

impl Exposer {
    /// Keeps what the origins of a whole scrape disagreed on, for metrics and the page.
    fn note_conflicts(&self, conflicts: &Conflicts) {
        for kind in ConflictKind::ALL {
            let count = i64::try_from(conflicts.count(kind)).unwrap_or(i64::MAX);
            self.state.metrics.family_conflicts.with_label_values(&[kind.as_str()]).set(count);
        }
        self.conflicts.store(Arc::new(conflicts.clone()));
    }
}

/// All places are taken.
pub(super) fn full(exposer: &Exposer) -> Response<BoxBody> {
    let detail = format!(
        "{} scrapes are being answered, which is the limit; scrape less often or add bridges.",
        exposer.config.max_scrapes
    );
    respond::unavailable("Too many scrapes", &detail)
}

/// `GET /metrics?origin=`: everything live on this bridge and its own metrics; with
/// matchers, the origins that one of them matches, and nothing else.
pub(super) async fn all(
    exposer: &Arc<Exposer>,
    parts: &Parts,
    query: &Query,
) -> Response<BoxBody> {
    // First of all: what this scrape sees is what was there when it arrived.
    let views = views(exposer);
    let selectors = match selectors(query) {
        Ok(selectors) => selectors,
        Err(detail) => return respond::bad_request(&detail),
    };
    let Some(hold) = exposer.hold("metrics") else {
        return full(exposer);
    };
    let whole = selectors.is_empty();
    let this = exposer.clone();
    let collect: Collect = Box::new(move || {
        let own = whole.then(|| own::dump(&this, &views));
        Sources::collect(own, &select(views, &selectors), None)
    });
    let latest = exposer.clone();
    let done: Done = Box::new(move |summary| latest.note_conflicts(&summary.conflicts));
    let deadline = exposer.deadline(parts);
    render::answer(exposer, parts, deadline, hold, collect, whole.then_some(done)).await
}

/// `GET /metrics/self`.
pub(super) async fn own(exposer: &Arc<Exposer>, parts: &Parts) -> Response<BoxBody> {
    let views = views(exposer);
    let Some(hold) = exposer.hold("self") else {
        return full(exposer);
    };
    let this = exposer.clone();
    let collect: Collect =
        Box::new(move || Sources::collect(Some(own::dump(&this, &views)), &[], None));
    render::answer(exposer, parts, exposer.deadline(parts), hold, collect, None).await
}

fn views(exposer: &Exposer) -> Vec<Arc<PartitionView>> {
    let exposed = exposer.state.live.snapshot(exposer.state.clocks.mono);
    exposed.into_iter().map(|e| e.view).collect()
}

/// The selectors of the query; none: everything.
fn selectors(query: &Query) -> Result<Vec<Matcher>, String> {
    let parse = |text| Matcher::parse(text).map_err(|e| format!("The parameter origin: {e}"));
    query.all("origin").map(parse).collect()
}

/// The views with only those origins that one of the selectors matches, as `match[]`
/// of a federation; all of them without selectors.
fn select(views: Vec<Arc<PartitionView>>, selectors: &[Matcher]) -> Vec<Arc<PartitionView>> {
    if selectors.is_empty() {
        return views;
    }
    let wanted = |o: &Origin| selectors.iter().any(|s| s.matches(&o.labels));
    let narrow = |view: Arc<PartitionView>| {
        let kept = view.origins.iter().filter(|(_, o)| wanted(o));
        let origins = kept.map(|(key, o)| (key.clone(), o.clone())).collect();
        Arc::new(PartitionView { origins, ..(*view).clone() })
    };
    views.into_iter().map(narrow).collect()
}
