//! `kafka2prom explain ORIGIN [METRIC]`
use std::time::Duration;

use hyper::HeaderMap;
use k2p_runtime::http::client::HttpClient;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{Done, Failure, http_client, process};
use crate::cli::{ExplainArgs, ExplainOutput};

/// An explanation is a page.
const MAX_BYTES: usize = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &ExplainArgs) -> Done {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let scheme = if args.bridge.contains("://") { "" } else { "http://" };
    let bridge = format!("{scheme}{}", args.bridge.trim_end_matches('/'));
    let mut url = format!("{bridge}/api/v1/explain?origin={}", encode(&args.origin));
    if let Some(metric) = &args.metric {
        url.push_str(&format!("&metric={}", encode(metric)));
    }
    let config = http_client(&args.http)?;
    let runtime = process::tokio_runtime()?;
    let answer = runtime.block_on(async {
        let client = HttpClient::new(&config).map_err(Failure::failed)?;
        client.get(&url, HeaderMap::new(), TIMEOUT, MAX_BYTES).await.map_err(|e| {
            Failure::failed(format_args!("{bridge} does not answer: {e}; name a running bridge with --bridge URL"))
        })
    })?;
    let told = serde_json::from_slice::<Value>(&answer.body).ok();
    match told.filter(|_| args.output == ExplainOutput::Report && answer.status.is_success()) {
        Some(told) => print!("{}", report(&told)),
        None => println!("{}", String::from_utf8_lossy(&answer.body)),
    }
    if answer.status.is_success() { Ok(()) } else { Err(Failure::Silent) }
}

/// What the bridge told, for a person.
fn report(told: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut lines = vec![format!("{}: {}", text(&told["verdict"]), text(&told["origin"]))];
    lines.extend(list(&told["explanation"]).iter().map(|sentence| format!("  {}", text(sentence))));
    lines.extend(list(&told["metric"]["examples"]).iter().map(|series| format!("    {}", text(series))));
    for refusal in list(&told["refusals"]) {
        let (reason, detail) = (text(&refusal["reason"]), text(&refusal["detail"]));
        lines.push(format!("  refused at offset {}: {reason}: {detail}", refusal["offset"]));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_the_verdict_and_what_led_to_it() {
        let told = serde_json::json!({
            "verdict": "exposed", "origin": "a=\"b\"", "explanation": ["One.", "Two."],
            "metric": {"examples": ["m{a=\"b\"} 1"]},
            "refusals": [{"offset": 7, "reason": "too_large", "detail": "It is."}],
        });
        let expected = "exposed: a=\"b\"\n  One.\n  Two.\n    m{a=\"b\"} 1\n  refused at offset 7: too_large: It is.\n";
        assert_eq!(report(&told), expected);
        let least = serde_json::json!({"verdict": "unknown", "origin": "x", "metric": null});
        assert_eq!(report(&least), "unknown: x\n");
    }
}
