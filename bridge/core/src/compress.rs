//! The `content-encoding` of a record.

/// How the body of a record is compressed, beside Kafka's own batch compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Encoding {
    /// Not at all.
    #[default]
    Identity,
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 8878, any number of frames.
    Zstd,
    /// Snappy's raw block format, or its framing format (told apart by the magic).
    Snappy,
}

impl Encoding {
    /// The encoding that a header names, case-insensitively; `None` if unknown.
    pub fn from_header(text: &str) -> Option<Encoding> {
        match text.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Encoding::Identity),
            "gzip" | "x-gzip" => Some(Encoding::Gzip),
            "zstd" => Some(Encoding::Zstd),
            "snappy" | "x-snappy-framed" => Some(Encoding::Snappy),
            _ => None,
        }
    }

    /// The header's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::Identity => "identity",
            Encoding::Gzip => "gzip",
            Encoding::Zstd => "zstd",
            Encoding::Snappy => "snappy",
        }
    }
}
