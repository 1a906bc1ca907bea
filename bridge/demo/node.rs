//! A host behind a firewall, as node_exporter shows it.
use super::motion::Motion;
use super::page::{Dialect, Page};

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// The exporter's page of the host `name`.
pub(crate) fn host(m: &Motion, name: &str) -> String {
    let mut page = Page::new(Dialect::Text);
    load(&mut page, m);
    memory(&mut page, m);
    disks(&mut page, m);
    network(&mut page, m);
    page.family("node_uname_info", "gauge", "Labeled system information as provided by the uname system call.");
    let uname = format!(
        "domainname=\"(none)\",machine=\"x86_64\",nodename=\"{name}\",release=\"6.1.0-28-amd64\",sysname=\"Linux\",version=\"#1 SMP PREEMPT_DYNAMIC Debian 6.1.119-1\""
    );
    page.sample("node_uname_info", &uname, 1.0);
    page.single("node_boot_time_seconds", "gauge", "Node boot time, in unixtime.", (m.unix - m.uptime).round());
    page.single("node_time_seconds", "gauge", "System time in seconds since epoch (1970).", m.unix);
    page.single(
        "process_cpu_seconds_total",
        "counter",
        "Total user and system CPU time spent in seconds.",
        m.amount("own", 0.002),
    );
    page.single("process_open_fds", "gauge", "Number of open file descriptors.", m.level("fds", 9.0, 14.0));
    page.single(
        "process_resident_memory_bytes",
        "gauge",
        "Resident memory size in bytes.",
        m.level("rss", 1.9e7, 2.2e7),
    );
    page.finish()
}

fn load(page: &mut Page, m: &Motion) {
    page.family("node_cpu_seconds_total", "counter", "Seconds the CPUs spent in each mode.");
    let modes = [
        ("idle", 0.62),
        ("iowait", 0.02),
        ("irq", 0.0),
        ("nice", 0.01),
        ("softirq", 0.01),
        ("steal", 0.0),
        ("system", 0.09),
        ("user", 0.25),
    ];
    for cpu in 0..4 {
        for (mode, share) in modes {
            let value = m.amount(&format!("{cpu}{mode}"), share);
            page.sample("node_cpu_seconds_total", &format!("cpu=\"{cpu}\",mode=\"{mode}\""), value);
        }
    }
    let hundredths = |x: f64| (x * 100.0).round() / 100.0;
    page.single("node_load1", "gauge", "1m load average.", hundredths(m.sway("load", 0.4, 3.8)));
    page.single("node_load5", "gauge", "5m load average.", hundredths(m.sway("load5", 1.0, 2.4)));
    page.single("node_load15", "gauge", "15m load average.", hundredths(m.sway("load15", 1.4, 1.9)));
    page.single(
        "node_context_switches_total",
        "counter",
        "Total number of context switches.",
        m.count("switches", 5200.0),
    );
    page.single("node_forks_total", "counter", "Total number of forks.", m.count("forks", 3.0));
    page.single("node_procs_running", "gauge", "Number of processes in runnable state.", m.level("procs", 1.0, 6.0));
}

fn memory(page: &mut Page, m: &Motion) {
    let (total, available) = (16.0 * GIB, m.level("available", 5.0 * GIB, 11.0 * GIB));
    let fields = [
        ("MemTotal", total),
        ("MemAvailable", available),
        ("MemFree", (available * 0.3).round()),
        ("Cached", (available * 0.6).round()),
        ("Buffers", 0.2 * GIB),
        ("Dirty", m.level("dirty", 0.0, 4e7)),
        ("SwapTotal", 0.0),
        ("SwapFree", 0.0),
    ];
    for (field, value) in fields {
        let help = format!("Memory information field {field}_bytes.");
        page.single(&format!("node_memory_{field}_bytes"), "gauge", &help, value.round());
    }
}

fn disks(page: &mut Page, m: &Motion) {
    let mounts = [("/dev/vda1", "/", 80.0), ("/dev/vdb", "/var/lib/data", 500.0)];
    let size = |gib: f64, _: &str| gib * GIB;
    let free = |gib: f64, mount: &str| m.level(mount, gib * 0.3 * GIB, gib * 0.5 * GIB);
    type Field<'a> = (&'a str, &'a str, &'a dyn Fn(f64, &str) -> f64);
    let fields: [Field<'_>; 2] = [
        ("node_filesystem_avail_bytes", "Filesystem space available to non-root users in bytes.", &free),
        ("node_filesystem_size_bytes", "Filesystem size in bytes.", &size),
    ];
    for (name, help, value) in fields {
        page.family(name, "gauge", help);
        for (device, mount, gib) in mounts {
            let labels = format!("device=\"{device}\",fstype=\"ext4\",mountpoint=\"{mount}\"");
            page.sample(name, &labels, value(gib, mount));
        }
    }
    let fields = [
        ("node_disk_io_time_seconds_total", "Total seconds spent doing I/Os.", 0.08),
        ("node_disk_read_bytes_total", "The total number of bytes read successfully.", 2.1e6),
        ("node_disk_written_bytes_total", "The total number of bytes written successfully.", 4.7e6),
    ];
    for (name, help, rate) in fields {
        page.family(name, "counter", help);
        for device in ["vda", "vdb"] {
            let value = m.amount(&format!("{name}{device}"), rate);
            page.sample(name, &format!("device=\"{device}\""), value);
        }
    }
}

fn network(page: &mut Page, m: &Motion) {
    let fields = [
        ("receive_bytes", 1.4e6),
        ("receive_drop", 0.01),
        ("receive_packets", 1500.0),
        ("transmit_bytes", 6.1e5),
        ("transmit_packets", 1100.0),
    ];
    for (field, rate) in fields {
        let name = format!("node_network_{field}_total");
        page.family(&name, "counter", &format!("Network device statistic {field}."));
        for (device, share) in [("eth0", 1.0), ("lo", 0.2)] {
            let value = m.count(&format!("{field}{device}"), rate * share);
            page.sample(&name, &format!("device=\"{device}\""), value);
        }
    }
}
