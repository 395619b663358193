//! The packet's path: what a host's own rules do with a packet, and by which rule. Pure.
//!
//! ```text
//! FirewallDump ─▶ nft, iptables (readers) ─▶ ruleset ─▶ rules ─┐
//! NetworkState ─▶ routing ─────────────────────────────────────┴─▶ evaluate ─▶ walk ─▶ host_path ─▶ answer
//! ```
//!
//! - [`ruleset`]: the model that both readers fill: tables, chains, rules; [`set`]: what they compare with; [`rules`]: the
//!   same with its indexes ([`index`], [`lookup`]), after [`loops`] that no kernel takes were cut out.
//! - [`packet`]: what is asked, and what is known of the packet on its way. [`fields`], [`value`]: what expressions are
//!   worth for it. [`translate`]: NAT.
//! - [`evaluate`]: one base chain, [`statement`] by statement; [`walk`]: hook by hook through one namespace, with
//!   [`routing`] between, over its bridges, and a refusal's way back; [`host_path`]: on into the namespace behind, and the
//!   answer with its `trace`.
//! - [`fix`]: the line that closes a bypass. [`translated`]: ports that rules translate, whatever listens.
//! - [`nft`], [`iptables`], [`ipset`]: readers of what `nft -j list ruleset`, iptables-save and ipset print.
//! - [`dump`]: all dumps of a host as one ruleset.
//!
//! Values are three-valued: an expression that the model does not know makes the answer `unknown` where the answer
//! depends on it, never a guess.

mod answer;
mod bridge;
pub mod dump;
pub mod evaluate;
pub mod fields;
pub mod fix;
mod hook;
pub mod host_path;
pub mod index;
pub mod ipset;
pub mod iptables;
pub mod lookup;
pub mod loops;
pub mod nft;
pub mod packet;
pub mod routing;
pub mod rules;
pub mod ruleset;
pub mod set;
pub mod statement;
mod trace;
pub mod translate;
pub mod translated;
pub mod value;
pub mod walk;

pub use host_path::HostPath;
pub use packet::Question;
