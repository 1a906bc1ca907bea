//! The logs of jobs over several bridges, each with a store of its own: parts put together.
use std::collections::BTreeMap;

use k2p_logs::{Job, Jobs, Level, Page, StoredEntry, file_name};
use serde::{Deserialize, Serialize};

/// What one bridge has of a page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    entries: Vec<PartEntry>,
    cursor: String,
    has_more: bool,
    cut: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PartEntry {
    at: i64,
    line: String,
    after: String,
}

impl From<Page> for Part {
    fn from(page: Page) -> Part {
        let entry = |e: StoredEntry| PartEntry { at: e.at, line: e.line, after: e.after };
        let entries = page.entries.into_iter().map(entry).collect();
        Part { entries, cursor: page.cursor, has_more: page.has_more, cut: page.cut }
    }
}

/// How far each bridge's store was read: `ADDRESS=CURSOR,…`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cursors(BTreeMap<String, String>);

impl Cursors {
    /// `None` where the text is none.
    pub(super) fn parse(text: &str) -> Option<Cursors> {
        let pair = |part: &str| part.split_once('=').map(|(bridge, cursor)| (bridge.to_owned(), cursor.to_owned()));
        text.split(',').map(pair).collect::<Option<_>>().map(Cursors)
    }

    pub(super) fn of(&self, bridge: &str) -> Option<&str> {
        self.0.get(bridge).map(String::as_str)
    }
}

impl std::fmt::Display for Cursors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (bridge, cursor)) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{bridge}={cursor}")?;
        }
        Ok(())
    }
}

/// One page of the parts of a job's log: each bridge's entries in their order, between
/// bridges the earlier one first.
pub(super) fn merge(parts: Vec<(String, Part)>, limit: usize, before: Cursors) -> Page {
    let mut page = Page { cut: parts.iter().map(|(_, part)| part.cut).sum(), ..Page::default() };
    let mut cursors = before;
    let mut open: Vec<_> = parts
        .into_iter()
        .map(|(bridge, part)| (bridge, part.entries.into_iter().peekable(), part.cursor, part.has_more))
        .collect();
    while page.entries.len() < limit {
        // Behind the end of a part that has more nobody knows what comes next.
        if open.iter_mut().any(|(_, entries, _, has_more)| *has_more && entries.peek().is_none()) {
            break;
        }
        let next = open.iter_mut().filter_map(|(bridge, entries, ..)| {
            let at = entries.peek()?.at;
            Some((at, bridge, entries))
        });
        let Some((_, bridge, entries)) = next.min_by_key(|(at, ..)| *at) else { break };
        if let Some(entry) = entries.next() {
            cursors.0.insert(bridge.clone(), entry.after.clone());
            let (line, after) = (entry.line, entry.after);
            page.entries.push(StoredEntry { at: entry.at, level: Level::None, source: String::new(), line, after });
        }
    }
    for (bridge, mut entries, cursor, has_more) in open {
        if entries.peek().is_none() {
            page.has_more |= has_more;
            cursors.0.insert(bridge, cursor);
        } else {
            page.has_more = true;
        }
    }
    page.cursor = cursors.to_string();
    page
}

/// One page of the lists of all bridges, by the names of files; a job of several is one.
pub(super) fn merge_jobs(parts: Vec<Jobs>, limit: usize) -> Jobs {
    // Behind it a part that has more may have what no other one has.
    let horizon = parts.iter().filter(|part| part.has_more).filter_map(|part| part.cursor.clone()).min();
    let mut merged = Jobs { has_more: horizon.is_some(), ..Jobs::default() };
    merged.cursor = horizon.clone().or_else(|| parts.iter().filter_map(|part| part.cursor.clone()).max());
    let mut found: BTreeMap<String, Job> = BTreeMap::new();
    for job in parts.into_iter().flat_map(|part| part.jobs) {
        let Some(name) = file_name(&job.job_run_id) else { continue };
        if horizon.as_ref().is_some_and(|horizon| name > *horizon) {
            continue;
        }
        match found.get_mut(&name) {
            Some(known) => add(known, job),
            None => drop(found.insert(name, job)),
        }
    }
    merged.has_more |= found.len() > limit;
    for (name, job) in found.into_iter().take(limit) {
        merged.jobs.push(job);
        if merged.jobs.len() == limit {
            merged.cursor = Some(name);
        }
    }
    merged
}

fn add(known: &mut Job, more: Job) {
    known.days.extend(more.days);
    known.days.sort_unstable();
    known.days.dedup();
    known.entries += more.entries;
    known.cut += more.cut;
    known.bytes += more.bytes;
    known.stored_bytes += more.stored_bytes;
    known.first_at = known.first_at.min(more.first_at);
    known.last_at = known.last_at.max(more.last_at);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Bridges with these times of entries; pages of `limit` put together.
    fn pages(bridges: &[(&str, &[i64])], limit: usize) -> Vec<Vec<i64>> {
        let (mut cursor, mut pages) = (Cursors::default(), Vec::new());
        loop {
            let part = |bridge: &str, times: &[i64]| {
                let from: usize = cursor.of(bridge).map_or(0, |c| c.parse().unwrap());
                let entry = |(n, at): (usize, &i64)| {
                    let after = (n + 1).to_string();
                    PartEntry { at: *at, line: format!("{{\"of\":\"{bridge}\"}}"), after }
                };
                let entries: Vec<_> = times.iter().enumerate().skip(from).take(limit).map(entry).collect();
                let end = from + entries.len();
                Part { entries, cursor: end.to_string(), has_more: end < times.len(), cut: 1 }
            };
            let parts = bridges.iter().map(|(bridge, times)| ((*bridge).to_owned(), part(bridge, times))).collect();
            let page = merge(parts, limit, cursor);
            assert_eq!(page.cut, bridges.len() as u64);
            pages.push(page.entries.iter().map(|e| e.at).collect());
            if !page.has_more {
                return pages;
            }
            assert!(!page.entries.is_empty(), "a page moves on");
            cursor = Cursors::parse(&page.cursor).unwrap();
        }
    }

    #[test]
    fn pages_of_several_stores_are_in_order_and_whole() {
        assert_eq!(pages(&[("a:1", &[]), ("b:1", &[])], 3), [Vec::<i64>::new()]);
        assert_eq!(pages(&[("a:1", &[1, 4]), ("b:1", &[2, 3])], 10), [[1, 2, 3, 4]]);
        assert_eq!(pages(&[("a:1", &[1, 2, 3, 4, 5]), ("[::1]:2", &[])], 2), [vec![1, 2], vec![3, 4], vec![5]]);
        // What arrived late stays where it arrived.
        assert_eq!(pages(&[("a:1", &[5, 1]), ("b:1", &[2])], 10), [[2, 5, 1]]);
        for limit in 1..8 {
            let found: Vec<i64> = pages(&[("a:1", &[1, 3, 5, 7]), ("b:1", &[2, 4]), ("c:1", &[6])], limit).concat();
            assert_eq!(found, [1, 2, 3, 4, 5, 6, 7], "pages of {limit}");
        }
    }

    #[test]
    fn cursors_are_written_and_read() {
        let text = "127.0.0.1:4000=2026-11-21.7,[::1]:1=0000-01-01.0";
        assert_eq!(Cursors::parse(text).unwrap().to_string(), text);
        for bad in ["", "2026-11-21.7", "a=1,b"] {
            assert_eq!(Cursors::parse(bad), None, "{bad}");
        }
    }

    fn job(id: &str, day: &str, entries: u64) -> Job {
        let days = vec![day.to_owned()];
        let (first_at, last_at) = (entries as i64, entries as i64 * 2);
        Job { job_run_id: id.to_owned(), days, entries, cut: 0, bytes: 1, stored_bytes: 1, first_at, last_at }
    }

    #[test]
    fn a_job_of_two_bridges_is_one_and_no_page_jumps_over_one() {
        let part = |jobs: &[Job], has_more| {
            let cursor = jobs.last().map(|j| file_name(&j.job_run_id).unwrap());
            Jobs { jobs: jobs.to_vec(), cursor, has_more }
        };
        let parts = || {
            vec![part(&[job("a", "1", 3), job("c", "1", 1)], true), part(&[job("a", "0", 2), job("d", "1", 1)], false)]
        };
        let first = merge_jobs(parts(), 10);
        let names = |jobs: &Jobs| jobs.jobs.iter().map(|j| j.job_run_id.clone()).collect::<Vec<_>>();
        assert_eq!(
            (names(&first), first.cursor.as_deref(), first.has_more),
            (vec!["a".into(), "c".into()], Some("c"), true)
        );
        let a = &first.jobs[0];
        assert_eq!((a.days.join(" "), a.entries, a.first_at, a.last_at), ("0 1".to_owned(), 5, 2, 6));
        let cut = merge_jobs(parts(), 1);
        assert_eq!((names(&cut), cut.cursor.as_deref(), cut.has_more), (vec!["a".to_owned()], Some("a"), true));
        let last = merge_jobs(vec![part(&[], false), part(&[job("d", "1", 1)], false)], 10);
        assert_eq!((names(&last), last.has_more), (vec!["d".to_owned()], false));
        assert_eq!(merge_jobs(Vec::new(), 3), Jobs::default());
    }
}
