//! What the tests of pushes share.
pub(crate) mod bed;
pub(crate) mod clients;
