//! Which fields may be labels.

/// Fields with few values by their nature. Each may be a label as it stands.
const LOW_CARDINALITY: [&str; 16] = [
    "env",
    "step",
    "component",
    "level",
    "error.type",
    "last_error.type",
    "tags.owner",
    "trigger_type",
    "status",
    "current_step",
    "owner",
    "operation",
    "job_type",
    "content.log.level",
    "content.metric.unit",
    "content.job_event.event_type",
];

/// Fields that have few values once cut to a segment.
const LOW_CARDINALITY_CUT: [&str; 2] = ["dataset", "tags.dataset"];

/// Last words of fields (and names of labels) that identify one thing among endlessly many.
const IDENTIFIERS: [&str; 27] = [
    "id",
    "uuid",
    "guid",
    "key",
    "hash",
    "sha",
    "path",
    "paths",
    "outputs",
    "uri",
    "url",
    "file",
    "partition",
    "partitions",
    "partition_ref",
    "version",
    "dag_version",
    "triggered_by",
    "sequence_number",
    "timestamp",
    "start_ts",
    "end_ts",
    "message",
    "stack",
    "raw",
    "offset",
    "commit",
];

/// Whether a field (or a label's name) is an identifier, a reference, a time or free text.
pub(super) fn is_identifier(field: &str) -> bool {
    let last = field.rsplit('.').next().unwrap_or(field).to_ascii_lowercase();
    if last == "pipeline_id" {
        return false;
    }
    IDENTIFIERS.contains(&last.as_str())
        || ["_id", "_uuid", "_guid", "_path", "_url", "_uri", "_sha", "_hash"].iter().any(|end| last.ends_with(end))
}

/// Why a field may not be a label, and what to do; `None`: it may.
///
/// `cut` says that only a segment of it is taken, `closed` that every value which is not
/// in the label's own map becomes the same one.
pub(super) fn refusal(field: &str, cut: bool, closed: bool) -> Option<(String, String)> {
    if is_identifier(field) {
        let message = format!("{field} identifies one thing among endlessly many: a label of it never stops growing");
        return Some((message, "leave it out; runs and jobs are read by their id in the API".to_owned()));
    }
    if closed || LOW_CARDINALITY.contains(&field) || cut && LOW_CARDINALITY_CUT.contains(&field) {
        return None;
    }
    let message = format!("{field} is none of the fields with few values");
    let mut remedy = format!("use one of {}", LOW_CARDINALITY.join(", "));
    remedy.push_str(", or name the values in values: and give the others one with rest:");
    if LOW_CARDINALITY_CUT.contains(&field) {
        remedy = "take: first_segment of it, or name the values in values: and give a rest:".to_owned();
    }
    Some((message, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_refused_whatever_else_is_said() {
        let refused = |field: &str| assert!(refusal(field, true, true).is_some(), "{field}");
        refused("run_id");
        refused("job_id");
        refused("correlation_id");
        refused("job_run_id");
        refused("partition");
        refused("metrics.spark_application_id");
        refused("tags.Request_ID");
        refused("content.metric.labels.job_run_id");
        refused("content.job_event.metadata.path");
        refused("raw.file_path");
        refused("dag_version");
        refused("triggered_by");
        refused("message");
        refused("error.stack");
    }

    #[test]
    fn other_fields_need_a_closed_set() {
        let case = |field: &str, cut: bool, closed: bool, allowed: bool| {
            assert_eq!(refusal(field, cut, closed).is_none(), allowed, "{field}");
        };
        case("step", false, false, true);
        case("error.type", false, false, true);
        case("tags.owner", false, false, true);
        case("dataset", false, false, false);
        case("dataset", true, false, true);
        case("metrics.mood", false, false, false);
        case("metrics.mood", true, false, false);
        case("metrics.mood", false, true, true);
        case("content.metric.name", false, false, false);
        case("content.metric.name", false, true, true);
    }
}
