//! A Spark application: its driver and its executors, as Spark 4 writes them. Both
//! pages come without HELP and TYPE, and the driver's carries the application's id
//! inside every metric name.
use super::motion::Motion;
use super::page::{Dialect, Page};

/// The application, as its names and labels show it.
pub(crate) const APP_ID: &str = "app-20261120235950-0001";
/// The name that its owner gave it.
pub(crate) const APP_NAME: &str = "nightly-etl";
/// An executor gets this old before dynamic allocation replaces it, in seconds.
const EXECUTOR_LIFE: f64 = 120.0;

const MIB: f64 = 1024.0 * 1024.0;

/// `/metrics/prometheus` of the driver.
pub(crate) fn driver(m: &Motion) -> String {
    let mut page = Page::new(Dialect::Text);
    let prefix = format!("metrics_{}_driver_", APP_ID.replace('-', "_"));
    let heap = m.level("heap", 180.0 * MIB, 620.0 * MIB);
    let stored = m.level("stored", 2.0, 120.0);
    let jobs = m.count("jobs", 0.6);
    let gauges = [
        ("BlockManager_disk_diskSpaceUsed_MB", 0.0),
        ("BlockManager_memory_maxMem_MB", 794.0),
        ("BlockManager_memory_memUsed_MB", stored),
        ("BlockManager_memory_remainingMem_MB", 794.0 - stored),
        ("DAGScheduler_job_activeJobs", m.level("active", 0.0, 4.0)),
        ("DAGScheduler_job_allJobs", jobs),
        ("DAGScheduler_stage_failedStages", 0.0),
        ("DAGScheduler_stage_runningStages", m.level("running", 0.0, 6.0)),
        ("DAGScheduler_stage_waitingStages", m.level("waiting", 0.0, 3.0)),
        ("ExecutorMetrics_JVMHeapMemory", heap),
        ("ExecutorMetrics_JVMOffHeapMemory", 225_785_944.0),
        ("ExecutorMetrics_MinorGCCount", m.count("gc", 0.4)),
        ("ExecutorMetrics_MinorGCTime", m.count("gctime", 4.0)),
        ("JVMCPU_jvmCpuTime", m.count("cpu", 8e8)),
        ("LiveListenerBus_queue_appStatus_size", m.level("bus", 0.0, 9.0)),
        ("appStatus_jobDuration", m.level("duration", 2000.0, 9000.0)),
        ("jvm_heap_committed", 659_554_304.0),
        ("jvm_heap_max", 1024.0 * MIB),
        ("jvm_heap_usage", heap / (1024.0 * MIB)),
        ("jvm_heap_used", heap),
        ("jvm_non_heap_used", 231_515_480.0),
    ];
    for (name, value) in gauges {
        for suffix in ["Number", "Value"] {
            page.sample(&format!("{prefix}{name}_{suffix}"), "type=\"gauges\"", value);
        }
    }
    let counters = [
        ("LiveListenerBus_numEventsPosted", m.count("events", 40.0)),
        ("LiveListenerBus_queue_appStatus_numDroppedEvents", 0.0),
        ("appStatus_jobs_failedJobs", 0.0),
        ("appStatus_jobs_succeededJobs", (jobs - 1.0).max(0.0)),
        ("appStatus_stages_completedStages", m.count("stages", 1.1)),
        ("appStatus_stages_skippedStages", m.count("skipped", 0.3)),
        ("appStatus_tasks_completedTasks", m.count("tasks", 24.0)),
        ("appStatus_tasks_failedTasks", m.count("failed", 0.05)),
        ("executor_recordsRead", m.count("records", 26_000.0)),
        ("executor_shuffleBytesWritten", m.count("shuffle", 42_000.0)),
    ];
    for (name, value) in counters {
        page.sample(&format!("{prefix}{name}_Count"), "type=\"counters\"", value);
    }
    let compilation = [
        ("Count", m.count("compilations", 0.1)),
        ("Max", 2252.0),
        ("Mean", m.sway("compilation", 600.0, 900.0)),
        ("Min", 112.0),
        ("50thPercentile", 228.0),
        ("95thPercentile", 2252.0),
        ("99thPercentile", 2252.0),
        ("StdDev", 943.0923062240238),
    ];
    for (name, value) in compilation {
        let name = format!("{prefix}CodeGenerator_compilationTime_{name}");
        page.sample(&name, "type=\"histograms\"", value);
    }
    page.finish()
}

/// `/metrics/executors/prometheus` of the driver: three executors, one of which
/// dynamic allocation replaces every two minutes, so that its series vanish.
pub(crate) fn executors(m: &Motion) -> String {
    let mut page = Page::new(Dialect::Text);
    let version = "version=\"4.3.0\", revision=\"98bc0212c94705434471627068f41e374ccab143\"";
    page.sample("spark_info", version, 1.0);
    let generation = (m.uptime / EXECUTOR_LIFE).floor();
    executor(&mut page, m, "driver", 0.0);
    executor(&mut page, m, "1", 1.0);
    executor(&mut page, m, "2", 1.0);
    let youngest = Motion { uptime: m.uptime - generation * EXECUTOR_LIFE, ..*m };
    executor(&mut page, &youngest, &format!("{}", 3.0 + generation), 1.0);
    page.finish()
}

fn executor(page: &mut Page, m: &Motion, id: &str, cores: f64) {
    let labels = format!("application_id=\"{APP_ID}\", application_name=\"{APP_NAME}\", executor_id=\"{id}\"");
    let name = |what: &str| format!("{what}{id}");
    let used = m.level(&name("used"), 0.1 * MIB, 90.0 * MIB);
    let heap = m.level(&name("heap"), 60.0 * MIB, 170.0 * MIB);
    let done = cores * m.count(&name("tasks"), 8.0);
    let active = cores * m.level(&name("active"), 0.0, 2.0);
    let values = [
        ("rddBlocks", m.level(&name("rdd"), 0.0, 12.0)),
        ("memoryUsed_bytes", used),
        ("diskUsed_bytes", 0.0),
        ("totalCores", cores),
        ("maxTasks", cores),
        ("activeTasks", active),
        ("failedTasks_total", 0.0),
        ("completedTasks_total", done),
        ("totalTasks_total", done + active),
        ("totalDuration_seconds_total", m.amount(&name("duration"), 0.9)),
        ("totalGCTime_seconds_total", m.amount(&name("gc"), 0.01)),
        ("totalInputBytes_bytes_total", cores * m.count(&name("input"), 3e6)),
        ("totalShuffleRead_bytes_total", cores * m.count(&name("read"), 5e5)),
        ("totalShuffleWrite_bytes_total", cores * m.count(&name("write"), 4e5)),
        ("maxMemory_bytes", 180.0 * MIB),
        ("usedOnHeapStorageMemory_bytes", used),
        ("JVMHeapMemory_bytes", heap),
        ("OnHeapExecutionMemory_bytes", cores * m.level(&name("exec"), 0.0, 30.0 * MIB)),
        ("ProcessTreeJVMRSSMemory_bytes", heap + 380.0 * MIB),
        ("MinorGCCount_total", m.count(&name("gcs"), 0.3)),
        ("MinorGCTime_seconds_total", m.amount(&name("gctime"), 0.01)),
    ];
    for (what, value) in values {
        page.sample(&format!("metrics_executor_{what}"), &labels, value);
    }
}
