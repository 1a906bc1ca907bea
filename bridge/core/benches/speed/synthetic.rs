//! Series that no machine here has: a million over 2,700 origins, and a hostile mix.
use crate::cases::{Case, Origin};

/// The pace of a linear congruential generator: the same dumps in every run.
struct Lcg(u64);

impl Lcg {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// A value as targets write them: small integers, large ones, floats, exponents.
fn value(random: &mut Lcg) -> String {
    let n = random.next();
    match n % 8 {
        0 => "0".to_owned(),
        1..=3 => (n % 1000).to_string(),
        4 | 5 => (n % 1_000_000_000).to_string(),
        6 => format!("{:.6}", n as f64 / 7919.0),
        _ => format!("{:e}", n as f64 * 1.37e3).replace('e', "e+"),
    }
}

/// A dump of about `series` series. `mark` makes its labels its own.
pub(crate) fn dump(series: usize, mark: &str, seed: u64) -> Vec<u8> {
    let mut random = Lcg(seed);
    let mut out = String::with_capacity(series * 80);
    let (mut written, mut family) = (0, 0);
    while written < series {
        let many = [1, 1, 2, 4, 8, 12][family % 6].min(series - written);
        let (kind, suffix) = if family % 3 == 0 { ("counter", "_total") } else { ("gauge", "") };
        let name = format!("service_component_{family}_operations{suffix}");
        out.push_str(&format!("# HELP {name} Operations of the component number {family}.\n# TYPE {name} {kind}\n"));
        for i in 0..many {
            let value = value(&mut random);
            let labels = match (many, mark) {
                (1, "") => String::new(),
                (1, mark) => format!("{{shard=\"{mark}\"}}"),
                (_, "") => format!("{{code=\"{}\",handler=\"/api/v1/{i}\"}}", 200 + i),
                (_, mark) => format!("{{code=\"{}\",handler=\"/api/v1/{i}\",shard=\"{mark}\"}}", 200 + i),
            };
            out.push_str(&format!("{name}{labels} {value}\n"));
        }
        written += many;
        family += 1;
    }
    out.into_bytes()
}

/// `origins` origins of `per_origin` series, two scrapes of each.
pub(crate) fn fleet(name: &str, origins: usize, per_origin: usize, private: bool) -> Case {
    let one = |i: usize| {
        let mark = if private { format!("shard-{i:05}") } else { String::new() };
        let seed = i as u64 * 2;
        Origin::new(i, vec![dump(per_origin, &mark, seed), dump(per_origin, &mark, seed + 1)])
    };
    Case { name: name.to_owned(), origins: (0..origins).map(one).collect() }
}

/// `K2P_SCALE`: a part of every size, to see that all runs. 1 is what the table means.
pub(crate) fn scale() -> f64 {
    std::env::var("K2P_SCALE").ok().and_then(|s| s.parse().ok()).unwrap_or(1.0)
}

/// So many, at the scale.
pub(crate) fn scaled(count: usize) -> usize {
    ((count as f64 * scale()) as usize).max(1)
}

/// A million series over 2,700 origins.
pub(crate) fn million(private: bool) -> Case {
    let name = if private { "1M series, private shapes" } else { "1M series, shared shapes" };
    fleet(name, scaled(2700), 370, private)
}

/// Leaves some of each corpus as files, for other programs to read.
pub(crate) fn write_files(dir: &std::path::Path) {
    let private = fleet("", 40, 370, true);
    for (corpus, case) in [("synthetic", private), ("hostile", hostile())] {
        let dir = dir.join(corpus);
        std::fs::create_dir_all(&dir).unwrap();
        for (i, body) in case.origins.iter().flat_map(|o| &o.dumps).enumerate() {
            std::fs::write(dir.join(format!("{i:04}.txt")), body).unwrap();
        }
    }
}

/// Nothing that a cache of shapes likes: every dump a new shape, one origin of 200,000
/// series, label values of 4 KB.
pub(crate) fn hostile() -> Case {
    let mut origins = Vec::new();
    for i in 0..100 {
        let dumps = (0..2).map(|n| dump(370, &format!("new-{i}-{n}"), i as u64 + n)).collect();
        origins.push(Origin::new(i, dumps));
    }
    origins.push(Origin::new(100, (0..2).map(|n| dump(scaled(200_000), "", n)).collect()));
    for i in 101..111 {
        let long = "x".repeat(4096);
        origins.push(Origin::new(i, (0..2).map(|n| dump(200, &long, n)).collect()));
    }
    Case { name: "hostile mix".to_owned(), origins }
}
