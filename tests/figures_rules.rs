//! What the dashboards' queries and the alerts' rules cost a real Prometheus that holds a million
//! series (issue 6: no query above 1 s, no rule group above a tenth of its interval). Prints;
//! asserts nothing on time.
//!
//! ```sh
//! cargo test --release --test integration figures_rules -- --ignored --nocapture
//! ```
//!
//! The series are those of the catalogue, the templates and what rules read of others, each label
//! with as many values as a large installation has ([`world::values`]), and as many series of
//! origins as make a million. Their past lies as far back as rules and dashboards look.
use crate::grafana::{Board, sent};
use crate::scale::world::{self, World};
use crate::scale::write::Writer;
use crate::support::http;
use crate::support::parts::Generation;
use crate::support::poll::eventually_ok;
use crate::support::prometheus::Prometheus;
use crate::support::repo::{list, root, text};
use crate::support::skip::require;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Of the shipped scrape configuration.
const SCRAPE: u64 = 15;
/// Points of a graph on a screen of usual width, where its panel does not say fewer.
const POINTS: u64 = 700;
const LONG: Duration = Duration::from_secs(1800);

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn config(rules: bool) -> String {
    let files = if rules { format!("'{}/alerts/rules/*.yml'", root().display()) } else { String::new() };
    format!("global: {{scrape_interval: {SCRAPE}s, evaluation_interval: {SCRAPE}s}}\nrule_files: [{files}]\n")
}

/// Writes every series at each scrape until told to stop.
fn live(world: &World, url: &str, stop: &AtomicBool) {
    let writer = Writer::new(url);
    while !stop.load(Ordering::Relaxed) {
        let at = now() / SCRAPE * SCRAPE;
        writer.samples(world.scraped.iter(), &[at]);
        while now() / SCRAPE * SCRAPE == at && !stop.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(200));
        }
    }
}

/// What a query is asked with, and what it took.
struct Took {
    place: String,
    seconds: f64,
    series: usize,
}

/// How Grafana asks: how far back, and at which steps; all in seconds.
#[derive(Clone, Copy)]
struct Span {
    back: u64,
    step: u64,
    /// `$__rate_interval`.
    rate: u64,
}

impl Span {
    /// `interval`: the query's smallest step, where it has one.
    fn of(back: u64, points: Option<u64>, interval: &str) -> Span {
        let least = interval.strip_suffix('m').map_or(SCRAPE, |minutes| minutes.parse::<u64>().unwrap() * 60);
        let step = (back / points.unwrap_or(POINTS)).max(least);
        Span { back, step, rate: (step + least).max(4 * least) }
    }
}

/// Asked twice: what a dashboard that refreshes sees is the second.
fn ask(prometheus: &Prometheus, place: String, expr: &str, span: Span, range: bool) -> Took {
    let expr = sent(expr, &format!("{}s", span.rate), &world::pipeline(0));
    let mut took = Took { place, seconds: 0.0, series: 0 };
    for _ in 0..2 {
        let end = now() - SCRAPE;
        let begun = Instant::now();
        #[allow(clippy::cast_precision_loss, reason = "a time")]
        let found = if range {
            prometheus.query_range(&expr, (end - span.back) as f64, end as f64, &format!("{}s", span.step))
        } else {
            prometheus.query(&expr)
        };
        took.seconds = begun.elapsed().as_secs_f64();
        took.series = found.len();
    }
    took
}

/// Seconds that a dashboard looks back: `now-6h`.
fn back(board: &Board) -> u64 {
    let from = text(&board.json["time"], "from").strip_prefix("now-").unwrap();
    let number: u64 = from[..from.len() - 1].parse().unwrap();
    number * if from.ends_with('d') { 86_400 } else { 3600 }
}

fn queries(prometheus: &Prometheus) -> Vec<Took> {
    let mut all = Vec::new();
    for board in Board::all() {
        let back = back(&board);
        for panel in board.panels() {
            for target in list(panel, "targets") {
                let place = format!("{}/{}/{}", board.file, text(panel, "title"), text(target, "refId"));
                let span = Span::of(back, panel["maxDataPoints"].as_u64(), text(target, "interval"));
                all.push(ask(prometheus, place, text(target, "expr"), span, target["range"] == true));
            }
        }
        // Variables, as Grafana asks for them, and annotations.
        for (place, expr) in
            board.questions().into_iter().filter(|(p, _)| p.contains("/$") || p.ends_with("annotation"))
        {
            let range = place.ends_with("annotation");
            all.push(ask(prometheus, place, &expr, Span::of(back, None, ""), range));
        }
    }
    all.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    all
}

/// The last evaluation of each rule group, and its interval.
fn groups(prometheus: &Prometheus) -> BTreeMap<String, (f64, f64)> {
    let answer = http::get(&prometheus.url("/api/v1/rules"), &[]).unwrap().json();
    let seconds = |g: &serde_json::Value, key: &str| g[key].as_f64().unwrap();
    let groups = answer["data"]["groups"].as_array().unwrap();
    groups
        .iter()
        .map(|g| (text(g, "name").to_owned(), (seconds(g, "evaluationTime"), seconds(g, "interval"))))
        .collect()
}

/// The longest evaluation of each group, until the one that is evaluated most seldom has been.
fn longest(prometheus: &Prometheus) -> BTreeMap<String, (f64, f64)> {
    let begun = Instant::now();
    let mut worst = BTreeMap::<String, (f64, f64)>::new();
    eventually_ok("every rule group has been evaluated", LONG, || {
        for (name, (took, interval)) in groups(prometheus) {
            let entry = worst.entry(name).or_insert((0.0, interval));
            entry.0 = entry.0.max(took);
        }
        let slowest = worst.values().map(|w| w.1).fold(0.0, f64::max);
        let past = begun.elapsed().as_secs_f64();
        if past > slowest * 1.2 { Ok(()) } else { Err(format!("{past:.0} s")) }
    });
    worst
}

fn one_generation(generation: Generation) -> Option<()> {
    let world = require(World::new(1_000_000))?;
    let prometheus = require(Prometheus::start(generation, &config(false)))?;
    let writer = Writer::new(&prometheus.url(""));
    let begun = Instant::now();
    let samples = world.write_past(&writer, now() / SCRAPE * SCRAPE - SCRAPE, SCRAPE);
    println!(
        "figures: {generation:?}: {samples} samples of the past written in {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| live(&world, &prometheus.url(""), &stop));
        eventually_ok("every series is there", LONG, || {
            let status = http::get(&prometheus.url("/api/v1/status/tsdb"), &[])?.json();
            let count = status["data"]["headStats"]["numSeries"].as_u64().unwrap_or(0);
            if count >= world.scraped.len() as u64 { Ok(()) } else { Err(format!("{count} series")) }
        });
        prometheus.reload(&config(true));
        let rules = longest(&prometheus);
        let firing = prometheus.query("count(ALERTS{alertstate=\"firing\"})").first().map_or(0.0, |f| f.points[0].1);
        let asked = queries(&prometheus);
        stop.store(true, Ordering::Relaxed);
        println!("figures: {generation:?}: {} series scraped, {firing} alerts firing", world.scraped.len());
        for (name, (took, interval)) in rules {
            println!(
                "figures: {generation:?}: rule group {name:38} {took:.3} s, {:.2} % of its interval",
                took / interval * 100.0
            );
        }
        let above = asked.iter().filter(|t| t.seconds > 1.0).count();
        println!("figures: {generation:?}: {} queries, {above} above 1 s, the longest:", asked.len());
        for took in asked.iter().take(12) {
            println!("figures: {generation:?}:   {:.3} s, {:5} series  {}", took.seconds, took.series, took.place);
        }
    });
    Some(())
}

#[test]
#[ignore = "a benchmark: see the module's documentation for the command"]
fn figures_rules_and_panels_at_a_million_series() {
    for generation in Generation::ALL.into_iter().rev() {
        if one_generation(generation).is_none() {
            return;
        }
    }
}
