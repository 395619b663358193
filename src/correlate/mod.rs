//! Joins the views into verdicts and findings; one finding rule a file below `rules`.
//!
//! [`correlate`] is the whole of it, for `audit` and for the offline command alike; [`findings_only`] is what a plain
//! scan gets, which does not judge. All of it is pure.
//!
//! - [`merge`](mod@merge): which views are of one machine; listings beside the machine's own word.
//! - [`join`]: which machine is at which scanned address.
//! - [`machine`]: the views of one machine put together; `blindness`: what they cannot show.
//! - [`takes`]: what a socket takes.
//! - [`lookup`], [`scope`]: what the sweep says about an endpoint.
//! - [`hosts`]: the addresses of one machine become one host.
//! - [`expand`]: the endpoints that a machine's sockets and published ports add.
//! - [`everything`]: hosts that accept on every port.
//! - [`by_rules`]: the verdicts that the host's own rules settle.
//! - [`neighbour`]: what they do with packets of the network, where a neighbour of our own was asked.
//! - [`hops`], [`stacks`], [`layers`], [`exhausted`]: what answers farther away, with another TCP, before the rules, or not
//!   at all for want of room.
//! - [`verdict`]: of what is [`open`], bound to [`loopback`], or [`unanswered`]; [`judging`], [`remarks`]: the verdict and its
//!   reasons; [`stakes`]: what a break-in would be worth; [`staleness`] of host reports; [`gaps`] that are left.
//! - [`through`]: what lies behind a host and was tried through it.
//! - [`vantages`]: several looks in one report.
//! - [`rules`], [`triage`], [`usual`]: the findings and what to do about them.

pub mod address;
mod blindness;
pub mod by_rules;
pub mod correlation;
pub mod everything;
pub mod exhausted;
pub mod expand;
pub mod gaps;
pub mod hops;
pub mod hosts;
pub mod join;
pub mod judging;
pub mod layers;
pub mod lookup;
pub mod loopback;
pub mod machine;
pub mod merge;
pub mod neighbour;
pub mod open;
pub mod path_words;
pub mod remarks;
pub mod rules;
pub mod scope;
pub mod stacks;
pub mod stakes;
pub mod staleness;
pub mod stopped;
pub mod takes;
pub mod through;
pub mod triage;
pub mod unanswered;
pub mod usual;
pub mod vantages;
pub mod verdict;
pub mod words;

pub use correlation::{Context, InsideView, correlate, findings_only};
pub use vantages::{merge, split};
