//! `kafka2prom explain ORIGIN [METRIC]`
use std::time::Duration;

use hyper::HeaderMap;
use k2p_runtime::http::client::{ClientConfig, HttpClient};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Done, Failure, process};
use crate::cli::ExplainArgs;

/// An explanation is a page of text.
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
    let runtime = process::tokio_runtime()?;
    let answer = runtime.block_on(async {
        let client = HttpClient::new(&ClientConfig::default()).map_err(Failure::failed)?;
        client.get(&url, HeaderMap::new(), TIMEOUT, MAX_BYTES).await.map_err(|e| {
            Failure::failed(format_args!("{bridge} does not answer: {e}; name a running bridge with --bridge URL"))
        })
    })?;
    let body = String::from_utf8_lossy(&answer.body);
    println!("{body}");
    if answer.status.is_success() { Ok(()) } else { Err(Failure::Silent) }
}
