//! Pipelines under test: a topic of events, bridges on it, the reference beside them.
pub mod bed;
#[path = "../../bridge/pipelines/tests/stream/mod.rs"]
pub mod stream;
