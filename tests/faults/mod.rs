//! What fault runs are made of: a producer, bridges, scrapers on all of them, a watch
//! on the group's commits, and the history of it all for the checker.
#![allow(unreachable_pub, reason = "the modules are private to one test crate")]

pub mod bed;
pub mod broken;
pub mod clock;
mod commits;
pub mod kept;
mod producer;
pub mod record;
mod run;
pub mod scraper;
pub mod service;
mod setup;
