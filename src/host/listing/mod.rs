//! Listings that other programs print: `ss`, `netstat`, `lsof` and osquery's `listening_ports`. Pure.
//!
//! What a listing cannot show (other namespaces, v6-only sockets, owners, its own time) goes into the report's gaps.

mod address;
mod draft;
mod error;
mod lsof;
mod netstat;
mod osquery;
mod parse;
mod rows;
mod ss;

pub(super) use draft::WHEN_AND_WHERE;
pub use error::ListingError;
pub use parse::{detect, parse};
