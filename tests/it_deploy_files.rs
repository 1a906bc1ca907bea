//! `deploy/`: the annotated configurations, the stack's small ones and the image's recipe.
use crate::support::process;
use crate::support::repo::{read, root};
use crate::support::skip::{Missing, require};
use crate::support::supervise::new_dir;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The small files of the stack are files of this program.
#[test]
fn the_stacks_files_pass_the_check() {
    for (file, said) in
        [("bridge.yaml", "consumes k2p.metrics, k2p.events, k2p.push"), ("agent.yaml", "an agent; targets: 1")]
    {
        let mut command = process::command(&["check", "config", file]);
        let output = command.current_dir(root().join("deploy/stack")).env("CLUSTER", "acme").output().unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && text.contains(said), "{text}");
    }
}

/// The image: pinned versions, a build by the lock file, nobody's user; and the build sees every
/// file that the program takes in, and no other secret of the tree.
#[test]
fn the_image_is_made_of_pinned_parts_and_all_that_the_build_reads() {
    let dockerfile = read("deploy/Dockerfile");
    let lines: Vec<&str> = dockerfile.lines().map(str::trim).collect();
    let bases: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("FROM ")).collect();
    assert_eq!(bases.len(), 2, "a stage that builds and one that runs: {bases:?}");
    let version = bases[0].strip_prefix("rust:").and_then(|rest| rest.split('-').next()).unwrap();
    assert_eq!(version.split('.').count(), 3, "{}", bases[0]);
    assert_eq!(bases[1], "scratch");
    let minimum = env!("CARGO_PKG_RUST_VERSION");
    assert!(version.starts_with(&format!("{minimum}.")), "the toolchain is the oldest that is promised: {version}");
    for part in ["cargo build --release --locked", "USER 65532:65532", "HEALTHCHECK ", "ENTRYPOINT [\"/kafka2prom\"]"] {
        assert!(dockerfile.contains(part), "{part}");
    }
    let ignore = read("deploy/Dockerfile.dockerignore");
    let allowed: Vec<&str> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert!(ignore.lines().any(|line| line == "*"), "nothing goes in but what is named");
    let sees = |path: &str| allowed.iter().any(|a| path == *a || path.starts_with(&format!("{a}/")));
    for file in ["Cargo.toml", "Cargo.lock", "bridge/main.rs", "tests/main.rs"] {
        assert!(sees(file), "{file}");
    }
    let missing: Vec<String> = included(&root().join("bridge")).into_iter().filter(|path| !sees(path)).collect();
    assert!(missing.is_empty(), "the build reads what the image's context lacks: {missing:?}");
    assert!(!sees("deploy/secrets/pagerduty"));
}

/// The image's last step with the program of this run: what it lays out is all that the program
/// needs, and it runs there as nobody.
#[test]
fn the_image_runs_the_program_alone() {
    let uid = Command::new("id").arg("-u").output().unwrap();
    let root_only = || Missing::Elsewhere("only root may change its root directory".to_owned());
    let Some(()) = require((uid.stdout == b"0\n").then_some(()).ok_or_else(root_only)) else { return };
    let dockerfile = read("deploy/Dockerfile");
    let step = dockerfile.split("\nRUN ").find(|step| step.starts_with("ldd ")).unwrap();
    let step = step.split("\n\n").next().unwrap();
    let image = new_dir("image");
    fs::copy(process::binary(), image.join("kafka2prom")).unwrap();
    let script = step.replace("/image", image.to_str().unwrap());
    let made = Command::new("sh").args(["-ec", &script]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut command = Command::new("chroot");
    command.arg("--userspec=65532:65532").arg(&image).args(["/kafka2prom", "--version"]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(said, format!("kafka2prom {}\n", env!("CARGO_PKG_VERSION")));
    for absent in ["bin/sh", "usr"] {
        assert!(!image.join(absent).exists(), "{absent}");
    }
}

/// What `include_str!` names in the program's sources, from the root.
fn included(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !["tests", "benches", "fuzz", "target"].contains(&name) {
            found.extend(included(&path));
        }
        if !name.ends_with(".rs") || name == "tests.rs" {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for rest in text.split("include_str!(\"").skip(1) {
            let file = dir.join(rest.split('"').next().unwrap()).canonicalize().unwrap();
            found.push(file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
        }
    }
    found
}

/// Every key that the program reads, by its section, stands in the annotated file in that very
/// section. (That each default shown there is the code's: unit tests beside the readers.)
#[test]
fn the_annotated_files_show_every_key_in_its_section() {
    let bridge = "unknown: 1\nkafka: {unknown: 1}\ntopics: [{unknown: 1, limits: {unknown: 1}}]\nownership: {unknown: 1}\n\
                  state: {unknown: 1}\ntemplates: {unknown: 1}\nruns: {unknown: 1}\nlogs: {unknown: 1}\nweb: {unknown: 1}\n";
    let agent = "unknown: 1\nkafka: {unknown: 1}\nweb: {unknown: 1}\n\
                 agent: {unknown: 1, limits: {unknown: 1}, scrape: [{unknown: 1}], files: [{unknown: 1}]}\n";
    for (file, probe) in [("deploy/bridge.yaml", bridge), ("deploy/agent.yaml", agent)] {
        let shown = shown(&read(file));
        let known = known(probe);
        assert_eq!(known.len(), probe.matches("unknown: 1").count(), "{file}: {known:?}");
        for (section, keys) in known {
            let here = shown.get(&section).unwrap_or_else(|| panic!("{file} has no section {section:?}"));
            // One reader for both: an agent's file may be a bridge's, too.
            let keys = keys.into_iter().filter(|key| (file, key.as_str()) != ("deploy/agent.yaml", "group"));
            let missing: Vec<String> = keys.filter(|key| !here.contains(key)).collect();
            assert!(missing.is_empty(), "{file} does not show {missing:?} in {section:?}");
        }
    }
}

/// What the program says it knows in each section of a file with an unknown key everywhere.
fn known(probe: &str) -> BTreeMap<String, BTreeSet<String>> {
    let file = new_dir("keys").join("probe.yaml");
    fs::write(&file, probe).unwrap();
    let output = process::run(&["check", "config", file.to_str().unwrap()], b"");
    let said = String::from_utf8(output.stderr).unwrap();
    let fault = |line: &str| {
        let (place, keys) = line.split_once("unknown: unknown key; ")?;
        let keys = keys.split_once("known here: ")?.1;
        let place = place.rsplit(": ").find(|part| !part.is_empty()).unwrap_or_default();
        let place = if place.contains("probe.yaml") { "" } else { place.trim_end_matches('.') };
        Some((place.replace("[0]", ""), keys.split(", ").map(str::to_owned).collect()))
    };
    said.lines().filter_map(fault).collect()
}

/// The keys of an annotated file by their section: those that are set, and those in comments,
/// with their default or as an example.
fn shown(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut sections: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut above: Vec<(usize, String)> = Vec::new();
    for line in text.lines() {
        let bare = line.trim_start();
        let mut indent = line.len() - bare.len();
        let bare = bare.strip_prefix("# ").unwrap_or(bare);
        let mut bare = bare.strip_prefix("e.g. ").unwrap_or(bare);
        if let Some(item) = bare.strip_prefix("- ") {
            (bare, indent) = (item, indent + 2);
        }
        let Some((key, _)) = bare.split_once(':') else { continue };
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            continue;
        }
        above.retain(|(at, _)| *at < indent);
        let section: Vec<&str> = above.iter().map(|(_, key)| key.as_str()).collect();
        sections.entry(section.join(".")).or_default().insert(key.to_owned());
        above.push((indent, key.to_owned()));
    }
    sections
}
