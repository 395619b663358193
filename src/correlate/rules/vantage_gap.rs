//! Detects services that a namespace of the machine (a container's, or another) reaches and the network does not: what
//! a break-in there would open next. It takes several vantages in one run.
//!
//! Cannot know: whether that namespace is meant to reach the service; many are.

use super::Case;
use crate::model::report::{EndpointView, Vantage, VantageKind};
use crate::model::{Finding, PortState, Severity};

pub const NAME: &str = "vantage-gap";

/// One endpoint as all vantages saw it.
pub fn check(case: &Case<'_>, vantages: &[Vantage]) -> Option<Finding> {
    let kind = |view: &&EndpointView| {
        let known = vantages.iter().find(|vantage| vantage.name == view.vantage)?;
        Some(known.kind)
    };
    let (inner, outer): (Vec<&EndpointView>, Vec<&EndpointView>) = case
        .entry
        .views
        .iter()
        .filter(|view| !matches!(kind(view), None | Some(VantageKind::Own)))
        .partition(|view| matches!(kind(view), Some(VantageKind::Container | VantageKind::Netns)));
    let open = |view: &&&EndpointView| view.state == PortState::Open;
    let reached: Vec<&str> = inner.iter().filter(open).map(|view| view.vantage.as_str()).collect();
    let stopped =
        |view: &&EndpointView| matches!(view.state, PortState::Filtered | PortState::Closed | PortState::Unreachable);
    if reached.is_empty() || outer.is_empty() || !outer.iter().all(stopped) {
        return None;
    }
    let outer: Vec<&str> = outer.iter().map(|view| view.vantage.as_str()).collect();
    let title = format!("{} is reached from {} and not from {}", case.title(), reached.join(", "), outer.join(", "));
    let severity = case.service_severity().max(Severity::Medium);
    let mut finding = case.finding(NAME, severity, case.confidence, title);
    finding.why.splice(0..0, crate::correlate::vantages::from_where(case.entry));
    Some(finding)
}
