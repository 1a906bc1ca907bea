//! A bridge with one rule switched off: what a run must be able to catch.
use crate::support::process::binary;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The binary of the feature `faults`, which obeys `K2P_BREAK`. Only what knows the
/// feature is compiled: the server and the binary. Nothing ships it.
///
/// # Panics
/// Where it does not build.
pub fn program() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let profile = binary().parent().expect("a binary lies in a directory");
        let target = profile.parent().expect("a profile lies in the target directory");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--features", "faults", "--bin", "kafka2prom-faults", "--target-dir"]);
        cargo.arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(cargo.status().expect("cargo runs").success(), "the binary of the feature `faults` does not build");
        profile.join("kafka2prom-faults")
    };
    BUILT.get_or_init(build).clone()
}
