//! What a source of dumps is called: its URL or path, and the labels of its origin.
use hyper::Uri;
use k2p_core::envelope::MAX_KEY_BYTES;
use k2p_core::labels::{Labels, is_legacy_label_name};

/// What is wrong with a value, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) what: String,
    pub(super) remedy: &'static str,
}

impl Fault {
    fn new(what: impl Into<String>, remedy: &'static str) -> Fault {
        let what = what.into();
        Fault { what, remedy }
    }
}

/// A URL that can be scraped; without a path it means `/metrics`.
pub(super) fn target_url(text: &str) -> Result<Uri, Fault> {
    let remedy = "write a URL such as http://10.0.0.7:9100/metrics";
    if !text.contains("://") {
        return Err(Fault::new("it has no scheme", remedy));
    }
    let uri: Uri = match text.parse() {
        Ok(uri) => uri,
        Err(e) => return Err(Fault::new(format!("it is no URL ({e})"), remedy)),
    };
    let scheme = uri.scheme_str().unwrap_or_default();
    if !matches!(scheme, "http" | "https") {
        return Err(Fault::new(format!("its scheme is {scheme:?}"), "use http or https"));
    }
    let Some(authority) = uri.authority().filter(|a| !a.host().is_empty()) else {
        return Err(Fault::new("it has no host", remedy));
    };
    if authority.as_str().contains('@') {
        return Err(Fault::new("it contains credentials", "leave USER:PASSWORD@ out: URLs end up in logs and labels"));
    }
    // `http::Uri` shows a missing path as `/`: what was written decides.
    let after = text.split_once("://").map_or("", |(_, rest)| rest);
    if after.contains(['/', '?', '#']) {
        return Ok(uri);
    }
    let whole = format!("{scheme}://{authority}/metrics");
    whole.parse().map_err(|e| Fault::new(format!("it is no URL ({e})"), remedy))
}

/// `host:port`, the default `instance` of a target.
pub(super) fn instance(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
    format!("{host}:{}", uri.port_u16().unwrap_or(default))
}

/// Splits `SOURCE;name=value,name=value`.
pub(super) fn split_labels(text: &str) -> (&str, &str) {
    text.split_once(';').unwrap_or((text, ""))
}

/// Reads `name=value,name=value`; values that hold commas are quoted, as in
/// `name="a,b"`.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, Fault> {
    let remedy = "write name=value,name=value; quote values that contain commas";
    if text.contains("=\"") {
        let labels = Labels::parse(text).map_err(|e| Fault::new(e.to_string(), remedy))?;
        return Ok(labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect());
    }
    let mut out = Vec::new();
    for pair in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(Fault::new(format!("{pair:?} is no name=value"), remedy));
        };
        out.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    Ok(out)
}

/// Builds a label set that may be an origin's: legacy names, none of them reserved.
pub(super) fn labels(pairs: &[(String, String)]) -> Result<Labels, Fault> {
    for (name, value) in pairs {
        if !is_legacy_label_name(name) {
            let what = format!("{name:?} is no label name");
            return Err(Fault::new(what, "use letters, digits and underscores, no digit first"));
        }
        if name.starts_with("__") || matches!(name.as_str(), "le" | "quantile") {
            let what = format!("the label {name:?} is reserved");
            return Err(Fault::new(what, "choose another name"));
        }
        if value.is_empty() {
            let what = format!("the label {name:?} has no value");
            return Err(Fault::new(what, "give it one, or leave the label out"));
        }
    }
    Labels::from_pairs(pairs.iter().cloned()).map_err(|e| Fault::new(e.to_string(), "give each label once"))
}

/// The labels of an origin: its own win over the agent's, and those over the defaults.
pub(super) fn origin(job: &str, instance: &str, common: &Labels, own: &Labels) -> Result<Labels, Fault> {
    let defaults = [("job".to_owned(), job.to_owned()), ("instance".to_owned(), instance.to_owned())];
    let all = labels(&defaults)?.with(common).with(own);
    if all.canonical().len() > MAX_KEY_BYTES {
        let what = format!("its labels have {} bytes, at most {MAX_KEY_BYTES} make a key", all.canonical().len());
        return Err(Fault::new(what, "shorten them"));
    }
    Ok(all)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let cases = [
            ("http://a:9100/metrics", Ok(("http://a:9100/metrics", "a:9100"))),
            ("http://a:9100", Ok(("http://a:9100/metrics", "a:9100"))),
            ("http://a:9100/", Ok(("http://a:9100/", "a:9100"))),
            ("http://a/m?x=1", Ok(("http://a/m?x=1", "a:80"))),
            ("https://a", Ok(("https://a/metrics", "a:443"))),
            ("http://[::1]:1", Ok(("http://[::1]:1/metrics", "[::1]:1"))),
            ("a:9100", Err("no scheme")),
            ("ftp://a/metrics", Err("scheme is \"ftp\"")),
            ("http://u:p@a/metrics", Err("credentials")),
            ("http:///metrics", Err("it ")),
            ("http://a b/", Err("no URL")),
            ("", Err("no scheme")),
        ];
        for (text, expected) in cases {
            let got = target_url(text);
            match expected {
                Ok((url, name)) => {
                    let uri = got.unwrap();
                    assert_eq!((uri.to_string().as_str(), instance(&uri).as_str()), (url, name));
                }
                Err(part) => {
                    let fault = got.unwrap_err();
                    assert!(fault.what.contains(part), "{text:?}: {}", fault.what);
                }
            }
        }
    }

    #[test]
    fn label_lists() {
        let cases = [
            ("", Ok("")),
            ("b=2,a=1", Ok("a=\"1\",b=\"2\"")),
            (" a = 1 , ", Ok("a=\"1\"")),
            ("a=x=y", Ok("a=\"x=y\"")),
            ("a=\"1,2\",b=\"3\"", Ok("a=\"1,2\",b=\"3\"")),
            ("a", Err("no name=value")),
            ("9a=1", Err("no label name")),
            ("a-b=1", Err("no label name")),
            ("=1", Err("no label name")),
            ("__x=1", Err("reserved")),
            ("le=1", Err("reserved")),
            ("a=", Err("has no value")),
            ("a=1,a=2", Err("twice")),
            ("a=\"1", Err("column")),
        ];
        for (text, expected) in cases {
            let got = pairs(text).and_then(|p| labels(&p));
            match expected {
                Ok(canonical) => assert_eq!(got.unwrap().canonical(), canonical, "{text:?}"),
                Err(part) => {
                    let fault = got.unwrap_err();
                    assert!(fault.what.contains(part), "{text:?}: {}", fault.what);
                }
            }
        }
    }

    #[test]
    fn the_nearest_label_wins() {
        let set = |text| labels(&pairs(text).unwrap()).unwrap();
        let got = origin("agent", "a:1", &set("cluster=c,job=x"), &set("instance=i")).unwrap();
        assert_eq!(got.canonical(), "cluster=\"c\",instance=\"i\",job=\"x\"");
        let long = format!("a={}", "x".repeat(MAX_KEY_BYTES));
        assert!(origin("agent", "a:1", &set(&long), &set("")).is_err());
    }
}
