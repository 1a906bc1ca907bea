//! What is read back from log stores: finished runs, log events of runs, logs of jobs; over
//! one bridge or several.
use k2p_core::envelope::RawRecord;
use k2p_logs::mask::MaskCounts;
use k2p_logs::{
    Entry, FIRST_REPORT, Level, LogMetrics, LogReader, LogStore, Range, ReadConfig, Source, StoreConfig, runs_of,
};
use k2p_pipelines::event::Event;
use k2p_pipelines::runs::RunLimits;
use k2p_pipelines::state::{Applied, EventConfig, EventState};
use k2p_runtime::clock::unix_ms;
use tempfile::TempDir;

use super::*;

const HOUR_MS: i64 = 3_600_000;

/// One partition of events: its state, its log store, what a bridge shows of it.
struct Partition {
    number: i32,
    state: EventState,
    store: LogStore,
    offset: i64,
    dir: Arc<TempDir>,
}

impl Partition {
    fn new(number: i32, dir: &Arc<TempDir>) -> Partition {
        let metrics = LogMetrics::new(&Registry::new()).unwrap();
        let store = LogStore::open(dir.path(), StoreConfig::default(), metrics).unwrap();
        store.begin(TOPIC, number, Range { from: 0, to: 0, since: unix_ms() * 1_000_000, first: true }).unwrap();
        let runs = RunLimits { recent_per_pipeline: 2, closed_runs_per_pipeline: 3, ..RunLimits::default() };
        let config = EventConfig { topic: TOPIC.into(), runs, ..EventConfig::default() };
        let templates = Arc::new(crate::templates::load(None).unwrap());
        Partition {
            number,
            state: EventState::new(Arc::new(config), number, templates),
            store,
            offset: 0,
            dir: dir.clone(),
        }
    }

    /// Applies one record, appended so many hours ago.
    fn event(&mut self, key: &str, hours_ago: i64, value: &str) {
        let timestamp = unix_ms() - hours_ago * HOUR_MS;
        let record = RawRecord {
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            headers: &[],
            timestamp: Some(timestamp),
            offset: self.offset,
        };
        let applied = self.state.apply(&record, &|_| None).unwrap();
        assert!(applied.rejections.is_empty(), "{:?}", applied.rejections);
        self.keep(&applied, value);
        self.offset += 1;
    }

    /// As a bridge keeps it (`consume/replay/logs.rs`, whose test holds it to this).
    fn keep(&self, applied: &Applied, line: &str) {
        for entry in &applied.log_entries {
            match &entry.event {
                Event::Log(log) => {
                    let job = log.run_id.as_ref().or(log.correlation_id.as_ref()).unwrap_or(&log.pipeline_id);
                    self.append(job, log.timestamp, Level::Info, 0, line.as_bytes());
                }
                Event::Job(job) => self.append(&job.job_id, job.timestamp, Level::None, 0, line.as_bytes()),
                Event::Run(_) | Event::Lineage(_) => {}
            }
        }
        for run in &applied.finished {
            let at = (run.last_seen_seconds * 1e9) as i64;
            let report = serde_json::to_vec(run).unwrap();
            self.append(&runs_of(&run.pipeline_id), at, Level::None, FIRST_REPORT, &report);
        }
    }

    fn append(&self, job: &str, at: i64, level: Level, number: u32, line: &[u8]) {
        let maskers = Maskers::new(&Default::default(), &Default::default(), None).unwrap();
        let line = maskers.of(TOPIC).line(line, &mut MaskCounts::default());
        let source = Source { topic: TOPIC, partition: self.number, offset: self.offset, line: number };
        let entry = Entry { job_run_id: job, at, level, line, source };
        assert_eq!(self.store.append(&[entry], unix_ms() * 1_000_000).written, 1);
    }

    /// A run that ended.
    fn run(&mut self, pipeline: &str, id: &str, hours_ago: i64, status: &str) {
        let at = (unix_ms() - hours_ago * HOUR_MS) / 1000;
        let value = format!(
            r#"{{"pipeline_id":"{pipeline}","run_id":"{id}","status":"{status}","owner":"ann","start_ts":{},"end_ts":{at},"correlation_id":"c-{id}","last_error":{{"type":"E","message":"of a@b.de"}}}}"#,
            at - 60
        );
        self.event(pipeline, hours_ago, &value);
    }

    fn log(&mut self, pipeline: &str, members: &str) {
        let at = unix_ms();
        let value = format!(r#"{{"timestamp":{at},"pipeline_id":"{pipeline}","level":"INFO",{members}}}"#);
        self.event(pipeline, 0, &value);
    }

    fn logs(&self, shared: bool) -> Option<JobLogs> {
        let metrics = LogMetrics::new(&Registry::new()).unwrap();
        let reader = LogReader::open(self.dir.path(), ReadConfig::default(), metrics);
        Some(JobLogs { reader, shared, retention: 30 * 24 * HOUR_MS * 1_000_000 })
    }

    fn show(&self, bridge: &Bridge) {
        let live = bridge.hold(self.number, &[]);
        live.replay.set_replayed("");
        live.replay.set_runs(self.state.runs());
    }
}

fn of_events(config: &mut ExposeConfig) {
    config.topics = vec![TopicInfo { name: TOPIC.to_owned(), kind: "events", ..TopicInfo::default() }];
    config.default_timeout = Duration::from_secs(10);
}

/// A bridge alone, with this partition.
fn alone(partition: &Partition, logs: Option<JobLogs>) -> Bridge {
    let bridge = Bridge::with_logs(logs, of_events);
    partition.show(&bridge);
    bridge.live.publish_group(map(&[(partition.number, Some("self:1"))]));
    bridge
}

fn dir() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().unwrap())
}

fn ids(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    answer["runs"].as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap().to_owned()).collect()
}

fn names(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|n| format!("run-{n}")).collect()
}

#[tokio::test]
async fn finished_runs_that_the_state_has_let_go_are_read_back() {
    let mut partition = Partition::new(0, &dir());
    for n in 0..10 {
        let status = if n % 3 == 0 { "FAILED" } else { "SUCCEEDED" };
        partition.run("daily", &format!("run-{n}"), 100 - 10 * n, status);
    }
    let without = alone(&partition, None);
    assert_eq!(ids(&without.get("/api/v1/runs").await), names([9, 8]));
    assert_eq!(without.get("/api/v1/runs/run-0").await.status, 404);
    let bridge = alone(&partition, partition.logs(true));
    let list = bridge.get("/api/v1/runs").await;
    assert_eq!(ids(&list), names((0..10).rev()));
    let list = list.json();
    assert_eq!(
        (list["total"].as_u64(), list["at_least"].as_bool(), list["history"].as_str()),
        (Some(10), Some(false), Some("shared"))
    );
    for (query, expected) in [
        ("status=failed", names([9, 6, 3, 0])),
        ("offset=3&limit=4", names([6, 5, 4, 3])),
        ("pipeline=daily&limit=1", names([9])),
        ("pipeline=another", Vec::new()),
        ("owner=ann&offset=9", names([0])),
        ("owner=bob", Vec::new()),
        (&format!("since={}", unix_ms() / 1000 - 25 * 3600), names([9, 8])),
        (&format!("until={}", unix_ms() / 1000 - 75 * 3600), names([2, 1, 0])),
    ] {
        assert_eq!(ids(&bridge.get(&format!("/api/v1/runs?{query}")).await), expected, "{query}");
    }
    let page = bridge.get("/api/v1/runs?limit=2").await.json();
    assert!(page["has_more"] == true && page["total"].as_u64().unwrap() > 2, "{page}");
    // Forgotten, kept without details, kept: all with what they were.
    for (n, status) in [(0, "FAILED"), (7, "SUCCEEDED"), (9, "FAILED")] {
        for path in [format!("run-{n}"), format!("run-{n}?pipeline=daily")] {
            let answer = bridge.get(&format!("/api/v1/runs/{path}")).await.json();
            let run = &answer["runs"][0];
            assert_eq!(answer["runs"].as_array().unwrap().len(), 1, "{answer}");
            assert_eq!((run["status"].as_str(), run["owner"].as_str()), (Some(status), Some("ann")), "{run}");
            assert_eq!(run["last_error"]["message"], "of [masked:email]", "{run}");
        }
    }
    assert_eq!(bridge.get("/api/v1/runs/run-0?pipeline=another").await.status, 404);
    assert!(bridge.get("/runs/run-0").await.text().contains("of [masked:email]"));
    assert!(bridge.get("/runs").await.text().contains("run-0"));
}

#[tokio::test]
async fn what_the_state_knows_of_a_run_is_newer_than_its_report() {
    let mut partition = Partition::new(0, &dir());
    partition.run("daily", "run-0", 9, "FAILED");
    partition.run("daily", "run-1", 8, "FAILED");
    let again = r#"{"pipeline_id":"daily","run_id":"run-0","status":"RUNNING","retry_count":1}"#;
    partition.event("daily", 1, again);
    let bridge = alone(&partition, partition.logs(false));
    assert_eq!(ids(&bridge.get("/api/v1/runs?status=failed").await), names([1]));
    let list = bridge.get("/api/v1/runs").await;
    assert_eq!((ids(&list), list.json()["history"].as_str()), (names([0, 1]), Some("own")));
    // It ends, and is told twice in the store: once is enough, and the newest.
    let end = r#"{"pipeline_id":"daily","run_id":"run-0","status":"SUCCEEDED","retry_count":1}"#;
    partition.event("daily", 0, end);
    for n in 2..8 {
        partition.run("daily", &format!("run-{n}"), 0, "SUCCEEDED");
    }
    let bridge = alone(&partition, partition.logs(false));
    let run = bridge.get("/api/v1/runs/run-0").await.json();
    assert_eq!(
        (run["runs"].as_array().unwrap().len(), run["runs"][0]["status"].as_str()),
        (1, Some("SUCCEEDED")),
        "{run}"
    );
    let mut all = ids(&bridge.get("/api/v1/runs").await);
    all.sort();
    assert_eq!(all, names(0..8));
    // What a job of the same name says is no report.
    let forged = r#"{"timestamp":1,"job_id":"runs of daily","content":{"log":{"level":"INFO","message":"m"}},"run_id":"forged","pipeline_id":"daily","status":"FAILED"}"#;
    partition.event("runs of daily", 0, &forged.replace("\"timestamp\":1", &format!("\"timestamp\":{}", unix_ms())));
    let bridge = alone(&partition, partition.logs(false));
    assert_eq!(ids(&bridge.get("/api/v1/runs").await).len(), 8);
    assert_eq!(bridge.get("/api/v1/runs/forged").await.status, 404);
}

fn messages(run: &serde_json::Value) -> Vec<String> {
    run["logs"]["entries"].as_array().unwrap().iter().map(|e| e["message"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_run_shows_its_log_events_page_by_page() {
    let mut partition = Partition::new(0, &dir());
    partition.run("daily", "run-0", 0, "SUCCEEDED");
    for n in 0..5 {
        partition.log("daily", &format!(r#""run_id":"run-0","message":"own {n}""#));
    }
    partition.log("other", r#""run_id":"run-0","message":"of another pipeline""#);
    partition.log("daily", r#""correlation_id":"c-run-0","message":"correlated""#);
    partition.log("daily", r#""correlation_id":"c-run-1","message":"of another run""#);
    let bridge = alone(&partition, partition.logs(true));
    let whole = bridge.get("/api/v1/runs/run-0?pipeline=daily").await.json();
    let expected = ["own 0", "own 1", "own 2", "own 3", "own 4", "correlated"];
    assert_eq!(messages(&whole["runs"][0]), expected);
    assert!(whole["runs"][0]["logs"]["cursor"].is_null() && whole["runs"][0]["logs"]["unknown"].is_null(), "{whole}");
    let (mut found, mut cursor) = (Vec::new(), String::new());
    for _ in 0..10 {
        let path = format!("/api/v1/runs/run-0?pipeline=daily&logs_limit=2&logs_cursor={cursor}");
        let run = bridge.get(&path).await.json()["runs"][0].clone();
        found.extend(messages(&run));
        assert!(messages(&run).len() <= 2);
        let Some(next) = run["logs"]["cursor"].as_str() else { break };
        cursor = sd::segment(next);
    }
    assert_eq!(found, expected);
    assert!(
        messages(&bridge.get("/api/v1/runs/run-0?pipeline=daily&logs_level=error").await.json()["runs"][0]).is_empty()
    );
    let page = bridge.get("/runs/run-0?pipeline=daily&logs_limit=3").await.text();
    assert!(page.contains("own 2") && !page.contains("own 3") && page.contains("logs_cursor="), "{page}");
    for bad in ["logs_limit=x", "logs_limit=1001", "logs_level=loud", "logs_cursor=x", "logs_cursor=0~x"] {
        assert_eq!(bridge.get(&format!("/api/v1/runs/run-0?pipeline=daily&{bad}")).await.status, 400, "{bad}");
    }
    let without = alone(&partition, None);
    let run = without.get("/api/v1/runs/run-0").await.json();
    assert!(run["runs"][0]["logs"]["unknown"].as_str().unwrap().contains("logs.url"), "{run}");
    assert!(without.get("/runs/run-0").await.text().contains("configure logs.url"));
}

/// Two bridges with a store each; `a` has partition 0, `b` has 1.
async fn two() -> (Bridge, Bridge) {
    let (mut first, mut second) = (Partition::new(0, &dir()), Partition::new(1, &dir()));
    for n in 0..3 {
        first.log("daily", &format!(r#""run_id":"of both","message":"a {n}""#));
        second.log("weekly", &format!(r#""run_id":"of both","message":"b {n}""#));
        second.log("weekly", &format!(r#""run_id":"of b","message":"only {n}""#));
    }
    second.run("weekly", "of b", 0, "SUCCEEDED");
    let point = |at: i64, value: i64| {
        let content = format!(r#"{{"metric":{{"name":"rows","value":{value}}}}}"#);
        format!(r#"{{"timestamp":{},"job_id":"job","content":{content}}}"#, unix_ms() + at)
    };
    first.event("job", 0, &point(1000, 7));
    second.event("job", 0, &point(0, 5));
    let a = Bridge::listening_with_logs(first.logs(false), of_events).await;
    let b = Bridge::listening_with_logs(second.logs(false), of_events).await;
    first.show(&a);
    second.show(&b);
    let map = map(&[(0, Some(a.address())), (1, Some(b.address()))]);
    a.live.publish_group(map.clone());
    b.live.publish_group(map);
    // The directories are open for as long as they are read.
    std::mem::forget((first.dir, second.dir));
    (a, b)
}

async fn said(bridge: &Bridge, path: &str) -> (Vec<String>, serde_json::Value) {
    let answer = bridge.get(path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    let page = answer.json();
    (page["entries"].as_array().unwrap().iter().map(|e| e["message"].as_str().unwrap().to_owned()).collect(), page)
}

#[tokio::test]
async fn any_bridge_answers_for_any_job() {
    let (a, b) = two().await;
    for bridge in [&a, &b] {
        let (found, _) = said(bridge, "/api/v1/jobs/of%20b/logs").await;
        assert_eq!(found, ["only 0", "only 1", "only 2"]);
        let (mut found, mut cursor) = (Vec::new(), String::new());
        for _ in 0..10 {
            let (some, page) = said(bridge, &format!("/api/v1/jobs/of%20both/logs?limit=2{cursor}")).await;
            found.extend(some);
            cursor = format!("&cursor={}", sd::segment(page["cursor"].as_str().unwrap()));
            if page["has_more"] != true {
                break;
            }
        }
        let of = |bridge: char| found.iter().filter(|m| m.starts_with(bridge)).cloned().collect::<Vec<_>>();
        assert_eq!(
            (of('a'), of('b')),
            (vec!["a 0".into(), "a 1".into(), "a 2".into()], vec!["b 0".into(), "b 1".into(), "b 2".into()])
        );
        let jobs = bridge.get("/api/v1/jobs").await.json();
        let listed: Vec<_> = jobs["jobs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|j| (j["job_run_id"].as_str().unwrap(), j["entries"].as_u64().unwrap()))
            .collect();
        assert_eq!(listed, [("job", 2), ("of b", 3), ("of both", 6), ("runs of weekly", 1)]);
        assert_eq!(bridge.get("/api/v1/jobs?limit=1").await.json()["has_more"], true);
        assert_eq!(bridge.get("/api/v1/jobs/job/metrics").await.text(), "# TYPE rows untyped\nrows 7\n");
        let run = bridge.get("/api/v1/runs/of%20b").await.json();
        assert_eq!(messages(&run["runs"][0]), ["only 0", "only 1", "only 2"]);
        assert_eq!(bridge.get("/api/v1/jobs/of%20b/logs?cursor=2026-11-21.0").await.status, 400);
        assert_eq!(bridge.get("/api/v1/jobs/of%20b/logs?limit=0").await.status, 400);
        assert_eq!(bridge.get("/api/v1/jobs/of%20b/logs?level=loud").await.status, 400);
    }
}

#[tokio::test]
async fn a_bridge_that_cannot_know_all_says_so() {
    let (a, b) = two().await;
    let refused = |answer: Answer, why: &str| {
        assert!(answer.status == 503 && answer.text().contains(why), "{}", answer.text());
    };
    let paths =
        ["/api/v1/jobs", "/api/v1/jobs/of%20b/logs", "/api/v1/jobs/job/metrics", "/api/v1/runs", "/api/v1/runs/x"];
    a.live.publish_group(map(&[(0, Some(a.address())), (1, None)]));
    for path in paths {
        refused(a.get(path).await, "/1 is exposed by no bridge");
    }
    a.live.publish_group(map(&[(0, Some(a.address())), (1, Some("127.0.0.1:1"))]));
    for path in paths {
        refused(a.get(path).await, "did not answer");
    }
    a.live.publish_group(GroupMap { complete: false, ..map(&[(0, Some(a.address()))]) });
    refused(a.get("/api/v1/jobs").await, "map is incomplete");
    // A run that is here, whose log events may be elsewhere too: the run is told.
    let partition = Partition::new(0, &dir());
    let gone = alone(&partition, partition.logs(false));
    std::fs::write(partition.dir.path().join("2026-11-21"), "no directory").unwrap();
    refused(gone.get("/api/v1/jobs").await, "the log store cannot be read");
    drop(b);
}

#[tokio::test]
async fn what_a_bridge_kept_that_left_is_not_left_out_silently() {
    let (mut first, mut second) = (Partition::new(0, &dir()), Partition::new(1, &dir()));
    first.log("daily", r#""run_id":"of both","message":"before""#);
    second.log("weekly", r#""run_id":"of b","message":"other""#);
    // Partition 0 was another bridge's up to 100.
    let since = unix_ms() * 1_000_000;
    let range = |from, first| Range { from, to: from, since, first };
    first.store.begin(TOPIC, 0, range(100, false)).unwrap();
    let a = Bridge::listening_with_logs(first.logs(false), of_events).await;
    let b = Bridge::listening_with_logs(second.logs(false), of_events).await;
    first.show(&a);
    second.show(&b);
    let map = map(&[(0, Some(a.address())), (1, Some(b.address()))]);
    a.live.publish_group(map.clone());
    b.live.publish_group(map.clone());
    let paths = ["/api/v1/jobs", "/api/v1/jobs/of%20b/logs", "/api/v1/jobs/job/metrics"];
    for bridge in [&a, &b] {
        for path in paths {
            let answer = bridge.get(path).await;
            let text = answer.text();
            assert!(
                answer.status == 503 && text.contains("from 0 to 99") && text.contains("logs.url"),
                "{path}: {text}"
            );
        }
        let later = unix_ms() / 1000 + 2 * 86_400;
        let answer = bridge.get(&format!("/api/v1/jobs/of%20b/logs?since={later}")).await;
        assert_eq!(answer.status, 200, "what came before then cannot be asked for: {}", answer.text());
    }
    let shared = alone(&first, first.logs(true));
    assert_eq!(shared.get("/api/v1/jobs").await.status, 200, "a shared store has everything");
    // The one that had it holds another partition now.
    second.store.begin(TOPIC, 0, range(0, true)).unwrap();
    second.store.reached(TOPIC, 0, 100).unwrap();
    for bridge in [&a, &b] {
        assert_eq!(said(bridge, "/api/v1/jobs/of%20both/logs").await.0, ["before"]);
    }
}
