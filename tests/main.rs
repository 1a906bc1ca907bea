//! The integration tests: real processes of the built binary, real Kafka, real
//! Prometheus. `tests/run` fetches what they need; what a machine lacks is skipped
//! by name. One binary, so that they share a broker.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "tests fail by panicking and say what they skip")]

mod checker;
mod faults;
mod house;
mod it_decode;
mod it_dumps;
mod it_faults;
mod it_hole;
mod it_prometheus;
mod support;
mod support_tests;
