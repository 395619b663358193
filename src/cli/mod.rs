//! Raw arguments become resolved settings; exit codes; where results go.
//!
//! [`args`] is what clap parses ([`values`]: how single values are read), [`settings`] what the run works with
//! ([`host_reports`]: where those come from): the first is about spelling, the second about meaning ([`usage`]: where they
//! make none). Nothing below this module reads an argument or an environment variable.

pub mod args;
pub mod engine;
pub mod exit;
pub mod host_reports;
pub mod output;
mod parse;
pub mod settings;
pub mod usage;
pub mod values;
pub mod vantage;

pub use args::{Args, Command};
pub use engine::{EngineChoice, TransmitChoice};
pub use exit::Exit;
pub use output::{Destination, Format, OutputSpec};
pub use parse::parse;
pub use settings::{AuditSettings, CorrelateSettings, ExplainSettings, HostSettings, ScanSettings};
pub use usage::UsageError;
pub use vantage::VantageChoice;
