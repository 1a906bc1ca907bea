//! Pages, filters, cursors; retention and compression as a reader sees them.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::path::Path;

use k2p_logs::{
    Entry, Level, LogReader, LogStore, Query, ReadConfig, Refused, StoreConfig, StoredEntry, StoredLine, runs_of,
};
use proptest::prelude::*;
use support::{DAY, Kind, Made, NOON, Place, SECOND, metrics};

fn append(store: &LogStore, made: &[Made]) {
    let entries: Vec<Entry<'_>> = made.iter().map(Made::entry).collect();
    let appended = store.append(&entries, NOON);
    assert_eq!(appended.written + appended.waiting, made.len() as u64);
    store.sync().unwrap();
}

/// All pages of a query.
fn all(reader: &LogReader, job: &str, query: &Query) -> Vec<StoredEntry> {
    let (mut query, mut found) = (query.clone(), Vec::new());
    loop {
        let page = reader.read(job, &query).unwrap();
        assert!(page.entries.len() <= query.limit);
        found.extend(page.entries);
        if !page.has_more {
            return found;
        }
        assert_ne!(query.cursor.as_ref(), Some(&page.cursor), "a page moves on");
        query.cursor = Some(page.cursor);
    }
}

/// A job over three days, 700 KB of lines: several blocks a day.
fn long_job() -> Vec<Made> {
    let at = |i: i64| NOON - 2 * DAY + i * 40 * SECOND + (i % 5) * 90 * SECOND;
    let made = |i: i64| {
        let mut made = Made::new("long", 0, i, at(i));
        made.line = format!(r#"{{"message":"{}"}}"#, "x".repeat(80 + usize::try_from(i % 100).unwrap()));
        made
    };
    let mut made: Vec<Made> = (0..4300).map(made).collect();
    made.retain(|made| made.at < NOON + DAY);
    made
}

/// What a reader should find: by day, then in the order of arrival.
fn expected(made: &[Made], query: &Query) -> Vec<String> {
    let mut wanted: Vec<&Made> = made
        .iter()
        .filter(|made| query.since.is_none_or(|since| made.at >= since) && made.level >= query.level)
        .collect();
    wanted.sort_by_key(|made| (made.at.div_euclid(DAY), made.offset));
    wanted.into_iter().map(Made::name).collect()
}

#[test]
fn every_query_finds_what_it_asks_for_packed_or_not() {
    Place::each(|place| {
        let made = long_job();
        let store = place.store(StoreConfig::default());
        for batch in made.chunks(11) {
            append(&store, batch);
        }
        let check = |when: &str| {
            let reader = place.reader();
            for since in [None, Some(NOON - 2 * DAY), Some(NOON - DAY), Some(NOON - DAY + 7), Some(NOON + 2 * DAY)] {
                for level in [Level::None, Level::Info, Level::Error, Level::Fatal] {
                    for limit in [1000, 7777, 313] {
                        let query = Query { since, level, limit, cursor: None };
                        let found = all(&reader, "long", &query);
                        let found: Vec<&str> = found.iter().map(|entry| entry.source.as_str()).collect();
                        assert_eq!(found, expected(&made, &query), "{when}: {query:?}");
                    }
                }
            }
        };
        check("plain");
        let done = store.maintain(NOON + 3 * DAY).unwrap();
        assert_eq!((done.packed, done.removed), (3, 0), "the tests' clock is ahead of the files' times");
        check("packed");
        let late = Made::new("long", 0, 9999, NOON - DAY);
        append(&store, std::slice::from_ref(&late));
        let query = Query { limit: 10_000, ..Query::default() };
        let found = all(&place.reader(), "long", &query);
        assert_eq!(found.len(), made.len() + 1, "a late entry unpacks its day");
        assert!(!place.is_files() || place.dir.path().join("2026-11-20/long.jsonl").exists());
    });
}

#[test]
fn a_cursor_follows_what_comes() {
    Place::each(|place| {
        let store = place.store(StoreConfig::default());
        let reader = place.reader();
        let made: Vec<Made> = (0..30).map(|i| Made::new("j", 0, i, NOON + i)).collect();
        let empty = reader.read("j", &Query::default()).unwrap();
        assert!(empty.entries.is_empty() && !empty.has_more);
        let mut cursor = empty.cursor;
        let mut found = Vec::new();
        for batch in made.chunks(4) {
            append(&store, batch);
            let page = reader.read("j", &Query { cursor: Some(cursor), ..Query::default() }).unwrap();
            found.extend(page.entries.into_iter().map(|entry| entry.source));
            cursor = page.cursor;
        }
        assert_eq!(found, made.iter().map(Made::name).collect::<Vec<_>>());
        for bad in ["", "x", "2026-11-21", "2026-13-01.0", "2026-11-21.x"] {
            assert!(reader.read("j", &Query { cursor: Some(bad.into()), ..Query::default() }).is_err(), "{bad}");
        }
        assert!(reader.read("", &Query::default()).is_err());
    });
}

#[test]
fn jobs_are_listed_by_pages_with_their_ids() {
    Place::each(|place| {
        let store = place.store(StoreConfig::default());
        let ids = ["a", "b/c", "ä", &"long/".repeat(100), "z.jsonl"];
        for (i, id) in (0..).zip(ids) {
            append(&store, &[Made::new(id, 0, i, NOON - DAY), Made::new(id, 1, i, NOON)]);
        }
        let reader = place.reader();
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = reader.jobs(after.as_deref(), 2).unwrap();
            found.extend(page.jobs);
            after = page.cursor;
            if !page.has_more {
                break;
            }
        }
        let mut names: Vec<&str> = found.iter().map(|job| job.job_run_id.as_str()).collect();
        names.sort_unstable();
        let mut wanted = ids.to_vec();
        wanted.sort_unstable();
        assert_eq!(names, wanted);
        for job in &found {
            assert_eq!(job.days, ["2026-11-20", "2026-11-21"]);
            assert_eq!((job.entries, job.first_at, job.last_at), (2, NOON - DAY, NOON));
            assert_eq!(all(&reader, &job.job_run_id, &Query::default()).len(), 2);
        }
        assert!(
            LogReader::open(Path::new("/nowhere/k2p"), ReadConfig::default(), metrics())
                .jobs(None, 9)
                .unwrap()
                .jobs
                .is_empty()
        );
    });
}

#[test]
fn metric_points_are_an_exposition() {
    Place::each(|place| {
        let store = place.store(StoreConfig::default());
        let mut made = Made::new("j", 0, 4, NOON);
        made.line = r#"{"content":{"metric":{"name":"rows","value":3,"labels":{"step":"load"}}}}"#.into();
        append(&store, &[made, Made::new("j", 0, 5, NOON)]);
        assert_eq!(place.reader().points("j").unwrap().exposition(), "# TYPE rows untyped\nrows{step=\"load\"} 3\n");
        assert_eq!(place.reader().points("none").unwrap().exposition(), "");
    });
}

#[test]
fn age_and_size_bound_the_store() {
    Place::each(|place| {
        let config = StoreConfig { retention: 2 * DAY, compress: false, ..StoreConfig::default() };
        let aged = place.store(config.clone());
        for day in 0..3 {
            append(
                &aged,
                &[
                    Made::new("j", 0, day, NOON - 2 * DAY + day * DAY),
                    Made::new("k", 0, day, NOON - 2 * DAY + day * DAY),
                ],
            );
        }
        let days = || {
            let mut days = place.reader().newest_days().unwrap();
            days.reverse();
            days
        };
        assert_eq!(aged.maintain(NOON).unwrap().removed, 0);
        assert_eq!(days(), ["2026-11-19", "2026-11-20", "2026-11-21"]);
        let done = aged.maintain(NOON + DAY).unwrap();
        assert!(done.removed == 2 && done.aged_bytes > 0 && done.files == 4);
        assert_eq!(days(), ["2026-11-20", "2026-11-21"]);
        let sized = place.store(StoreConfig { max_bytes: done.bytes * 2 / 3, ..config });
        let done = sized.maintain(NOON + DAY).unwrap();
        assert!(done.removed == 2 && done.sized_bytes > 0 && done.files == 2, "{done:?}");
        assert_eq!(days(), ["2026-11-21"]);
        // A file that was open and went with retention is made anew.
        let last = place.store(StoreConfig { max_bytes: 0, compress: false, ..StoreConfig::default() });
        append(&aged, &[Made::new("j", 0, 10, NOON)]);
        last.maintain(NOON).unwrap();
        append(&aged, &[Made::new("j", 0, 11, NOON)]);
        assert_eq!(all(&place.reader(), "j", &Query::default()).len(), 1);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Pages of any size, one after the other, are the whole.
    #[test]
    fn pages_are_the_whole(limit in 1..50usize, n in 0..200i64, batch in 1..9usize) {
        let place = Place::new([Kind::Files, Kind::MemoryObjects][limit % 2]);
        let store = place.store(StoreConfig::default());
        let made: Vec<Made> = (0..n).map(|i| Made::new("j", 0, i, NOON + i)).collect();
        for batch in made.chunks(batch) {
            append(&store, batch);
        }
        let found = all(&place.reader(), "j", &Query { limit, ..Query::default() });
        prop_assert_eq!(found.len(), made.len());
        for (entry, made) in found.iter().zip(&made) {
            prop_assert_eq!(&entry.source, &made.name());
            prop_assert!(entry.line.ends_with(&made.line[1..]));
        }
    }
}

/// A report of a pipeline's run.
fn report(pipeline: &str, offset: i64, at: i64) -> Made {
    let mut made = Made::new(&runs_of(pipeline), 0, offset, at);
    made.level = Level::None;
    made.line = format!(r#"{{"run_id":"run {offset}","text":"{}"}}"#, "x".repeat(900));
    made
}

fn runs_on(reader: &LogReader, pipeline: &str, day: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut take = |line: StoredLine<'_>| found.push(line.source.to_owned());
    reader.lines_on(&runs_of(pipeline), day, &mut take).unwrap();
    found
}

#[test]
fn reports_are_found_by_day_the_newest_first_packed_or_not() {
    Place::each(|place| {
        let store = place.store(StoreConfig::default());
        // Longer than a file's name may be: its index knows it.
        let long = "p".repeat(300);
        let made: Vec<Made> = (0..600).map(|n| report("daily", n, NOON - 2 * DAY + n * 300 * SECOND)).collect();
        // In two parts, so that there is something to pack in a store of objects too.
        let (first, rest) = made.split_at(300);
        append(&store, first);
        append(&store, rest);
        append(&store, &[report(&long, 601, NOON), Made::new("a job", 0, 602, NOON)]);
        let reader = place.reader();
        let days = ["2026-11-21", "2026-11-20", "2026-11-19"];
        let check = || {
            assert_eq!(reader.newest_days().unwrap(), days);
            assert_eq!(reader.reported_on("2026-11-20").unwrap(), ["daily"]);
            let mut today = reader.reported_on("2026-11-21").unwrap();
            today.sort();
            assert_eq!(today, ["daily", long.as_str()]);
            let found: Vec<String> = days.iter().rev().flat_map(|day| runs_on(&reader, "daily", day)).collect();
            assert_eq!(found, made.iter().map(Made::name).collect::<Vec<_>>());
        };
        check();
        assert!(store.maintain(NOON).unwrap().packed > 0);
        check();
        assert_eq!(reader.reported_on("2026-11-18").unwrap(), Vec::<String>::new());
        assert_eq!(runs_on(&reader, "another", "2026-11-21"), Vec::<String>::new());
    });
}

#[test]
fn the_oldest_reports_of_a_pipeline_go_above_its_cap_and_nothing_else_does() {
    let place = Place::new(Kind::Files);
    let config = StoreConfig { reports_bytes: 70_000, compress: false, ..StoreConfig::default() };
    let log = place.store(config);
    // About 28 KB a day, index included.
    for (pipeline, first) in [("loud", 0), ("quiet", 1000)] {
        let count = if pipeline == "loud" { 5 * 20 } else { 2 };
        append(&log, &(0..count).map(|n| report(pipeline, first + n, NOON - n / 20 * DAY)).collect::<Vec<_>>());
    }
    let job: Vec<Made> =
        (0..100).map(|n| Made { job: "job".to_owned(), ..report("", 5000 + n, NOON - 4 * DAY) }).collect();
    append(&log, &job);
    let before = log.maintain(NOON).unwrap();
    let reader = place.reader();
    let days: Vec<usize> =
        reader.newest_days().unwrap().iter().map(|day| runs_on(&reader, "loud", day).len()).collect();
    assert_eq!(days, [20, 20, 0], "the newest ones stay, and the day of the job");
    assert_eq!(runs_on(&reader, "quiet", "2026-11-21").len(), 2);
    assert_eq!(all(&reader, "job", &Query::default()).len(), 100);
    assert!(before.report_bytes > 50_000 && before.removed == 3, "{before:?}");
    assert_eq!(log.maintain(NOON).unwrap().report_bytes, 0);
    // A single day is cut as any job's is.
    let many: Vec<Made> = (0..100).map(|n| report("busy", 9000 + n, NOON)).collect();
    let entries: Vec<Entry<'_>> = many.iter().map(Made::entry).collect();
    let appended = log.append(&entries, NOON);
    assert!(appended.refused_for(Refused::Quota) > 0 && appended.bytes <= 70_000, "{appended:?}");
}

#[test]
fn a_cursor_behind_any_entry_goes_on_there() {
    Place::each(|place| {
        append(&place.store(StoreConfig::default()), &long_job());
        let reader = place.reader();
        let whole = all(&reader, "long", &Query::default());
        for at in [0, 1, 999, 1000, 2500, whole.len() - 1] {
            let query = Query { limit: 3, cursor: Some(whole[at].after.clone()), ..Query::default() };
            let found = reader.read("long", &query).unwrap().entries;
            let expected: Vec<_> = whole.iter().skip(at + 1).take(3).cloned().collect();
            assert_eq!(found, expected, "behind {at}");
        }
    });
}
