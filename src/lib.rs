//! weir: a small, bounded peer-to-peer relay for live streams.
//!
//! The library is the whole engine without sockets, files, clocks or allocation; the folders are layers and imports
//! only go downward in the order below. `docs/ARCHITECTURE.md` tells the way through the house.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(any(test, feature = "std"))]
extern crate std;

pub mod error;
pub mod limits;
pub mod rng;
pub mod time;

pub mod wire;

pub mod coding;

pub mod storage;

#[cfg(feature = "source")]
pub mod media;

pub mod http;

pub mod crypto;

pub mod proto;

#[cfg(any(test, feature = "std"))]
pub mod memory;

#[cfg(feature = "std")]
pub mod driver;

#[cfg(feature = "sim")]
pub mod sim;
