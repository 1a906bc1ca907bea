//! The process' own metrics: each is stated once, as a [`MetricDef`], from which the
//! code makes the collector and the documentation its table (issue 3, point 6).
mod catalogue;
mod process;
mod runtime;

use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

pub use catalogue::Catalogue;
pub use runtime::{HttpMetrics, RUNTIME_METRICS, RuntimeMetrics, TelemetryMetrics};

/// A metric could not be made or registered: its definition is invalid, or its name is
/// taken in this registry.
#[derive(Debug, thiserror::Error)]
#[error("metric {name} cannot be registered: {source}")]
pub struct MetricsError {
    /// The metric's name.
    pub name: &'static str,
    /// What the registry says.
    pub source: prometheus::Error,
}

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Cumulative buckets, sum and count.
    Histogram,
}

impl Kind {
    /// The type's name in the exposition formats.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// One metric: the only place where its name, help and labels are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetricDef {
    /// The full name.
    pub name: &'static str,
    /// The type.
    pub kind: Kind,
    /// One sentence for a person.
    pub help: &'static str,
    /// The label names, in the order in which the code gives the values.
    pub labels: &'static [&'static str],
    /// The upper bounds of a histogram, ascending, without `+Inf`; else empty.
    pub buckets: &'static [f64],
    /// Whether it lives in a registry; false where an exposition writes it itself
    /// (labels known only at run time).
    pub registered: bool,
}

impl MetricDef {
    /// A counter.
    pub const fn counter(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self { name, kind: Kind::Counter, help, labels, buckets: &[], registered: true }
    }

    /// A gauge.
    pub const fn gauge(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Self {
        Self { name, kind: Kind::Gauge, help, labels, buckets: &[], registered: true }
    }

    /// A histogram with these upper bounds.
    pub const fn histogram(
        name: &'static str,
        help: &'static str,
        labels: &'static [&'static str],
        buckets: &'static [f64],
    ) -> Self {
        Self { name, kind: Kind::Histogram, help, labels, buckets, registered: true }
    }

    /// The same metric, written by an exposition of its own and not by a registry.
    #[must_use]
    pub const fn outside_registry(mut self) -> Self {
        self.registered = false;
        self
    }

    fn opts(&self) -> Opts {
        Opts::new(self.name, self.help)
    }

    fn error(&self, source: prometheus::Error) -> MetricsError {
        MetricsError { name: self.name, source }
    }

    fn register<C: Collector + Clone + 'static>(
        &self,
        registry: &Registry,
        kind: Kind,
        made: prometheus::Result<C>,
    ) -> Result<C, MetricsError> {
        if self.kind != kind {
            let text = format!("defined as {}, used as {}", self.kind.as_str(), kind.as_str());
            return Err(self.error(prometheus::Error::Msg(text)));
        }
        let collector = made.map_err(|error| self.error(error))?;
        registry.register(Box::new(collector.clone())).map_err(|error| self.error(error))?;
        Ok(collector)
    }

    /// A registered counter of whole numbers without labels.
    ///
    /// # Errors
    /// As all of these: an invalid definition, another kind, or a name that is taken.
    pub fn int_counter(&self, registry: &Registry) -> Result<IntCounter, MetricsError> {
        self.register(registry, Kind::Counter, IntCounter::with_opts(self.opts()))
    }

    /// A registered counter of whole numbers by the definition's labels.
    ///
    /// # Errors
    /// See [`MetricDef::int_counter`].
    pub fn int_counter_vec(&self, registry: &Registry) -> Result<IntCounterVec, MetricsError> {
        self.register(registry, Kind::Counter, IntCounterVec::new(self.opts(), self.labels))
    }

    /// A registered counter without labels.
    ///
    /// # Errors
    /// See [`MetricDef::int_counter`].
    pub fn counter_f64(&self, registry: &Registry) -> Result<Counter, MetricsError> {
        self.register(registry, Kind::Counter, Counter::with_opts(self.opts()))
    }

    /// A registered counter by the definition's labels.
    ///
    /// # Errors
    /// See [`MetricDef::int_counter`].
    pub fn counter_f64_vec(&self, registry: &Registry) -> Result<CounterVec, MetricsError> {
        self.register(registry, Kind::Counter, CounterVec::new(self.opts(), self.labels))
    }

    /// A registered gauge of whole numbers without labels.
    ///
    /// # Errors
    /// See [`MetricDef::int_counter`].
    pub fn int_gauge(&self, registry: &Registry) -> Result<IntGauge, MetricsError> {
        self.register(registry, Kind::Gauge, IntGauge::with_opts(self.opts()))
    }

    /// A registered gauge of whole numbers by the definition's labels.
    ///
    /// # Errors
    /// See [`MetricDef::int_counter`].
    pub fn int_gauge_vec(&self, registry: &Registry) -> Result<IntGaugeVec, MetricsError> {
        self.register(registry, Kind::Gauge, IntGaugeVec::new(self.opts(), self.labels))
    }

    /// A registered gauge without labels.
    ///
    /// # Errors
    /// See [`MetricDef::int_counter`].
    pub fn gauge_f64(&self, registry: &Registry) -> Result<Gauge, MetricsError> {
        self.register(registry, Kind::Gauge, Gauge::with_opts(self.opts()))
    }

    /// A registered gauge by the definition's labels.
    ///
    /// # Errors
    /// See [`MetricDef::int_counter`].
    pub fn gauge_vec(&self, registry: &Registry) -> Result<GaugeVec, MetricsError> {
        self.register(registry, Kind::Gauge, GaugeVec::new(self.opts(), self.labels))
    }

    fn histogram_opts(&self) -> HistogramOpts {
        HistogramOpts::new(self.name, self.help).buckets(self.buckets.to_vec())
    }

    /// A registered histogram without labels.
    ///
    /// # Errors
    /// See [`MetricDef::int_counter`].
    pub fn histogram_one(&self, registry: &Registry) -> Result<Histogram, MetricsError> {
        self.register(registry, Kind::Histogram, Histogram::with_opts(self.histogram_opts()))
    }

    /// A registered histogram by the definition's labels.
    ///
    /// # Errors
    /// See [`MetricDef::int_counter`].
    pub fn histogram_vec(&self, registry: &Registry) -> Result<HistogramVec, MetricsError> {
        let made = HistogramVec::new(self.histogram_opts(), self.labels);
        self.register(registry, Kind::Histogram, made)
    }

    /// An unregistered collector of the same descriptor, to ask a registry with.
    fn probe(&self) -> prometheus::Result<Box<dyn Collector>> {
        Ok(match self.kind {
            Kind::Counter => Box::new(IntCounterVec::new(self.opts(), self.labels)?),
            Kind::Gauge => Box::new(IntGaugeVec::new(self.opts(), self.labels)?),
            Kind::Histogram => Box::new(HistogramVec::new(self.histogram_opts(), self.labels)?),
        })
    }
}
