//! Tests that a machine cannot run are skipped by name, and counted.
use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::panic::Location;
use std::thread;

/// Why a test cannot run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// A part that this machine lacks, and how to get it.
    Part(String),
    /// Something that belongs to the developers' workplace, not to a clone of the
    /// repository: nobody is asked to get it, so this is never a failure.
    Elsewhere(String),
}

/// The part, or `None` after noting that the calling test is skipped.
///
/// The note goes to stderr and, as `name<TAB>reason`, to the file named by
/// `K2P_SKIP_LOG`, from which `tests/run` counts.
///
/// # Panics
/// Where a part is missing and nothing may be skipped (`K2P_REQUIRE_ALL=1`:
/// continuous integration).
#[track_caller]
pub fn require<T>(part: Result<T, Missing>) -> Option<T> {
    let missing = match part {
        Ok(part) => return Some(part),
        Err(missing) => missing,
    };
    let name = test_name(Location::caller());
    let reason = match missing {
        Missing::Elsewhere(reason) => reason,
        Missing::Part(reason) => {
            let needed = env::var("K2P_REQUIRE_ALL").as_deref() == Ok("1");
            assert!(!needed, "{name} may not be skipped here, but {reason}");
            reason
        }
    };
    eprintln!("SKIPPED {name}: {reason}");
    if let Some(path) = env::var_os("K2P_SKIP_LOG") {
        let mut log = OpenOptions::new().create(true).append(true).open(path).expect("K2P_SKIP_LOG can be written");
        writeln!(log, "{name}\t{reason}").expect("K2P_SKIP_LOG can be written");
    }
    None
}

/// libtest names its threads after the tests, except with `--test-threads=1`.
fn test_name(caller: &Location<'_>) -> String {
    match thread::current().name() {
        Some(name) if name != "main" => name.to_owned(),
        _ => format!("{}:{}", caller.file(), caller.line()),
    }
}
