//! Thin system seams: own addresses and routes, raw links, namespaces, descriptor limits, neighbour table.
//!
//! For the raw sweep: [`link`] (frames out, packets in), [`ways`] (how destinations are reached), [`source_ports`] that are
//! held meanwhile; [`handover`] of sockets to a process that is [confined](confine).

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
