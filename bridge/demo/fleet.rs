//! The clusters of the demo that no Prometheus could reach: real HTTP exporters on
//! loopback, each with a life of its own.
use std::io;
use std::time::Duration;

use hyper::header::ACCEPT;
use hyper::{HeaderMap, StatusCode};
use k2p_runtime::clock::{mono_ms, unix_ms};
use k2p_runtime::http::{self, BoxBody, HttpLimits};
use k2p_runtime::metrics::HttpMetrics;
use k2p_runtime::shutdown::Shutdown;
use tokio::net::TcpListener;

use super::motion::{Motion, mix};
use super::page::Dialect;
use super::{node, service, spark};

/// The worker runs this long between two restarts, in seconds.
pub(crate) const RESTART_EVERY: f64 = 75.0;
/// And takes this long to come back.
pub(crate) const RESTART_TAKES: f64 = 3.0;
/// The gateway's tunnel is up this long, then down as long, in seconds.
pub(crate) const TUNNEL_HOLDS: f64 = 40.0;
/// How long a request into a tunnel that is down hangs.
const HANGS: Duration = Duration::from_secs(5);

/// What a simulated process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Driver,
    Executors,
    Host(&'static str),
    Checkout,
    Worker,
    Gateway,
}

struct Plan {
    cluster: &'static str,
    job: &'static str,
    instance: &'static str,
    path: &'static str,
    what: &'static str,
    role: Role,
}

const PLANS: [Plan; 7] = [
    Plan {
        cluster: "acme-vpc",
        job: "spark-driver",
        instance: "10.4.1.17:4040",
        path: "/metrics/prometheus",
        what: "a Spark driver: its application id is inside every metric name",
        role: Role::Driver,
    },
    Plan {
        cluster: "acme-vpc",
        job: "spark-executors",
        instance: "10.4.1.17:4040",
        path: "/metrics/executors/prometheus",
        what: "its three executors: every two minutes one is replaced, its series vanish",
        role: Role::Executors,
    },
    Plan {
        cluster: "globex-eu",
        job: "node",
        instance: "db-1:9100",
        path: "/metrics",
        what: "a database host behind a firewall",
        role: Role::Host("db-1"),
    },
    Plan {
        cluster: "globex-eu",
        job: "node",
        instance: "db-2:9100",
        path: "/metrics",
        what: "its replica",
        role: Role::Host("db-2"),
    },
    Plan {
        cluster: "initech-shop",
        job: "checkout",
        instance: "checkout-7d9f:8080",
        path: "/metrics",
        what: "a service with histograms, in OpenMetrics with exemplars",
        role: Role::Checkout,
    },
    Plan {
        cluster: "hooli-batch",
        job: "worker",
        instance: "worker-0:8080",
        path: "/metrics",
        what: "a worker that restarts every 75 s: its counters begin again",
        role: Role::Worker,
    },
    Plan {
        cluster: "umbrella-edge",
        job: "gateway",
        instance: "line-3:8080",
        path: "/metrics",
        what: "an edge gateway whose tunnel holds for 40 s, then is down for 40 s",
        role: Role::Gateway,
    },
];

/// A simulated process that an agent can scrape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DemoTarget {
    /// The cluster it stands for.
    pub(crate) cluster: &'static str,
    /// Where it really answers: loopback, a port chosen by the system.
    pub(crate) url: String,
    /// `job` and `instance`, as they would be inside the cluster.
    pub(crate) labels: Vec<(&'static str, &'static str)>,
    /// One line for a person.
    pub(crate) what: &'static str,
}

/// All simulated processes, answering.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    /// In the order of their clusters.
    pub(crate) targets: Vec<DemoTarget>,
}

impl Fleet {
    /// Starts every exporter; they end with the shutdown. `metrics` counts their
    /// connections. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// When the system gives no port.
    pub(crate) async fn start(shutdown: &Shutdown, seed: u64, metrics: &HttpMetrics) -> io::Result<Fleet> {
        let born = mono_ms();
        let mut targets = Vec::new();
        for (index, plan) in (0_u64..).zip(&PLANS) {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            let address = listener.local_addr()?;
            let seed = mix(seed ^ index);
            let (role, path, ending) = (plan.role, plan.path, shutdown.clone());
            let service = http::service(move |request| {
                let ending = ending.clone();
                async move {
                    let elapsed = (mono_ms() - born) as f64 / 1000.0;
                    if request.uri().path() != path {
                        return plain(StatusCode::NOT_FOUND, "no such page\n");
                    }
                    answer(role, seed, elapsed, request.headers(), &ending).await
                }
            });
            let served = http::serve(listener, service, HttpLimits::default(), shutdown.clone(), metrics.clone());
            tokio::spawn(served);
            targets.push(DemoTarget {
                cluster: plan.cluster,
                url: format!("http://{address}{path}"),
                labels: vec![("job", plan.job), ("instance", plan.instance)],
                what: plan.what,
            });
        }
        Ok(Fleet { targets })
    }
}

/// What a process answers `elapsed` seconds into the demo.
async fn answer(
    role: Role,
    seed: u64,
    elapsed: f64,
    headers: &HeaderMap,
    shutdown: &Shutdown,
) -> hyper::Response<BoxBody> {
    let Some(uptime) = uptime(role, elapsed) else {
        if role == Role::Gateway {
            tokio::select! {
                () = shutdown.triggered() => {}
                () = tokio::time::sleep(HANGS) => {}
            }
        }
        return plain(StatusCode::SERVICE_UNAVAILABLE, "not now\n");
    };
    let unix = unix_ms() as f64 / 1000.0;
    let accept = headers.get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let asked = accept.contains("application/openmetrics-text");
    let (dialect, text) = page(role, &Motion { seed, uptime, unix }, asked);
    http::text(StatusCode::OK, dialect.content_type(), text)
}

fn plain(status: StatusCode, text: &'static str) -> hyper::Response<BoxBody> {
    http::text(status, "text/plain; charset=utf-8", text)
}

/// The page of a process, and its dialect; only the checkout speaks OpenMetrics.
fn page(role: Role, m: &Motion, open_metrics: bool) -> (Dialect, String) {
    let dialect = match role {
        Role::Checkout if open_metrics => Dialect::OpenMetrics,
        _ => Dialect::Text,
    };
    let text = match role {
        Role::Driver => spark::driver(m),
        Role::Executors => spark::executors(m),
        Role::Host(name) => node::host(m, name),
        Role::Checkout => service::checkout(m, dialect),
        Role::Worker => service::worker(m),
        Role::Gateway => service::gateway(m),
    };
    (dialect, text)
}

/// How long a process has been running, in seconds; `None` while it does not answer.
fn uptime(role: Role, elapsed: f64) -> Option<f64> {
    match role {
        Role::Driver | Role::Executors => Some(elapsed + 300.0),
        Role::Host(_) => Some(elapsed + 12.0 * 86_400.0),
        Role::Checkout => Some(elapsed + 3.0 * 3600.0),
        Role::Worker if elapsed < RESTART_EVERY => Some(elapsed),
        Role::Worker => {
            let since = elapsed % RESTART_EVERY - RESTART_TAKES;
            (since >= 0.0).then_some(since)
        }
        Role::Gateway => (elapsed % (2.0 * TUNNEL_HOLDS) < TUNNEL_HOLDS).then_some(elapsed + 900.0),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use k2p_core::codec::{ParseOptions, detect, parse_strict};
    use k2p_runtime::http::client::{ClientConfig, HttpClient};
    use k2p_runtime::metrics::RuntimeMetrics;

    fn text(role: Role, uptime: f64, asked: bool) -> String {
        let unix = 1_795_000_000.0 + uptime;
        page(role, &Motion { seed: 1, uptime, unix }, asked).1
    }

    fn value(page: &str, series: &str) -> f64 {
        let line = page.lines().find_map(|l| l.strip_prefix(series)).unwrap();
        line.trim().parse().unwrap()
    }

    #[test]
    fn lives() {
        let cases = [
            (Role::Worker, 0.0, Some(0.0)),
            (Role::Worker, 74.0, Some(74.0)),
            (Role::Worker, 76.0, None),
            (Role::Worker, 78.0, Some(0.0)),
            (Role::Worker, 149.0, Some(71.0)),
            (Role::Worker, 151.0, None),
            (Role::Gateway, 39.0, Some(939.0)),
            (Role::Gateway, 41.0, None),
            (Role::Gateway, 81.0, Some(981.0)),
            (Role::Driver, 5.0, Some(305.0)),
        ];
        for (role, elapsed, expected) in cases {
            assert_eq!(uptime(role, elapsed), expected, "{role:?} at {elapsed}");
        }
    }

    #[test]
    fn every_page_moves_and_is_of_a_plausible_size() {
        for plan in &PLANS {
            let (first, later) = (text(plan.role, 400.0, true), text(plan.role, 410.0, true));
            assert_ne!(first, later, "{:?}", plan.role);
            let series = first.lines().filter(|l| !l.starts_with('#')).count();
            assert!((40..=120).contains(&series), "{:?} has {series} series", plan.role);
        }
    }

    #[tokio::test]
    async fn every_target_answers_with_a_valid_dump() {
        let shutdown = Shutdown::new();
        let metrics = RuntimeMetrics::new(&prometheus::Registry::new(), "0", "").unwrap();
        let fleet = Fleet::start(&shutdown, 7, &metrics.http).await.unwrap();
        let client = HttpClient::new(&ClientConfig::default()).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, "application/openmetrics-text".parse().unwrap());
        for target in &fleet.targets {
            let wait = Duration::from_secs(30);
            let got = client.get(&target.url, headers.clone(), wait, 1 << 20).await.unwrap();
            assert_eq!(got.status, StatusCode::OK, "{}", target.url);
            let content_type = got.headers.get("content-type").unwrap().to_str().unwrap();
            let format = detect(Some(content_type), &got.body, None).unwrap();
            let parsed = parse_strict(format, &got.body, &ParseOptions::default());
            assert!(parsed.is_ok(), "{}: {:?}", target.what, parsed.err());
        }
        shutdown.trigger();
    }

    #[test]
    fn counters_begin_again_after_a_restart() {
        let series = "jobs_processed_total{result=\"done\"}";
        let before = value(&text(Role::Worker, 74.0, false), series);
        let after = value(&text(Role::Worker, 2.0, false), series);
        assert!(after < before, "{after} after {before}");
    }

    #[test]
    fn an_executor_is_replaced() {
        let (young, old) = (text(Role::Executors, 110.0, false), text(Role::Executors, 130.0, false));
        assert!(young.contains("executor_id=\"3\"") && !young.contains("executor_id=\"4\""));
        assert!(!old.contains("executor_id=\"3\"") && old.contains("executor_id=\"4\""));
    }

    #[test]
    fn openmetrics_is_given_to_who_asks() {
        let (asked, not) = (text(Role::Checkout, 60.0, true), text(Role::Checkout, 60.0, false));
        assert!(asked.ends_with("# EOF\n") && asked.contains(" # {trace_id="));
        assert!(!not.contains("# EOF") && !not.contains("trace_id"));
        assert!(asked.contains("# TYPE payments counter\n") && not.contains("# TYPE payments_total counter\n"));
    }
}
