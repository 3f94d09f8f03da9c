//! Layer `driver`.
