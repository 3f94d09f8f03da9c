//! Layer `crypto`: what proves that bytes come from where they say.

pub mod merkle;
pub mod sign;
