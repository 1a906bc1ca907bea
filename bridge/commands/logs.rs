//! `kafka2prom logs`
use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::time::Duration;

use k2p_logs::objects::Objects;
use k2p_logs::{Level, LogMetrics, LogReader, MAX_LIMIT, Query, ReadConfig, parse_time};

use super::process;
use super::{Done, Failure};
use crate::cli::LogsArgs;

/// Between two looks for what has come.
const PAUSE: Duration = Duration::from_millis(250);

/// A command reads each block once: no memory for hot jobs.
const READ: ReadConfig = ReadConfig { hot_bytes: 0 };

pub(crate) fn run(args: &LogsArgs) -> Done {
    let mut query = query(args)?;
    let metrics = LogMetrics::new(&prometheus::Registry::new()).map_err(Failure::failed)?;
    // Requests to an object store run here, for as long as the command does.
    let runtime;
    let reader = match &args.url {
        None => LogReader::open(&args.dir, READ, metrics),
        Some(url) => {
            runtime = process::tokio_runtime()?;
            let objects = Objects::open(url, &BTreeMap::new(), runtime.handle().clone());
            LogReader::open_objects(objects.map_err(Failure::failed)?, READ, metrics)
        }
    };
    let mut out = std::io::stdout().lock();
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut printed = 0_u64;
    loop {
        query.limit = usize::try_from(left).map_or(MAX_LIMIT, |left| left.min(MAX_LIMIT));
        let page = reader.read(&args.job, &query).map_err(|error| unreadable(args, &error))?;
        for entry in &page.entries {
            if writeln!(out, "{}", entry.line).is_err() {
                // A closed pipe (`| head`): nobody reads on.
                return Ok(());
            }
        }
        let count = page.entries.len() as u64;
        (printed, left) = (printed + count, left - count);
        if left == 0 || (!page.has_more && !args.follow) {
            break;
        }
        query.cursor = Some(page.cursor);
        if !page.has_more {
            if out.flush().is_err() {
                return Ok(());
            }
            std::thread::sleep(PAUSE);
        }
    }
    if printed > 0 { Ok(()) } else { Err(nothing(args, &reader)) }
}

fn query(args: &LogsArgs) -> Result<Query, Failure> {
    let mut faults = Vec::new();
    let mut query = Query::default();
    if let Some(since) = &args.since {
        query.since = parse_time(since);
        if query.since.is_none() {
            faults.push(format!("--since {since}: expected a time, e.g. 2026-11-21T08:00:00Z or 1795248000"));
        }
    }
    if let Some(level) = &args.level {
        match Level::parse(level) {
            Some(level) => query.level = level,
            None => faults.push(format!("--level {level}: expected trace, debug, info, warn, error or fatal")),
        }
    }
    if faults.is_empty() { Ok(query) } else { Err(Failure::Usage(faults)) }
}

fn place(args: &LogsArgs) -> String {
    args.url.clone().unwrap_or_else(|| args.dir.display().to_string())
}

fn unreadable(args: &LogsArgs, error: &std::io::Error) -> Failure {
    let place = place(args);
    match error.kind() {
        ErrorKind::InvalidInput => Failure::Usage(vec![format!("{:?}: {error}", args.job)]),
        _ => Failure::failed(format_args!("the logs in {place} cannot be read: {error}; may this user read them?")),
    }
}

fn nothing(args: &LogsArgs, reader: &LogReader) -> Failure {
    let place = place(args);
    let any = Query { limit: 1, ..Query::default() };
    let known = reader.read(&args.job, &any).is_ok_and(|page| !page.entries.is_empty());
    if known {
        return Failure::failed(format_args!(
            "{:?} has no entry that was asked for; widen --since or --level",
            args.job
        ));
    }
    Failure::failed(format_args!(
        "{place} has nothing of {:?}; name another --logs.dir or --logs.url, or another job",
        args.job
    ))
}
