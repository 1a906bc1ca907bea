//! What the integration tests share: real brokers, real Prometheus, the built
//! binary as a process, an independent reading of expositions.
//!
//! Every part that a machine may lack is asked for through [`skip::require`], so
//! that a test which cannot run is skipped by name. Every process is started
//! through [`supervise`], so that none outlives the test run.
#![allow(dead_code, reason = "a toolbox: parts of it serve tests that come later")]
#![allow(unreachable_pub, reason = "the modules are private to one test crate")]

pub mod alertmanager;
pub mod bridge;
pub mod chaos;
pub mod compare;
pub mod compose;
pub mod dumps;
pub mod http;
pub mod kafka;
pub mod kafka_clients;
pub mod oracle;
pub mod parts;
pub mod pki;
pub mod poll;
pub mod process;
pub mod prometheus;
pub mod pushgateway;
pub mod receiver;
pub mod repo;
pub mod skip;
pub mod supervise;
pub mod target;
