//! Packets as views and meanings, over pnet's packet types. Bytes in, bytes out. Pure.
//!
//! Out: [`syn`] builds the frames of SYN probes from a template, [`neighbour`] asks who has an address. In: [`reply`] reads
//! what comes back, [`options`] the shape of a peer's TCP. [`checksum`] is the arithmetic of both.

pub mod checksum;
pub mod neighbour;
pub mod options;
pub mod reply;
pub mod syn;

pub use neighbour::{Mac, NeighbourAnswer, NeighbourQuestion};
pub use options::TcpOptions;
pub use reply::{IcmpError, QuotedProbe, Reply, ReplyKind, TcpReply};
pub use syn::{LinkHeader, Syn, SynTemplate};
