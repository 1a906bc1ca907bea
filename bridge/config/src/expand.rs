//! `${ENV}`, `${ENV:-default}` and `${file:/path}` inside one scalar.

/// Looks a variable of the environment up.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;
/// Reads a text file.
pub(super) type ReadFile<'a> = &'a dyn Fn(&str) -> std::io::Result<String>;

/// What is wrong with a `${…}`, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ExpandError {
    pub(super) message: String,
    pub(super) remedy: String,
}

/// Expands `text`; `None` when there is nothing to expand. `$$` is a literal `$`, and
/// so is a `$` before anything but `{` and `$` (`^a$`, `$ConnectionString`).
pub(super) fn expand(text: &str, env: Env, read: ReadFile) -> Result<Option<String>, ExpandError> {
    if !text.contains("${") && !text.contains("$$") {
        return Ok(None);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(following) = after.strip_prefix('$') {
            out.push('$');
            rest = following;
            continue;
        }
        let Some(body) = after.strip_prefix('{') else {
            out.push('$');
            rest = after;
            continue;
        };
        let Some(end) = body.find('}') else {
            return Err(ExpandError {
                message: "${ without its closing brace".to_owned(),
                remedy: "close it with }, or write $${ for the characters ${".to_owned(),
            });
        };
        out.push_str(&lookup(&body[..end], env, read)?);
        rest = &body[end + 1..];
    }
    out.push_str(rest);
    Ok(Some(out))
}

fn lookup(reference: &str, env: Env, read: ReadFile) -> Result<String, ExpandError> {
    if let Some(path) = reference.strip_prefix("file:") {
        let content = read(path).map_err(|error| ExpandError {
            message: format!("${{file:{path}}} cannot be read: {error}"),
            remedy: "make the file readable for this process, or correct the path".to_owned(),
        })?;
        // Editors and `echo` end a file with a newline that is no part of a secret.
        let content = content.strip_suffix('\n').unwrap_or(&content);
        return Ok(content.strip_suffix('\r').unwrap_or(content).to_owned());
    }
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !first || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(ExpandError {
            message: format!("${{{}}} names no variable", crate::tree::excerpt(reference)),
            remedy: "write ${NAME}, ${NAME:-default} or ${file:/path}, or $${ for the characters ${".to_owned(),
        });
    }
    // As in a shell, the default also stands in for an empty value.
    match (env(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(ExpandError {
            message: format!("the environment has no variable {name}"),
            remedy: format!("set it, or write ${{{name}:-default}}"),
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<Option<String>, ExpandError> {
        let env = |name: &str| match name {
            "A" => Some("alpha".to_owned()),
            "EMPTY" => Some(String::new()),
            "TRICK" => Some("${A} $$ x: [y]".to_owned()),
            _ => None,
        };
        let read = |path: &str| match path {
            "/run/secret" => Ok("s3cret\n".to_owned()),
            "/run/crlf" => Ok("s3cret\r\n".to_owned()),
            "/run/two" => Ok("a\nb\n\n".to_owned()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        };
        expand(text, &env, &read)
    }

    #[test]
    fn references_are_replaced_once_and_literals_stay() {
        let ok = |text: &str, out: &str| {
            assert_eq!(run(text).unwrap().as_deref(), Some(out), "{text}");
        };
        ok("${A}", "alpha");
        ok("x${A}y${A}z", "xalphayalphaz");
        ok("${EMPTY}", "");
        ok("${NONE:-d}", "d");
        ok("${EMPTY:-d}", "d");
        ok("${A:-d}", "alpha");
        ok("${NONE:-}", "");
        ok("${NONE:-a:-b}", "a:-b");
        ok("${NONE:-http://x:1/}", "http://x:1/");
        ok("$$", "$");
        ok("$${A}", "${A}");
        ok("$$$${A}", "$${A}");
        ok("$$${A}", "$alpha");
        ok("a$$b$c", "a$b$c");
        ok("${TRICK}", "${A} $$ x: [y]");
        ok("${file:/run/secret}", "s3cret");
        ok("${file:/run/crlf}", "s3cret");
        ok("${file:/run/two}", "a\nb\n");
        ok("ä${A}ö", "äalphaö");
    }

    #[test]
    fn without_a_reference_nothing_happens() {
        for text in ["", "a", "$", "^a$", "$1", "$ConnectionString", "a$b", "{A}", "$ {A}"] {
            assert_eq!(run(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn a_broken_reference_says_what_to_write() {
        let no = |text: &str, message: &str, remedy: &str| {
            let error = run(text).unwrap_err();
            assert!(error.message.contains(message), "{text}: {error:?}");
            assert!(error.remedy.contains(remedy), "{text}: {error:?}");
        };
        no("${NONE}", "no variable NONE", "set it, or write ${NONE:-default}");
        no("${A", "closing brace", "close it");
        no("${", "closing brace", "close it");
        no("${}", "names no variable", "${NAME}");
        no("${1}", "names no variable", "$${");
        no("${A B}", "names no variable", "${NAME}");
        no("${A-x}", "names no variable", "${NAME:-default}");
        no("${env:A}", "names no variable", "${NAME}");
        no("${file:/nope}", "${file:/nope} cannot be read", "readable");
    }
}
