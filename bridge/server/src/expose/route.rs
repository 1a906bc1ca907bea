//! From a path to what is asked for: a pure function over a closed set of routes.
use k2p_runtime::http::decode_path_segment;

use super::groups;
use super::jobs::{InternalJobs, Job};
use super::runs::Internal;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// Everything live on this bridge and its own metrics.
    Metrics,
    /// Its own metrics only.
    MetricsSelf,
    /// One origin, by its key as it was written.
    Origin(String),
    /// One partition, wherever it is.
    Partition(String, i32),
    /// HTTP service discovery.
    Sd,
    /// What this bridge holds, for its peers.
    InternalOrigins,
    /// What this bridge knows of an origin, for its peers.
    InternalExplain,
    /// JSON: the bridge.
    Status,
    /// JSON: its origins.
    Origins,
    /// JSON: the group's partitions.
    Partitions,
    /// JSON: why something is there or missing.
    Explain,
    /// JSON: the runs of all pipelines.
    Runs,
    /// JSON: the runs of that id.
    Run(String),
    /// JSON: the pipelines.
    Pipelines,
    /// The same of this bridge's partitions, for its peers.
    InternalRuns(Internal),
    /// The page of runs.
    RunsPage,
    /// The page of one run.
    RunPage(String),
    /// The page of pipelines.
    PipelinesPage,
    /// JSON: jobs and their logs.
    Jobs(Job),
    /// What this bridge's store has of them, for its peers.
    InternalJobs(InternalJobs),
    /// Takes events.
    PostEvents,
    /// Removes an origin, by its key as it was written.
    ForgetOrigin(String),
    /// A group of the Pushgateway's API: what follows `/metrics/`, percent-decoded.
    Push(String),
    /// JSON: the pushed groups.
    Groups,
    /// JSON: one of them, by its key.
    Group(String),
    /// JSON: all of them, as the Pushgateway says it.
    GroupMetrics,
    /// The same of this bridge's partitions, for its peers.
    InternalGroups(groups::Internal),
    /// The page of groups.
    GroupsPage,
    /// The page of one group.
    GroupPage(String),
    /// Its form.
    DeleteGroup(String),
    /// Whether this bridge shows a record, for its peers.
    InternalShown,
    /// Removes every pushed group.
    AdminWipe,
    /// Switches a topic's policy.
    AdminPolicy,
    /// The description of all this.
    OpenApi,
    /// Liveness.
    Healthy,
    /// Readiness.
    Ready,
    /// Reads the configuration again.
    Reload,
    /// Hands everything over.
    Drain,
    /// The status page.
    Page,
    /// Its style sheet.
    Style,
    /// Its script.
    Script,
}

/// Why a path is no route; both are answered with a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RouteError {
    /// No such path.
    NotFound,
    /// A known path with a segment that cannot be read: what is wrong with it.
    Malformed(String),
}

const READ: &str = "GET, HEAD";
const MANAGE: &str = "POST, PUT";

impl Route {
    /// The route of a request path (without its query).
    pub(crate) fn find(path: &str) -> Result<Route, RouteError> {
        if let Some(route) = fixed(path) {
            return Ok(route);
        }
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match segments.as_slice() {
            ["origins", key, "metrics"] if !key.is_empty() => Ok(Route::Origin(decode(key)?)),
            ["api", "v1", "origins", key] if !key.is_empty() => Ok(Route::ForgetOrigin(decode(key)?)),
            // Decoded before it is taken apart: an encoded slash separates, as there.
            ["metrics", "job" | "job@base64" | "job%40base64", _, ..] => {
                let path = path.strip_prefix("/metrics/").unwrap_or_default();
                Ok(Route::Push(decode(path)?))
            }
            ["api", "v1", "groups", key] if !key.is_empty() => Ok(Route::Group(decode(key)?)),
            ["groups", key] if !key.is_empty() => Ok(Route::GroupPage(decode(key)?)),
            ["groups", key, "delete"] if !key.is_empty() => Ok(Route::DeleteGroup(decode(key)?)),
            ["api", "v1", "runs", id] if !id.is_empty() => Ok(Route::Run(decode(id)?)),
            ["api", "v1", "jobs", id, "logs"] if !id.is_empty() => Ok(Route::Jobs(Job::Logs(decode(id)?))),
            ["api", "v1", "jobs", id, "metrics"] if !id.is_empty() => Ok(Route::Jobs(Job::Metrics(decode(id)?))),
            ["runs", id] if !id.is_empty() => Ok(Route::RunPage(decode(id)?)),
            ["partitions", topic, partition, "metrics"] if !topic.is_empty() => {
                Ok(Route::Partition(decode(topic)?, number(partition)?))
            }
            _ => Err(RouteError::NotFound),
        }
    }

    /// The methods that it answers, as in the header `Allow`.
    pub(crate) fn allow(&self) -> &'static str {
        match self {
            Route::AdminPolicy | Route::AdminWipe => "PUT",
            Route::ForgetOrigin(_) => "DELETE",
            Route::Push(_) => "PUT, POST, DELETE",
            Route::PostEvents | Route::DeleteGroup(_) => "POST",
            Route::Reload | Route::Drain => MANAGE,
            _ => READ,
        }
    }

    /// Whether it answers that method.
    pub(crate) fn allows(&self, method: &str) -> bool {
        self.allow().split(", ").any(|m| m == method)
    }

    /// The name under which a scrape is counted; `None` for what is no scrape. Bounded:
    /// never a path that a client wrote.
    pub(crate) fn scrape(&self) -> Option<&'static str> {
        match self {
            Route::Metrics => Some("metrics"),
            Route::MetricsSelf => Some("self"),
            Route::Origin(_) => Some("origin"),
            Route::Partition(..) => Some("partition"),
            Route::Sd => Some("sd"),
            _ => None,
        }
    }

    /// Every path without variables.
    #[cfg(test)]
    pub(crate) const FIXED: &'static [&'static str] = &[
        "/",
        "/metrics",
        "/metrics/self",
        "/sd",
        "/internal/v1/origins",
        "/internal/v1/explain",
        "/api/v1/status",
        "/api/v1/origins",
        "/api/v1/partitions",
        "/api/v1/explain",
        "/internal/v1/runs",
        "/internal/v1/run",
        "/internal/v1/pipelines",
        "/internal/v1/jobs",
        "/internal/v1/job/logs",
        "/internal/v1/job/points",
        "/api/v1/runs",
        "/api/v1/pipelines",
        "/runs",
        "/pipelines",
        "/api/v1/jobs",
        "/api/v1/events",
        "/api/v1/groups",
        "/api/v1/metrics",
        "/internal/v1/groups",
        "/internal/v1/group",
        "/internal/v1/groups/metrics",
        "/groups",
        "/internal/v1/shown",
        "/api/v1/admin/wipe",
        "/api/v1/admin/policy",
        "/api/v1/openapi.json",
        "/-/healthy",
        "/-/ready",
        "/-/reload",
        "/-/drain",
        "/static/status.css",
        "/static/status.js",
    ];

    /// Every value of the label `route`.
    pub(crate) const SCRAPES: [&'static str; 5] = ["metrics", "self", "origin", "partition", "sd"];
}

fn fixed(path: &str) -> Option<Route> {
    Some(match path {
        "/" => Route::Page,
        "/metrics" => Route::Metrics,
        "/metrics/self" => Route::MetricsSelf,
        "/sd" => Route::Sd,
        "/internal/v1/origins" => Route::InternalOrigins,
        "/internal/v1/explain" => Route::InternalExplain,
        "/api/v1/status" => Route::Status,
        "/api/v1/origins" => Route::Origins,
        "/api/v1/partitions" => Route::Partitions,
        "/api/v1/explain" => Route::Explain,
        "/internal/v1/runs" => Route::InternalRuns(Internal::Runs),
        "/internal/v1/run" => Route::InternalRuns(Internal::Run),
        "/internal/v1/pipelines" => Route::InternalRuns(Internal::Pipelines),
        "/internal/v1/jobs" => Route::InternalJobs(InternalJobs::All),
        "/internal/v1/job/logs" => Route::InternalJobs(InternalJobs::Logs),
        "/internal/v1/job/points" => Route::InternalJobs(InternalJobs::Points),
        "/api/v1/runs" => Route::Runs,
        "/api/v1/pipelines" => Route::Pipelines,
        "/runs" => Route::RunsPage,
        "/pipelines" => Route::PipelinesPage,
        "/api/v1/jobs" => Route::Jobs(Job::All),
        "/api/v1/events" => Route::PostEvents,
        "/api/v1/groups" => Route::Groups,
        "/api/v1/metrics" => Route::GroupMetrics,
        "/internal/v1/groups" => Route::InternalGroups(groups::Internal::Groups),
        "/internal/v1/group" => Route::InternalGroups(groups::Internal::Group),
        "/internal/v1/groups/metrics" => Route::InternalGroups(groups::Internal::Metrics),
        "/groups" => Route::GroupsPage,
        "/internal/v1/shown" => Route::InternalShown,
        "/api/v1/admin/wipe" => Route::AdminWipe,
        "/api/v1/admin/policy" => Route::AdminPolicy,
        "/api/v1/openapi.json" => Route::OpenApi,
        "/-/healthy" => Route::Healthy,
        "/-/ready" => Route::Ready,
        "/-/reload" => Route::Reload,
        "/-/drain" => Route::Drain,
        "/static/status.css" => Route::Style,
        "/static/status.js" => Route::Script,
        _ => return None,
    })
}

fn decode(segment: &str) -> Result<String, RouteError> {
    decode_path_segment(segment).map_err(|e| RouteError::Malformed(e.to_string()))
}

fn number(segment: &str) -> Result<i32, RouteError> {
    // Digits only: "+1" and "01" would be second names of one partition.
    let canonical = |n: &i32| *n >= 0 && n.to_string() == segment;
    segment
        .parse()
        .ok()
        .filter(canonical)
        .ok_or_else(|| RouteError::Malformed(format!("\"{}\" is no partition number", segment.escape_debug())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn partition(topic: &str, n: i32) -> Result<Route, RouteError> {
        Ok(Route::Partition(topic.to_owned(), n))
    }

    fn malformed(path: &str) -> bool {
        matches!(Route::find(path), Err(RouteError::Malformed(_)))
    }

    #[test]
    fn paths_lead_to_routes() {
        let origin = |key: &str| Ok(Route::Origin(key.to_owned()));
        assert_eq!(Route::find("/"), Ok(Route::Page));
        assert_eq!(Route::find("/metrics"), Ok(Route::Metrics));
        assert_eq!(Route::find("/metrics/self"), Ok(Route::MetricsSelf));
        assert_eq!(Route::find("/origins/a%3D%22b%2Fc%22/metrics"), origin("a=\"b/c\""));
        assert_eq!(Route::find("/origins/x/metrics"), origin("x"));
        assert_eq!(Route::find("/partitions/k2p.metrics/3/metrics"), partition("k2p.metrics", 3));
    }

    #[test]
    fn pushes_are_paths_of_any_length() {
        let push = |path: &str| Ok(Route::Push(path.to_owned()));
        assert_eq!(Route::find("/metrics/job/a"), push("job/a"));
        assert_eq!(Route::find("/metrics/job/"), push("job/"), "refused there, with the reason");
        assert_eq!(Route::find("/metrics/job/a%20b/x%2Fy/"), push("job/a b/x/y/"));
        assert_eq!(Route::find("/metrics/job@base64/YQ/x/y"), push("job@base64/YQ/x/y"));
        assert_eq!(Route::find("/metrics/job%40base64/YQ"), push("job@base64/YQ"));
        assert!(malformed("/metrics/job/%ff"));
        assert_eq!(Route::find("/metrics/job"), Err(RouteError::NotFound));
        assert_eq!(Route::find("/metrics/instance/a"), Err(RouteError::NotFound));
        assert!(Route::Push(String::new()).allows("DELETE") && !Route::Push(String::new()).allows("GET"));
    }

    #[test]
    fn other_paths_do_not() {
        let not_found = |path: &str| Route::find(path) == Err(RouteError::NotFound);
        for path in ["", "/metric", "/metrics/", "//metrics", "/origins//metrics", "/origins/x"] {
            assert!(not_found(path), "{path}");
        }
        assert!(not_found("/partitions//1/metrics"));
        assert!(not_found("/partitions/t/1"));
        assert!(not_found("/partitions/t/1/metrics/"));
        assert!(malformed("/partitions/t/x/metrics"));
        assert!(malformed("/partitions/t/-1/metrics"));
        assert!(malformed("/partitions/t/+1/metrics"));
        assert!(malformed("/partitions/t/01/metrics"));
        assert!(malformed("/partitions/t/99999999999/metrics"));
        assert!(malformed("/origins/%ff/metrics"));
    }

    #[test]
    fn methods_are_bound_to_routes() {
        assert!(Route::Metrics.allows("GET") && Route::Metrics.allows("HEAD"));
        assert!(!Route::Metrics.allows("POST") && !Route::Metrics.allows("GE"));
        assert!(Route::Drain.allows("POST") && Route::Drain.allows("PUT"));
        assert!(!Route::Drain.allows("GET"), "a crawler must not drain a bridge");
        assert!(Route::AdminPolicy.allows("PUT") && !Route::AdminPolicy.allows("POST"));
    }
}
