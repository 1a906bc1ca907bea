//! `kafka2prom demo`: nothing installed, no network. Simulated clusters behind real
//! agents, Kafka (a mock, or the user's), two bridges as processes of their own.
mod agents;
mod bridges;
mod fleet;
mod motion;
mod node;
mod page;
mod pipelines;
mod prometheus;
mod pushes;
mod run;
mod service;
mod spark;
mod words;

pub(crate) use run::run;
