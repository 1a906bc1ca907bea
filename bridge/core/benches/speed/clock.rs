//! CPU time of this thread, and medians of contenders that run in turns.
use rustix::time::{ClockId, clock_gettime};

/// Seconds of CPU that this thread has used.
pub(crate) fn cpu() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// One way of doing the work of a table's row; returns the bytes that it read.
pub(crate) struct Contender<'a> {
    name: &'static str,
    run: Box<dyn FnMut() -> usize + 'a>,
}

/// A contender that is ready to run.
pub(crate) fn contender<'a>(name: &'static str, run: impl FnMut() -> usize + 'a) -> Contender<'a> {
    Contender { name, run: Box::new(run) }
}

/// The middle one.
pub(crate) fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Runs the contenders in turns and prints each one's median throughput, as a multiple of
/// the last one's. Returns the medians in MB/s.
pub(crate) fn throughput(title: &str, contenders: &mut [Contender<'_>], rounds: usize) -> Vec<f64> {
    let mut rates: Vec<Vec<f64>> = contenders.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (contender, rates) in contenders.iter_mut().zip(&mut rates) {
            let start = cpu();
            let bytes = (contender.run)();
            rates.push(bytes as f64 / (cpu() - start) / 1e6);
        }
    }
    let rates: Vec<f64> = rates.iter_mut().map(|r| median(r)).collect();
    let last = rates.last().copied().unwrap_or(1.0);
    println!("{title}");
    for (contender, rate) in contenders.iter().zip(&rates) {
        println!("  {:<34} {rate:>9.0} MB/s {:>8.1} GB/min {:>8.1} ×", contender.name, rate * 0.06, rate / last);
    }
    rates
}

/// A line of the README's table, which `tests/speed` gathers.
pub(crate) fn row(figure: &str, ours: &str, alternative: &str, ratio: f64, asked: &str) {
    println!("row\t{figure}\t{ours}\t{alternative}\t{ratio:.3}\t{asked}");
}

/// What other programs reached on a corpus (`real`, `synthetic`, `hostile`), name and MB/s, as
/// `tests/speed` has measured it before: `K2P_OTHERS`, lines of `NAME|CORPUS|MB/s`.
pub(crate) fn others(corpus: &str) -> Vec<(String, f64)> {
    let told = std::env::var("K2P_OTHERS").unwrap_or_default();
    let one = |line: &str| {
        let (name, rest) = line.split_once('|')?;
        let (of, rate) = rest.split_once('|')?;
        Some((name.to_owned(), rate.trim().parse::<f64>().ok()?)).filter(|_| of == corpus)
    };
    told.lines().filter_map(one).collect()
}

/// A rate as the table shows it.
pub(crate) fn gigabytes(rate: f64) -> String {
    format!("{:.1} GB/min", rate * 0.06)
}
