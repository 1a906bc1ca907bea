//! Pipelines under test: a topic of events, bridges on it, the reference beside them.
pub(crate) mod bed;
#[allow(unreachable_pub, reason = "shared with the tests of the pipelines crate")]
#[path = "../../bridge/pipelines/tests/stream/mod.rs"]
pub(crate) mod stream;
