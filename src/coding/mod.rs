//! Layer `coding`: any K chunks of a block rebuild all N (`docs/CODING.md`).

pub mod block;
pub mod gf256;
