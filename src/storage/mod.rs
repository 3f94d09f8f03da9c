//! Layer `storage`.
