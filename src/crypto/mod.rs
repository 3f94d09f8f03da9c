//! Layer `crypto`.
