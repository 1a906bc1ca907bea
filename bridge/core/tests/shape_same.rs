//! The fast path shows what the plain path shows: any sequence of dumps, through both.
#![allow(clippy::unwrap_used, reason = "tests")]
mod cache_util;

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;

use cache_util::{Rec, apply, cache, cases, write};
use k2p_core::cache::{Applied, CacheConfig, Limits, Outcome, PartitionCache};
use k2p_core::exposition::Format;
use k2p_core::labels::Labels;
use proptest::prelude::*;

const FORMATS: [Format; 5] = [
    Format::Text004,
    Format::Text100 { utf8: true },
    Format::OpenMetrics001,
    Format::OpenMetrics100 { utf8: true },
    Format::OpenMetrics100 { utf8: false },
];

/// Both paths, record by record.
struct Both {
    fast: PartitionCache,
    plain: PartitionCache,
    offset: i64,
}

impl Both {
    fn new(config: &CacheConfig) -> Both {
        Both { fast: cache(config.clone()), plain: cache(config.clone()).without_shapes(), offset: 0 }
    }

    fn apply(&mut self, key: &str, dump: &[u8]) {
        let mut rec = Rec::new(self.offset, key, self.offset, "");
        rec.value = dump.to_vec();
        let (fast, plain) = (apply(&mut self.fast, &rec, self.offset), apply(&mut self.plain, &rec, self.offset));
        self.offset += 1;
        assert_eq!(told(&fast), told(&plain), "{}", String::from_utf8_lossy(dump));
    }

    fn compare(&self) {
        for format in FORMATS {
            let (fast, told) = write(&[self.fast.view()], format);
            let (plain, expected) = write(&[self.plain.view()], format);
            if fast != plain {
                let differ = fast.lines().zip(plain.lines()).find(|(a, b)| a != b);
                panic!("{format:?}: fast and plain differ: {differ:?}\nfast:\n{fast}\nplain:\n{plain}");
            }
            assert_eq!(
                (told.bytes, told.families, told.samples),
                (expected.bytes, expected.families, expected.samples)
            );
            assert_eq!(told.conflicts, expected.conflicts);
        }
    }

    /// The cache counts what its origins hold.
    fn check_account(&self) {
        let view = self.fast.view();
        let own: u64 = view.origins.values().filter_map(|o| o.dump.as_ref()).map(|d| d.own_bytes() as u64).sum();
        assert!(view.bytes >= own);
    }
}

/// Everything that is said of a record.
fn told(applied: &Applied) -> String {
    match &applied.outcome {
        Outcome::Accepted(a) => {
            format!("{} {} {} {:?} {:?} {}", a.series, a.bytes, a.format, a.rejected, a.rejections, a.duplicates)
        }
        other => format!("{other:?}"),
    }
}

fn real_dumps() -> Vec<String> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/dumps");
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|p| std::fs::read_to_string(p).unwrap()).collect()
}

#[test]
fn successive_real_dumps() {
    let dumps = real_dumps();
    assert!(dumps.len() >= 20);
    let mut both = Both::new(&CacheConfig::default());
    for dump in dumps.iter().chain(&dumps) {
        both.apply("i=\"one\"", dump.as_bytes());
        both.apply("i=\"other\"", dump.as_bytes());
    }
    both.compare();
    // Each origin takes on each target's shape in turn.
    let mut both = Both::new(&CacheConfig::default());
    for pair in dumps.chunks(2) {
        for (i, dump) in pair.iter().enumerate() {
            both.apply(&format!("i=\"{i}\""), dump.as_bytes());
            both.compare();
            both.check_account();
        }
    }
}

/// What a value may be, and what stands where a value should.
const VALUES: &[&str] = &[
    "0",
    "1",
    "-1",
    "+5",
    "1.5",
    "1e3",
    "1.7976931348623157e308",
    "1e309",
    "1e-400",
    "NaN",
    "nan",
    "+Inf",
    "Inf",
    "-inf",
    "",
    ".",
    "0x1",
    "1 1700000000000",
    "1 1.5",
    "2 1700000000.5",
    "1 ",
    "1\t",
    " 1",
    "1\r",
    "1 # {a=\"b\"} 2",
    "3 # {trace_id=\"x\"} 0.5 1600000000",
    "12345678",
    "123456789012345678901234567890",
    "0000000000000000000000000000000000000000001",
    "1_000",
    "1,5",
    "1e",
    "12345678901234567890.123456789012345678901234567890",
    "7 # not",
    "é",
    "-0",
    "1 NaN",
];

/// Lines that change a dump's shape, or are none of its.
const LINES: &[&str] = &[
    "# HELP m Help text.",
    "# HELP m Other \\\\ help.\\n",
    "# TYPE m counter",
    "# TYPE m gauge",
    "# TYPE h histogram",
    "# TYPE s summary",
    "# TYPE c_total counter",
    "# TYPE c_created gauge",
    "# TYPE c counter",
    "# UNIT m seconds",
    "m 1",
    "m{a=\"b\"} 1",
    "m{ a = \"b\" , } 1",
    "m{b=\"\",a=\"b\"} 2",
    "m{a=\"c\"} 3",
    "h_bucket{le=\"1\"} 1",
    "h_bucket{le=\"+Inf\"} 2",
    "h_sum 3",
    "h_count 2",
    "s{quantile=\"0.5\"} 1",
    "s_sum 1",
    "s_count 1",
    "c_total 5",
    "c_total{a=\"b\"} 5",
    "c_created 1600000000",
    "c_created{a=\"b\"} 1600000001",
    "n{i=\"body\"} 1",
    "n{exported_i=\"x\"} 2",
    "n{i=\"body\",exported_i=\"x\"} 3",
    "{\"u.tf\",\"l.b\"=\"x\"} 1",
    "u{x=\"\\n\\\"\\\\\"} 1",
    "u{x=\"d\\s\"} 1",
    "# a comment",
    "",
    "  ",
    "garbage here now",
    "x{y=\"z\" 1",
    "h_count{a=\"b\"} 1",
    "m_total 1",
    "m_info{v=\"1\"} 1",
    "# TYPE m_info gauge",
    "# EOF",
    "o{z=\"1\"} 1 1700000000000",
    "long_name_of_a_metric_for_its_segment_to_be_long{some_label=\"some value\",other=\"x\"} 12345.678",
];

#[derive(Debug, Clone)]
enum Change {
    Value(usize, usize),
    Insert(usize, usize),
    Remove(usize),
    Repeat(usize),
    Swap(usize, usize),
    Label(usize),
    Byte(usize, u8),
    NoNewline,
    Nothing,
}

fn change() -> impl Strategy<Value = Change> {
    let place = 0..10_000usize;
    prop_oneof![
        8 => (place.clone(), 0..VALUES.len()).prop_map(|(at, v)| Change::Value(at, v)),
        3 => (place.clone(), 0..LINES.len()).prop_map(|(at, l)| Change::Insert(at, l)),
        2 => place.clone().prop_map(Change::Remove),
        1 => place.clone().prop_map(Change::Repeat),
        1 => (place.clone(), place.clone()).prop_map(|(a, b)| Change::Swap(a, b)),
        1 => place.clone().prop_map(Change::Label),
        1 => (place.clone(), any::<u8>()).prop_map(|(at, b)| Change::Byte(at, b)),
        1 => Just(Change::NoNewline),
        1 => Just(Change::Nothing),
    ]
}

fn changed(dump: &[u8], change: &Change) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = dump.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let count = lines.len();
    match change {
        Change::Value(at, v) => {
            // From there on, the next line that is a sample.
            let order = (0..count).map(|i| (i + at) % count);
            for i in order {
                let line = &mut lines[i];
                if line.first().is_some_and(|b| *b != b'#') && line.contains(&b' ') {
                    let cut = match line.iter().rposition(|b| *b == b'}') {
                        Some(brace) => brace + 1,
                        None => line.iter().position(|b| *b == b' ').unwrap(),
                    };
                    line.truncate(cut);
                    line.push(b' ');
                    line.extend_from_slice(VALUES[*v].as_bytes());
                    break;
                }
            }
        }
        Change::Insert(at, l) => lines.insert(at % count, LINES[*l].as_bytes().to_vec()),
        Change::Remove(at) => drop(lines.remove(at % count)),
        Change::Repeat(at) => {
            let line = lines[at % count].clone();
            lines.insert(at % count, line);
        }
        Change::Swap(a, b) => lines.swap(a % count, b % count),
        Change::Label(at) => {
            let line = &mut lines[at % count];
            if let Some(quote) = line.iter().position(|b| *b == b'"') {
                line.insert(quote + 1, b'q');
            }
        }
        Change::Byte(at, byte) => {
            let mut whole = dump.to_vec();
            if !whole.is_empty() {
                let at = at % whole.len();
                whole[at] = *byte;
            }
            return whole;
        }
        Change::NoNewline => {
            let mut whole = dump.to_vec();
            whole.pop();
            return whole;
        }
        Change::Nothing => {}
    }
    lines.join(&b'\n')
}

/// A short dump of random lines, text or OpenMetrics.
fn seed() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(0..LINES.len(), 0..24), any::<bool>()).prop_map(|(lines, openmetrics)| {
        let mut text = String::new();
        for line in lines.into_iter().map(|l| LINES[l]).filter(|l| *l != "# EOF") {
            text.push_str(line);
            text.push('\n');
        }
        if openmetrics {
            text.push_str("# EOF\n");
        }
        text.into_bytes()
    })
}

fn configs() -> impl Strategy<Value = CacheConfig> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(honor_labels, fixed, few)| CacheConfig {
        honor_labels,
        fixed: if fixed { Labels::parse("region=\"eu\",a=\"fixed\"").unwrap() } else { Labels::default() },
        limits: Limits { series_per_origin: if few { 12 } else { 100_000 }, ..Limits::default() },
        ..CacheConfig::default()
    })
}

/// Each step changes the dump of one of two origins a little more.
fn run(config: &CacheConfig, seed: &[u8], steps: &[(bool, Vec<Change>)], compare_each: bool) {
    let mut both = Both::new(config);
    let mut dumps = [seed.to_vec(), seed.to_vec()];
    for key in ["i=\"0\"", "i=\"1\""] {
        both.apply(key, seed);
    }
    for (which, changes) in steps {
        let dump = &mut dumps[usize::from(*which)];
        let next = changes.iter().fold(dump.clone(), |dump, change| changed(&dump, change));
        both.apply(&format!("i=\"{}\"", u8::from(*which)), &next);
        // Half of the mutations are kept: shapes move on, and come back.
        if changes.len() % 2 == 0 {
            *dump = next;
        }
        if compare_each {
            both.compare();
        }
    }
    both.compare();
    both.check_account();
}

proptest! {
    #![proptest_config(cases(2))]
    #[test]
    fn mutated_small_dumps(
        config in configs(),
        seed in seed(),
        steps in prop::collection::vec((any::<bool>(), prop::collection::vec(change(), 0..4)), 1..8),
    ) {
        run(&config, &seed, &steps, true);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(1).cases / 8, ..cases(1) })]
    #[test]
    fn mutated_real_dumps(
        config in configs(),
        which in 0..1000usize,
        steps in prop::collection::vec((any::<bool>(), prop::collection::vec(change(), 0..4)), 1..6),
    ) {
        let dumps = real_dumps();
        run(&config, dumps[which % dumps.len()].as_bytes(), &steps, false);
    }
}

/// Ids that a target may write into its names; the last two are none.
const IDS: &[&str] = &[
    "local_1700000000000",
    "local_1800000000001",
    "app_20240101120000_0001",
    "app_20240101120000_10001",
    "application_1700000000000_0001",
    "spark_0123456789abcdef0123456789abcdef",
    "local_170000000000",
    "x",
];

/// Lines of a dump that has an id in its names.
const NAMED: &[&str] = &[
    "m_ID_driver_a_Value{type=\"gauges\"} 1",
    "m_ID_driver_b 2",
    "m_ID_driver_b{app=\"ID\"} 2",
    "# HELP m_ID_c The counter.",
    "# TYPE m_ID_c counter",
    "m_ID_c 5",
    "m_ID_c_total 6",
    "m_ID_c_created 1600000000",
    "# TYPE m_ID_c_total counter",
    "# TYPE m_ID_c_created gauge",
    "# HELP m_ID_h The histogram of ID.",
    "# TYPE m_ID_h histogram",
    "m_ID_h_bucket{le=\"+Inf\"} 2",
    "m_ID_h_sum 1",
    "m_ID_h_count 2",
    "# UNIT m_ID_u_seconds seconds",
    "m_ID_u_seconds 4",
    "m_ID 1",
    "ID 1",
    "ID_x 1",
    "n_ID_a 1",
    "m_ID_ID 1",
    "m_IDx 1",
    "m:ID:r 1",
    " m_ID_blank 1",
    "{\"m_ID_quoted\"} 1",
    "m_local_1800000000001_driver_b 3",
    "m_app_20240101120000_0001 3",
    "# TYPE m_application_1700000000000_0001 summary",
    "m_ID_count 7",
    "m_a 1",
    "m_b 1",
    "m_lz 1",
    "m_z 1",
    "m_K2pVarId_driver_b 1",
    "# about ID",
    "m_spark_ID 1",
    "m_s{m_ID=\"x\",ID=\"y\"} 1",
];

/// Dumps of a few origins that differ in their ids and little else.
#[derive(Debug, Clone)]
struct Named {
    origin: usize,
    id: usize,
    /// Lines that come or go.
    toggled: Vec<usize>,
    change: Change,
}

fn named() -> impl Strategy<Value = Named> {
    let toggled = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(0..NAMED.len(), 1..3)];
    let change = prop_oneof![2 => Just(Change::Nothing), 1 => change()];
    (0..3usize, 0..IDS.len(), toggled, change).prop_map(|(origin, id, toggled, change)| Named {
        origin,
        id,
        toggled,
        change,
    })
}

proptest! {
    #![proptest_config(cases(2))]
    #[test]
    fn ids_in_names(
        first in prop_oneof![4 => Just(0), 1 => 0..NAMED.len()],
        lines in prop::collection::vec(0..NAMED.len(), 0..16),
        openmetrics in prop::bool::weighted(0.3),
        steps in prop::collection::vec(named(), 2..10),
    ) {
        let mut both = Both::new(&CacheConfig::default());
        let mut lines: Vec<usize> = std::iter::once(first).chain(lines).collect();
        for step in &steps {
            for line in &step.toggled {
                match lines.iter().position(|l| l == line) {
                    Some(at) if at > 0 => drop(lines.remove(at)),
                    _ => lines.push(*line),
                }
            }
            let text: String = lines.iter().map(|l| format!("{}\n", NAMED[*l])).collect();
            let end = if openmetrics { "# EOF\n" } else { "" };
            let text = format!("{}{end}", text.replace("ID", IDS[step.id]));
            both.apply(&format!("i=\"{}\"", step.origin), &changed(text.as_bytes(), &step.change));
            both.compare();
        }
        both.check_account();
    }
}

/// A real driver's dump under another id, as another driver of its version would write it.
fn driver(dump: &str, id: &str) -> String {
    dump.replace("local_1795218838759", id).replace("app_20261120235950_0001", id)
}

#[test]
fn drivers_share_their_shape() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/dumps");
    for name in ["spark_driver", "spark_cldriver"] {
        let [one, later] = ["01", "02"].map(|n| std::fs::read_to_string(format!("{dir}/{name}.{n}.txt")).unwrap());
        let mut both = Both::new(&CacheConfig::default());
        let mut bytes = Vec::new();
        for (i, id) in IDS.iter().take(6).enumerate() {
            both.apply(&format!("i=\"{i}\""), driver(&one, id).as_bytes());
            bytes.push(both.fast.view().bytes);
        }
        both.compare();
        let view = both.fast.view();
        let dumps = view.origins.values().filter_map(|o| o.dump.as_ref()?.shape_id());
        let (shapes, ids): (BTreeSet<usize>, BTreeSet<&str>) = dumps.unzip();
        assert_eq!((shapes.len(), ids.len()), (1, 6), "{name}: what tells their memory and their names apart");
        drop(view);
        let each = (bytes[5] - bytes[0]) / 5;
        let series = both.fast.view().series / 6;
        assert!(each < series * 12, "{name}: {each} bytes for another driver of {series} series");
        // Each in its own shape from now on, and one that starts again as another application.
        for (i, id) in IDS.iter().take(6).rev().enumerate() {
            both.apply(&format!("i=\"{i}\""), driver(&later, id).as_bytes());
        }
        both.compare();
        both.check_account();
        for i in 0..6 {
            both.apply(&format!("i=\"{i}\""), b"");
        }
        // What is left are the origins themselves: no shape, no value.
        let left = both.fast.view().bytes;
        assert!(left < 6 * 512, "{left} bytes of six empty origins");
    }
}

/// Which family comes first may depend on the id; so may what is found by its name.
#[test]
fn families_are_in_the_order_of_their_names() {
    let mut both = Both::new(&CacheConfig::default());
    for (i, id) in IDS.iter().enumerate() {
        let names = ["m_ID_x", "m_b", "ID", "m_lz", "m_ID", "ID_x", "m", "m_z", "n_ID_a", "m_sq"];
        let dump: String = names.iter().map(|name| format!("{} 1\n", name.replace("ID", id))).collect();
        let key = format!("i=\"{i}\"");
        both.apply(&key, dump.as_bytes());
        both.compare();
        let view = both.fast.view();
        let stored = view.origins.values().find(|o| *o.key == *key).and_then(|o| o.dump.clone()).unwrap();
        let mut sorted: Vec<String> = names.iter().map(|name| name.replace("ID", id)).collect();
        sorted.sort();
        assert_eq!(stored.families().map(|f| f.name.into_owned()).collect::<Vec<_>>(), sorted);
        for name in &sorted {
            assert_eq!(stored.find(name).map(|f| f.name.into_owned()).as_ref(), Some(name));
        }
        assert!(stored.find("m_K2pVarId").is_none());
    }
}

/// The bodies of `vectors.tgz`, where it is: `codec_vectors` says so if it is not.
fn vectors() -> Vec<Vec<u8>> {
    let root = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shared = std::env::var_os("K2P_SHARED").map_or(root.join("../shared"), std::path::PathBuf::from);
    let Ok(packed) = std::fs::File::open(shared.join("vectors.tgz")) else { return Vec::new() };
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(packed));
    let mut all = Vec::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut body = Vec::new();
        entry.read_to_end(&mut body).unwrap();
        if body.len() < 200_000 {
            all.push(body);
        }
    }
    all
}

#[test]
fn vectors_through_both_paths() {
    for body in vectors() {
        let mut both = Both::new(&CacheConfig::default());
        // Parsed, then compared, then as another origin's.
        for key in ["i=\"0\"", "i=\"0\"", "i=\"1\""] {
            both.apply(key, &body);
        }
        both.compare();
    }
}

/// Shapes go with their last user.
#[test]
fn shapes_are_shared_and_released() {
    let lines = (0..300).map(|n| format!("m{{handler=\"/api/{n}\"}} {n}\n"));
    let dump = format!("# TYPE m gauge\n{}", lines.collect::<String>());
    let mut cache = cache(CacheConfig::default());
    let mut offset = 0;
    let mut bytes = |cache: &mut PartitionCache, key: &str, dump: &str| {
        apply(cache, &Rec::new(offset, key, 0, dump), 0);
        offset += 1;
        Arc::clone(&cache.view()).bytes
    };
    let one = bytes(&mut cache, "i=\"0\"", &dump);
    let two = bytes(&mut cache, "i=\"1\"", &dump);
    assert!((two - one) * 5 < one, "the second origin pays for its values only: {one}, {two}");
    // Both deleted: nothing is left.
    bytes(&mut cache, "i=\"0\"", "");
    let left = bytes(&mut cache, "i=\"1\"", "");
    assert!(left < 1024, "two keys and their labels: {left} bytes");
}
