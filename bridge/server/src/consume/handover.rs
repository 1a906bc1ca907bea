//! How long a partition takes from its assignment to its first exposure, by phase.
use k2p_core::model::MonoMs;
use k2p_core::ownership::{Found, MarkerKind, State, Tp};
use tracing::Span;

use crate::metrics::ServerMetrics;

/// One handover: a span with its phases, and the histogram `handover_seconds`.
pub(super) struct Handover {
    kind: &'static str,
    begun: MonoMs,
    phase_begun: MonoMs,
    span: Span,
    done: bool,
}

impl Handover {
    /// Begins at the assignment.
    pub(super) fn begin(found: &Found, now: MonoMs) -> Handover {
        let kind = match found.marker().map(|m| m.kind) {
            Some(MarkerKind::Released | MarkerKind::ReleasedNoPosition) => "planned",
            Some(MarkerKind::Held | MarkerKind::Claimed { .. }) => "crash",
            None if *found == Found::Nothing => "first",
            None => "crash",
        };
        Handover::of(kind, now)
    }

    /// Begins when the owner sees that the topic is another one of the same name.
    pub(super) fn remade(now: MonoMs) -> Handover {
        Handover::of("remade", now)
    }

    fn of(kind: &'static str, now: MonoMs) -> Handover {
        let span = tracing::info_span!(
            "handover",
            kind,
            claim_ms = tracing::field::Empty,
            wait_ms = tracing::field::Empty,
            catch_up_ms = tracing::field::Empty
        );
        Handover { kind, begun: now, phase_begun: now, span, done: false }
    }

    /// The partition has moved on.
    pub(super) fn step(&mut self, tp: &Tp, from: State, to: State, now: MonoMs, metrics: &ServerMetrics) {
        if self.done {
            return;
        }
        let phase = match from {
            State::Assigned => "claim",
            State::Waiting => "wait",
            State::CatchingUp => "catch_up",
            _ => return,
        };
        let millis = now - self.phase_begun;
        self.phase_begun = now;
        self.span.record(format!("{phase}_ms").as_str(), millis);
        observe(metrics, self.kind, phase, millis);
        if to == State::Live {
            self.done = true;
            let total_ms = now - self.begun;
            observe(metrics, self.kind, "total", total_ms);
            self.span.in_scope(|| {
                tracing::info!(topic = %tp.topic, partition = tp.partition, kind = self.kind, total_ms, "partition is live");
            });
        }
    }
}

fn observe(metrics: &ServerMetrics, kind: &str, phase: &str, millis: MonoMs) {
    #[allow(clippy::cast_precision_loss, reason = "milliseconds of a handover are far below 2^52")]
    metrics.handover.with_label_values(&[kind, phase]).observe(millis as f64 / 1000.0);
}
