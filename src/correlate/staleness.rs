//! A host report that was not taken around the sweep may tell of sockets that were not there then.

use jiff::{SignedDuration, Timestamp};

use crate::model::HostReport;
use crate::model::report::Run;

/// The sentence for a report taken more than an hour from the sweep; `None` when it was taken near it, or when one of
/// the times is not told.
pub fn caveat(report: &HostReport, run: &Run) -> Option<String> {
    let taken: Timestamp = report.collected_at.as_deref()?.parse().ok()?;
    let started: Timestamp = run.started_at.parse().ok()?;
    let finished: Timestamp = run.finished_at.parse().ok()?;
    let (distance, side) = if taken < started {
        (started.duration_since(taken), "before")
    } else {
        (taken.duration_since(finished), "after")
    };
    (distance > NEAR).then(|| {
        let hours = distance.as_hours();
        let long = if hours < 48 { format!("{hours} h") } else { format!("{} days", hours / 24) };
        format!("The host report was taken {long} {side} the sweep: sockets may have come and gone since.")
    })
}

const NEAR: SignedDuration = SignedDuration::from_hours(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host_report::Source;
    use crate::model::report::{Scope, Status, Tool};

    fn said(collected_at: Option<&str>) -> Option<String> {
        let report = HostReport {
            schema: crate::model::host_report::SCHEMA.to_owned(),
            tool: Tool::this(),
            id: "a".to_owned(),
            hostname: None,
            collected_at: collected_at.map(str::to_owned),
            source: Source::Native,
            privileges: crate::model::host_report::Privileges::default(),
            addresses: Vec::new(),
            namespaces: Vec::new(),
            listeners: Vec::new(),
            owners: Vec::new(),
            raw_sockets: Vec::new(),
            containers: Vec::new(),
            published: Vec::new(),
            os: None,
            gaps: Vec::new(),
        };
        let run = Run {
            id: "r".to_owned(),
            started_at: "2026-01-02T10:00:00Z".to_owned(),
            finished_at: "2026-01-02T12:00:00Z".to_owned(),
            status: Status::Complete,
            scope: Scope::default(),
            vantages: Vec::new(),
            sweep: None,
            gaps: Vec::new(),
            host_reports: Vec::new(),
        };
        caveat(&report, &run)
    }

    #[test]
    fn only_a_distance_of_hours_is_worth_a_word() {
        for near in
            ["2026-01-02T09:00:00Z", "2026-01-02T11:00:00Z", "2026-01-02T13:00:00Z", "2026-01-02T14:30:00+02:00"]
        {
            assert_eq!(said(Some(near)), None, "{near}");
        }
        assert!(said(Some("2026-01-02T08:00:00Z")).is_some_and(|text| text.contains("2 h before")));
        assert!(said(Some("2026-01-05T13:00:00Z")).is_some_and(|text| text.contains("3 days after")));
        assert_eq!(said(None), None);
        assert_eq!(said(Some("yesterday")), None);
    }
}
