//! `postern explain`: a packet's path through a saved host report.

use super::sink::Sink;
use super::{RunError, inside};
use crate::cli::{Exit, ExplainSettings};
use crate::firewall::HostPath;
use crate::model::{PathModel as _, PathQuestion};

/// Answers for one packet. Works far from the host.
///
/// # Errors
/// A report that cannot be read, or one without routes and rules.
pub fn explain(settings: &ExplainSettings) -> Result<Exit, RunError> {
    let (name, text) = inside::read_text(&settings.report)?;
    let report = crate::host::read(&name, &text).map_err(RunError::HostReport)?;
    let path = HostPath::new(&report).ok_or_else(|| RunError::NoRules { name: name.clone() })?;
    let question = PathQuestion { to: settings.to, from: settings.from, iif: settings.iif.clone() };
    let answer = path.answer(&question);
    if settings.iif.is_none()
        && let Some(iif) = &answer.iif
    {
        tracing::info!(iif, "taken for the input interface: the way back to --from leads by it (--iif names another)");
    }
    Sink::open(&settings.outputs)?.finish_answer(&answer)?;
    Ok(Exit::Clean)
}
