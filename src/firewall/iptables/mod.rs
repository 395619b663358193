//! What `iptables-save -c` and `ip6tables-save -c` print, of the nft-backed and of the legacy tools, read into the model.
//!
//! - [`read()`]: the file: tables, chains, rules, and where it is broken.
//! - `words`: one rule's line cut into options, each with the match or target that it belongs to.
//! - `matches`, with `headers`, `connections`, `surroundings` and `sets`, and `targets`: what they mean.
//! - `values`: addresses, ports, marks and names as iptables writes them.
//!
//! A match or a target that is not known keeps its text in the model; a line that iptables-restore would refuse too is
//! an error of the whole dump, because rules after it could mean anything.

mod connections;
mod headers;
mod matches;
mod read;
mod sets;
mod surroundings;
mod targets;
mod values;
mod words;

pub use read::{IptablesError, read};
