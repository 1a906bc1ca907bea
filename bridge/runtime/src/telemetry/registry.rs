//! The own metrics of a Prometheus registry as an OTLP request.
//!
//! The SDK's metric types can only be made by its own instruments, so the message is
//! written in the protocol's own types, which the OTLP exporters send as well.
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, number_data_point,
};
use opentelemetry_sdk::Resource;
use prometheus::proto::{self, MetricFamily, MetricType};

/// Makes the request and says how many points it has. `start` and `now` are Unix
/// nanoseconds: when the counters began, and when they were read.
pub(super) fn request(
    families: &[MetricFamily],
    resource: &Resource,
    start: u64,
    now: u64,
) -> (ExportMetricsServiceRequest, u64) {
    let mut points = 0;
    let mut metrics = Vec::with_capacity(families.len());
    for family in families {
        points += family.get_metric().len() as u64;
        metrics.extend(metric(family, start, now));
    }
    let scope = InstrumentationScope { name: "kafka2prom".to_owned(), ..Default::default() };
    let scope_metrics = ScopeMetrics { scope: Some(scope), metrics, ..Default::default() };
    let resource_metrics =
        ResourceMetrics { resource: Some(resource.into()), scope_metrics: vec![scope_metrics], ..Default::default() };
    (ExportMetricsServiceRequest { resource_metrics: vec![resource_metrics] }, points)
}

fn metric(family: &MetricFamily, start: u64, now: u64) -> Option<Metric> {
    let cumulative = AggregationTemporality::Cumulative.into();
    let metrics = family.get_metric();
    let number = |start: u64, value: fn(&proto::Metric) -> f64| {
        let point = |metric: &proto::Metric| NumberDataPoint {
            attributes: attributes(metric),
            start_time_unix_nano: start,
            time_unix_nano: now,
            value: Some(number_data_point::Value::AsDouble(value(metric))),
            ..Default::default()
        };
        metrics.iter().map(point).collect()
    };
    let data = match family.get_field_type() {
        MetricType::COUNTER => Data::Sum(Sum {
            data_points: number(start, |metric| metric.get_counter().get_value()),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        MetricType::GAUGE => Data::Gauge(Gauge { data_points: number(0, |metric| metric.get_gauge().get_value()) }),
        MetricType::HISTOGRAM => Data::Histogram(Histogram {
            data_points: metrics.iter().map(|metric| histogram(metric, start, now)).collect(),
            aggregation_temporality: cumulative,
        }),
        // The catalogue knows no other type.
        _ => return None,
    };
    Some(Metric {
        name: family.name().to_owned(),
        description: family.help().to_owned(),
        unit: unit(family.name()).to_owned(),
        data: Some(data),
        ..Default::default()
    })
}

/// The UCUM unit that a name's ending tells.
fn unit(name: &str) -> &'static str {
    let base = name.strip_suffix("_total").unwrap_or(name);
    match base.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        Some("ratio") => "1",
        _ => "",
    }
}

fn attributes(metric: &proto::Metric) -> Vec<KeyValue> {
    let attribute = |label: &proto::LabelPair| KeyValue {
        key: label.name().to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(label.value().to_owned())) }),
        ..Default::default()
    };
    metric.get_label().iter().map(attribute).collect()
}

fn histogram(metric: &proto::Metric, start: u64, now: u64) -> HistogramDataPoint {
    let histogram = metric.get_histogram();
    let count = histogram.get_sample_count();
    let mut bucket_counts = Vec::new();
    let mut explicit_bounds = Vec::new();
    let mut below = 0;
    for bucket in histogram.get_bucket().iter().filter(|b| b.upper_bound().is_finite()) {
        explicit_bounds.push(bucket.upper_bound());
        bucket_counts.push(bucket.cumulative_count().saturating_sub(below));
        below = bucket.cumulative_count();
    }
    // OTLP counts per bucket, and has one more bucket than bounds.
    bucket_counts.push(count.saturating_sub(below));
    HistogramDataPoint {
        attributes: attributes(metric),
        start_time_unix_nano: start,
        time_unix_nano: now,
        count,
        sum: Some(histogram.get_sample_sum()),
        bucket_counts,
        explicit_bounds,
        ..Default::default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::metrics::MetricDef;

    #[test]
    fn the_three_types_keep_their_meaning() {
        let registry = prometheus::Registry::new();
        let counter = MetricDef::counter("a_bytes_total", "A.", &["x"]);
        counter.int_counter_vec(&registry).unwrap().with_label_values(&["1"]).inc_by(7);
        MetricDef::gauge("b", "B.", &[]).gauge_f64(&registry).unwrap().set(-0.5);
        let histogram = MetricDef::histogram("c_seconds", "C.", &[], &[1.0, 2.0]);
        let histogram = histogram.histogram_one(&registry).unwrap();
        for value in [0.5, 1.0, 1.5, 9.0] {
            histogram.observe(value);
        }
        let resource = Resource::builder_empty().with_service_name("s").build();
        let (request, points) = request(&registry.gather(), &resource, 5, 9);
        assert_eq!(points, 3);
        let all = &request.resource_metrics[0];
        assert_eq!(all.resource.as_ref().unwrap().attributes[0].key, "service.name");
        let metrics = &all.scope_metrics[0].metrics;
        let Some(Data::Sum(sum)) = &metrics[0].data else { panic!("{metrics:?}") };
        assert!(sum.is_monotonic);
        assert_eq!(sum.aggregation_temporality, 2);
        let point = &sum.data_points[0];
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (5, 9));
        assert_eq!(point.value, Some(number_data_point::Value::AsDouble(7.0)));
        assert_eq!(point.attributes[0].key, "x");
        assert_eq!((metrics[0].unit.as_str(), metrics[0].description.as_str()), ("By", "A."));
        let Some(Data::Gauge(gauge)) = &metrics[1].data else { panic!("{metrics:?}") };
        assert_eq!(gauge.data_points[0].value, Some(number_data_point::Value::AsDouble(-0.5)));
        let Some(Data::Histogram(histogram)) = &metrics[2].data else { panic!("{metrics:?}") };
        let point = &histogram.data_points[0];
        assert_eq!(point.explicit_bounds, [1.0, 2.0]);
        assert_eq!(point.bucket_counts, [2, 1, 1]);
        assert_eq!((point.count, point.sum), (4, Some(12.0)));
        assert_eq!(metrics[2].unit, "s");
    }
}
