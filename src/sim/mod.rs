//! A simulated network of thousands of the very same nodes, replayed exactly by a seed. `docs/SIMULATION.md` explains the model.

pub mod check;
pub mod dist;
pub mod liar;
pub mod line;
pub mod media;
pub mod member;
pub mod network;
pub mod plot;
pub mod pools;
mod post;
pub mod report;
pub mod results;
pub mod scenario;
pub mod shard;
pub mod table;
pub mod topology;
pub mod trace;
pub mod viewer;
pub mod wheel;
pub mod wire;
pub mod world;

#[cfg(test)]
mod tests;
