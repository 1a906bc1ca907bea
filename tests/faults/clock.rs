//! The wall clock of one process, which a test sets. Its monotonic clocks go on.
use crate::support::skip::Missing;
use crate::support::supervise::{new_dir, run_dir};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/clock.c");

/// How far a process' wall clock is from the machine's.
pub struct Clock {
    path: PathBuf,
    file: File,
}

impl Clock {
    /// A clock that is right.
    pub fn new() -> Clock {
        let path = new_dir("clock").join("offset");
        fs::write(&path, 0_i64.to_ne_bytes()).expect("the run's directory can be written");
        let file = File::options().write(true).open(&path).expect("the file was just made");
        Clock { path, file }
    }

    /// From now on the process' clock is `seconds` ahead of the machine's.
    pub fn set(&self, seconds: i64) {
        self.file.write_all_at(&(seconds * 1000).to_ne_bytes(), 0).expect("the file can be written");
    }

    /// Gives a process this clock.
    ///
    /// # Errors
    /// Where the library cannot be made.
    pub fn give(&self, command: &mut Command) -> Result<(), Missing> {
        command.env("LD_PRELOAD", library()?).env("K2P_CLOCK", &self.path);
        Ok(())
    }
}

/// What [`Clock`] needs on this machine.
///
/// # Errors
/// Where it lacks something.
pub fn library() -> Result<PathBuf, Missing> {
    static BUILT: OnceLock<Result<PathBuf, Missing>> = OnceLock::new();
    let build = || {
        let library = run_dir().join("clock.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(SOURCE);
        match compiler.output() {
            Ok(output) if output.status.success() => Ok(library),
            Ok(output) => panic!("{SOURCE} does not compile: {}", String::from_utf8_lossy(&output.stderr)),
            Err(_) => Err(Missing::Part("cc is missing (apt-get install build-essential)".into())),
        }
    };
    BUILT.get_or_init(build).clone()
}
