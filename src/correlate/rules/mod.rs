//! The finding rules, one a file; each file says what it detects and what it cannot know.

pub mod anonymous_admitted;
pub mod answers_everything;
pub mod certificate_expired;
pub mod contradiction;
pub mod family_gap;
pub mod firewall_bypass;
pub mod guarded;
pub mod leaked_local;
pub mod reachable_service;
mod registry;
pub mod unauthenticated_service;
pub mod unreported;
pub mod vantage_gap;

pub use registry::{ALL, Case, HostCase, OF_VANTAGES, Rule, VantageRule, findings, gets_by};
