//! The process' own figures, read from `/proc/self` at each scrape. Under the prefix of the
//! program and not as the customary `process_*`: they stand in one exposition with the
//! `process_*` of origins, and must not become a family with them.
use std::fs;
use std::sync::{Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};

use super::{MetricDef, MetricsError};

pub(super) const CPU: MetricDef =
    MetricDef::counter("kafka2prom_process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", &[]);
pub(super) const MEMORY: MetricDef =
    MetricDef::gauge("kafka2prom_process_resident_memory_bytes", "Resident memory size in bytes.", &[]);
pub(super) const OPEN_FDS: MetricDef =
    MetricDef::gauge("kafka2prom_process_open_fds", "Number of open file descriptors.", &[]);
pub(super) const MAX_FDS: MetricDef =
    MetricDef::gauge("kafka2prom_process_max_fds", "Maximum number of open file descriptors.", &[]);
pub(super) const START: MetricDef = MetricDef::gauge(
    "kafka2prom_process_start_time_seconds",
    "Start time of the process since unix epoch in seconds.",
    &[],
);

/// Reads the process' state when it is collected; without `/proc` it shows nothing new.
pub(super) struct ProcessCollector {
    // Held while the values are renewed and read: two scrapes at once must not see the
    // CPU counter between its reset and its new value.
    values: Mutex<Values>,
    descs: Vec<Desc>,
}

/// Reads one value; none where `/proc` does not show it.
type Read = fn() -> Option<f64>;

struct Values {
    cpu: Counter,
    gauges: [(Gauge, Read); 4],
}

impl ProcessCollector {
    pub(super) fn new() -> Result<Self, MetricsError> {
        let gauge = |def: MetricDef| Gauge::with_opts(def.opts()).map_err(|e| def.error(e));
        let values = Values {
            cpu: Counter::with_opts(CPU.opts()).map_err(|error| CPU.error(error))?,
            gauges: [
                (gauge(MEMORY)?, resident_bytes),
                (gauge(OPEN_FDS)?, open_fds),
                (gauge(MAX_FDS)?, max_fds),
                (gauge(START)?, start_time),
            ],
        };
        let mut descs: Vec<Desc> = values.cpu.desc().into_iter().cloned().collect();
        for (gauge, _) in &values.gauges {
            descs.extend(gauge.desc().into_iter().cloned());
        }
        Ok(Self { values: Mutex::new(values), descs })
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seconds) = cpu_seconds() {
            values.cpu.reset();
            values.cpu.inc_by(seconds);
        }
        let mut families = values.cpu.collect();
        for (gauge, read) in &values.gauges {
            if let Some(value) = read() {
                gauge.set(value);
            }
            families.extend(gauge.collect());
        }
        families
    }
}

/// Field `number` (1-based, as in proc(5)) of `/proc/self/stat`, of those behind the
/// command name, which may itself hold blanks and parentheses.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

#[allow(clippy::cast_precision_loss, reason = "a clock rate is far below 2^53")]
fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    Some((stat_field(&stat, 14)? + stat_field(&stat, 15)?) / ticks_per_second())
}

fn start_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let machine = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = machine.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + stat_field(&stat, 22)? / ticks_per_second())
}

#[allow(clippy::cast_precision_loss, reason = "a page size is far below 2^53")]
fn resident_bytes() -> Option<f64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: f64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as f64)
}

#[allow(clippy::cast_precision_loss, reason = "a number of descriptors is far below 2^53")]
fn open_fds() -> Option<f64> {
    // One of them is the directory being read.
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    Some(open.saturating_sub(1) as f64)
}

#[allow(clippy::cast_precision_loss, reason = "a limit of descriptors is far below 2^53")]
fn max_fds() -> Option<f64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.map(|n| n as f64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_blanks_and_parentheses_shifts_nothing() {
        let stat = "7 (a b) c) d) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20";
        assert_eq!(stat_field(stat, 4), Some(1.0));
        assert_eq!(stat_field(stat, 14), Some(11.0));
        assert_eq!(stat_field(stat, 22), Some(19.0));
        assert_eq!(stat_field(stat, 90), None);
        assert_eq!(stat_field("nothing", 4), None);
    }

    #[test]
    fn the_values_are_those_of_this_process() {
        assert!(cpu_seconds().unwrap() >= 0.0);
        assert!(resident_bytes().unwrap() > 1e5);
        assert!(open_fds().unwrap() >= 3.0);
        assert!(max_fds().unwrap() >= open_fds().unwrap());
        let now = f64::from(u32::try_from(crate::clock::unix_ms() / 1000).unwrap());
        let start = start_time().unwrap();
        assert!(start <= now + 2.0 && start > now - 86_400.0, "{start} now {now}");
    }
}
