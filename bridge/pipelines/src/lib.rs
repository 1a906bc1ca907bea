//! Pipelines: events in, metrics and run states out (issue 5, design §3 and §6).
//!
//! Pure, as core is: no I/O, no clock, no Kafka. Everything here is *replayed state*, a
//! function of the log's prefix alone: the same records in the same order give the same
//! counters, the same runs, the same snapshot, on any bridge, after any failover.
//!
//! ```text
//! record ─► event ─► runs ──facts──► template ─► series ─► families of a subject ─► view
//!              └──────────facts────────┘
//! ```
//!
//! - [`event`]: one record's lines → events, good rows and rejections.
//! - [`fact`]: what a template can match: events themselves and what the run tracker
//!   derives from them (an attempt that ended, an SLA that was missed).
//! - [`template`]: the definitions of metrics, and what is wrong with them.
//! - [`series`]: the metrics of one partition's subjects, with their caps.
//! - [`cases`]: templates run over lines, for `kafka2prom check templates`.
//! - [`runs`]: follows runs; derives facts from their events and from judgements.
//! - [`state`]: all of it for one partition: records in, views, runs and snapshots out.
//! - [`snapshot`]: how state is written down and read back.
//!
//! Every metric is made by a template from a fact; nothing here knows a metric's name.
pub mod cases;
pub mod event;
pub mod fact;
pub mod runs;
pub mod series;
pub mod snapshot;
pub mod state;
pub mod template;
