//! Who said it, to whom, and is it whole: sessions between neighbours, signatures and Merkle trees of a stream.
//! Every primitive is a library's; this layer only joins them.

pub mod cookie;
pub mod merkle;
pub mod session;
pub mod sign;
