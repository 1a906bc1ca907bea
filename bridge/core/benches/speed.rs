//! What it costs, beside what others cost: printed, never asserted.
//!
//!     cargo bench -p k2p-core                 every table
//!     cargo bench -p k2p-core -- ingest       those whose name contains the word
//!     K2P_SCALE=0.01 cargo bench …            smaller cases, to see that all of it runs
//!
//! All contenders of a table run in turns in one process, several rounds; the median of
//! each one's CPU time counts, so that a busy machine disturbs all of them alike. Real
//! dumps come from `$K2P_SHARED/dumps` (successive scrapes), else from `tests/dumps`.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs, reason = "a benchmark")]

#[path = "speed/cases.rs"]
mod cases;
#[path = "speed/clock.rs"]
mod clock;
#[path = "speed/ingest.rs"]
mod ingest;
#[path = "speed/memory.rs"]
mod memory;
#[path = "speed/scrape.rs"]
mod scrape;
#[path = "speed/synthetic.rs"]
mod synthetic;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    if wanted == ["profile"] {
        return ingest::profile();
    }
    if let [command, what] = wanted.as_slice() {
        match command.as_str() {
            "memory-of" => return memory::one(what),
            "write-files" => return synthetic::write_files(std::path::Path::new(what)),
            _ => {}
        }
    }
    if wanted == ["profile-scrape"] {
        return scrape::profile();
    }
    let tables: [(&str, fn()); 6] = [
        ("ingest-repeated", ingest::repeated),
        ("ingest-cold", ingest::cold),
        ("ingest-zstd", ingest::compressed),
        ("scrape", scrape::tables),
        ("memory", memory::table),
        ("scaling", ingest::scaling),
    ];
    for (name, table) in tables {
        if wanted.is_empty() || wanted.iter().any(|w| name.contains(w.as_str())) {
            println!("\n## {name}\n");
            table();
        }
    }
}
