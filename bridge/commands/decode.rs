//! `kafka2prom decode`
use std::io::{Read, Write};
use std::path::Path;

use k2p_core::decode::{self, DecodeOptions};

use super::{Done, Failure};
use crate::cli::{DecodeArgs, DecodeOutput};

/// More than any record: what is larger was no record value.
const MAX_BYTES: u64 = 1 << 30;

pub(crate) fn run(args: &DecodeArgs) -> Done {
    let value = read(&args.file)?;
    let options = DecodeOptions {
        content_type: args.content_type.as_deref(),
        content_encoding: args.content_encoding.as_deref(),
        strict: args.strict,
        ..DecodeOptions::default()
    };
    let mut out = std::io::stdout().lock();
    let (text, accepted) = match args.output {
        DecodeOutput::Text => match decode::samples(&value, &options) {
            Ok(text) => (text, true),
            Err(refused) => return Err(Failure::failed(refused)),
        },
        DecodeOutput::Report => {
            let report = decode::report(&value, &options);
            (report.to_string(), report.refused.is_none())
        }
        DecodeOutput::Json => {
            let report = decode::report(&value, &options);
            let text = serde_json::to_string_pretty(&report).map_err(Failure::failed)?;
            (text, report.refused.is_none())
        }
    };
    // A closed pipe (`| head`) is no failure of decoding.
    let _closed =
        out.write_all(text.as_bytes()).and_then(|()| if text.ends_with('\n') { Ok(()) } else { writeln!(out) });
    if accepted { Ok(()) } else { Err(Failure::Silent) }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    let done = if path == Path::new("-") {
        std::io::stdin().take(MAX_BYTES).read_to_end(&mut value)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut value))
    };
    match done {
        Ok(_) => Ok(value),
        Err(error) => Err(Failure::failed(format_args!(
            "{} cannot be read: {error}; name a readable file, or - for standard input",
            path.display()
        ))),
    }
}
