//! The house's rules, checked offline: licences, sources and advisories of every
//! dependency (`.deny.toml`), and the walls between the crates (design section 7).
use crate::support::repo::{root, text};
use semver::{Version, VersionReq};
use serde_json::Value;
use spdx::{Expression, LicenseReq, ParseMode};
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

fn rules() -> toml::Table {
    let text = fs::read_to_string(root().join(".deny.toml")).unwrap();
    text.parse().unwrap()
}

fn strings(rules: &toml::Table, section: &str, key: &str) -> Vec<String> {
    let list = rules[section][key].as_array().unwrap();
    list.iter().map(|v| v.as_str().unwrap().to_owned()).collect()
}

/// What cargo knows of the workspace and its dependencies, as built here.
fn metadata() -> &'static Value {
    static METADATA: OnceLock<Value> = OnceLock::new();
    METADATA.get_or_init(|| {
        let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        // Other platforms' dependencies were never downloaded.
        let platform = format!("{}-unknown-linux-gnu", env::consts::ARCH);
        let arguments = ["metadata", "--offline", "--format-version", "1", "--filter-platform", &platform];
        let output = Command::new(cargo).args(arguments).current_dir(root()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    })
}

fn packages() -> &'static [Value] {
    metadata()["packages"].as_array().unwrap()
}

/// Whether a licence expression offers a way that is allowed.
fn licence_is_allowed(expression: &str, allowed: &[LicenseReq]) -> Result<bool, String> {
    let parsed = Expression::parse_mode(expression, ParseMode::LAX).map_err(|e| e.reason.to_string())?;
    Ok(parsed.evaluate(|asked| allowed.iter().any(|ours| covers(ours, asked))))
}

/// `asked` may be "this version or later", which this version satisfies.
fn covers(ours: &LicenseReq, asked: &LicenseReq) -> bool {
    let id = |req: &LicenseReq| req.license.id().map(|id| id.name);
    ours == asked || (id(ours).is_some() && id(ours) == id(asked) && ours.addition == asked.addition)
}

fn allowed_licences() -> Vec<LicenseReq> {
    let parse = |text: String| {
        let expression = Expression::parse(&text).unwrap();
        let requirement = expression.requirements().next().unwrap();
        requirement.req.clone()
    };
    strings(&rules(), "licenses", "allow").into_iter().map(parse).collect()
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let allowed = allowed_licences();
    let refused: Vec<String> = packages()
        .iter()
        .filter(|package| licence_is_allowed(text(package, "license"), &allowed) != Ok(true))
        .map(|package| format!("{}: {:?}", text(package, "name"), text(package, "license")))
        .collect();
    assert!(packages().len() > 100, "cargo metadata named only {} packages", packages().len());
    assert!(refused.is_empty(), "licences that .deny.toml does not allow: {refused:#?}");
}

#[test]
fn the_licence_check_can_refuse() {
    let allowed = allowed_licences();
    for (expression, expected) in [
        ("MIT", true),
        ("MIT OR Apache-2.0", true),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0-only OR MIT", true),
        ("(Apache-2.0 OR MIT) AND BSD-3-Clause", true),
        ("MPL-2.0+", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("GPL-3.0-only", false),
        ("MIT AND AGPL-3.0-only", false),
        ("GPL-2.0-only WITH Classpath-exception-2.0", false),
    ] {
        assert_eq!(licence_is_allowed(expression, &allowed), Ok(expected), "{expression}");
    }
    assert!(licence_is_allowed("", &allowed).is_err());
}

#[test]
fn every_dependency_is_a_released_crate() {
    let registries = strings(&rules(), "sources", "allow-registry");
    let known = |source: &str| registries.iter().any(|r| source == format!("registry+{r}"));
    let strangers: Vec<_> = packages()
        .iter()
        .filter(|package| !package["source"].is_null() && !known(text(package, "source")))
        .map(|package| format!("{} from {}", text(package, "name"), text(package, "source")))
        .collect();
    assert!(strangers.is_empty(), "{strangers:#?}");
}

/// `name` or `name:requirement`, as cargo-deny writes it.
fn is_banned(ban: &str, name: &str, version: &str) -> bool {
    let (banned, versions) = ban.split_once(':').unwrap_or((ban, "*"));
    let requirement = VersionReq::parse(versions).unwrap();
    banned == name && requirement.matches(&Version::parse(version).unwrap())
}

#[test]
fn no_dependency_has_a_known_fault() {
    let rules = rules();
    let bans = rules["bans"]["deny"].as_array().unwrap();
    let mut found = Vec::new();
    for package in packages() {
        let (name, version) = (text(package, "name"), text(package, "version"));
        let hits = bans.iter().filter(|ban| is_banned(ban["crate"].as_str().unwrap(), name, version));
        found.extend(hits.map(|ban| format!("{name} {version}: {}", ban["reason"].as_str().unwrap())));
    }
    assert!(found.is_empty(), "{found:#?}");
    assert!(is_banned("h2:<0.4.4", "h2", "0.4.3") && !is_banned("h2:<0.4.4", "h2", "0.4.4"));
    assert!(is_banned("atty", "atty", "0.2.14") && !is_banned("atty", "atty2", "0.2.14"));
}

/// Names of everything that a crate of ours depends on to run, directly or not.
fn dependencies(of: &str) -> BTreeSet<String> {
    let nodes = metadata()["resolve"]["nodes"].as_array().unwrap();
    let name = |id: &str| text(packages().iter().find(|p| p["id"] == *id).unwrap(), "name").to_owned();
    let start = packages().iter().find(|p| text(p, "name") == of).unwrap();
    let mut open = vec![text(start, "id").to_owned()];
    let mut found = BTreeSet::new();
    while let Some(id) = open.pop() {
        let node = nodes.iter().find(|n| n["id"] == *id).unwrap();
        for dependency in node["deps"].as_array().unwrap() {
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            // A kind of null is an ordinary dependency; others build or test.
            if kinds.iter().all(|kind| !kind["kind"].is_null()) {
                continue;
            }
            let id = text(dependency, "pkg").to_owned();
            if found.insert(name(&id)) {
                open.push(id);
            }
        }
    }
    found
}

#[test]
fn no_crate_knows_what_it_must_not() {
    let walls: [(&str, &[&str]); 8] = [
        ("k2p-core", &["k2p-runtime", "k2p-server", "k2p-agent", "tokio", "hyper", "rdkafka", "rdkafka-sys"]),
        ("k2p-config", &["k2p-core", "k2p-runtime", "k2p-server", "k2p-agent", "tokio"]),
        ("k2p-pipelines", &["k2p-runtime", "k2p-server", "k2p-agent", "tokio", "hyper", "rdkafka", "rdkafka-sys"]),
        ("k2p-push", &["k2p-pipelines", "k2p-runtime", "k2p-server", "k2p-agent", "tokio", "hyper", "rdkafka"]),
        ("k2p-runtime", &["k2p-server", "k2p-agent", "k2p-pipelines", "k2p-push"]),
        ("k2p-agent", &["k2p-server"]),
        ("k2p-server", &["k2p-agent"]),
        ("k2p-logs", &["k2p-server", "k2p-agent"]),
    ];
    for (of, forbidden) in walls {
        let known = dependencies(of);
        let through: Vec<_> = forbidden.iter().filter(|name| known.contains(**name)).collect();
        assert!(through.is_empty(), "{of} depends on {through:?}");
    }
    assert!(dependencies("kafka2prom").contains("k2p-core"), "the walk finds dependencies");
}

fn sources(below: &str) -> Vec<PathBuf> {
    let mut open = vec![root().join(below)];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Lines of code (not comments, not the test modules at a file's end) that hold
/// one of `words`.
fn uses(below: &str, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for path in sources(below) {
        let content = fs::read_to_string(&path).unwrap();
        let code = content.split("#[cfg(test)]").next().unwrap_or("");
        for (number, line) in code.lines().enumerate() {
            let line = line.split("//").next().unwrap_or("");
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    found
}

#[test]
fn the_pure_crates_do_no_io_and_read_no_clock() {
    let words = ["std::fs", "std::net", "std::env", "std::process", "std::thread", "Instant::now", "SystemTime"];
    for crate_of_ours in ["core", "config", "pipelines", "push"] {
        let found = uses(&format!("bridge/{crate_of_ours}/src"), &words);
        assert!(found.is_empty(), "{found:#?}");
    }
    assert!(!uses("tests", &["Instant::now"]).is_empty(), "the search finds what is there");
}

#[test]
fn the_http_side_never_reaches_into_consuming() {
    let found = uses("bridge/server/src/expose", &["crate::consume", "super::consume", "rdkafka"]);
    assert!(found.is_empty(), "{found:#?}");
    let back = uses("bridge/server/src/consume", &["crate::expose", "super::expose"]);
    assert!(back.is_empty(), "{back:#?}");
}
