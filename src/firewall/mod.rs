//! The packet's path: what a host's own rules do with a packet, and by which rule. Pure.
//!
//! ```text
//! FirewallDump ─▶ nft, iptables (readers) ─▶ ruleset ─┐
//! NetworkState ─▶ routes, addresses, sysctls ─────────┴─▶ evaluate ─▶ walk ─▶ answer with its trace
//! ```
//!
//! - [`ruleset`]: the model that both readers fill: tables, chains, rules, sets.
//! - [`iptables`], [`ipset`]: readers of what iptables-save and ipset print.
//! - [`dump`]: all dumps of a host as one ruleset.
//!
//! Values are three-valued: an expression that the model does not know makes the answer `unknown` where the answer
//! depends on it, never a guess.

pub mod dump;
pub mod ipset;
pub mod iptables;
pub mod ruleset;
