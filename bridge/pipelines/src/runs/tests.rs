//! Runs told in one line: what is derived, and where the run ends up.
use super::*;
use crate::event::{ErrorInfo, Level, RunStatus};
use crate::fact::{Fact, FactKind, Scalar};

const SECOND: i64 = 1_000_000_000;

/// A pipeline's tracker, told of the run `r` by words.
struct Bed {
    tracker: Tracker,
    subject: Subject,
    time: i64,
    offset: i64,
    facts: Vec<String>,
    counts: Vec<(RunCount, u64)>,
    finished: Vec<String>,
}

impl Bed {
    fn new(limits: RunLimits) -> Bed {
        Bed {
            tracker: Tracker::new(limits),
            subject: Subject::Pipeline("p".into()),
            time: 0,
            offset: 0,
            facts: Vec::new(),
            counts: Vec::new(),
            finished: Vec::new(),
        }
    }

    /// `RUNNING n=1 s=10 e=20 sla=60 max=3 @100`: a run event of attempt 1 with start,
    /// end and SLA in seconds, appended at second 100. `LOG`, `READ`: a log, a lineage
    /// event. `sla`, `lost`: whatever is due at that second is appended and read back;
    /// with `late=5`, by a clock that is 5 s ahead.
    fn tell(&mut self, words: &str) {
        let mut event = RunEvent { run_id: "r".into(), pipeline_id: "p".into(), ..RunEvent::default() };
        let (mut kind, mut ahead) = ("", 0);
        for word in words.split_whitespace() {
            let number = |text: &str| text.parse::<i64>().unwrap();
            match word.split_once('=') {
                Some(("r", id)) => event.run_id = id.into(),
                Some(("n", n)) => event.retry_count = number(n) as u32,
                Some(("s", s)) => event.start = Some(number(s) * SECOND),
                Some(("e", s)) => event.end = Some(number(s) * SECOND),
                Some(("sla", s)) => event.sla_target_ms = Some(number(s) as f64 * 1000.0),
                Some(("max", n)) => event.max_retries = Some(number(n) as u32),
                Some(("late", s)) => ahead = number(s) * 1000,
                _ if word.starts_with('@') => self.time = number(&word[1..]) * 1000,
                _ => kind = word,
            }
        }
        self.offset += 1;
        let place = Place { offset: self.offset, time: self.time };
        let mut out = Output::default();
        match kind {
            "LOG" => {
                let log = LogEvent { run_id: Some(event.run_id), step: Some("load".into()), ..LogEvent::default() };
                self.tracker.log_event(&self.subject, &log, place, &mut out);
            }
            "READ" => {
                let read = LineageEvent { run_id: Some(event.run_id), dataset: "d".into(), ..LineageEvent::default() };
                self.tracker.lineage_event(&self.subject, &read, place, &mut out);
            }
            "judge" => {
                for sentence in self.tracker.due(self.time + ahead) {
                    self.tracker.judge(&sentence, place, &mut out);
                    self.tracker.judge(&sentence, place, &mut out);
                }
            }
            status => {
                event.status = serde_json::from_value(status.into()).unwrap();
                self.tracker.run_event(&self.subject, &event, place, &mut out);
            }
        }
        self.facts.extend(out.facts.iter().filter(|f| f.kind != FactKind::PipelineState).map(word));
        self.counts.extend(out.counts.iter());
        self.finished.extend(out.finished.iter().map(|run| format!("{}:{}", run.status.as_str(), run.retry_count)));
    }

    fn all(words: &str) -> Bed {
        let mut bed = Bed::new(RunLimits { lost_after_ms: 100_000, ..RunLimits::default() });
        for words in words.split(';') {
            bed.tell(words);
        }
        bed
    }

    fn run(&self) -> FinishedRun {
        self.tracker.view().run(Some("p"), "r").pop().unwrap()
    }
}

fn word(fact: &Derived) -> String {
    let number = |path: &str| match fact.field(path) {
        Some(Scalar::Number(n)) => n.to_string(),
        _ => "?".into(),
    };
    match fact.kind {
        FactKind::AttemptStarted => format!("start@{}", number("start_seconds")),
        FactKind::AttemptEnded => {
            let Some(Scalar::Text(status)) = fact.field("status") else {
                panic!("an end without a status");
            };
            format!("{status}@{}+{}", number("end_seconds"), number("duration_seconds"))
        }
        other => serde_json::to_value(other).unwrap().as_str().unwrap().to_owned(),
    }
}

#[test]
fn a_run_comes_to_the_same_end_in_any_order() {
    for (words, facts, state) in [
        ("QUEUED; RUNNING s=10; SUCCEEDED e=30", "start@10 SUCCEEDED@30+20", "SUCCEEDED"),
        ("RUNNING s=10; SUCCEEDED s=10 e=30", "start@10 SUCCEEDED@30+20", "SUCCEEDED"),
        ("SUCCEEDED s=10 e=30; RUNNING s=10", "start@10 SUCCEEDED@30+20", "SUCCEEDED"),
        ("SUCCEEDED e=30; RUNNING s=10; QUEUED", "SUCCEEDED@30+? start@10", "SUCCEEDED"),
        ("QUEUED", "", "QUEUED"),
        ("RUNNING @7", "start@7", "RUNNING"),
        ("RUNNING s=1; RUNNING s=1; QUEUED", "start@1", "RUNNING"),
        ("FAILED @9", "FAILED@9+?", "FAILED"),
        ("PARTIAL s=1 e=0", "start@1 PARTIAL@0+?", "PARTIAL"),
        // Restarts.
        (
            "RUNNING s=0; FAILED e=5; RUNNING n=1 s=6; SUCCEEDED n=1 e=9",
            "start@0 FAILED@5+5 retried start@6 SUCCEEDED@9+3",
            "SUCCEEDED",
        ),
        (
            "RUNNING n=1 s=6; FAILED s=0 e=5; RUNNING s=0; SUCCEEDED n=1 e=9",
            "retried start@6 start@0 FAILED@5+5 SUCCEEDED@9+3",
            "SUCCEEDED",
        ),
        ("FAILED s=0 e=5; QUEUED n=1", "start@0 FAILED@5+5 retried", "QUEUED"),
        ("FAILED n=2 s=0 e=5 max=2", "retried start@0 FAILED@5+5 retries_exhausted", "FAILED"),
        ("FAILED n=1 e=5 max=2; FAILED n=0 e=5 max=0", "retried FAILED@5+? FAILED@5+?", "FAILED"),
        ("RUNNING n=1 max=1; FAILED n=1 e=5", "retried start@0 FAILED@5+? retries_exhausted", "FAILED"),
        // Details alone are no run.
        ("LOG; READ; RUNNING s=3", "start@3", "RUNNING"),
    ] {
        let bed = Bed::all(words);
        assert_eq!(bed.facts.join(" "), facts, "{words}");
        assert_eq!(bed.run().status.as_str(), state, "{words}");
    }
}

#[test]
fn what_is_ignored_is_counted() {
    for (words, counts) in [
        ("SUCCEEDED; SUCCEEDED", vec![(RunCount::EndRepeated, 1)]),
        ("SUCCEEDED; FAILED", vec![(RunCount::EndContradicted, 1)]),
        ("SUCCEEDED; RUNNING", vec![(RunCount::StatusLate, 1)]),
        ("RUNNING; QUEUED", vec![(RunCount::StatusLate, 1)]),
        ("SUCCEEDED s=5 e=4", vec![(RunCount::DurationNegative, 1)]),
        ("RUNNING; RUNNING; SUCCEEDED n=1; FAILED n=0", vec![]),
    ] {
        assert_eq!(Bed::all(words).counts, counts, "{words}");
    }
}

#[test]
fn an_sla_is_missed_once() {
    for (words, facts, missed) in [
        ("RUNNING s=0 sla=10; SUCCEEDED e=10", "start@0 SUCCEEDED@10+10", false),
        ("RUNNING s=0 sla=10; SUCCEEDED e=11", "start@0 SUCCEEDED@11+11 sla_missed", true),
        ("RUNNING s=0 sla=10; judge @10; SUCCEEDED e=10", "start@0 SUCCEEDED@10+10", false),
        ("RUNNING s=0 sla=10; judge @11; judge @12; SUCCEEDED e=12", "start@0 sla_missed SUCCEEDED@12+12", true),
        // The end is recorded late: what was missed stays missed.
        ("RUNNING s=0 sla=10; judge @11; SUCCEEDED e=9", "start@0 sla_missed SUCCEEDED@9+9", true),
        // A judge whose clock is ahead: the append time decides.
        ("RUNNING s=0 sla=10; judge @10 late=3600", "start@0", false),
        // Changed on the way.
        ("RUNNING s=0 sla=10; RUNNING sla=20; judge @11; SUCCEEDED e=15", "start@0 SUCCEEDED@15+15", false),
        ("RUNNING s=0 sla=90; RUNNING sla=5; judge @6", "start@0 sla_missed", true),
        ("SUCCEEDED s=0 e=15 sla=20; RUNNING sla=5", "start@0 SUCCEEDED@15+15", false),
        // Told in the other order.
        ("SUCCEEDED e=15; RUNNING s=0 sla=10", "SUCCEEDED@15+? start@0 sla_missed", true),
        // Over its attempts a run is one.
        (
            "FAILED s=0 e=8 sla=10; SUCCEEDED n=1 s=9 e=12",
            "start@0 FAILED@8+8 retried start@9 SUCCEEDED@12+3 sla_missed",
            true,
        ),
        (
            "FAILED s=0 e=11 sla=10; FAILED n=1 s=12 e=13",
            "start@0 FAILED@11+11 sla_missed retried start@12 FAILED@13+1",
            true,
        ),
        // Without start: from when it was first seen to run.
        ("QUEUED sla=10 @0; judge @50; RUNNING @60; judge @71", "start@60 sla_missed", true),
        ("QUEUED sla=10 @0; RUNNING @60; SUCCEEDED @70", "start@60 SUCCEEDED@70+?", false),
        // A run that is lost is still measured.
        ("RUNNING s=0 sla=200 @0; judge @101; judge @201", "start@0 run_lost sla_missed", true),
    ] {
        let bed = Bed::all(words);
        assert_eq!(bed.facts.join(" "), facts, "{words}");
        assert_eq!(bed.run().sla_missed, missed, "{words}");
    }
}

#[test]
fn silence_loses_a_run_and_a_word_revives_it() {
    for (words, facts, finished, state) in [
        ("RUNNING s=0 @0; judge @100", "start@0", "", "RUNNING"),
        ("RUNNING s=0 @0; judge @101; judge @500", "start@0 run_lost", "LOST:0", "LOST"),
        ("QUEUED @0; judge @101", "run_lost", "LOST:0", "LOST"),
        ("RUNNING s=0 @0; LOG @50; judge @120", "start@0", "", "RUNNING"),
        ("RUNNING s=0 @0; judge @101; LOG @102", "start@0 run_lost", "LOST:0", "RUNNING"),
        ("RUNNING s=0 @0; judge @101; READ @102; judge @203", "start@0 run_lost run_lost", "LOST:0 LOST:0", "LOST"),
        (
            "RUNNING s=0 @0; judge @101; SUCCEEDED e=9 @110",
            "start@0 run_lost SUCCEEDED@9+9",
            "LOST:0 SUCCEEDED:0",
            "SUCCEEDED",
        ),
        ("RUNNING s=0 @0; judge @50 late=9999", "start@0", "", "RUNNING"),
        ("SUCCEEDED s=0 e=1 @0; judge @999", "start@0 SUCCEEDED@1+1", "SUCCEEDED:0", "SUCCEEDED"),
        ("FAILED @0; RUNNING n=1; FAILED n=1", "FAILED@0+? retried start@0 FAILED@0+?", "FAILED:0 FAILED:1", "FAILED"),
    ] {
        let bed = Bed::all(words);
        assert_eq!(bed.facts.join(" "), facts, "{words}");
        assert_eq!(bed.finished.join(" "), finished, "{words}");
        assert_eq!(bed.run().status.as_str(), state, "{words}");
    }
}

#[test]
fn gauges_follow_the_running_runs() {
    let mut bed = Bed::new(RunLimits::default());
    let state = |bed: &Bed| {
        let mut facts = Vec::new();
        bed.tracker.states(&mut facts);
        let number = |path| match facts[0].field(path) {
            Some(Scalar::Number(n)) => Some(n),
            _ => None,
        };
        (number("runs_active").unwrap(), number("oldest_active_start_seconds"), number("sla_target_seconds"))
    };
    for (words, expected) in [
        ("QUEUED r=a sla=60", (0.0, None, Some(60.0))),
        ("RUNNING r=a s=10", (1.0, Some(10.0), Some(60.0))),
        ("RUNNING r=b s=10 sla=30", (2.0, Some(10.0), Some(30.0))),
        ("RUNNING r=c s=5", (3.0, Some(5.0), Some(30.0))),
        ("RUNNING r=c s=4", (3.0, Some(4.0), Some(30.0))),
        ("FAILED r=c", (2.0, Some(10.0), Some(30.0))),
        ("FAILED r=a", (1.0, Some(10.0), Some(30.0))),
        ("SUCCEEDED r=b", (0.0, None, Some(30.0))),
        ("RUNNING r=a n=1 s=20", (1.0, Some(10.0), Some(30.0))),
    ] {
        bed.tell(words);
        assert_eq!(state(&bed), expected, "{words}");
    }
}

#[test]
fn room_is_bounded_and_what_goes_is_counted() {
    let limits = RunLimits {
        open_runs_per_pipeline: 2,
        unknown_runs_per_pipeline: 1,
        closed_runs_per_pipeline: 3,
        recent_per_pipeline: 1,
        attempts: 2,
        ..RunLimits::default()
    };
    let mut bed = Bed::new(limits);
    for words in ["RUNNING r=a", "RUNNING r=b", "RUNNING r=c", "FAILED r=c s=0 e=7", "LOG r=d", "LOG r=e"] {
        bed.tell(words);
    }
    assert_eq!(bed.facts.join(" "), "start@0 start@0 FAILED@7+7");
    let untracked = (RunCount::RunUntracked, 1);
    assert_eq!(bed.counts, [untracked, untracked, (RunCount::DetailUntracked, 1)]);
    for words in ["FAILED r=a", "FAILED r=b", "FAILED r=d", "FAILED r=f", "FAILED r=g"] {
        bed.tell(words);
    }
    assert_eq!(bed.counts[3..], [(RunCount::ClosedForgotten, 1), (RunCount::ClosedForgotten, 1)]);
    let view = bed.tracker.view();
    assert!(view.run(None, "a").is_empty() && view.run(None, "b").is_empty());
    assert_eq!(view.run(None, "d").len(), 1);
    assert_eq!(view.runs(None).map(|r| r.run_id).collect::<Vec<_>>(), ["g".into()]);
    // The attempts of the lowest numbers go.
    bed.counts.clear();
    for words in ["RUNNING r=d n=1", "RUNNING r=d n=2", "FAILED r=d n=0"] {
        bed.tell(words);
    }
    assert_eq!(bed.counts, [(RunCount::AttemptForgotten, 1)]);
    assert_eq!((bed.tracker.totals.open, bed.tracker.totals.closed), (1, 2));
}

#[test]
fn details_are_kept_through_a_resume() {
    let mut tracker = Tracker::new(RunLimits { steps: 2, stack_bytes: 4, correlation_ids: 1, ..RunLimits::default() });
    let subject = Subject::Pipeline("p".into());
    let mut out = Output::default();
    let place = |offset| Place { offset, time: offset * 1000 };
    let mut log = |tracker: &mut Tracker, step: &str, at, duration: Option<f64>| {
        let error = duration.is_none().then(|| ErrorInfo { stack: Some("12345".into()), ..ErrorInfo::default() });
        let event = LogEvent {
            timestamp: at * SECOND,
            run_id: Some("r".into()),
            step: Some(step.into()),
            level: if error.is_some() { Level::Error } else { Level::Info },
            rows_read: Some(10.0),
            duration_ms: duration,
            correlation_id: Some(step.into()),
            error,
            ..LogEvent::default()
        };
        tracker.log_event(&subject, &event, place(at), &mut out);
    };
    log(&mut tracker, "extract", 1, Some(1500.0));
    log(&mut tracker, "load", 2, None);
    log(&mut tracker, "extract", 3, Some(2500.0));
    log(&mut tracker, "third", 4, Some(1.0));
    let event = |status, retry_count, step: &str| RunEvent {
        run_id: "r".into(),
        pipeline_id: "p".into(),
        status,
        retry_count,
        max_retries: Some(2),
        current_step: Some(step.into()),
        triggered_by: Some("ann".into()),
        dag_version: Some("f00d".into()),
        other: vec![("compensation.state".into(), "done".into()), ("else".into(), 1.into())],
        ..RunEvent::default()
    };
    tracker.run_event(&subject, &event(RunStatus::Failed, 0, "load"), place(5), &mut out);
    tracker.run_event(&subject, &event(RunStatus::Running, 1, "load"), place(6), &mut out);
    tracker.run_event(&subject, &event(RunStatus::Running, 0, "extract"), place(7), &mut out);
    let lineage =
        LineageEvent { run_id: Some("r".into()), dataset: "raw".into(), rows: Some(5.0), ..LineageEvent::default() };
    tracker.lineage_event(&subject, &lineage, place(8), &mut out);
    tracker.lineage_event(&subject, &lineage, place(9), &mut out);

    let run = tracker.view().run(None, "r").pop().unwrap();
    assert_eq!((run.status, run.retry_count, run.max_retries), (RunState::Running, 1, Some(2)));
    assert_eq!((run.current_step.as_deref(), run.triggered_by.as_deref()), (Some("load"), Some("ann")));
    assert_eq!((run.steps.len(), run.left_out), (2, 3));
    let extract = &run.steps[0];
    assert_eq!((extract.duration_seconds, extract.rows_read, extract.finished), (Some(2.5), 20.0, true));
    assert_eq!((run.steps[1].finished, run.steps[1].errors), (false, 1));
    let error = run.last_error.clone().unwrap();
    assert_eq!((error.step.as_deref(), error.stack.as_deref()), (Some("load"), Some("1234")));
    assert_eq!((run.reads.len(), run.reads[0].rows, run.writes.len()), (1, Some(5.0), 0));
    assert_eq!(run.compensation.len(), 1);
    assert_eq!(run.attempts.iter().map(|a| a.status).collect::<Vec<_>>(), [RunStatus::Failed, RunStatus::Running]);
    let line = serde_json::to_string(&run).unwrap();
    assert!(!line.contains('\n'));
    assert_eq!(serde_json::from_str::<FinishedRun>(&line).unwrap(), run);
    assert_eq!(out.finished[0].status, RunState::Failed);
    assert_eq!(out.counts.get(RunCount::StepLeftOut), 1);
}
