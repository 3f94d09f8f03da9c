//! Layer `media`.
