//! Runs as one bridge knows them: those that replayed state has, and those that it has let
//! go, read back from the log store.
//!
//! The state is right where it knows a run. The store's report of it counts where the run is
//! forgotten, or kept without its details. Of the reports only those of partitions that
//! are exposed here count, so that bridges which share a store do not tell one twice.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k2p_core::model::UnixMs;
use k2p_logs::mask::{MaskCounts, Maskers};
use k2p_logs::{LogReader, StoredLine, day_of, runs_of};
use k2p_pipelines::runs::{FinishedRun, PipelineSummary, RunsView};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Exposer;
use super::gather::{Incomplete, unreadable};
use super::runs::Filter;

/// What a list may read of the store, bytes of lines: about two seconds.
const LIST_BYTES: u64 = 256 << 20;
/// What the search for one run may, which reads no line that does not name it.
const FIND_BYTES: u64 = 1 << 30;

/// Some of a longer list, the newest first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Found {
    /// How many there are …
    pub(super) total: usize,
    /// … at least: older ones were not counted.
    pub(super) at_least: bool,
    pub(super) runs: Vec<FinishedRun>,
}

/// The partitions that this bridge exposes, as of now. What it reads may block.
pub(super) struct Here {
    views: Vec<(Arc<str>, i32, Arc<RunsView>)>,
    store: Option<LogReader>,
    maskers: Arc<Maskers>,
}

/// A walk through the store's reports.
struct Walk<'a> {
    here: &'a Here,
    reader: &'a LogReader,
    /// Bytes that it may still read.
    budget: u64,
}

impl Here {
    pub(super) fn of(exposer: &Exposer) -> Here {
        let exposed = exposer.state.live.snapshot(exposer.state.clocks.mono).into_iter();
        let view = |e: crate::live::Exposed| {
            Some((e.partition.topic.clone(), e.partition.partition, e.partition.replay.runs()?))
        };
        Here {
            views: exposed.filter_map(view).collect(),
            store: exposer.state.logs.as_ref().map(|logs| logs.reader.clone()),
            maskers: exposer.state.maskers.load_full(),
        }
    }

    pub(super) fn exposed(&self) -> Vec<(String, i32)> {
        self.views.iter().map(|(topic, partition, _)| (topic.to_string(), *partition)).collect()
    }

    /// The newest `limit` runs that a filter lets through.
    pub(super) fn found(&self, filter: &Filter, limit: usize) -> Result<Found, Incomplete> {
        let mut runs = Vec::new();
        for (topic, _, view) in &self.views {
            let all = view.runs(filter.pipeline.as_deref()).filter(|run| filter.holds(run));
            runs.extend(all.filter_map(|run| self.masked(topic, &run)));
        }
        let older = match self.walk(LIST_BYTES) {
            Some(mut walk) => walk.older(filter, limit, &runs)?,
            None => (Vec::new(), false),
        };
        runs.extend(older.0);
        let total = runs.len();
        let mut runs = newest_first(runs);
        runs.truncate(limit);
        Ok(Found { total, at_least: older.1, runs })
    }

    /// Every run of that id.
    pub(super) fn run(&self, pipeline: Option<&str>, id: &str) -> Result<Vec<FinishedRun>, Incomplete> {
        let mut runs = Vec::new();
        for (topic, _, view) in &self.views {
            runs.extend(view.run(pipeline, id).iter().filter_map(|run| self.masked(topic, run)));
        }
        let known = pipeline.is_some() && runs.iter().any(|run| !run.is_bare());
        if !known && let Some(mut walk) = self.walk(FIND_BYTES) {
            for report in walk.of_run(pipeline, id)? {
                runs.retain(|run| run.pipeline_id != report.pipeline_id);
                runs.push(report);
            }
        }
        Ok(newest_first(runs))
    }

    /// The pipelines; windows end at `now`.
    pub(super) fn pipelines(&self, now: UnixMs) -> Vec<PipelineSummary> {
        let mut pipelines = Vec::new();
        for (topic, _, view) in &self.views {
            pipelines.extend(view.pipelines(now).iter().filter_map(|pipeline| self.masked(topic, pipeline)));
        }
        pipelines
    }

    /// What people wrote into it, masked: value by value, as JSON. What cannot be masked is
    /// not shown.
    fn masked<T: Serialize + DeserializeOwned>(&self, topic: &str, shown: &T) -> Option<T> {
        let text = serde_json::to_vec(shown).ok()?;
        let masked = self.maskers.of(topic).line(&text, &mut MaskCounts::default());
        serde_json::from_slice(&masked).ok()
    }

    fn walk(&self, budget: u64) -> Option<Walk<'_>> {
        self.store.as_ref().map(|reader| Walk { here: self, reader, budget })
    }

    /// The run that a stored report is of, and what counts of it: the report, what the state
    /// says, or nothing, where the state's list has the run or leaves it out as it is now.
    fn current(&self, line: &StoredLine<'_>) -> Option<(Box<str>, Option<FinishedRun>)> {
        let (topic, partition) = line.reported()?;
        let (_, _, view) = self.views.iter().find(|(t, p, _)| **t == *topic && *p == partition)?;
        let report: FinishedRun = serde_json::from_slice(line.line).ok()?;
        let id = report.run_id.clone();
        let counts = match view.run(Some(&report.pipeline_id), &id).pop() {
            None => Some(report),
            Some(run) if !run.is_bare() => None,
            Some(run) if run.status == report.status && run.retry_count == report.retry_count => Some(report),
            Some(run) => self.masked(topic, &run),
        };
        Some((id, counts))
    }
}

impl Walk<'_> {
    /// Reports that the state's list does not have, the newest days first, until a page is
    /// full; and whether older ones were left.
    fn older(
        &mut self,
        filter: &Filter,
        limit: usize,
        listed: &[FinishedRun],
    ) -> Result<(Vec<FinishedRun>, bool), Incomplete> {
        let first_day = filter.since.map(|since| day_of((since * 1e9) as i64));
        let (mut seen, mut runs) = (BTreeSet::new(), Vec::new());
        for day in self.days()? {
            if first_day.as_ref().is_some_and(|first| day < *first) {
                break;
            }
            // Whatever lies further back is older than all of these.
            let newer = listed.iter().filter(|run| day_of((run.last_seen_seconds * 1e9) as i64) > day).count();
            if newer + runs.len() > limit {
                return Ok((runs, true));
            }
            for pipeline in self.pipelines(&day, filter.pipeline.as_deref())? {
                for (id, run) in self.newest_of_day(&day, &pipeline, None)? {
                    let fresh = seen.insert((pipeline.clone(), id));
                    runs.extend(run.filter(|run| fresh && filter.holds(run)));
                }
            }
        }
        Ok((runs, false))
    }

    /// The newest report of each pipeline's run of that id.
    fn of_run(&mut self, pipeline: Option<&str>, id: &str) -> Result<Vec<FinishedRun>, Incomplete> {
        let mut found: BTreeMap<String, Option<FinishedRun>> = BTreeMap::new();
        for day in self.days()? {
            for name in self.pipelines(&day, pipeline)? {
                if found.contains_key(&name) {
                    continue;
                }
                let newest = self.newest_of_day(&day, &name, Some(id))?.into_values().next();
                found.extend(newest.map(|run| (name, run)));
            }
            if pipeline.is_some_and(|name| found.contains_key(name)) {
                break;
            }
        }
        Ok(found.into_values().flatten().collect())
    }

    /// By run the newest report of a day, as far as it counts.
    fn newest_of_day(
        &mut self,
        day: &str,
        pipeline: &str,
        only: Option<&str>,
    ) -> Result<BTreeMap<Box<str>, Option<FinishedRun>>, Incomplete> {
        // Reports were masked when they were kept, and so is the id in them.
        let needles: Option<BTreeSet<Vec<u8>>> = only.map(|id| self.needles(id));
        let (here, mut found) = (self.here, BTreeMap::new());
        let mut take = |line: StoredLine<'_>| {
            let asked = needles.as_ref().is_none_or(|all| all.iter().any(|needle| line.contains(needle)));
            found.extend(asked.then(|| here.current(&line)).flatten());
        };
        let read = self.reader.lines_on(&runs_of(pipeline), day, &mut take).map_err(|e| unreadable(&e))?;
        match self.budget.checked_sub(read) {
            Some(left) => self.budget = left,
            None => {
                let why = "more reports of runs are kept than one answer may read: name a pipeline, or a later `since`";
                return Err(why.to_owned());
            }
        }
        Ok(found)
    }

    fn needles(&self, id: &str) -> BTreeSet<Vec<u8>> {
        let text = serde_json::to_vec(id).unwrap_or_default();
        let topics = self.here.views.iter().map(|(topic, _, _)| topic);
        let masked = topics.map(|topic| {
            let id = self.here.maskers.of(topic).line(&text, &mut MaskCounts::default()).into_owned();
            [b"\"run_id\":", &id[..]].concat()
        });
        masked.collect()
    }

    fn days(&self) -> Result<Vec<String>, Incomplete> {
        self.reader.newest_days().map_err(|e| unreadable(&e))
    }

    fn pipelines(&self, day: &str, only: Option<&str>) -> Result<Vec<String>, Incomplete> {
        match only {
            Some(pipeline) => Ok(vec![pipeline.to_owned()]),
            None => self.reader.reported_on(day).map_err(|e| unreadable(&e)),
        }
    }
}

/// Ties by name, so that pages do not overlap.
pub(super) fn newest_first(mut runs: Vec<FinishedRun>) -> Vec<FinishedRun> {
    runs.sort_by(|a, b| {
        let names = |r: &FinishedRun| (r.pipeline_id.clone(), r.run_id.clone());
        b.last_seen_seconds.total_cmp(&a.last_seen_seconds).then_with(|| names(a).cmp(&names(b)))
    });
    runs
}
