//! The demo as a person sees it: the README's very command, five simulated clusters,
//! a bridge killed by a key, Ctrl-C.
use crate::it_readme;
use crate::support::http::{self, Answer};
use crate::support::poll::{self, eventually, eventually_ok};
use crate::support::process::binary;
use crate::support::supervise::{Signal, Supervised, new_dir};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The slowest thing to wait for: a tunnel that is down for 40 s, after a start on a
/// machine that is busy.
const LONG: Duration = Duration::from_secs(180);
/// Ctrl-C ends it within 2 s; the rest is for a busy machine.
const END: Duration = Duration::from_secs(5);

const CLUSTERS: [&str; 5] = ["acme-vpc", "globex-eu", "hooli-batch", "initech-shop", "umbrella-edge"];
/// Its worker restarts, and its counters with it.
const RESTARTS: &str = "hooli-batch";

/// A running demo with a keyboard.
pub(crate) struct Demo {
    pub(crate) process: Supervised,
    keys: PathBuf,
    bridges: Vec<String>,
}

impl Demo {
    /// Starts it and waits for the addresses of both bridges.
    fn start(arguments: &[&str]) -> Demo {
        Demo::start_with(arguments, &[])
    }

    /// The same with more of an environment.
    pub(crate) fn start_with(arguments: &[&str], environment: &[(&str, &Path)]) -> Demo {
        let keys = new_dir("demo").join("keys");
        assert!(Command::new("mkfifo").arg(&keys).status().unwrap().success());
        let mut command = Command::new("sh");
        // Opened for reading and writing: it never ends, as a terminal does not.
        command.args(["-c", r#"keys=$1; shift; exec "$@" <>"$keys""#, "demo"]).arg(&keys);
        command.arg(binary()).args(arguments).env("NO_COLOR", "1");
        command.envs(environment.iter().copied());
        let process = Supervised::start("demo", &command, None);
        let bridges = process.wait_log(LONG, |log| {
            let lines = log.lines().filter_map(|line| line.strip_prefix("bridge ")?.split_once("  http://"));
            let found: Vec<String> = lines.map(|(_, address)| format!("http://{address}")).collect();
            (found.len() == 2).then_some(found)
        });
        let bridges = bridges.unwrap_or_else(|e| panic!("{e}"));
        Demo { process, keys, bridges }
    }

    /// The addresses of both bridges, each ending with `/`.
    pub(crate) fn bridges(&self) -> &[String] {
        &self.bridges
    }

    fn type_line(&self, line: &str) {
        let mut keys = OpenOptions::new().write(true).open(&self.keys).unwrap();
        writeln!(keys, "{line}").unwrap();
    }

    fn scrape(&self, bridge: usize) -> Result<Values, String> {
        let answer = http::get(&format!("{}metrics", self.bridges[bridge]), &[])?;
        if answer.status == 200 { Ok(values(&answer)) } else { Err(answer.text()) }
    }

    /// Ctrl-C, and that nothing is left behind.
    pub(crate) fn end(&self) {
        let children = descendants(self.process.pid());
        assert!(!children.is_empty(), "its bridges are processes");
        self.process.signal(Signal::Int);
        assert_eq!(self.process.wait_exit(END), 0, "{}", self.process.log_tail());
        let left: Vec<u32> = children.into_iter().filter(|pid| is_running(*pid)).collect();
        assert!(left.is_empty(), "{left:?} are left behind\n{}", self.process.log_tail());
        assert!(self.process.stdout().ends_with("Ended.\n"), "{}", self.process.stdout());
        for bridge in &self.bridges {
            assert!(http::get(bridge, &[]).is_err(), "{bridge} still answers");
        }
    }
}

/// Every series of the simulated clusters, as written, and its value.
type Values = BTreeMap<String, f64>;

fn values(answer: &Answer) -> Values {
    let text = answer.text();
    let samples = text.lines().filter(|line| !line.starts_with('#') && line.contains("cluster=\""));
    let samples = samples.filter(|line| !line.starts_with("kafka2prom_"));
    samples.filter_map(|line| line.rsplit_once(' ')).map(|(s, v)| (s.to_owned(), v.parse().unwrap())).collect()
}

/// The value of a label of a series as written.
fn label<'a>(series: &'a str, name: &str) -> &'a str {
    let start = series.find(&format!("{name}=\"")).map_or(series.len(), |at| at + name.len() + 2);
    series[start..].split('"').next().unwrap_or_default()
}

fn clusters(values: &Values) -> BTreeSet<&str> {
    values.keys().map(|series| label(series, "cluster")).collect()
}

fn is_counter(series: &str) -> bool {
    let name = series.split('{').next().unwrap_or_default();
    ["_total", "_count", "_bucket"].iter().any(|end| name.ends_with(end)) && label(series, "cluster") != RESTARTS
}

/// The newest value that any bridge has shown of each counter.
#[derive(Default)]
struct Seen(Values);

impl Seen {
    /// The one promise: no bridge shows less than what was seen before.
    #[track_caller]
    fn judge(&mut self, bridge: usize, shown: &Values) {
        for (series, value) in shown.iter().filter(|(series, _)| is_counter(series)) {
            let before = self.0.insert(series.clone(), *value).unwrap_or(*value);
            assert!(*value >= before, "bridge {bridge} shows {series} {value} after {before} was shown");
        }
    }
}

/// Its children and theirs.
pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    let children = children(pid);
    let deeper: Vec<u32> = children.iter().flat_map(|child| descendants(*child)).collect();
    [children, deeper].concat()
}

fn children(pid: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|child| parent(*child) == Some(pid)).collect()
}

/// The parent in `/proc/PID/stat`: the second field behind the name in parentheses.
fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// What has ended but was not waited for yet has no command line any more.
pub(crate) fn is_running(pid: u32) -> bool {
    let line = Path::new("/proc").join(pid.to_string()).join("cmdline");
    fs::read(line).is_ok_and(|line| !line.is_empty())
}

#[test]
fn the_demo_shows_every_cluster_through_the_death_of_a_bridge() {
    let arguments = it_readme::demo_arguments();
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    arguments.extend(["--ports", "0", "0"]);
    let demo = Demo::start(&arguments);
    let mut seen = Seen::default();

    let mut all = Values::new();
    eventually_ok("the two bridges show the five clusters", LONG, || {
        for bridge in 0..2 {
            let shown = demo.scrape(bridge)?;
            seen.judge(bridge, &shown);
            all.extend(shown);
        }
        if clusters(&all) == CLUSTERS.into() { Ok(()) } else { Err(format!("{:?}", clusters(&all))) }
    });
    eventually("values move", LONG, || {
        let mut moved = 0;
        for bridge in 0..2 {
            let shown = demo.scrape(bridge).ok()?;
            seen.judge(bridge, &shown);
            moved += shown.iter().filter(|(series, value)| all.get(*series).is_some_and(|v| v < value)).count();
        }
        (moved > 20).then_some(())
    });
    looks_right(&demo);

    demo.type_line("k");
    demo.process.wait_log(LONG, |log| log.contains("bridge a is killed").then_some(())).unwrap();
    let gone = poll::within(END, || demo.scrape(0).map_or(Ok(()), |_| Err(())));
    assert_eq!(gone, Ok(()), "bridge a still answers");
    let mut shown_by_b = BTreeSet::new();
    eventually_ok("the other bridge shows every cluster", LONG, || {
        let shown = demo.scrape(1)?;
        seen.judge(1, &shown);
        shown_by_b.extend(clusters(&shown).into_iter().map(str::to_owned));
        if shown_by_b.len() == CLUSTERS.len() { Ok(()) } else { Err(format!("{shown_by_b:?}")) }
    });

    demo.type_line("s");
    demo.process.wait_log(LONG, |log| (log.matches("\nbridge a  http://").count() == 2).then_some(())).unwrap();
    eventually_ok("bridge a shows some of them again", LONG, || {
        for bridge in [1, 0] {
            let shown = demo.scrape(bridge)?;
            seen.judge(bridge, &shown);
            if bridge == 0 && !shown.is_empty() {
                return Ok(());
            }
        }
        Err("nothing".to_owned())
    });
    demo.end();
}

/// OpenMetrics is negotiated, and the page is one.
fn looks_right(demo: &Demo) {
    for bridge in &demo.bridges {
        let accept = ("accept", "application/openmetrics-text;version=1.0.0");
        let answer = http::get(&format!("{bridge}metrics"), &[accept]).unwrap();
        assert!(answer.header("content-type").starts_with("application/openmetrics-text"), "{:?}", answer.headers);
        assert!(answer.body.ends_with(b"# EOF\n"));
        let page = http::get(bridge, &[]).unwrap();
        assert_eq!(page.status, 200);
        assert!(page.header("content-type").starts_with("text/html"), "{:?}", page.headers);
        assert!(page.text().contains("k2p.metrics"), "{}", page.text());
    }
}

/// However the demo ends, its bridges end too: a killed terminal leaves nothing.
#[test]
fn a_killed_demo_leaves_no_bridge_behind() {
    let demo = Demo::start(&["demo", "--ports", "0", "0"]);
    let bridges = children(demo.process.pid());
    assert_eq!(bridges.len(), 2);
    demo.process.signal(Signal::Kill);
    eventually("both bridges end", LONG, || bridges.iter().all(|pid| !is_running(*pid)).then_some(()));
}
