//! A Pushgateway's persistence file (`--persistence.file`), for `kafka2prom push import`.
//!
//! It is one Go `gob` stream of `map[string]MetricGroup` (`storage/interface.go` there): the
//! types' descriptions, then the value. Read as exactly these types, by the order of their
//! fields, which has not changed since they exist; anything else is refused:
//!
//! ```text
//! MetricGroup              { Labels map[string]string; Metrics map[string]TimestampedMetricFamily }
//! TimestampedMetricFamily  { Timestamp time.Time; GobbableMetricFamily (protobuf bytes) }
//! ```
use std::collections::BTreeMap;

use k2p_core::model::UnixMs;

use crate::family::STAMPS;
use crate::key::{GroupingKey, KeyError};
use crate::protobuf::{self, Text};

/// A group of the file, as it is to be pushed.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Its labels.
    pub key: GroupingKey,
    /// When it was last pushed with success, Unix ms; `None`: never.
    pub pushed: Option<UnixMs>,
    /// When a push was last refused.
    pub failed: Option<UnixMs>,
    /// Its families as text 0.0.4, without those two times.
    pub body: String,
}

/// Why a file cannot be taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GobError {
    /// It is no such file, or damaged.
    #[error("byte {at}: {what}; is it the file of --persistence.file?")]
    Malformed {
        /// From the end of the message's head.
        at: usize,
        /// What was expected.
        what: &'static str,
    },
    /// A group's labels are none that can be pushed here.
    #[error("the group {labels}: {error}")]
    Key {
        /// As they stand in the file.
        labels: String,
        /// Why.
        error: KeyError,
    },
    /// A family's protobuf cannot be read.
    #[error("the group {key}, family {family}: {why}")]
    Family {
        /// The group.
        key: String,
        /// Which.
        family: String,
        /// Why.
        why: String,
    },
}

/// The groups of a file, in the order of their keys.
///
/// # Errors
/// [`GobError`]: nothing of it is to be used.
pub fn read(file: &[u8]) -> Result<Vec<Stored>, GobError> {
    let mut stream = Gob { bytes: file, at: 0 };
    while stream.at < file.len() {
        let length = stream.length("a message's length")?;
        let mut message = Gob { bytes: stream.take(length, "a whole message")?, at: 0 };
        // Below 0: the description of a type.
        if message.signed()? > 0 {
            return message.value();
        }
    }
    // An empty store is written as a map without entries: a file without a value is none.
    Err(stream.fault("it ends before its value"))
}

struct Gob<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Gob<'a> {
    fn fault(&self, what: &'static str) -> GobError {
        GobError::Malformed { at: self.at, what }
    }

    fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], GobError> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.at..end)).ok_or_else(|| self.fault(what))?;
        self.at += length;
        Ok(taken)
    }

    /// Below 128 a byte, else the negated count of the big-endian bytes that follow.
    fn unsigned(&mut self) -> Result<u64, GobError> {
        let first = self.take(1, "a number")?[0];
        if first < 128 {
            return Ok(u64::from(first));
        }
        let count = usize::from(first.wrapping_neg());
        if count > 8 {
            return Err(self.fault("a number of at most eight bytes"));
        }
        let bytes = self.take(count, "a number")?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// The lowest bit says whether the others are negated.
    fn signed(&mut self) -> Result<i64, GobError> {
        let number = self.unsigned()?;
        let half = (number >> 1).cast_signed();
        Ok(if number & 1 == 1 { !half } else { half })
    }

    fn length(&mut self, what: &'static str) -> Result<usize, GobError> {
        let number = self.unsigned()?;
        usize::try_from(number).ok().filter(|n| *n <= self.bytes.len()).ok_or_else(|| self.fault(what))
    }

    fn data(&mut self) -> Result<&'a [u8], GobError> {
        let length = self.length("a text's length")?;
        self.take(length, "a whole text")
    }

    fn text(&mut self) -> Result<String, GobError> {
        let bytes = self.data()?;
        String::from_utf8(bytes.to_vec()).map_err(|_| self.fault("a text in UTF-8"))
    }

    fn value(&mut self) -> Result<Vec<Stored>, GobError> {
        if self.unsigned()? != 0 {
            return Err(self.fault("a map"));
        }
        let mut groups = BTreeMap::new();
        for _ in 0..self.length("a count of groups")? {
            self.data()?;
            let group = self.group()?;
            groups.insert(group.key.canonical().to_owned(), group);
        }
        if self.at != self.bytes.len() {
            return Err(self.fault("the end of the value"));
        }
        Ok(groups.into_values().collect())
    }

    /// The number of the next field of a structure of `most`; `None` at its end.
    fn field(&mut self, last: &mut u64, most: u64) -> Result<Option<u64>, GobError> {
        match self.unsigned()? {
            0 => Ok(None),
            step if *last + step <= most => {
                *last += step;
                Ok(Some(*last))
            }
            _ => Err(self.fault("a structure of the Pushgateway")),
        }
    }

    fn group(&mut self) -> Result<Stored, GobError> {
        let (mut labels, mut families) = (BTreeMap::new(), BTreeMap::new());
        let mut last = 0;
        while let Some(field) = self.field(&mut last, 2)? {
            for _ in 0..self.length("a count of entries")? {
                let name = self.text()?;
                match field {
                    1 => drop(labels.insert(name, self.text()?)),
                    _ => drop(families.insert(name, self.family()?)),
                }
            }
        }
        let borrowed = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let key = GroupingKey::from_labels(borrowed)
            .map_err(|error| GobError::Key { labels: format!("{labels:?}"), error })?;
        let mut body = Text::classic();
        for (name, family) in &families {
            if STAMPS.iter().any(|(own, _)| own == name) {
                continue;
            }
            protobuf::write_family(&mut body, family).map_err(|error| family_fault(&key, name, &error.to_string()))?;
        }
        let time = |name: &str| match families.get(name) {
            None => Ok(None),
            Some(family) => time_of(family).map_err(|why| family_fault(&key, name, &why)),
        };
        let (pushed, failed) = (time(STAMPS[0].0)?, time(STAMPS[1].0)?);
        Ok(Stored { key, pushed, failed, body: body.text })
    }

    /// The protobuf of a family; when it was pushed is not kept by itself.
    fn family(&mut self) -> Result<&'a [u8], GobError> {
        let (mut last, mut family) = (0, &b""[..]);
        while let Some(field) = self.field(&mut last, 2)? {
            let bytes = self.data()?;
            if field == 2 {
                family = bytes;
            }
        }
        Ok(family)
    }
}

fn family_fault(key: &GroupingKey, family: &str, why: &str) -> GobError {
    GobError::Family { key: key.canonical().to_owned(), family: family.to_owned(), why: why.to_owned() }
}

/// The value of a family that is one time in seconds; 0: it has not happened.
fn time_of(family: &[u8]) -> Result<Option<UnixMs>, String> {
    let mut text = Text::classic();
    protobuf::write_family(&mut text, family).map_err(|error| error.to_string())?;
    let value = text.text.lines().find(|line| !line.starts_with('#')).and_then(|line| line.rsplit(' ').next());
    let seconds: f64 = value.and_then(|v| v.parse().ok()).ok_or("it holds no time")?;
    // Far inside of 2^53.
    let ms = (seconds * 1000.0).round();
    if !(0.0..1e15).contains(&ms) {
        return Err(format!("{seconds} is no Unix time"));
    }
    Ok((ms > 0.0).then_some(ms as UnixMs))
}
