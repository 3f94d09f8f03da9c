//! Layer `coding`.
