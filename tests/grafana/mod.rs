//! What the tests of the dashboards share: the boards, a linter.
pub(crate) mod layout;
pub(crate) mod lint;
pub(crate) mod schema;
pub(crate) mod shapes;
pub(crate) mod story;

use crate::support::repo::{list, read, root, text};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// A shipped dashboard.
#[derive(Debug, Clone)]
pub(crate) struct Board {
    /// The file's name without `.json`.
    pub(crate) file: String,
    pub(crate) json: Value,
}

impl Board {
    pub(crate) fn all() -> Vec<Board> {
        let mut paths: Vec<_> =
            fs::read_dir(root().join("grafana/dashboards")).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let load = |path: &Path| Board {
            file: path.file_stem().unwrap().to_string_lossy().into_owned(),
            json: serde_json::from_str(&fs::read_to_string(path).unwrap()).expect("JSON"),
        };
        paths.iter().map(|path| load(path)).collect()
    }

    /// The panels that show something.
    pub(crate) fn panels(&self) -> impl Iterator<Item = &Value> {
        list(&self.json, "panels").iter().filter(|panel| panel["type"] != "row")
    }

    pub(crate) fn variables(&self) -> &[Value] {
        list(&self.json["templating"], "list")
    }

    /// Every query: the place, and the expression as Grafana's file has it.
    pub(crate) fn questions(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for panel in self.panels() {
            let place = |query: &Value| format!("{}/{}/{}", self.file, text(panel, "title"), text(query, "refId"));
            found.extend(list(panel, "targets").iter().map(|t| (place(t), text(t, "expr").to_owned())));
        }
        for variable in self.variables().iter().filter(|v| v["type"] == "query") {
            let name = format!("{}/${}", self.file, text(variable, "name"));
            let query = text(&variable["query"], "query");
            let (metric, label) = label_values(query).unwrap_or_else(|| panic!("{name}: {query}"));
            found.push((name, format!("count by ({label}) ({metric})")));
        }
        for annotation in list(&self.json["annotations"], "list").iter().filter(|a| a["builtIn"] != 1) {
            found.push((format!("{}/annotation", self.file), text(annotation, "expr").to_owned()));
        }
        found
    }
}

/// A query as Grafana sends it, with All chosen everywhere; `pipeline` where All is not offered.
pub(crate) fn sent(expr: &str, rate_interval: &str, pipeline: &str) -> String {
    let expr = expr.replace("$__rate_interval", rate_interval);
    let expr = expr.replace("=\"$pipeline_id\"", &format!("=\"{pipeline}\""));
    let mut out = String::new();
    let mut parts = expr.split('$');
    out.push_str(parts.next().unwrap());
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
        assert!(end > 0, "{expr}");
        out.push_str(".+");
        out.push_str(&part[end..]);
    }
    out
}

/// `label_values(METRIC, LABEL)`.
pub(crate) fn label_values(query: &str) -> Option<(&str, &str)> {
    query.strip_prefix("label_values(")?.strip_suffix(')')?.rsplit_once(", ")
}

/// The panels of `grafana/empty.txt`: board, title, why.
pub(crate) fn empty_panels() -> Vec<(String, String, String)> {
    let lines = read("grafana/empty.txt");
    let one = |line: &str| match line.split(" | ").collect::<Vec<_>>()[..] {
        [board, title, why] => (board.to_owned(), title.to_owned(), why.to_owned()),
        _ => panic!("not BOARD | TITLE | WHY: {line}"),
    };
    lines.lines().filter(|line| !line.starts_with('#')).map(one).collect()
}
