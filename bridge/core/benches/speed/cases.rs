//! What is ingested: origins, each with successive dumps.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// An origin and its dumps, in the order of their scrapes.
pub(crate) struct Origin {
    pub(crate) key: String,
    pub(crate) dumps: Vec<Vec<u8>>,
}

impl Origin {
    pub(crate) fn new(index: usize, dumps: Vec<Vec<u8>>) -> Origin {
        let key = format!(
            "cluster=\"acme-{}\",instance=\"10.0.{}.{}:9100\",job=\"bench\"",
            index % 7,
            index / 250,
            index % 250
        );
        Origin { key, dumps }
    }
}

/// A named set of origins.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) origins: Vec<Origin>,
}

impl Case {
    /// Bytes of all dumps.
    pub(crate) fn bytes(&self) -> usize {
        self.origins.iter().flat_map(|o| &o.dumps).map(Vec::len).sum()
    }

    /// Successive dumps of every origin, one record after the other: round 0 of all, then
    /// round 1.
    pub(crate) fn rounds(&self) -> usize {
        self.origins.iter().map(|o| o.dumps.len()).max().unwrap_or(0)
    }
}

fn dumps_dir() -> PathBuf {
    let shared = std::env::var("K2P_SHARED").map(|dir| Path::new(&dir).join("dumps"));
    match shared {
        Ok(dir) if dir.is_dir() => dir,
        _ => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/dumps"),
    }
}

/// The real dumps by target: `node.01.txt`, `node.02.txt`, …
pub(crate) fn real() -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut by_target: BTreeMap<String, Vec<(PathBuf, Vec<u8>)>> = BTreeMap::new();
    for entry in std::fs::read_dir(dumps_dir()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some(stem) = name.strip_suffix(".txt").and_then(|n| n.split('.').next()) else { continue };
        let body = std::fs::read(&path).unwrap();
        by_target.entry(stem.to_owned()).or_default().push((path, body));
    }
    let sort = |mut all: Vec<(PathBuf, Vec<u8>)>| {
        all.sort();
        all.into_iter().map(|(_, body)| body).collect()
    };
    by_target.into_iter().map(|(name, all)| (name, sort(all))).collect()
}

/// Real targets, one case each, and all of them together, so often over that the working
/// set leaves the caches.
pub(crate) fn real_cases() -> Vec<Case> {
    let real = real();
    let good = |name: &&String| !name.contains("nasty");
    let mut cases: Vec<Case> = real
        .iter()
        .filter(|(name, _)| good(name))
        .map(|(name, dumps)| Case {
            name: name.clone(),
            origins: (0..4).map(|i| Origin::new(i, dumps.clone())).collect(),
        })
        .collect();
    let mut all = Vec::new();
    for (i, (_, dumps)) in real.iter().filter(|(name, _)| good(name)).cycle().take(real.len() * 30).enumerate() {
        all.push(Origin::new(i, dumps.clone()));
    }
    cases.push(Case { name: "all real targets".to_owned(), origins: all });
    cases
}
