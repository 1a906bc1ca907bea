//! The real dumps of `tests/dumps`, and the ways in which they travel.
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs;
use std::io::Write;
use std::path::Path;

/// Content type of Prometheus text, as a scrape of today's clients answers.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Content type of OpenMetrics.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One scrape of a real exporter.
#[derive(Debug, Clone)]
pub struct Dump {
    /// The exporter: `node`, `spark_driver`, …
    pub name: String,
    /// What it answered, Prometheus text.
    pub body: Vec<u8>,
}

/// A scrape of every exporter (`number` 1), or the next one 5 s later (2), by name.
/// Those of Spark that are invalid on purpose are [`nasty`].
pub fn valid(number: usize) -> Vec<Dump> {
    all(number).into_iter().filter(|dump| !dump.name.contains("nasty")).collect()
}

/// What a real Spark writes when an application's name holds a quote, a backslash
/// or a newline.
pub fn nasty() -> Vec<Dump> {
    all(1).into_iter().filter(|dump| dump.name.contains("nasty")).collect()
}

fn all(number: usize) -> Vec<Dump> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dumps");
    let suffix = format!(".{number:02}.txt");
    let mut dumps = Vec::new();
    for entry in fs::read_dir(dir).expect("tests/dumps is there").flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        if let Some(name) = file.strip_suffix(&suffix) {
            let body = fs::read(entry.path()).expect("a dump can be read");
            dumps.push(Dump { name: name.to_owned(), body });
        }
    }
    dumps.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(!dumps.is_empty(), "no dumps *{suffix}");
    dumps
}

/// A `content-encoding` of the record contract; snappy comes in two framings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// No header.
    Identity,
    /// `gzip`.
    Gzip,
    /// `zstd`.
    Zstd,
    /// `snappy`, the raw block format.
    SnappyRaw,
    /// `snappy`, the framing format.
    SnappyFramed,
}

impl Encoding {
    /// All.
    pub const ALL: [Encoding; 5] =
        [Encoding::Identity, Encoding::Gzip, Encoding::Zstd, Encoding::SnappyRaw, Encoding::SnappyFramed];

    /// The header's value, if there is one.
    pub fn header(self) -> Option<&'static str> {
        match self {
            Encoding::Identity => None,
            Encoding::Gzip => Some("gzip"),
            Encoding::Zstd => Some("zstd"),
            Encoding::SnappyRaw | Encoding::SnappyFramed => Some("snappy"),
        }
    }

    /// Compresses a body.
    pub fn encode(self, body: &[u8]) -> Vec<u8> {
        match self {
            Encoding::Identity => body.to_vec(),
            Encoding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(body).and_then(|()| encoder.finish()).expect("memory can be written")
            }
            Encoding::Zstd => zstd::encode_all(body, 1).expect("memory can be written"),
            Encoding::SnappyRaw => snap::raw::Encoder::new().compress_vec(body).expect("a body is not 4 GiB"),
            Encoding::SnappyFramed => {
                let mut encoder = snap::write::FrameEncoder::new(Vec::new());
                encoder.write_all(body).expect("memory can be written");
                encoder.into_inner().expect("memory can be written")
            }
        }
    }
}
