//! Services with request metrics, as a Go client library writes them: a shop's
//! checkout (OpenMetrics with exemplars where asked), a worker that restarts, and a
//! gateway at the edge.
use super::motion::{Motion, mix};
use super::page::{Dialect, Page};

/// Upper bounds of the request duration buckets, a typical duration inside each, and
/// the share of requests that falls there.
const BUCKETS: [(&str, f64, f64); 8] = [
    ("0.005", 0.003, 0.10),
    ("0.01", 0.008, 0.22),
    ("0.025", 0.016, 0.30),
    ("0.05", 0.034, 0.18),
    ("0.1", 0.07, 0.10),
    ("0.5", 0.23, 0.07),
    ("1", 0.71, 0.02),
    ("+Inf", 1.6, 0.01),
];

/// The shop's checkout service.
pub(crate) fn checkout(m: &Motion, dialect: Dialect) -> String {
    let mut page = Page::new(dialect);
    let routes = [("/cart", 31.0), ("/checkout", 9.0), ("/pay", 6.0)];
    requests(&mut page, m, &routes);
    page.single("http_requests_in_flight", "gauge", "Requests being served.", m.level("flight", 0.0, 24.0));
    page.family("payments_total", "counter", "Payments by provider and result.");
    for (provider, rate) in [("card", 4.2), ("transfer", 1.1)] {
        for (result, share) in [("accepted", 0.97), ("declined", 0.03)] {
            let labels = format!("provider=\"{provider}\",result=\"{result}\"");
            let value = m.count(&labels, rate * share);
            page.sample("payments_total", &labels, value);
        }
    }
    page.single("db_connections_open", "gauge", "Open connections to the database.", m.level("db", 4.0, 20.0));
    process(&mut page, m);
    page.finish()
}

/// A worker that takes jobs from a queue, and restarts too often.
pub(crate) fn worker(m: &Motion) -> String {
    let mut page = Page::new(Dialect::Text);
    page.family("jobs_processed_total", "counter", "Jobs taken from the queue, by result.");
    for (result, rate) in [("done", 7.0), ("failed", 0.2), ("retried", 0.6)] {
        let value = m.count(result, rate);
        page.sample("jobs_processed_total", &format!("result=\"{result}\""), value);
    }
    page.single("job_queue_length", "gauge", "Jobs that wait.", m.level("queue", 0.0, 140.0));
    page.single("job_bytes_total", "counter", "Bytes of the jobs processed.", m.count("bytes", 9.3e5));
    page.family("job_duration_seconds", "histogram", "Time from taking a job to its end.");
    for (queue, rate) in [("default", 5.9), ("mail", 1.4), ("reports", 0.5)] {
        histogram(&mut page, m, "job_duration_seconds", &format!("queue=\"{queue}\""), rate);
    }
    process(&mut page, m);
    page.finish()
}

/// A gateway of a shop floor, behind a tunnel that is not always up.
pub(crate) fn gateway(m: &Motion) -> String {
    let mut page = Page::new(Dialect::Text);
    page.family("sensor_temperature_celsius", "gauge", "Last temperature read from a sensor.");
    for (i, line) in ["press", "oven", "paint", "pack"].iter().enumerate() {
        let base = 20.0 + 12.0 * i as f64;
        let value = (m.sway(line, base, base + 9.0) * 10.0).round() / 10.0;
        page.sample("sensor_temperature_celsius", &format!("line=\"{line}\""), value);
    }
    page.family("sensor_reads_total", "counter", "Reads of the sensors, by result.");
    for (result, rate) in [("ok", 4.0), ("timeout", 0.1)] {
        page.sample("sensor_reads_total", &format!("result=\"{result}\""), m.count(result, rate));
    }
    requests(&mut page, m, &[("/api/readings", 2.0), ("/api/alarms", 0.5), ("/api/config", 0.1)]);
    process(&mut page, m);
    page.finish()
}

fn requests(page: &mut Page, m: &Motion, routes: &[(&str, f64)]) {
    page.family("http_requests_total", "counter", "Requests by route and status code.");
    for (route, rate) in routes {
        for (code, share) in [("200", 0.985), ("404", 0.01), ("500", 0.005)] {
            let labels = format!("route=\"{route}\",code=\"{code}\"");
            page.sample("http_requests_total", &labels, m.count(&labels, rate * share));
        }
    }
    page.family(
        "http_request_duration_seconds",
        "histogram",
        "Time from the request's arrival to the last byte of its answer.",
    );
    for (route, rate) in routes {
        let labels = format!("route=\"{route}\"");
        histogram(page, m, "http_request_duration_seconds", &labels, *rate);
    }
}

/// Each bucket counts on its own, so that no cumulative count ever goes back.
fn histogram(page: &mut Page, m: &Motion, name: &str, labels: &str, rate: f64) {
    let (mut count, mut sum) = (0.0, 0.0);
    for (bound, typical, share) in BUCKETS {
        let inside = m.count(&format!("{labels}{bound}"), rate * share);
        count += inside;
        sum += inside * typical;
        let le = format!("{labels},le=\"{bound}\"");
        if inside == 0.0 {
            page.sample(&format!("{name}_bucket"), &le, count);
            continue;
        }
        // The trace id follows the count: a new exemplar whenever a request came.
        let trace = mix(m.seed ^ inside as u64);
        let exemplar = format!("{{trace_id=\"{trace:016x}\"}} {typical}");
        page.sample_with_exemplar(&format!("{name}_bucket"), &le, count, &exemplar);
    }
    page.sample(&format!("{name}_sum"), labels, (sum * 1000.0).round() / 1000.0);
    page.sample(&format!("{name}_count"), labels, count);
}

fn process(page: &mut Page, m: &Motion) {
    page.single(
        "process_start_time_seconds",
        "gauge",
        "Start time of the process since unix epoch in seconds.",
        (m.unix - m.uptime).round(),
    );
    page.single(
        "process_cpu_seconds_total",
        "counter",
        "Total user and system CPU time spent in seconds.",
        m.amount("cpu", 0.34),
    );
    page.single(
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory size in bytes.",
        m.level("rss", 6.1e7, 8.8e7),
    );
    page.single("process_open_fds", "gauge", "Number of open file descriptors.", m.level("fds", 22.0, 61.0));
    page.single(
        "go_goroutines",
        "gauge",
        "Number of goroutines that currently exist.",
        m.level("goroutines", 30.0, 120.0),
    );
    page.single(
        "go_memstats_heap_alloc_bytes",
        "gauge",
        "Number of heap bytes allocated and still in use.",
        m.level("alloc", 1.2e7, 3.9e7),
    );
}
