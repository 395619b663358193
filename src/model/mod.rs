//! Shared nouns: what the stages hand to each other and what a report is made of.
//!
//! Everything here is plain data with serde and schemars derives. The stages (`targets`, `sweep`, `probe`, `host`,
//! `correlate`, `report`) never import each other; they meet in these types and are joined in `run`.

pub mod endpoint;
pub mod finding;
pub mod host_report;
pub mod network;
pub mod observation;
pub mod path;
pub mod port_ranges;
pub mod report;
pub mod service;
pub mod shard;
pub mod space;
pub mod unread;
pub mod verdict;

pub use endpoint::{Endpoint, ParseEndpointError, Transport};
pub use finding::{Confidence, Finding, Severity, Triage};
pub use host_report::HostReport;
pub use network::NetworkState;
pub use observation::{Evidence, Icmp, Improbable, Observation, PortState, Reason};
pub use path::{PathAnswer, PathModel, PathOutcome, PathQuestion};
pub use port_ranges::PortRanges;
pub use report::Report;
pub use service::{Access, Service, ServiceFacts, TlsFacts};
pub use shard::{ParseShardError, Shard};
pub use space::{Payloads, Place, ProbeSpace};
pub use verdict::Verdict;
