//! Pipelines under test: a topic of events, bridges on it, the reference beside them.
pub mod bed;
#[allow(unreachable_pub, reason = "shared with the tests of the pipelines crate")]
#[path = "../../bridge/pipelines/tests/stream/mod.rs"]
pub mod stream;
