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
