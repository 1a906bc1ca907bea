//! MB/s of `openmetrics-parser` on the dumps named on the command line.
use std::hint::black_box;
use std::time::Instant;

fn main() {
    let dumps: Vec<String> = std::env::args().skip(1).filter_map(|path| std::fs::read_to_string(path).ok()).collect();
    let good: Vec<&String> =
        dumps.iter().filter(|d| openmetrics_parser::prometheus::parse_prometheus(d).is_ok()).collect();
    let bytes: usize = good.iter().map(|d| d.len()).sum();
    let mut rates: Vec<f64> = (0..5)
        .map(|_| {
            let start = Instant::now();
            for dump in &good {
                _ = black_box(openmetrics_parser::prometheus::parse_prometheus(dump));
            }
            bytes as f64 / start.elapsed().as_secs_f64() / 1e6
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    println!("  {:<34} {:>9.0} MB/s   ({} of {} dumps: it refuses the others)", "openmetrics-parser", rates[2], good.len(), dumps.len());
}
