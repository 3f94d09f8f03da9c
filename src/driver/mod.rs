//! Layer `driver`.

#[cfg(feature = "source")]
pub mod input;
