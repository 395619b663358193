//! Thin system seams: own addresses and routes, descriptor limits, neighbour table.

pub mod addresses;
pub mod limits;
mod netlink;
pub mod pressure;
pub mod route;

pub use addresses::{Neighbour, OwnAddress, own_addresses};
pub use netlink::NetlinkError;
pub use route::{Route, Way, route_to};
