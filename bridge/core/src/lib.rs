//! The pure part of Kafka2Prom: what a dump is, how it is read, cached, merged
//! and written, and who may show it.
//!
//! Nothing here does I/O, reads a clock or knows tokio, Kafka or HTTP: bytes and
//! times come in as arguments, values go out. That is what lets the very same
//! code run in the bridge, in the model checker and in the property tests.
#![forbid(unsafe_code)]

pub mod cache;
pub mod codec;
pub mod compress;
pub mod conflate;
pub mod decode;
pub mod dedup;
pub mod envelope;
pub mod exposition;
pub mod labels;
pub mod matcher;
pub mod merge;
pub mod model;
pub mod native;
pub mod negotiate;
pub mod ownership;
pub mod partitioner;
mod parts;
pub mod reason;
pub mod store;
pub mod view;
