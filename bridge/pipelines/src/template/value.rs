//! A metric's value, made from a fact.
use super::MetricKind;
use crate::fact::{Fact, Scalar};

/// How a value is made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ValueSpec {
    /// Always the same.
    Constant(f64),
    /// A field, less another one, converted.
    Field { field: Box<str>, minus: Option<Box<str>>, scale: Scale },
}

/// How a unit becomes the base unit. Dividing by a thousand is exact where multiplying by
/// a thousandth is not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scale {
    None,
    Multiply(f64),
    Divide(f64),
}

/// Units that are no base units: their name, their base unit, and the way to it.
pub(super) const UNITS: [(&str, &str, Scale); 13] = [
    ("milliseconds", "seconds", Scale::Divide(1e3)),
    ("microseconds", "seconds", Scale::Divide(1e6)),
    ("nanoseconds", "seconds", Scale::Divide(1e9)),
    ("minutes", "seconds", Scale::Multiply(60.0)),
    ("hours", "seconds", Scale::Multiply(3600.0)),
    ("days", "seconds", Scale::Multiply(86_400.0)),
    ("kilobytes", "bytes", Scale::Multiply(1e3)),
    ("megabytes", "bytes", Scale::Multiply(1e6)),
    ("gigabytes", "bytes", Scale::Multiply(1e9)),
    ("kibibytes", "bytes", Scale::Multiply(1024.0)),
    ("mebibytes", "bytes", Scale::Multiply(1_048_576.0)),
    ("gibibytes", "bytes", Scale::Multiply(1_073_741_824.0)),
    ("percent", "ratio", Scale::Divide(100.0)),
];

/// What a fact gives.
enum Given {
    /// A number.
    Number(f64),
    /// The field is absent.
    Absent,
    /// The field is there, and no number.
    NotANumber,
}

impl ValueSpec {
    /// The value, if a metric of that kind can take it; `Ok(None)` where the fact has none.
    pub(crate) fn admissible(&self, fact: &dyn Fact, kind: &MetricKind) -> Result<Option<f64>, ()> {
        match self.of(fact) {
            Given::Absent => Ok(None),
            Given::Number(value) if value.is_finite() && (value >= 0.0 || *kind == MetricKind::Gauge) => {
                Ok(Some(value))
            }
            _ => Err(()),
        }
    }

    fn of(&self, fact: &dyn Fact) -> Given {
        let (field, minus, scale) = match self {
            ValueSpec::Constant(value) => return Given::Number(*value),
            ValueSpec::Field { field, minus, scale } => (field, minus, scale),
        };
        let mut value = match read(fact, field) {
            Given::Number(value) => value,
            other => return other,
        };
        if let Some(minus) = minus {
            match read(fact, minus) {
                Given::Number(less) => value -= less,
                other => return other,
            }
        }
        match scale {
            Scale::None => Given::Number(value),
            Scale::Multiply(by) => Given::Number(value * by),
            Scale::Divide(by) => Given::Number(value / by),
        }
    }
}

fn read(fact: &dyn Fact, field: &str) -> Given {
    match fact.field(field) {
        None => Given::Absent,
        Some(Scalar::Number(value)) => Given::Number(value),
        Some(Scalar::Bool(truth)) => Given::Number(f64::from(u8::from(truth))),
        // A job's metadata are texts in protobuf, so numbers come in quotes.
        Some(Scalar::Text(text)) => text.parse().map_or(Given::NotANumber, Given::Number),
    }
}
