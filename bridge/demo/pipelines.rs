//! Simulated pipelines, which post their events to a bridge: one with good days, one that
//! fails, one that misses its SLA before one's eyes, one with spikes of errors.
use std::fmt::Write;
use std::time::Duration;

use hyper::Request;
use hyper::header::CONTENT_TYPE;
use k2p_runtime::clock::unix_ms;
use k2p_runtime::http::client::{ClientConfig, HttpClient};
use k2p_runtime::http::full;
use k2p_runtime::shutdown::Shutdown;

/// The topics that they need.
pub(crate) const EVENTS: &str = "k2p.events";
/// Snapshots of what is made of them.
pub(crate) const STATE: &str = "k2p.state";

/// The pace of the events.
const TICK: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(5);
/// Seconds between two spikes of errors, and how long one is.
const SPIKE_EVERY: u64 = 90;
const SPIKE: u64 = 10;

/// A pipeline that runs over and over.
struct Pipeline {
    name: &'static str,
    owner: &'static str,
    /// Seconds of a run, and of the rest after it.
    takes: u64,
    rests: u64,
    sla_seconds: u64,
    fails: bool,
}

const PIPELINES: [Pipeline; 4] = [
    Pipeline { name: "orders_daily", owner: "ann", takes: 12, rests: 6, sla_seconds: 60, fails: false },
    Pipeline { name: "customers_sync", owner: "bob", takes: 9, rests: 16, sla_seconds: 60, fails: true },
    Pipeline { name: "invoices_close", owner: "cem", takes: 45, rests: 15, sla_seconds: 20, fails: false },
    Pipeline { name: "search_index", owner: "dee", takes: 30, rests: 5, sla_seconds: 120, fails: false },
];

/// Posts until the shutdown. A post that is not answered well goes to the next bridge,
/// under the same name: it counts once.
pub(crate) async fn run(bridges: Vec<String>, seed: u64, shutdown: Shutdown) {
    let Ok(client) = HttpClient::new(&ClientConfig::default()) else { return };
    let (begun, mut waiting) = (unix_ms(), Vec::new());
    for tick in 0_u64.. {
        tokio::select! {
            () = shutdown.triggered() => return,
            () = tokio::time::sleep(TICK) => {}
        }
        waiting.push((tick, lines(begun, tick)));
        while let Some((number, body)) = waiting.first() {
            let id = format!("demo-{seed}-{begun};{number}");
            if !post(&client, &bridges, &id, body).await {
                break;
            }
            waiting.remove(0);
        }
        // A demo whose Kafka is away for long tells the newest story.
        let surplus = waiting.len().saturating_sub(60);
        waiting.drain(..surplus);
    }
}

async fn post(client: &HttpClient, bridges: &[String], id: &str, body: &str) -> bool {
    for bridge in bridges {
        let request = Request::post(format!("{bridge}api/v1/events"))
            .header(CONTENT_TYPE, "application/x-ndjson")
            .header("k2p-id", id)
            .body(full(body.to_owned()));
        let Ok(request) = request else { return true };
        if client.send(request, TIMEOUT).await.is_ok_and(|answer| answer.status().is_success()) {
            return true;
        }
    }
    false
}

/// What all pipelines say in one second.
fn lines(begun: i64, tick: u64) -> String {
    let mut out = String::new();
    for pipeline in &PIPELINES {
        pipeline.say(begun, tick, &mut out);
    }
    out
}

impl Pipeline {
    fn say(&self, begun: i64, tick: u64, out: &mut String) {
        let (round, at) = (tick / (self.takes + self.rests), tick % (self.takes + self.rests));
        let started = begun + i64::try_from((tick - at) * 1000).unwrap_or(0);
        let now = started + i64::try_from(at * 1000).unwrap_or(0);
        let run = format!("{}-{begun}-{round}", self.name);
        let name = self.name;
        let head = format!(
            r#""run_id":"{run}","pipeline_id":"{name}","trigger_type":"schedule","owner":"{}","start_ts":{started},"sla_target_ms":{},"max_retries":0,"correlation_id":"c-{run}""#,
            self.owner,
            self.sla_seconds * 1000
        );
        if at == 0 {
            let _ = writeln!(out, r#"{{{head},"status":"RUNNING","current_step":"extract"}}"#);
        }
        if at > 0 && at <= self.takes {
            self.work(&run, at, now, tick, out);
        }
        if at == self.takes && self.fails {
            let error = r#"{"type":"org.apache.spark.SparkException","message":"Job aborted: stage 7 failed 4 times","stack":"org.apache.spark.SparkException: Job aborted\n\tat org.apache.spark.scheduler.DAGScheduler.abortStage"}"#;
            let _ = writeln!(
                out,
                r#"{{{head},"status":"FAILED","end_ts":{now},"current_step":"load","last_error":{error}}}"#
            );
        } else if at == self.takes {
            let _ = writeln!(out, r#"{{{head},"status":"SUCCEEDED","end_ts":{now},"current_step":"load"}}"#);
        }
    }

    /// The log of one second of work; at the end of a step, what it did.
    fn work(&self, run: &str, at: u64, now: i64, tick: u64, out: &mut String) {
        let third = (self.takes / 3).max(1);
        let step = ["extract", "transform", "load"][usize::try_from((at - 1) / third).unwrap_or(2).min(2)];
        let name = self.name;
        let head = format!(
            r#""timestamp":{now},"env":"demo","pipeline_id":"{name}","run_id":"{run}","step":"{step}","component":"spark","correlation_id":"c-{run}""#
        );
        let rows = 900 + (tick * 37) % 300;
        let metrics = if at.is_multiple_of(third) {
            format!(r#","metrics":{{"rows_read":{rows},"rows_written":{},"duration_ms":{}}}"#, rows - 20, third * 1000)
        } else {
            String::new()
        };
        let _ = writeln!(out, r#"{{{head},"level":"INFO","message":"{rows} rows"{metrics}}}"#);
        if name == "search_index" && tick % SPIKE_EVERY < SPIKE {
            for n in 0..8 {
                let _ = writeln!(
                    out,
                    r#"{{{head},"level":"ERROR","message":"bulk request {n} was refused","error":{{"type":"elasticsearch.TooManyRequests","message":"429"}}}}"#
                );
            }
        }
        if at == 1 {
            let _ = writeln!(
                out,
                r#"{{"timestamp":{now},"pipeline_id":"{name}","run_id":"{run}","operation":"read","dataset":"raw.{name}","version":"v{}","rows":{rows}}}"#,
                tick / 60
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k2p_pipelines::event::{EventLimits, ParsedEvents, parse_record};

    #[test]
    fn every_line_is_an_event() {
        let mut parsed = ParsedEvents::default();
        for tick in 0..200 {
            let text = lines(1_760_000_000_000, tick);
            parse_record(text.as_bytes(), None, None, &EventLimits::default(), &mut parsed);
        }
        assert_eq!(parsed.rejections, Vec::new());
        assert!(parsed.events.len() > 500, "{}", parsed.events.len());
    }
}
