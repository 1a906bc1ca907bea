//! Entries in an object store: each once through crashes, replays and zombies; cut, packed and
//! removed as told.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use futures_util::TryStreamExt;
use k2p_logs::{Appended, Entry, LogReader, LogStore, Query, Refused, StoreConfig};
use object_store::ObjectStore;
use proptest::prelude::*;
use support::{DAY, Kind, Made, NOON, Place, SECOND};

fn append(store: &LogStore, made: &[Made]) -> Appended {
    let entries: Vec<Entry<'_>> = made.iter().map(Made::entry).collect();
    store.append(&entries, NOON)
}

/// The sources of a job, page by page.
fn told(reader: &LogReader, job: &str) -> (Vec<String>, u64) {
    let (mut query, mut found) = (Query { limit: 17, ..Query::default() }, Vec::new());
    let mut cut = 0;
    loop {
        let page = reader.read(job, &query).unwrap();
        found.extend(page.entries.into_iter().map(|entry| entry.source));
        cut += page.cut;
        if !page.has_more {
            return (found, cut);
        }
        query.cursor = Some(page.cursor);
    }
}

fn count(place: &Place) -> usize {
    let listed = place.objects.list(None);
    place.runtime.block_on(listed.try_collect::<Vec<_>>()).unwrap().len()
}

fn jobs_of(made: &[Made], job: &str) -> Vec<String> {
    made.iter().filter(|made| made.job == job).map(Made::name).collect()
}

/// Entries of three jobs over three days.
fn made(n: i64) -> Vec<Made> {
    (0..n).map(|i| Made::new(&format!("job/{}", i % 3), 0, i, NOON - DAY + i * 600 * SECOND)).collect()
}

fn check(place: &Place, made: &[Made]) {
    let reader = place.reader();
    for job in ["job/0", "job/1", "job/2"] {
        let mut wanted: Vec<&Made> = made.iter().filter(|made| made.job == job).collect();
        wanted.sort_by_key(|made| (made.at.div_euclid(DAY), made.offset));
        assert_eq!(told(&reader, job).0, wanted.into_iter().map(Made::name).collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    /// An owner and its zombie, each killed and begun again at what it synced last, write the
    /// same partition in batches of their own: whatever comes of it, each entry is told once.
    #[test]
    fn owners_and_zombies_leave_each_entry_once(
        steps in prop::collection::vec((0..2usize, 0..5u8, 1..30usize), 1..40),
    ) {
        let place = Place::new(Kind::MemoryObjects);
        let made = made(240);
        let mut writers = [0, 1].map(|_| (place.store(StoreConfig::default()), 0, 0));
        for (writer, step, n) in steps {
            let (store, next, committed) = &mut writers[writer];
            match step {
                0..3 => {
                    let end = (*next + n).min(made.len());
                    prop_assert_eq!(append(store, &made[*next..end]).failed(), 0);
                    *next = end;
                }
                3 => {
                    store.sync_of("k2p.events", 0).unwrap();
                    *committed = *next;
                }
                _ => (*store, *next) = (place.store(StoreConfig::default()), *committed),
            }
            if n == 29 {
                store.maintain(NOON + 2 * DAY).unwrap();
            }
        }
        let (store, next, _) = &writers[0];
        append(store, &made[*next..]);
        store.sync().unwrap();
        check(&place, &made);
        // Packed, each is there once: the list counts them by the names of their objects.
        store.maintain(NOON + 2 * DAY).unwrap();
        check(&place, &made);
        let jobs = place.reader().jobs(None, 10).unwrap().jobs;
        prop_assert_eq!(jobs.iter().map(|job| job.entries).collect::<Vec<_>>(), [80, 80, 80]);
        prop_assert_eq!(count(&place), 9, "one object for each job and day");
    }
}

#[test]
fn a_partition_that_comes_back_goes_on_behind_what_another_bridge_wrote() {
    let place = Place::new(Kind::MemoryObjects);
    let made = made(280);
    let (here, there) = (place.store(StoreConfig::default()), place.store(StoreConfig::default()));
    append(&here, &made[..100]);
    here.sync().unwrap();
    append(&there, &made[..200]);
    there.sync().unwrap();
    let objects = count(&place);
    let begun = k2p_logs::Range { from: 100, to: 100, since: NOON, first: false };
    here.begin("k2p.events", 0, begun).unwrap();
    append(&here, &made[100..200]);
    here.sync().unwrap();
    assert_eq!(count(&place), objects, "all of it is there");
    append(&here, &made[200..]);
    here.sync().unwrap();
    check(&place, &made);
}

#[test]
fn the_quota_cuts_a_job_counts_it_once_and_leaves_others_alone() {
    let place = Place::new(Kind::MemoryObjects);
    let config = StoreConfig { job_bytes: 2000, ..StoreConfig::default() };
    let loud: Vec<Made> = (0..50).map(|i| Made::new("loud", 0, i, NOON + i)).collect();
    let quiet = [Made::new("quiet", 0, 100, NOON)];
    for round in 0..2 {
        let store = place.store(config.clone());
        for batch in loud.chunks(7) {
            append(&store, batch);
            store.sync().unwrap();
        }
        append(&store, &quiet);
        store.sync().unwrap();
        let (found, cut) = told(&place.reader(), "loud");
        assert!(found.len() > 5 && cut > 5 && found.len() as u64 + cut == 50, "{round}: {} and {cut}", found.len());
        assert_eq!(found, jobs_of(&loud, "loud")[..found.len()]);
        assert_eq!(told(&place.reader(), "quiet").0.len(), 1);
    }
}

#[test]
fn what_is_not_ours_in_the_store_is_left_alone() {
    let place = Place::new(Kind::LocalObjects);
    let store = place.store(StoreConfig { retention: DAY, ..StoreConfig::default() });
    append(&store, &[Made::new("job/0", 0, 1, NOON)]);
    store.sync().unwrap();
    for path in ["a/prefix/2020-01-01/x/y/strange.txt", "a/prefix/strange", "elsewhere/2020-01-01/j/t@0/x"] {
        let path = path.into();
        let put = place.objects.put_opts(&path, "text".into(), Default::default());
        place.runtime.block_on(put).unwrap();
    }
    let done = store.maintain(NOON).unwrap();
    assert_eq!((done.removed, done.files), (0, 1));
    assert_eq!(count(&place), 4);
    assert_eq!(place.reader().jobs(None, 9).unwrap().jobs.len(), 1);
    assert_eq!(store.maintain(NOON + 3 * DAY).unwrap().removed, 1);
    assert_eq!(count(&place), 3);
}

#[test]
fn more_than_a_segment_is_written_without_being_asked() {
    let place = Place::new(Kind::MemoryObjects);
    let store = place.store(StoreConfig::default());
    let many: Vec<Made> = (0..3000)
        .map(|i| {
            let mut made = Made::new("big", 0, i, NOON + i);
            made.line = format!("{{\"text\":\"{}\"}}", "x".repeat(1500));
            made
        })
        .collect();
    for batch in many.chunks(100) {
        assert_eq!(append(&store, batch).waiting, 100);
    }
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while count(&place) < 2 {
        assert!(std::time::Instant::now() < end, "nothing is written");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    store.sync().unwrap();
    assert_eq!(told(&place.reader(), "big").0, jobs_of(&many, "big"));
    let refused = append(&store, &[Made { job: String::new(), ..many[0].clone() }]);
    assert_eq!(refused.refused_for(Refused::BadEntry), 1);
}

#[test]
fn the_oldest_reports_of_a_pipeline_go_above_its_cap() {
    let place = Place::new(Kind::MemoryObjects);
    let store = place.store(StoreConfig { reports_bytes: 450, ..StoreConfig::default() });
    // One whose name is hashed. A line of it has to fit into the cap, four days of either not.
    let pipelines = ["daily".to_owned(), "p".repeat(300)];
    for (n, pipeline) in (0..).zip(&pipelines) {
        let jobs = [k2p_logs::runs_of(pipeline), format!("job {n}")];
        let made = (0..4).flat_map(|day| jobs.iter().map(move |job| (day, job)));
        let made: Vec<Made> = made.map(|(day, job)| Made::new(job, n, day, NOON - DAY * (3 - day))).collect();
        assert_eq!(append(&store, &made).waiting, 8);
    }
    store.sync().unwrap();
    let done = store.maintain(NOON).unwrap();
    assert!(done.report_bytes > 0 && done.files + done.removed == 16, "{done:?}");
    for (n, pipeline) in pipelines.iter().enumerate() {
        let days = told(&place.reader(), &k2p_logs::runs_of(pipeline)).0;
        assert!((1..4).contains(&days.len()) && days.last().unwrap().ends_with("/3/0"), "{days:?}");
        assert_eq!(told(&place.reader(), &format!("job {n}")).0.len(), 4, "no other job is touched");
    }
}
