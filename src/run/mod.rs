//! The only wiring: stages, channels, cancellation, progress.
//!
//! [`command`] picks what to do; [`audit`] holds the main job and its halves, [`planning`] says what it would send;
//! [`vantages`] opens the places to look from ([`place`]) and [`looking`] looks from each: [`outside`] sweeps ([`tcp`],
//! [`sweeping`]) and probes, so much [`at_once`]. [`inside`] takes the hosts' own word, [`assemble`] folds what was seen
//! into the hosts of a report, [`sink`] writes results. [`probes`] shows the definitions, [`probe_test`] tries one.

pub mod assemble;
pub mod at_once;
pub mod audit;
pub mod command;
pub mod error;
pub mod explain;
pub mod identity;
pub mod inside;
pub mod interrupt;
pub mod link_local;
pub mod looking;
pub mod outside;
pub mod place;
pub mod planning;
pub mod probe_test;
pub mod probes;
pub mod progress;
pub mod remote_look;
pub mod sink;
pub mod source;
pub mod sweeping;
pub mod tcp;
pub mod through;
pub mod vantages;

pub use command::main;
pub use error::RunError;
