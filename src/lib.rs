//! Postern finds network services that can be reached although nobody meant them to be.
//!
//! Three views of one port are taken and joined:
//!
//! ```text
//! args ─▶ settings ─▶ targets ─▶ sweep ─▶ probe ──┐
//!                                                 ├─▶ correlate ─▶ report
//!                   host ─▶ firewall ─────────────┘
//! ```
//!
//! - [`cli`]: raw arguments become resolved settings; exit codes; hints.
//! - [`run`]: the only wiring. Stages, channels, cancellation, progress.
//! - [`model`]: the shared nouns: endpoint, observation, service, host report, verdict, finding, report.
//! - [`wire`]: packets as views and meanings, over pnet's packet types; bytes in, bytes out.
//! - [`net`]: thin system seams: own addresses and routes, raw links, namespaces, descriptor limits, neighbour table.
//! - [`targets`]: strings become a lazy, permuted, excluded stream of addresses and ports; names by the resolver.
//! - [`sweep`]: asks every endpoint. Pure pacing, rounds, accounting and the SYN machine; drivers for raw TCP, TCP connect
//!   and UDP.
//! - [`probe`]: what answers, and does it ask for authentication? Definitions from TOML; pure matcher and codecs;
//!   drivers for HTTP, TLS, streams and datagrams.
//! - [`host`]: the inside view: sockets of every network namespace and their owners; text listings.
//! - [`firewall`]: the packet's path through a host's own rules: a model filled from nft and iptables dumps, evaluated.
//! - [`correlate`]: joins the views into verdicts and findings; one rule a file.
//! - [`report`]: one file an output format.
//!
//! Stages never import each other: they meet in `model` and are joined in `run`. `tests/structure.rs` holds this.

pub mod cli;
pub mod correlate;
pub mod firewall;
pub mod host;
pub mod model;
pub mod net;
pub mod probe;
pub mod report;
pub mod run;
pub mod sweep;
pub mod targets;
pub mod wire;
