//! k2p-runtime
