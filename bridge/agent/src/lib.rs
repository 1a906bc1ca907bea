//! k2p-agent
