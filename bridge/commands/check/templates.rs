//! `kafka2prom check templates`
use std::io::Write;
use std::path::{Path, PathBuf};

use k2p_pipelines::cases;
use k2p_pipelines::template::{TemplateSet, catalogue_json, catalogue_markdown, native_notice};

use crate::cli::{CatalogueFormat, CheckTemplatesArgs};
use crate::commands::{Done, Failure};

/// Lines of a difference that are shown.
const SHOWN: usize = 20;

pub(crate) fn run(args: &CheckTemplatesArgs) -> Done {
    let files = read_templates(&args.dir)?;
    let templates =
        TemplateSet::load(&files).map_err(|faults| Failure::Usage(faults.iter().map(ToString::to_string).collect()))?;
    let cases = entries(&args.dir.join("cases"), Path::is_dir)?;
    let mut failed = 0;
    for case in &cases {
        failed += usize::from(!check_case(&templates, case, args.update)?);
    }
    let catalogue = match args.catalogue {
        CatalogueFormat::Markdown => catalogue_markdown(&templates),
        CatalogueFormat::Json => {
            serde_json::to_string_pretty(&catalogue_json(&templates)).map_err(Failure::failed)? + "\n"
        }
    };
    // A closed pipe (`| head`) is no failure of the check.
    let _closed = std::io::stdout().lock().write_all(catalogue.as_bytes());
    let (metrics, files, all) = (templates.metrics().len(), files.len(), cases.len());
    if failed > 0 {
        return Err(Failure::failed(format_args!(
            "{failed} of {all} cases differ: correct the templates, or accept what they give with --update"
        )));
    }
    if let Some(notice) = native_notice(&templates) {
        eprintln!("{}: {notice}", args.dir.display());
    }
    eprintln!("{}: ok, {metrics} metrics in {files} files, {all} cases", args.dir.display());
    Ok(())
}

fn read_templates(dir: &Path) -> Result<Vec<(String, String)>, Failure> {
    let mut files = Vec::new();
    for path in entries(dir, |path| path.extension().is_some_and(|extension| extension == "yaml"))? {
        files.push((path.display().to_string(), read(&path)?));
    }
    if files.is_empty() {
        let fault = format!("{}: no *.yaml there; name the directory of the templates", dir.display());
        return Err(Failure::Usage(vec![fault]));
    }
    Ok(files)
}

/// The entries of a directory that are `wanted`, sorted; none where it does not exist.
fn entries(dir: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |error: std::io::Error| Failure::failed(format_args!("{}: {error}", dir.display()));
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if wanted(&path) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::failed(format_args!("{}: {error}", path.display())))
}

/// Runs a case; says what differs, or rewrites it. True if all is well now.
fn check_case(templates: &TemplateSet, case: &Path, update: bool) -> Result<bool, Failure> {
    let given = cases::run(templates, &read(&case.join("in.jsonl"))?);
    let path = case.join("out.prom");
    let expected = if path.exists() || !update { read(&path)? } else { String::new() };
    if given == expected {
        return Ok(true);
    }
    if update {
        std::fs::write(&path, given).map_err(|error| Failure::failed(format_args!("{}: {error}", path.display())))?;
        eprintln!("{}: rewritten", path.display());
        return Ok(true);
    }
    eprintln!("{}: differs (- expected, + given)", path.display());
    let difference = cases::difference(&expected, &given);
    for line in difference.iter().take(SHOWN) {
        eprintln!("  {line}");
    }
    if difference.len() > SHOWN {
        eprintln!("  … {} more lines", difference.len() - SHOWN);
    }
    Ok(false)
}
