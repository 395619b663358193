//! The packet's path: what a host's own rules do with a packet, and by which rule. Pure.
//!
//! ```text
//! FirewallDump ─▶ nft, iptables (readers) ─▶ ruleset ─┐
//! NetworkState ─▶ routes, addresses, sysctls ─────────┴─▶ evaluate ─▶ walk ─▶ answer with its trace
//! ```
//!
//! - [`nft`]: reads `nft -j list ruleset`.
//! - [`ruleset`]: the model that both readers fill: tables, chains, rules, sets.
//!
//! Values are three-valued: an expression that the model does not know makes the answer `unknown` where the answer
//! depends on it, never a guess.

pub mod nft;
pub mod ruleset;
