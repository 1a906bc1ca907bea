//! `kafka2prom demo`: everything in one process, nothing installed. Simulated clusters
//! behind real agents, Kafka (a mock, or the user's), bridges.
mod agents;
mod fleet;
mod motion;
mod node;
mod page;
mod service;
mod spark;
mod words;

pub(crate) use agents::{agents, own_agent};
pub(crate) use fleet::Fleet;
pub(crate) use words::{ready, starting};
