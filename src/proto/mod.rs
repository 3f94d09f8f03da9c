//! The engine: one sans-IO state machine, [`node::Node`], and the parts it is made of.

pub mod allowance;
pub mod book;
pub mod bucket;
pub mod budget;
pub mod card;
pub mod config;
pub mod gauge;
pub mod job;
pub mod ledger;
pub mod node;
mod owner;
pub mod pace;
pub mod peer;
pub mod player;
pub mod playout;
pub mod preamble;
pub mod segments;
pub mod serve;
pub mod source;
pub mod spot;
pub mod stats;
pub mod stream;
pub mod title;
pub mod transmit;
pub mod uplink;

mod control;
mod credit;
mod forward;
mod handshake;
mod home;
mod line;
mod outbox;
mod plead;
mod repair;
mod start;
mod stripes;
mod turns;
mod unheard;
mod upkeep;

#[cfg(test)]
mod limit_tests;
#[cfg(test)]
mod line_tests;
#[cfg(test)]
mod tests;
