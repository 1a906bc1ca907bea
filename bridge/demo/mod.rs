//! `kafka2prom demo`: nothing installed, no network. Simulated clusters behind real
//! agents, Kafka (a mock, or the user's), two bridges as processes of their own.
mod agents;
mod bridges;
mod fleet;
mod motion;
mod node;
mod page;
mod run;
mod service;
mod spark;
mod words;

pub use agents::{agents, own_agent};
pub use fleet::{DemoTarget, Fleet};
pub use run::run;
pub use words::{ready, starting};
