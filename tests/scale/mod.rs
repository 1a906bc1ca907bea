//! A Prometheus as full as a large installation's.
pub(crate) mod world;
pub(crate) mod write;
