//! The bridge: consumes whole dumps from Kafka and answers scrapes as if Prometheus
//! had scraped their origins directly.
//!
//! Two sides that meet in one place: [`consume`] owns partitions and publishes views,
//! [`expose`] reads views and answers HTTP; [`live`] is all they share. The HTTP side
//! never reaches into consuming.

mod append;
pub mod bridge;
pub mod check;
pub mod config;
pub mod consume;
pub mod expose;
#[cfg(feature = "faults")]
mod faults;
mod import;
pub mod live;
pub mod metrics;
pub mod templates;
pub mod topics;

pub use consume::accept_loss;
pub use import::import;
