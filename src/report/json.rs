//! `postern.report/1` and `postern.host/1` as JSON, written and read.

use std::io::{self, BufWriter, Write};

use jiff::Timestamp;
use serde::Serialize;

use super::escape;
use crate::model::host_report::HostReport;
use crate::model::report::SCHEMA;
use crate::model::{PathAnswer, Report};

/// Writes a report, indented, with a line feed at the end.
pub fn write(report: &Report, to: &mut impl Write) -> io::Result<()> {
    pretty(report, to)
}

/// Writes a host report likewise.
pub fn write_host(report: &HostReport, to: &mut impl Write) -> io::Result<()> {
    pretty(report, to)
}

/// Writes an answer about a packet likewise.
pub fn write_answer(answer: &PathAnswer, to: &mut impl Write) -> io::Result<()> {
    pretty(answer, to)
}

/// Reads a report. `name` is what messages call it.
///
/// # Errors
/// No JSON, another document, a newer version, or fields that do not fit, with the position or the name.
pub fn read(name: &str, text: &str) -> Result<Report, ReadError> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| ReadError::Syntax { name: name.to_owned(), error })?;
    match value.get("schema").and_then(serde_json::Value::as_str) {
        Some(SCHEMA) => {}
        Some(other) => return Err(ReadError::Schema { name: name.to_owned(), found: other.to_owned() }),
        None => return Err(ReadError::NoSchema { name: name.to_owned() }),
    }
    let report = serde_json::from_str(text).map_err(|error| ReadError::Field { name: name.to_owned(), error })?;
    check_times(name, report)
}

/// How far host reports are from the sweep is worked out from its times.
fn check_times(name: &str, report: Report) -> Result<Report, ReadError> {
    for (field, value) in [("run.started_at", &report.run.started_at), ("run.finished_at", &report.run.finished_at)] {
        if value.parse::<Timestamp>().is_err() {
            return Err(ReadError::Time { name: name.to_owned(), field, value: value.clone() });
        }
    }
    Ok(report)
}

/// A document that is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{name}: no JSON: {error}; hint: `postern scan … -o json=FILE` writes one")]
    Syntax { name: String, error: serde_json::Error },
    #[error(
        "{name}: `{found}` is not {SCHEMA}; hint: host reports go to --host-report; newer reports need a newer postern"
    )]
    Schema { name: String, found: String },
    #[error("{name}: JSON without a `schema` field; hint: `postern scan … -o json=FILE` writes a report")]
    NoSchema { name: String },
    #[error("{name}: {error}; hint: was the report edited by hand?")]
    Field { name: String, error: serde_json::Error },
    #[error("{name}: `{field}` is {value:?}, and no time as RFC 3339 writes it; hint: was the report edited by hand?")]
    Time { name: String, field: &'static str, value: String },
}

fn pretty(document: &impl Serialize, to: &mut impl Write) -> io::Result<()> {
    let mut to = BufWriter::new(to);
    serde_json::to_writer_pretty(escape::JsonWriter(&mut to), document)?;
    to.write_all(b"\n")?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn says_what_a_document_is_instead() {
        let error = |text| read("x.json", text).unwrap_err().to_string();
        assert!(error("postern").contains("x.json: no JSON"));
        assert!(error("{}").contains("without a `schema`"));
        assert!(error(r#"{"schema":"postern.report/2"}"#).contains("newer postern"));
        assert!(error(r#"{"schema":"postern.report/1","tool":3}"#).contains("line 1"));
    }

    #[test]
    fn times_are_those_of_rfc_3339() {
        let run = |started: &str, finished: &str| {
            let text = json!({
                "schema": SCHEMA,
                "tool": {"name": "postern", "version": "0.0.0"},
                "run": {"id": "r", "started_at": started, "finished_at": finished, "status": "complete",
                    "scope": {"targets": [], "excluded": [], "ports": {"tcp": "", "udp": ""}}, "vantages": [],
                    "sweep": null, "gaps": []},
                "hosts": [], "silent": [], "findings": [],
            });
            read("x.json", &text.to_string()).map_err(|error| error.to_string())
        };
        let good = "2026-01-02T10:00:00Z";
        assert!(run(good, "2026-01-02T12:01:00+02:00").is_ok());
        for bad in ["", "now", "2026-01-02 10"] {
            let says = |field: &str| format!("x.json: `{field}` is {bad:?}, and no time as RFC 3339 writes it");
            assert!(run(bad, good).unwrap_err().starts_with(&says("run.started_at")));
            assert!(run(good, bad).unwrap_err().starts_with(&says("run.finished_at")));
        }
    }
}
