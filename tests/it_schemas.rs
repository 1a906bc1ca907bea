//! The JSON Schemas of events say what the parser says: `templates/schemas/cases.jsonl`,
//! which the parser's own test reads too, judged by a validator of another house.
use crate::support::parts;
use crate::support::skip::{Missing, require};
use std::path::Path;

fn judge() -> Result<std::process::Output, Missing> {
    let mut python = parts::python()?;
    let found = python.args(["-c", "import jsonschema"]).output().is_ok_and(|o| o.status.success());
    if !found {
        return Err(Missing::Part("jsonschema is not downloaded (tests/run does it)".into()));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(parts::python()?.arg(root.join("tests/support/schemas.py")).arg(root.join("templates/schemas")).output().unwrap())
}

#[test]
fn json_schemas_agree_with_the_parser() {
    let output = require(judge());
    let Some(output) = output else { return };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("0 of 1"), "{said}");
}
