//! `postern explain`: a packet's path through a saved host report.

use super::sink::Sink;
use super::{RunError, inside};
use crate::cli::{Exit, ExplainSettings};
use crate::firewall::HostPath;
use crate::model::host_report::HOST_NAMESPACE;
use crate::model::unread::Lack;
use crate::model::{HostReport, PathModel as _, PathQuestion};

/// Answers for one packet. Works far from the host. [`Exit::Incomplete`] where rules on its way are not known.
///
/// # Errors
/// A report that cannot be read, one without routes and rules or with rules that are no dump of any tool, and an
/// interface that the host does not have.
pub fn explain(settings: &ExplainSettings) -> Result<Exit, RunError> {
    let (name, text) = inside::read_text(&settings.report)?;
    let report = crate::host::read(&name, &text).map_err(RunError::HostReport)?;
    let path = HostPath::new(&report).ok_or_else(|| RunError::NoRules { name: name.clone() })?;
    let broken = path.unread().into_iter().filter(|one| one.lack == Lack::Broken && one.namespace.is_none());
    let problems: Vec<String> = broken.map(|unread| unread.what).collect();
    if !problems.is_empty() {
        return Err(RunError::BrokenRules { name, problems });
    }
    check_interface(&name, &report, settings.iif.as_deref())?;
    let question = PathQuestion { to: settings.to, from: settings.from, iif: settings.iif.clone() };
    let answer = path.answer(&question);
    if settings.iif.is_none()
        && let Some(iif) = &answer.iif
    {
        tracing::info!(iif, "taken for the input interface: the way back to --from leads by it (--iif names another)");
    }
    Sink::open(&settings.outputs)?.finish_answer(&answer)?;
    Ok(if answer.gaps.is_empty() { Exit::Clean } else { Exit::Incomplete })
}

/// A packet cannot come in by an interface that is not there. Where the report tells of none, nobody knows.
fn check_interface(name: &str, report: &HostReport, iif: Option<&str>) -> Result<(), RunError> {
    let Some(iif) = iif else { return Ok(()) };
    let own = report.namespaces.iter().filter(|namespace| namespace.name == HOST_NAMESPACE);
    let networks = own.filter_map(|namespace| namespace.network.as_ref());
    let known: Vec<String> =
        networks.flat_map(|network| &network.interfaces).map(|interface| interface.name.clone()).collect();
    if known.is_empty() || known.iter().any(|name| name == iif) {
        return Ok(());
    }
    Err(RunError::NoInterface { name: name.to_owned(), iif: iif.to_owned(), known })
}
