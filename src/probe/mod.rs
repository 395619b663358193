//! What answers, and does it ask for authentication? Identity and access are separate questions.
//!
//! - [`definition`], [`condition`], [`parse`]: `probes/<service>.toml` as checked types; [`catalogue`]: all of them.
//! - [`matcher`], [`decide`], [`session`]: pure. The decision table is evaluated in three values, and what it does
//!   not know yet is the next request: identity requests are shared by all definitions, a guarded request goes out
//!   only to a recognised service. [`replay`] runs recorded conversations through the same machine.
//! - [`codec`]: binary protocols, bytes in, facts out.
//! - Drivers: [`stream`], [`tls`], [`http`], [`grpc`], [`datagram`], joined in [`prober`]; [`multicast`] asks a link.

pub mod answer;
mod builtin;
pub mod catalogue;
mod certificate;
pub mod codec;
pub mod condition;
mod datagram;
pub mod decide;
pub mod definition;
mod grpc;
mod http;
pub mod matcher;
pub mod multicast;
pub mod parse;
mod parse_condition;
mod parse_example;
mod parse_raw;
mod parse_value;
pub mod prober;
pub mod replay;
pub mod session;
mod stream;
mod text;
mod tls;

pub use catalogue::{Catalogue, CatalogueError};
pub use definition::Definition;
pub use parse::DefinitionError;
pub use prober::{Fragile, Prober, ProberError, ProberSettings};
pub use replay::ExampleFailure;
