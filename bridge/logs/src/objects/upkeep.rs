//! Retention by age and size, packing of closed days: one day of the store after the other.
use std::collections::BTreeMap;
use std::io;

use futures_util::StreamExt;
use object_store::path::Path;

use super::{AT_ONCE, Found, Objects, by_origin, pack, to_file};
use crate::name::RUNS;
use crate::store::{DAY_NANOS, Maintained, QUIET, StoreConfig};

/// What a job has on a day.
struct Kept {
    day: i64,
    job: String,
    modified: i64,
    bytes: u64,
    paths: Vec<Path>,
}

/// One round. Several bridges may run it at once.
pub(super) async fn run(objects: &Objects, config: &StoreConfig, now: i64, done: &mut Maintained) -> io::Result<()> {
    let closed = (now - QUIET).div_euclid(DAY_NANOS);
    let oldest = (now - config.retention).div_euclid(DAY_NANOS);
    let mut kept = Vec::new();
    for (day, name) in objects.days().await? {
        let mut jobs: BTreeMap<String, Vec<Found>> = BTreeMap::new();
        for found in objects.segments(&objects.day(&name)).await? {
            jobs.entry(found.job.clone()).or_default().push(found);
        }
        for (job, mut found) in jobs {
            if day >= oldest && config.compress && day < closed {
                found = packed(objects, found, done).await;
            }
            let job = Kept {
                day,
                job,
                modified: found.iter().map(|f| f.modified).max().unwrap_or(0),
                bytes: found.iter().map(|f| f.stored).sum(),
                paths: found.into_iter().map(|f| f.path).collect(),
            };
            if day < oldest {
                remove(objects, &job, &mut done.removed).await?;
                done.aged_bytes += job.bytes;
            } else {
                kept.push(job);
            }
        }
    }
    // Of one pipeline's reports the oldest days go that are above the cap; never the newest.
    kept.sort_by_key(|job| std::cmp::Reverse(job.day));
    let (mut sums, mut left): (BTreeMap<String, u64>, Vec<Kept>) = (BTreeMap::new(), Vec::new());
    for job in kept {
        let sum = sums.entry(job.job.clone()).or_default();
        let newest = *sum == 0;
        *sum += job.bytes;
        if newest || *sum <= config.reports_bytes || !is_report(objects, &job).await {
            left.push(job);
            continue;
        }
        remove(objects, &job, &mut done.removed).await?;
        done.report_bytes += job.bytes;
    }
    left.sort_by_key(|job| (job.day, job.modified));
    done.bytes = left.iter().map(|job| job.bytes).sum();
    done.files = left.len() as u64;
    for job in &left {
        if done.bytes <= config.max_bytes {
            break;
        }
        remove(objects, job, &mut done.removed).await?;
        done.bytes -= job.bytes;
        done.sized_bytes += job.bytes;
        done.files -= 1;
    }
    Ok(())
}

/// Small segments become larger ones; what fails is tried in the next round.
async fn packed(objects: &Objects, found: Vec<Found>, done: &mut Maintained) -> Vec<Found> {
    let mut left = Vec::new();
    let (origins, covered) = by_origin(found);
    // What is covered was packed by somebody who died before removing it.
    let gone = delete_all(objects, covered.iter().map(|f| f.path.clone()).collect()).await;
    left.extend(covered.into_iter().filter(|_| gone.is_err()));
    for (_, segments) in origins {
        for group in pack::groups(segments) {
            match pack::pack_group(objects, &group).await {
                Ok(Some(new)) => {
                    done.packed += 1;
                    left.push(new);
                    if let Err(error) = delete_all(objects, group.into_iter().map(|f| f.path).collect()).await {
                        tracing::warn!(%error, "packed segments are left until the next round");
                    }
                }
                Ok(None) => left.extend(group),
                Err(error) => {
                    tracing::warn!(%error, "segments are not packed; they are tried again");
                    left.extend(group);
                }
            }
        }
    }
    left
}

/// Of a job's day; the day's parts are removed one by one: what is left is removed by the
/// next round.
async fn remove(objects: &Objects, job: &Kept, removed: &mut u64) -> io::Result<()> {
    delete_all(objects, job.paths.clone()).await?;
    *removed += 1;
    Ok(())
}

async fn delete_all(objects: &Objects, paths: Vec<Path>) -> io::Result<()> {
    let asked: Vec<_> = paths.iter().map(|path| objects.delete(path)).collect();
    let done: Vec<io::Result<()>> = futures_util::stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
    done.into_iter().collect()
}

async fn is_report(objects: &Objects, job: &Kept) -> bool {
    match crate::job_of(&to_file(&job.job)) {
        Some(id) => id.starts_with(RUNS),
        // The id of a hashed name stands in its segments.
        None => match job.paths.first() {
            Some(path) => {
                let lines = objects.get(path).await.unwrap_or_default();
                super::segment::job_in(&lines).is_some_and(|id| id.starts_with(RUNS))
            }
            None => false,
        },
    }
}
