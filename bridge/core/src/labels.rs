//! Label sets and their canonical text, the record key of an origin.
