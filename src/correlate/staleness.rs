//! A host report that was not taken around the sweep may tell of sockets that were not there then.

use jiff::{SignedDuration, Timestamp};

use crate::model::HostReport;
use crate::model::report::Run;

/// Whether every report that tells its time was taken far from the sweep, and there is one.
pub fn is_stale<'a>(reports: impl Iterator<Item = &'a HostReport>, run: &Run) -> bool {
    let mut told = reports.filter(|report| report.collected_at.is_some()).peekable();
    told.peek().is_some() && told.all(|report| caveat(report, run).is_some())
}

/// The sentence for a report taken more than half an hour from the sweep; `None` when it was taken near it, or when one of
/// the times is not told. That they are times is seen to where reports are read.
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
        let (hours, minutes) = (distance.as_hours(), distance.as_mins());
        let long = match hours {
            0..2 => format!("{minutes} min"),
            2..48 => format!("{hours} h"),
            _ => format!("{} days", hours / 24),
        };
        format!("The host report was taken {long} {side} the sweep: sockets may have come and gone since.")
    })
}

const NEAR: SignedDuration = SignedDuration::from_mins(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host_report::Source;
    use crate::model::report::Scope;

    fn said(collected_at: Option<&str>) -> Option<String> {
        let collected_at = collected_at.map(str::to_owned);
        let report = HostReport { collected_at, ..HostReport::of("a", Source::Native) };
        let run = Run {
            finished_at: "2026-01-02T12:00:00Z".to_owned(),
            ..Run::begun("r".to_owned(), "2026-01-02T10:00:00Z".to_owned(), Scope::default())
        };
        caveat(&report, &run)
    }

    #[test]
    fn only_a_report_of_another_hour_is_worth_a_word() {
        for near in
            ["2026-01-02T09:30:00Z", "2026-01-02T11:00:00Z", "2026-01-02T12:30:00Z", "2026-01-02T14:30:00+02:00"]
        {
            assert_eq!(said(Some(near)), None, "{near}");
        }
        assert!(said(Some("2026-01-02T09:00:00Z")).is_some_and(|text| text.contains("60 min before")));
        assert!(said(Some("2026-01-02T08:00:00Z")).is_some_and(|text| text.contains("2 h before")));
        assert!(said(Some("2026-01-05T13:00:00Z")).is_some_and(|text| text.contains("3 days after")));
        assert_eq!(said(None), None);
    }
}
