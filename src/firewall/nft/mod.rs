//! Reads what `nft -j list ruleset` prints (libnftables-json(5)) into the ruleset model.
//!
//! ```text
//! text ─▶ JSON ─▶ reader: tables, chains, rules ─▶ statement ─▶ expression, value ─▶ symbols
//!                        └▶ sets ──────────────────────────────────────┘      └▶ render: the rule as nft prints it
//! ```
//!
//! - `document`: the text, its list, and its errors. `json`: one object of the text as a tree, which borrows from it.
//!   `reader`: objects of the listing; what refers to what.
//! - `sets`: sets, maps and verdict maps, named and anonymous.
//! - `statement`, `nat`: what rules do. `expression`: what they look at, `payload`: in the packet. `value`: what they
//!   compare it with, by its `kind`.
//! - `symbols`: names of numbers: which ones are printed as names depends on nft's version.
//! - `render`: a rule as `nft list ruleset` shows it.
//!
//! What this version does not know becomes an unknown expression, an unknown statement or a line of
//! [`super::ruleset::Ruleset::unread`]; a document that cannot come from nft is an error with its place.

mod document;
mod expression;
mod json;
mod kind;
mod nat;
mod payload;
mod reader;
mod render;
mod sets;
mod statement;
mod symbols;
mod value;

pub use document::{NftError, read, read_text};
