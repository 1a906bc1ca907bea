//! `deploy/compose.yaml` without a container engine: what each service would be given, on
//! loopback. A service's mounts are copied into a directory of its own; in their texts, and in
//! its command and environment, paths below a mount and addresses of services are replaced.
use super::parts;
use super::repo::root;
use super::skip::Missing;
use super::supervise::{free_port, new_dir};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The file as Compose itself reads it: anchors, short forms and paths resolved.
///
/// # Panics
/// Where Compose refuses it.
pub fn config() -> Result<Value, Missing> {
    let program = parts::compose_config()?;
    let mut command = Command::new(program);
    // Nobody's variables: the file must say everything.
    command.env_clear().env("HOME", "/").current_dir(root().join("deploy"));
    let output = command.args(["--format", "json", "compose.yaml"]).output().expect("compose-config runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// A list of texts; none where there is nothing.
pub fn strings(value: &Value) -> Vec<String> {
    let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    value.as_array().map(|list| list.iter().map(text).collect()).unwrap_or_default()
}

/// The stack, laid out.
#[derive(Debug)]
pub struct Stack {
    services: Value,
    /// Of each service's ports the one on loopback that stands for it.
    ports: BTreeMap<(String, String), u16>,
    /// Every name of a service, the longest first.
    names: Vec<(String, String)>,
    /// Of each service where its mounts lie.
    mounts: BTreeMap<String, Vec<(String, PathBuf)>>,
}

impl Stack {
    /// Chooses ports, copies mounts. Named volumes are empty directories.
    ///
    /// # Panics
    /// Where a mount's source is missing.
    pub fn lay_out(config: &Value) -> Stack {
        let mut stack = Stack {
            services: config["services"].clone(),
            ports: BTreeMap::new(),
            names: Vec::new(),
            mounts: BTreeMap::new(),
        };
        let services = config["services"].as_object().expect("services");
        for (name, service) in services {
            for port in strings(&service["expose"]) {
                stack.ports.insert((name.clone(), port), free_port());
            }
            stack.names.push((name.clone(), name.clone()));
            for alias in strings(&service["networks"]["default"]["aliases"]) {
                stack.names.push((alias, name.clone()));
            }
        }
        stack.names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let mut volumes: BTreeMap<String, PathBuf> = BTreeMap::new();
        for (name, service) in services.iter().filter(|(name, _)| *name != "grafana") {
            let dir = new_dir(name);
            let mounts = service["volumes"].as_array().cloned().unwrap_or_default();
            let place = |mount: &Value| {
                let target = mount["target"].as_str().expect("a target").to_owned();
                if mount["type"] == "volume" {
                    let volume = mount["source"].as_str().expect("a volume's name").to_owned();
                    return (target, volumes.entry(volume).or_insert_with_key(|name| new_dir(name)).clone());
                }
                let there = dir.join(target.trim_start_matches('/'));
                (target, there)
            };
            // The deepest first: it is below the others.
            let mut placed: Vec<_> = mounts.iter().map(place).collect();
            placed.sort_by_key(|(target, _)| std::cmp::Reverse(target.len()));
            stack.mounts.insert(name.clone(), placed);
            for mount in mounts.iter().filter(|mount| mount["type"] == "bind") {
                let target = mount["target"].as_str().expect("a target").trim_start_matches('/');
                stack.copy(name, Path::new(mount["source"].as_str().expect("a source")), &dir.join(target));
            }
        }
        stack
    }

    fn copy(&self, service: &str, from: &Path, to: &Path) {
        if from.is_dir() {
            fs::create_dir_all(to).expect("the run's directory can be written");
            for entry in fs::read_dir(from).expect("the source can be read").flatten() {
                self.copy(service, &entry.path(), &to.join(entry.file_name()));
            }
            return;
        }
        let text = fs::read_to_string(from).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
        fs::create_dir_all(to.parent().expect("a file is in a directory")).expect("it can be written");
        fs::write(to, self.here(service, &text)).expect("the run's directory can be written");
    }

    /// The names of all services.
    pub fn services(&self) -> Vec<String> {
        self.services.as_object().expect("services").keys().cloned().collect()
    }

    /// A service as Compose read it.
    pub fn service(&self, name: &str) -> &Value {
        &self.services[name]
    }

    /// The words of its command.
    pub fn command(&self, service: &str) -> Vec<String> {
        self.mapped(service, &self.services[service]["command"])
    }

    /// The words of its health check, without `CMD`.
    ///
    /// # Panics
    /// Where it has none.
    pub fn health(&self, service: &str) -> Vec<String> {
        let words = self.mapped(service, &self.services[service]["healthcheck"]["test"]);
        assert_eq!(words.first().map(String::as_str), Some("CMD"), "{service} has a health check without a shell");
        words[1..].to_vec()
    }

    fn mapped(&self, service: &str, words: &Value) -> Vec<String> {
        strings(words).iter().map(|word| self.here(service, word)).collect()
    }

    /// Its environment.
    pub fn environment(&self, service: &str) -> Vec<(String, String)> {
        let all = self.services[service]["environment"].as_object().cloned().unwrap_or_default();
        let text = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        all.iter().map(|(name, value)| (name.clone(), self.here(service, &text(value)))).collect()
    }

    /// `HOST:PORT` of a port of a service.
    ///
    /// # Panics
    /// Where it does not expose it.
    pub fn address(&self, service: &str, port: &str) -> String {
        let port = self.ports.get(&(service.to_owned(), port.to_owned()));
        format!("127.0.0.1:{}", port.unwrap_or_else(|| panic!("{service} exposes no such port")))
    }

    /// A text as `service` would read it, with what stands for it here.
    pub fn here(&self, service: &str, text: &str) -> String {
        let mut text = text.to_owned();
        for (target, place) in self.mounts.get(service).into_iter().flatten() {
            text = replace_word(&text, target, &place.display().to_string());
        }
        for (name, owner) in &self.names {
            for ((of, port), _) in self.ports.iter().filter(|((of, _), _)| of == owner) {
                text = replace_word(&text, &format!("{name}:{port}"), &self.address(of, port));
            }
        }
        for ((of, port), _) in self.ports.iter().filter(|((of, _), _)| of == service) {
            let own = self.address(of, port);
            for name in ["127.0.0.1", "localhost"] {
                text = replace_word(&text, &format!("{name}:{port}"), &own);
            }
            // Every address is listened on.
            for before in ["://", "="] {
                text = text.replace(&format!("{before}:{port}"), &format!("{before}{own}"));
            }
            if text == format!(":{port}") {
                text.clone_from(&own);
            }
        }
        text
    }
}

/// Replaces `from` where it is no part of a longer name or number.
fn replace_word(text: &str, from: &str, to: &str) -> String {
    let joins = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut out = String::new();
    let mut copied = 0;
    for (at, _) in text.match_indices(from) {
        let (before, after) = (&text[..at], &text[at + from.len()..]);
        if before.ends_with(joins) || after.starts_with(|c: char| joins(c) && c != '.') {
            continue;
        }
        out.push_str(&text[copied..at]);
        out.push_str(to);
        copied = at + from.len();
    }
    out + &text[copied..]
}

#[test]
fn words_are_replaced_whole() {
    let cases = [
        ("kafka:19092", "X"),
        ("PLAINTEXT://kafka:19092,HOST://a:1", "PLAINTEXT://X,HOST://a:1"),
        ("my-kafka:19092", "my-kafka:19092"),
        ("kafka:190921", "kafka:190921"),
        ("1@kafka:19092.", "1@X."),
    ];
    for (text, expected) in cases {
        assert_eq!(replace_word(text, "kafka:19092", "X"), expected);
    }
    assert_eq!(replace_word("/x/data/data.yml", "/data", "/y"), "/x/data/data.yml");
    assert_eq!(replace_word("--path=/data", "/data", "/y"), "--path=/y");
}
