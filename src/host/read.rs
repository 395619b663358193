//! A host report from a file: `postern.host/1`, or the listing of another program. Pure.

use jiff::Timestamp;
use serde::Deserialize;

use super::listing::{self, ListingError};
use crate::model::host_report::{HostReport, SCHEMA};

/// Why a file is no host report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Listing(#[from] ListingError),
    #[error(
        "{name}: schema `{schema}` is newer than this version reads ({SCHEMA}); hint: use the version that wrote it, {written_by}"
    )]
    Newer { name: String, schema: String, written_by: String },
    #[error("{name}: schema `{schema}` is no host report; hint: give the output of `postern host -o json`")]
    OtherSchema { name: String, schema: String },
    #[error(
        "{name}: line {line}, column {column}: {problem}; hint: give the unedited output of `postern host -o json`"
    )]
    Json { name: String, line: usize, column: usize, problem: String },
    #[error(
        "{name}: `{field}` is {value:?}, and no time as RFC 3339 writes it; hint: give the unedited output of `postern host -o json`"
    )]
    Time { name: String, field: &'static str, value: String },
    #[error(
        "{name}: neither a host report nor a known listing; hint: give the output of `postern host -o json`, `ss -tulpn`, `netstat -tulpn`, `lsof -i -Pn` or of osquery's listening_ports as JSON"
    )]
    Unknown { name: String },
}

/// Reads a host report or a listing that is told by its content. `name` is the file's name, for errors.
pub fn read(name: &str, text: &str) -> Result<HostReport, ReadError> {
    let json = text.trim_start_matches('\u{feff}').trim();
    if json.starts_with('{') {
        // Before the rest is looked at: a newer version may have changed anything but this.
        let header: Result<Header, _> = serde_json::from_str(json);
        if let Ok(Header { schema: Some(schema), tool }) = &header {
            check(name, schema, tool.as_ref())?;
            let report = serde_json::from_str(json).map_err(|error| json_error(name, &error))?;
            return check_time(name, report);
        }
        if listing::detect(text).is_none() {
            return match header {
                Err(error) => Err(json_error(name, &error)),
                Ok(_) => Err(ReadError::Unknown { name: name.to_owned() }),
            };
        }
    }
    let source = listing::detect(text).ok_or_else(|| ReadError::Unknown { name: name.to_owned() })?;
    Ok(listing::parse(source, text, name)?)
}

#[derive(Deserialize)]
struct Header {
    schema: Option<String>,
    tool: Option<Writer>,
}

#[derive(Deserialize)]
struct Writer {
    #[serde(default)]
    name: String,
    #[serde(default)]
    version: String,
}

fn check(name: &str, schema: &str, tool: Option<&Writer>) -> Result<(), ReadError> {
    if schema == SCHEMA {
        return Ok(());
    }
    let (own, version) = SCHEMA.rsplit_once('/').unwrap_or((SCHEMA, "1"));
    let newer =
        schema.rsplit_once('/').filter(|(kind, _)| *kind == own).and_then(|(_, found)| found.parse::<u32>().ok());
    let shown: String = schema.chars().take(80).flat_map(char::escape_debug).collect();
    let name = name.to_owned();
    match newer {
        Some(found) if version.parse::<u32>().is_ok_and(|version| found > version) => {
            let written_by = tool.map_or_else(
                || "or a later one".to_owned(),
                |tool| format!("{} {}", tool.name.escape_debug(), tool.version.escape_debug()),
            );
            Err(ReadError::Newer { name, schema: shown, written_by })
        }
        _ => Err(ReadError::OtherSchema { name, schema: shown }),
    }
}

/// How far the report is from a sweep is worked out from its time: one that cannot be read would pass as a fresh one.
fn check_time(name: &str, report: HostReport) -> Result<HostReport, ReadError> {
    match &report.collected_at {
        Some(value) if value.parse::<Timestamp>().is_err() => {
            Err(ReadError::Time { name: name.to_owned(), field: "collected_at", value: value.clone() })
        }
        _ => Ok(report),
    }
}

fn json_error(name: &str, error: &serde_json::Error) -> ReadError {
    let problem = error.to_string();
    let problem = problem.split(" at line ").next().unwrap_or(&problem).escape_debug().to_string();
    ReadError::Json { name: name.to_owned(), line: error.line(), column: error.column(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host_report::Source;

    const MINIMAL: &str = r#"{"schema":"postern.host/1","tool":{"name":"postern","version":"0.1.0"},"id":"x","source":"native","listeners":[{"transport":"tcp","address":"::","port":80}]}"#;

    #[test]
    fn a_report_survives_writing_and_reading() {
        let report = read("h.json", MINIMAL).unwrap();
        assert_eq!((report.listeners[0].namespace.as_str(), report.listeners[0].v6only), ("host", None));
        let again = read("h.json", &serde_json::to_string_pretty(&report).unwrap()).unwrap();
        assert_eq!(report, again);
    }

    #[test]
    fn listings_are_told_by_their_content() {
        assert_eq!(read("l", "tcp LISTEN 0 1 *:80 *:*\n").unwrap().source, Source::Ss);
        assert_eq!(
            read("l", r#"{"name":"p","columns":{"port":"80","protocol":"6","address":"::"}}"#).unwrap().source,
            Source::Osquery
        );
    }

    #[test]
    fn a_newer_schema_says_so_whatever_else_is_in_it() {
        let text = MINIMAL.replace("host/1", "host/2").replace("\"listeners\":[", "\"sockets\":[");
        let error = read("h.json", &text).unwrap_err();
        assert_eq!(
            error.to_string(),
            "h.json: schema `postern.host/2` is newer than this version reads (postern.host/1); hint: use the version that wrote it, postern 0.1.0"
        );
        let error = read("r.json", &MINIMAL.replace("postern.host/1", "postern.report/1")).unwrap_err();
        assert!(matches!(error, ReadError::OtherSchema { .. }), "{error}");
    }

    #[test]
    fn a_time_is_one_of_rfc_3339() {
        let at = |time: &str| read("h.json", &MINIMAL.replace("\"id\"", &format!("\"collected_at\":{time},\"id\"")));
        for good in ["\"2026-01-02T10:00:00Z\"", "\"2026-01-02T12:00:00.5+02:00\"", "null"] {
            assert!(at(good).is_ok(), "{good}");
        }
        for bad in ["\"\"", "\"yesterday\"", "\"2026-01-02\"", "\"2026-01-02T10:00:00\"", "\"1767348000\""] {
            let error = at(bad).unwrap_err().to_string();
            assert!(error.starts_with(&format!("h.json: `collected_at` is {bad}, and no time")), "{error}");
        }
    }

    #[test]
    fn damaged_and_foreign_files_say_where_and_what() {
        let error = read("h.json", &MINIMAL.replace("\"port\":80", "\"port\":800000")).unwrap_err();
        assert!(error.to_string().starts_with("h.json: line 1, column "), "{error}");
        assert!(error.to_string().contains("800000"), "{error}");
        for length in 1..MINIMAL.len() {
            assert!(read("h.json", &MINIMAL[..length]).is_err(), "{length}");
        }
        for text in ["", "hello", "{}", "[1]", "{\"a\":1}"] {
            assert!(matches!(read("f", text), Err(ReadError::Unknown { .. })), "{text}");
        }
    }
}
