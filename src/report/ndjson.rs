//! One JSON object a line, streamed while a run goes on.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::escape;
use crate::model::report::{EndpointEntry, Gap, Run, Status};
use crate::model::{Finding, Report};

/// A line. `run` comes first, then `endpoint` as found (not judged yet), then, at the end, `verdict` for each endpoint
/// once more with what the correlation says, `finding`, `gap`, and `end`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Record {
    Run(Box<Run>),
    Endpoint(Box<EndpointEntry>),
    Verdict(Box<EndpointEntry>),
    Finding(Box<Finding>),
    Gap(Gap),
    End(End),
}

/// How a run ended.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct End {
    pub status: Status,
    pub finished_at: String,
    pub hosts: usize,
    pub open: usize,
    pub findings: usize,
    pub exit_code: u8,
}

/// Writes one line.
pub fn write(record: &Record, to: &mut impl Write) -> io::Result<()> {
    let json = serde_json::to_string(record)?;
    to.write_all(escape::json(&json).as_bytes())?;
    to.write_all(b"\n")
}

/// What is told when the run is over.
pub fn closing_records(report: &Report, exit_code: u8) -> Vec<Record> {
    let endpoints = || report.hosts.iter().flat_map(|host| &host.endpoints);
    let mut records: Vec<Record> = endpoints()
        .filter(|entry| entry.verdict.is_some())
        .map(|entry| Record::Verdict(Box::new(entry.clone())))
        .collect();
    records.extend(report.findings.iter().map(|finding| Record::Finding(Box::new(finding.clone()))));
    records.extend(report.run.gaps.iter().map(|gap| Record::Gap(gap.clone())));
    records.push(Record::End(End {
        status: report.run.status,
        finished_at: report.run.finished_at.clone(),
        hosts: report.hosts.len(),
        open: endpoints().filter(|entry| entry.state == crate::model::PortState::Open).count(),
        findings: report.findings.len(),
        exit_code,
    }));
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_with_its_type() {
        let gap = Gap {
            what: "a\nname".to_owned(),
            cause: "\u{1b}[2J".to_owned(),
            settled_by: String::new(),
            incomplete: true,
        };
        let mut line = Vec::new();
        write(&Record::Gap(gap), &mut line).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert_eq!(line.lines().count(), 1);
        assert!(line.starts_with(r#"{"type":"gap""#) && line.contains(r"\u001b[2J"), "{line}");
    }
}
