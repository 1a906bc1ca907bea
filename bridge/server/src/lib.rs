//! k2p-server
