//! What the tracker derives from events, as facts for templates.
use std::sync::Arc;

use crate::event::{RunStatus, Subject};
use crate::fact::{Fact, FactKind, Scalar};

/// A derived fact. [`FactKind`] says which fields each kind has.
#[derive(Debug, Clone, PartialEq)]
pub struct Derived {
    pub(super) kind: FactKind,
    pub(super) subject: Arc<Subject>,
    pub(super) values: Values,
}

/// The fields beyond the pipeline; what a kind does not have is `None`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Values {
    pub(super) trigger_type: Option<Box<str>>,
    pub(super) owner: Option<Box<str>>,
    pub(super) status: Option<RunStatus>,
    pub(super) start_seconds: Option<f64>,
    pub(super) end_seconds: Option<f64>,
    pub(super) duration_seconds: Option<f64>,
    pub(super) runs_active: Option<f64>,
    pub(super) oldest_active_start_seconds: Option<f64>,
    pub(super) sla_target_seconds: Option<f64>,
}

impl Fact for Derived {
    fn kind(&self) -> FactKind {
        self.kind
    }

    fn subject(&self) -> &Subject {
        &self.subject
    }

    fn field(&self, path: &str) -> Option<Scalar<'_>> {
        let values = &self.values;
        match path {
            "pipeline_id" => Some(Scalar::Text(self.subject.value())),
            "trigger_type" => values.trigger_type.as_deref().map(Scalar::Text),
            "owner" => values.owner.as_deref().map(Scalar::Text),
            "status" => values.status.map(|s| Scalar::Text(s.as_str())),
            "start_seconds" => values.start_seconds.map(Scalar::Number),
            "end_seconds" => values.end_seconds.map(Scalar::Number),
            "duration_seconds" => values.duration_seconds.map(Scalar::Number),
            "runs_active" => values.runs_active.map(Scalar::Number),
            "oldest_active_start_seconds" => values.oldest_active_start_seconds.map(Scalar::Number),
            "sla_target_seconds" => values.sla_target_seconds.map(Scalar::Number),
            _ => None,
        }
    }
}
