//! `kafka2prom decode --strict` over the vectors of other projects' test suites:
//! each verdict on which the reference parsers agree, and the series of what is
//! accepted. The vectors stay where they are: `../shared/vectors.tgz`.
use crate::support::compare::stored;
use crate::support::oracle::{self, Reading, Series, Syntax};
use crate::support::parts;
use crate::support::process;
use crate::support::skip::{Missing, require};
use crate::support::supervise::new_dir;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Vector {
    name: String,
    content_type: String,
    body: PathBuf,
    expect: Value,
}

/// The vectors of text and OpenMetrics with a verdict.
fn vectors() -> Result<Vec<Vector>, Missing> {
    let archive = parts::shared("vectors.tgz")?;
    let dir = new_dir("vectors");
    let status = Command::new("tar").arg("xzf").arg(&archive).arg("-C").arg(&dir).status();
    assert!(status.is_ok_and(|s| s.success()), "{} cannot be unpacked", archive.display());
    let mut found = Vec::new();
    let mut open = vec![dir.clone()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.to_string_lossy().ends_with(".expect.json") {
            found.extend(vector(&dir, &path));
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(found.len() > 200, "only {} vectors in {}", found.len(), archive.display());
    Ok(found)
}

fn vector(root: &Path, path: &Path) -> Option<Vector> {
    let expect: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let content_type = expect["content_type"].as_str()?.to_owned();
    let is_ours = content_type.starts_with("text/plain") || content_type.starts_with("application/openmetrics-text");
    if !is_ours || !matches!(expect["consensus"].as_str(), Some("accept" | "reject")) {
        return None;
    }
    let file = path.file_name()?.to_string_lossy().into_owned();
    let stem = file.strip_suffix("expect.json")?;
    let siblings = fs::read_dir(path.parent()?).unwrap().map(|entry| entry.unwrap().path());
    let body = siblings.into_iter().find(|sibling| {
        let name = sibling.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with(stem) && !name.ends_with(".json") && !name.ends_with(".textproto")
    })?;
    let name = path.strip_prefix(root).ok()?.to_string_lossy().into_owned();
    Some(Vector { name, content_type, body, expect })
}

/// `Some(normalized text)` where it is accepted, `None` where it is refused.
fn decode(vector: &Vector) -> Result<Option<Vec<u8>>, String> {
    let body = vector.body.to_string_lossy();
    let arguments = ["decode", "--strict", "--output", "text", "--content-type", &vector.content_type, &body];
    let output = process::run(&arguments, b"");
    match output.status.code() {
        Some(0) => Ok(Some(output.stdout)),
        Some(1) => Ok(None),
        code => Err(format!("exit code {code:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

#[test]
fn strict_decoding_gives_every_verdict_of_the_vectors() {
    let Some(vectors) = require(vectors()) else { return };
    let mut wrong = Vec::new();
    for vector in &vectors {
        let wanted = vector.expect["consensus"] == "accept";
        match decode(vector) {
            Ok(decoded) if decoded.is_some() == wanted => {}
            Ok(_) => wrong.push(format!("{}: want {}", vector.name, vector.expect["consensus"])),
            Err(e) => wrong.push(format!("{}: {e}", vector.name)),
        }
    }
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), vectors.len(), wrong.join("\n"));
}

#[test]
fn strict_decoding_gives_the_series_of_the_vectors() {
    let Some(vectors) = require(vectors()) else { return };
    let wanted = vectors.iter().filter(|vector| vector.expect["consensus"] == "accept");
    let decoded: Vec<(&Vector, Vec<u8>)> = wanted.filter_map(|vector| Some((vector, decode(vector).ok()??))).collect();
    assert!(decoded.len() > 50, "only {} vectors are accepted", decoded.len());
    let bodies: Vec<_> = decoded.iter().map(|(_, text)| (Syntax::Text, text.as_slice())).collect();
    let Some(readings) = require(oracle::read_all(&bodies)) else { return };
    let mut wrong = Vec::new();
    for ((vector, _), reading) in decoded.iter().zip(readings) {
        let differences = match reading {
            Ok(reading) => differences(&reading, &vector.expect),
            Err(e) => vec![format!("the reference reader refuses our text: {e}")],
        };
        wrong.extend(differences.into_iter().take(5).map(|d| format!("{}: {d}", vector.name)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The vectors list no more series than this.
const LISTED: usize = 500;

fn differences(reading: &Reading, expect: &Value) -> Vec<String> {
    let ours: BTreeMap<Series, Option<f64>> = reading.samples.iter().map(|s| (stored(&s.series), s.value)).collect();
    let reference: BTreeMap<Series, Option<f64>> =
        expect["reference_series"].as_array().into_iter().flatten().map(reference_series).collect();
    let mut wrong = Vec::new();
    for (series, value) in &reference {
        match ours.get(series) {
            None => wrong.push(format!("missing: {series:?}")),
            Some(found) if found != value => wrong.push(format!("{series:?}: {found:?}, not {value:?}")),
            Some(_) => {}
        }
    }
    if reference.len() < LISTED {
        // The reference takes `_created` for a start time, not for a series.
        let extra = ours.keys().filter(|s| !reference.contains_key(*s) && !s["__name__"].ends_with("_created"));
        wrong.extend(extra.map(|series| format!("not in the reference: {series:?}")));
    }
    wrong
}

fn reference_series(series: &Value) -> (Series, Option<f64>) {
    let labels = series["labels"].as_object().unwrap().iter();
    let mut out: Series = labels.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
    out.insert("__name__".into(), series["name"].as_str().unwrap().to_owned());
    let value: f64 = series["v"].as_str().unwrap().parse().unwrap();
    (stored(&out), (!value.is_nan()).then_some(value))
}
