//! Thin system seams: own addresses and routes, descriptor limits, neighbour table.

pub mod addresses;
pub mod limits;
pub mod pressure;

pub use addresses::{Neighbour, OwnAddress, own_addresses};
