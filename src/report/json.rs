//! `postern.report/1` and `postern.host/1` as JSON, written and read.

use std::io::{self, Write};

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
/// No JSON, another document, a newer version, or fields that do not fit, with the position.
pub fn read(name: &str, text: &str) -> Result<Report, ReadError> {
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| ReadError::Syntax { name: name.to_owned(), error })?;
    match value.get("schema").and_then(serde_json::Value::as_str) {
        Some(SCHEMA) => {}
        Some(other) => return Err(ReadError::Schema { name: name.to_owned(), found: other.to_owned() }),
        None => return Err(ReadError::NoSchema { name: name.to_owned() }),
    }
    serde_json::from_str(text).map_err(|error| ReadError::Field { name: name.to_owned(), error })
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
}

fn pretty(document: &impl Serialize, to: &mut impl Write) -> io::Result<()> {
    let json = serde_json::to_string_pretty(document)?;
    to.write_all(escape::json(&json).as_bytes())?;
    to.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_a_document_is_instead() {
        let error = |text| read("x.json", text).unwrap_err().to_string();
        assert!(error("postern").contains("x.json: no JSON"));
        assert!(error("{}").contains("without a `schema`"));
        assert!(error(r#"{"schema":"postern.report/2"}"#).contains("newer postern"));
        assert!(error(r#"{"schema":"postern.report/1","tool":3}"#).contains("line 1"));
    }
}
