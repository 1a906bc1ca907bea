//! The templates of this bridge: a directory's, or those that ship with the program.
use std::path::Path;

use k2p_pipelines::template::TemplateSet;

/// The files of `templates/` in the house.
const SHIPPED: [(&str, &str); 6] = [
    ("jobs.yaml", include_str!("../../../templates/jobs.yaml")),
    ("lineage.yaml", include_str!("../../../templates/lineage.yaml")),
    ("logs.yaml", include_str!("../../../templates/logs.yaml")),
    ("reports.yaml", include_str!("../../../templates/reports.yaml")),
    ("runs.yaml", include_str!("../../../templates/runs.yaml")),
    ("steps.yaml", include_str!("../../../templates/steps.yaml")),
];

/// Reads every `*.yaml` of a directory; without one, the shipped templates.
///
/// # Errors
/// Everything that is wrong, one fault a line, each with its remedy.
pub fn load(directory: Option<&Path>) -> Result<TemplateSet, String> {
    let files = match directory {
        Some(directory) => read(directory)?,
        None => SHIPPED.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec(),
    };
    TemplateSet::load(&files).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

fn read(directory: &Path) -> Result<Vec<(String, String)>, String> {
    let unreadable = |path: &Path, error: std::io::Error| {
        format!("{}: {error}; name a readable directory of templates under templates.dir", path.display())
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(|e| unreadable(directory, e))? {
        let path = entry.map_err(|e| unreadable(directory, e))?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push((name, std::fs::read_to_string(&path).map_err(|e| unreadable(&path, e))?));
    }
    if files.is_empty() {
        return Err(format!(
            "{}: no template (*.yaml) in it; put one there, or leave templates.dir out",
            directory.display()
        ));
    }
    Ok(files)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_template_of_the_house_is_shipped_and_sound() {
        let house = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../templates");
        let (shipped, read) = (load(None).unwrap(), load(Some(&house)).unwrap());
        assert_eq!(shipped.hash(), read.hash(), "a file of templates/ is not in SHIPPED");
    }

    #[test]
    fn what_cannot_be_read_is_said_with_its_remedy() {
        let nowhere = load(Some(Path::new("/no/such/directory"))).unwrap_err();
        assert!(nowhere.contains("/no/such/directory") && nowhere.contains("templates.dir"), "{nowhere}");
    }
}
