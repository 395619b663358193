//! Thin system seams: own addresses and routes, descriptor limits, neighbour table.

pub mod addresses;
pub mod confine;
pub mod handover;
pub mod interface;
pub mod limits;
pub mod link;
pub mod namespace;
pub mod neighbour;
mod netlink;
pub mod pressure;
pub mod relay;
pub mod route;
pub mod setup;
pub mod source_ports;
pub mod ways;

pub use addresses::{Neighbour, OwnAddress, own_addresses};
pub use netlink::NetlinkError;
pub use route::{Route, Way, route_to};
