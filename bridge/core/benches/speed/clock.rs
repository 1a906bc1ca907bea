//! CPU time of this thread, and medians of contenders that run in turns.
use rustix::time::{ClockId, clock_gettime};

/// Seconds of CPU that this thread has used.
pub(crate) fn cpu() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// One way of doing the work of a table's row.
pub(crate) struct Contender<'a> {
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn FnMut() + 'a>,
}

/// A contender that is ready to run.
pub(crate) fn contender<'a>(name: &'static str, run: impl FnMut() + 'a) -> Contender<'a> {
    Contender { name, run: Box::new(run) }
}

/// Runs them in turns; the median seconds of each, in their order.
pub(crate) fn medians(contenders: &mut [Contender<'_>], rounds: usize) -> Vec<f64> {
    let mut times: Vec<Vec<f64>> = contenders.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            let start = cpu();
            (contender.run)();
            times.push(cpu() - start);
        }
    }
    times.iter_mut().map(|t| median(t)).collect()
}

/// The middle one.
pub(crate) fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Prints the contenders' throughput over `bytes`, each as a multiple of the last one's.
pub(crate) fn throughput(title: &str, bytes: usize, contenders: &mut [Contender<'_>], rounds: usize) {
    let times = medians(contenders, rounds);
    let slowest = *times.last().unwrap();
    println!("{title} ({:.1} MB)", bytes as f64 / 1e6);
    for (contender, seconds) in contenders.iter().zip(&times) {
        let (mb, ratio) = (bytes as f64 / seconds / 1e6, slowest / seconds);
        println!("  {:<34} {mb:>9.0} MB/s {:>8.1} GB/min {ratio:>8.1} ×", contender.name, mb * 0.06);
    }
}
