//! Plumbing of a long-lived process: configuration files, HTTP accept loop and
//! client, Kafka client settings, own metrics, logs and telemetry, shutdown, clocks.
//!
//! Nothing here knows what a bridge or an agent is. Names of metrics start with
//! `kafka2prom_` because that is the process' namespace, not because anything here
//! knew what they mean.
#![forbid(unsafe_code)]

pub mod clock;
pub mod config;
pub mod http;
pub mod kafka;
pub mod metrics;
pub mod shutdown;
