//! Each entry once: through crashes at any point, replays, zombies, full disks, several
//! writers.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use k2p_logs::{Entry, LogStore, Refused, StoreConfig};
use proptest::prelude::*;
use support::{DAY, FaultyDisk, Made, NOON, SECOND, SyncedBytes, assert_each_once, metrics, skipped, sources, store};

fn append(store: &LogStore, made: &[Made]) -> k2p_logs::Appended {
    let entries: Vec<Entry<'_>> = made.iter().map(Made::entry).collect();
    store.append(&entries, NOON)
}

#[test]
fn an_entry_lies_where_it_is_promised() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), StoreConfig::default());
    let mut made = Made::new("runs/1", 0, 7, NOON);
    made.line = r#"{"level":"ERROR","n":1.50}"#.into();
    let appended = append(&store, &[made.clone(), made]);
    assert_eq!((appended.written, appended.duplicates), (1, 1));
    let text = fs::read_to_string(dir.path().join("2026-11-21/runs%2F1.jsonl")).unwrap();
    let head = r#"{"k2p_at":1795262400000000000,"k2p_level":"ERROR","k2p_source":"k2p.events/0/7/0""#;
    assert_eq!(text, format!("{head},\"level\":\"ERROR\",\"n\":1.50}}\n"));
}

#[test]
fn what_cannot_be_kept_is_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), StoreConfig { line_bytes: 100, ..StoreConfig::default() });
    let refused = |change: fn(&mut Made), reason: Refused| {
        let mut made = Made::new("j", 0, 1, NOON);
        change(&mut made);
        let appended = append(&store, &[made]);
        assert_eq!(appended.refused_for(reason), 1, "{reason:?}: {appended:?}");
        assert_eq!(appended.written, 0);
    };
    refused(|made| made.job = String::new(), Refused::BadEntry);
    refused(|made| made.job = "x".repeat(901), Refused::BadEntry);
    refused(|made| made.offset = -1, Refused::BadEntry);
    refused(|made| made.line = "x".repeat(101), Refused::TooLarge);
    refused(|made| made.at = NOON - 32 * DAY, Refused::BadTime);
    refused(|made| made.at = NOON + 2 * DAY, Refused::BadTime);
    assert!(sources(dir.path()).is_empty());
    let many: Vec<Made> = (0..60).map(|partition| Made::new("shared", partition, 1, NOON)).collect();
    let appended = append(&store, &many);
    assert_eq!((appended.written, appended.refused_for(Refused::TooManySources)), (48, 12));
}

#[test]
fn the_quota_of_a_job_cuts_it_alone_and_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = StoreConfig { job_bytes: 2000, ..StoreConfig::default() };
    let made: Vec<Made> = (0..50).map(|i| Made::new("loud", 0, i, NOON + i)).collect();
    let quiet = [Made::new("quiet", 0, 100, NOON)];
    let first = append(&store(dir.path(), config.clone()), &made);
    assert_eq!(first.written + first.refused_for(Refused::Quota), 50);
    assert!(first.written > 5 && first.refused_for(Refused::Quota) > 5);
    let again = append(&store(dir.path(), config.clone()), &made);
    assert_eq!((again.written, again.duplicates), (0, 50), "a replay cuts nothing anew: {again:?}");
    assert_eq!(append(&store(dir.path(), config), &quiet).written, 1);
}

/// Two stores over one tree (two processes, as far as the files can tell), each with
/// partitions of its own, and both with one partition: an owner and its zombie.
#[test]
fn concurrent_writers_share_a_tree() {
    let dir = tempfile::tempdir().unwrap();
    let made = |partition: i32| -> Vec<Made> {
        (0..400).map(|i| Made::new(&format!("job-{}", i % 7), partition, i, NOON + i * 150 * SECOND)).collect()
    };
    let partitions: Vec<Vec<Made>> = (0..5).map(made).collect();
    thread::scope(|scope| {
        for (writer, owned) in [[0, 1, 4], [2, 3, 4]].into_iter().enumerate() {
            let store = store(dir.path(), StoreConfig { fsync: writer == 0, ..StoreConfig::default() });
            for partition in owned {
                let (store, entries) = (store.clone(), &partitions[partition]);
                scope.spawn(move || {
                    for batch in entries.chunks(3 + partition + writer) {
                        let appended = append(&store, batch);
                        assert_eq!(appended.written + appended.duplicates, batch.len() as u64, "{appended:?}");
                        store.sync().unwrap();
                    }
                });
            }
            scope.spawn(move || {
                for _ in 0..5 {
                    store.maintain(NOON + 2 * DAY).unwrap();
                }
            });
        }
    });
    assert_each_once(dir.path(), &partitions.concat());
    for (file, lines) in sources(dir.path()) {
        let mut last: BTreeMap<&str, i64> = BTreeMap::new();
        for line in &lines {
            let (rest, _) = line.rsplit_once('/').unwrap();
            let (partition, offset) = rest.rsplit_once('/').unwrap();
            let offset: i64 = offset.parse().unwrap();
            assert!(last.insert(partition, offset).is_none_or(|before| before < offset), "{file}: out of order");
        }
    }
}

/// What a crash leaves of what was not synced.
#[derive(Debug, Clone, Copy)]
enum Loss {
    /// The process died, the machine lives.
    Nothing,
    /// Zeros from somewhere on.
    Zeros,
    /// The end is gone.
    Short,
    /// The index is as old as the last sync.
    OldIndex,
    /// The index is gone.
    NoIndex,
}

/// The files as they were at the last sync.
type Synced = BTreeMap<PathBuf, Vec<u8>>;

fn snapshot(dir: &Path) -> Synced {
    support::files(dir).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn lose(dir: &Path, synced: &Synced, bytes_synced: &SyncedBytes, loss: Loss, part: usize) {
    for path in support::files(dir) {
        let is_index = path.extension().is_some_and(|e| e == "idx");
        let inode = fs::metadata(&path).unwrap().ino();
        let kept = bytes_synced.lock().unwrap().get(&inode).map_or(0, |n| usize::try_from(*n).unwrap());
        let mut bytes = fs::read(&path).unwrap();
        match loss {
            Loss::Nothing => {}
            Loss::OldIndex if is_index => match synced.get(&path) {
                Some(old) => fs::write(&path, old).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            },
            Loss::NoIndex if is_index => fs::remove_file(&path).unwrap(),
            Loss::Zeros | Loss::Short if !is_index && bytes.len() > kept => {
                let from = kept + part % (bytes.len() - kept + 1);
                if matches!(loss, Loss::Zeros) {
                    bytes[from..].fill(0);
                } else {
                    bytes.truncate(from);
                }
                fs::write(&path, bytes).unwrap();
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    /// Whatever call the process dies at, whatever the disk then holds of what was not
    /// synced: after a replay from the last sync each entry is there once.
    #[test]
    fn a_replay_after_any_crash_leaves_each_entry_once(
        sizes in prop::collection::vec((0..3usize, 0..2i32, prop_oneof![9 => 0..200usize, 1 => 60_000..90_000usize]), 1..40),
        crashes in prop::collection::vec((1..60u64, any::<usize>(), 1..9usize, prop_oneof![
            Just(Loss::Nothing), Just(Loss::Zeros), Just(Loss::Short), Just(Loss::OldIndex), Just(Loss::NoIndex),
        ]), 1..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let made: Vec<Made> = sizes.iter().enumerate().map(|(i, (job, partition, size))| {
            let offset = i64::try_from(i).unwrap();
            let mut made = Made::new(&format!("job-{job}"), *partition, offset, NOON + offset % 2 * DAY / 2);
            made.line = format!(r#"{{"message":"{}"}}"#, "x".repeat(*size));
            made
        }).collect();
        let packs = crashes.iter().any(|(_, part, ..)| part % 5 == 0);
        let mut synced = Synced::new();
        let bytes_synced = Arc::new(SyncedBytes::default());
        let mut committed = 0;
        for (calls, part, batch, loss) in crashes {
            let disk = Arc::new(FaultyDisk::dies(calls, part, &bytes_synced));
            let store = LogStore::open_on(disk, dir.path(), StoreConfig::default(), metrics()).unwrap();
            let mut done = committed;
            for entries in made[committed..].chunks(batch) {
                let appended = append(&store, entries);
                if appended.failed() > 0 {
                    break;
                }
                done += entries.len();
                if part % 3 > 0 && store.sync().is_ok() {
                    committed = done;
                    synced = snapshot(dir.path());
                }
                // Packing dies at any step, too.
                if part % 5 == 0 && store.maintain(NOON + 2 * DAY).is_ok() && store.sync().is_ok() {
                    committed = done;
                    synced = snapshot(dir.path());
                }
            }
            drop(store);
            // Packing syncs the index, which the snapshots do not know.
            let index_lost = matches!(loss, Loss::OldIndex | Loss::NoIndex);
            lose(dir.path(), &synced, &bytes_synced, if packs && index_lost { Loss::Nothing } else { loss }, part);
        }
        let store = store(dir.path(), StoreConfig::default());
        for entries in made[committed..].chunks(7) {
            let appended = append(&store, entries);
            prop_assert_eq!(appended.written + appended.duplicates, entries.len() as u64);
        }
        // A zombie's late replay.
        let zombie = append(&store, &made);
        prop_assert_eq!(zombie.duplicates, made.len() as u64);
        store.maintain(NOON + DAY).unwrap();
        assert_each_once(dir.path(), &made);
    }
}

fn growing(n: i64) -> Vec<Made> {
    (0..n).map(|i| Made::new(&format!("job-{}", i % 3), 0, i, NOON + i * 1000)).collect()
}

fn child(name: &str, dir: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([name, "--exact", "--ignored", "--nocapture"]).env("K2P_CHILD_DIR", dir);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Killed when the test ends, however it ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _waited = self.0.wait();
    }
}

#[test]
#[ignore = "the child of a_killed_process_leaves_each_entry_once"]
fn child_appends_until_it_is_killed() {
    let Some(dir) = env::var_os("K2P_CHILD_DIR") else { return };
    let store = store(Path::new(&dir), StoreConfig { fsync: false, ..StoreConfig::default() });
    // From the start each time: a replay.
    for batch in growing(1_000_000).chunks(2) {
        append(&store, batch);
    }
}

#[test]
fn a_killed_process_leaves_each_entry_once() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = || -> u64 { support::files(dir.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum() };
    for round in 1..4 {
        let before = bytes();
        let child = Killed(child("child_appends_until_it_is_killed", dir.path()).spawn().unwrap());
        let end = Instant::now() + Duration::from_secs(120);
        while bytes() < before + 40_000 * round {
            assert!(Instant::now() < end, "the child writes nothing");
            thread::sleep(Duration::from_millis(2));
        }
        // SIGKILL, in the middle of whatever it does.
        drop(child);
    }
    let written = i64::try_from(sources_lax(dir.path())).unwrap();
    assert!(written > 300, "{written}");
    let store = store(dir.path(), StoreConfig::default());
    let made = growing(written + 50);
    for batch in made.chunks(5) {
        append(&store, batch);
    }
    assert_each_once(dir.path(), &made);
}

/// Whole lines, where the last may be torn.
fn sources_lax(dir: &Path) -> usize {
    let lines = support::files(dir).into_iter().filter(|path| path.extension().is_some_and(|e| e == "jsonl"));
    lines.map(|path| fs::read(path).unwrap().iter().filter(|b| **b == b'\n').count()).sum()
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::full(30_000));
    let registry = prometheus::Registry::new();
    let metrics = k2p_logs::LogMetrics::new(&registry).unwrap();
    let writable = || {
        let families = registry.gather();
        families.iter().find(|f| f.name() == "kafka2prom_logs_writable").unwrap().get_metric()[0]
            .get_gauge()
            .get_value()
    };
    let faulty: Arc<dyn k2p_logs::files::Disk> = disk.clone();
    let store = LogStore::open_on(faulty, dir.path(), StoreConfig::default(), metrics).unwrap();
    let made = growing(400);
    let mut kept = Vec::new();
    let mut refused = 0;
    for batch in made[..300].chunks(3) {
        let appended = append(&store, batch);
        refused += appended.refused_for(Refused::DiskFull);
        assert_eq!(appended.refused_for(Refused::Io), 0, "{appended:?}");
        if appended.error.is_some() {
            assert!(writable() < 0.5);
        }
        kept.push(appended.written);
    }
    assert!(refused > 0 && kept.iter().sum::<u64>() > 0);
    assert_eq!(kept.iter().sum::<u64>() + refused, 300, "each entry is kept or counted");
    disk.room(1_000_000);
    let appended = append(&store, &made[300..]);
    assert_eq!((appended.written, appended.failed()), (100, 0));
    assert!(writable() > 0.5);
    let found: usize = sources(dir.path()).values().map(Vec::len).sum();
    assert_eq!(found as u64, 400 - refused);
}

/// Runs in a mount namespace of its own, on a file system of 400 KB.
#[test]
#[ignore = "the child of a_real_full_disk_refuses_and_recovers"]
fn child_fills_a_disk() {
    let Some(dir) = env::var_os("K2P_CHILD_DIR") else { return };
    let dir = Path::new(&dir);
    let ballast = dir.join("ballast");
    fs::write(&ballast, vec![1; 200_000]).unwrap();
    let store = store(&dir.join("logs"), StoreConfig::default());
    let made = growing(3000);
    let (mut written, mut refused) = (0, 0);
    for batch in made[..2900].chunks(10) {
        let appended = append(&store, batch);
        written += appended.written;
        refused += appended.refused_for(Refused::DiskFull);
        assert_eq!(appended.written + appended.refused_for(Refused::DiskFull), 10, "{appended:?}");
    }
    assert!(written > 0 && refused > 0, "{written} written, {refused} refused");
    fs::remove_file(ballast).unwrap();
    assert_eq!(append(&store, &made[2900..]).written, 100);
    let found: usize = sources(&dir.join("logs")).values().map(Vec::len).sum();
    assert_eq!(found as u64, written + 100);
    store.sync().unwrap();
}

#[test]
fn a_real_full_disk_refuses_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let namespace = ["--user", "--map-root-user", "--mount", "sh", "-c"];
    let mount = format!("mount -t tmpfs -o size=400k none {}", dir.path().display());
    let can = Command::new("unshare").args(namespace).arg(&mount).stderr(Stdio::null()).status();
    if !can.is_ok_and(|status| status.success()) {
        skipped("a_real_full_disk_refuses_and_recovers", "nobody may mount in a namespace of his own here");
        return;
    }
    let mut command = Command::new("unshare");
    command.args(namespace).arg(format!("{mount} && exec \"$0\" child_fills_a_disk --exact --ignored"));
    command.arg(env::current_exe().unwrap()).env("K2P_CHILD_DIR", dir.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
