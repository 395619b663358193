//! Thin system seams: own addresses and routes, descriptor limits, neighbour table.

pub mod addresses;
pub mod limits;
pub mod pressure;

pub use addresses::{OwnAddress, own_addresses};
