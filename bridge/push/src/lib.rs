//! The Pushgateway over Kafka (issue 7): what a push is, and what pushes make of a
//! partition.
//!
//! Pure, as core is: no I/O, no clock, no Kafka. The groups of a partition are *replayed
//! state*, a function of the log's prefix alone (design §3): the same records in the same
//! order give the same groups, the same snapshot, the same exposition, on any bridge.
//!
//! ```text
//! path ─► key ─┐
//! body ─► checked against its key ─► record ═► log ═► state ─► groups ─► view
//! ttl  ─► decided ───────────────────┘
//! ```
//!
//! - [`key`]: the grouping key, of a path and of a record.
//! - [`body`]: what a body holds, or why it is refused.
//! - [`gob`]: a Pushgateway's persistence file.
//! - [`record`]: the headers of a push's record.
//! - [`ttl`]: after which silence a group goes; decided by the bridge that takes the push.
//! - [`group`]: a group, for whoever reads: labels, times, families, text.
//! - [`state`]: the groups of one partition.
//!
//! `README.md` beside this crate lists where it differs from the Pushgateway, and why.
#![forbid(unsafe_code)]

pub mod body;
pub mod gob;
pub mod group;
pub mod key;
pub mod record;
pub mod state;
pub mod ttl;

mod bytes;
mod family;
mod pairs;
mod protobuf;

pub use family::{PushedFamily, PushedSample};
pub use group::{Group, GroupsView};
pub use key::GroupingKey;
pub use state::PushState;
