//! JSON Schemas of what is written, generated from the types; the committed copies in `tests/data/schema/` are compared.

use serde_json::Value;

use super::ndjson::Record;
use crate::model::host_report::HostReport;
use crate::model::{PathAnswer, Report};

/// File names of the committed schemas with the schemas.
pub fn all() -> [(&'static str, Value); 4] {
    [
        ("postern.explain.json", schemars::schema_for!(PathAnswer).to_value()),
        ("postern.host.1.json", schemars::schema_for!(HostReport).to_value()),
        ("postern.ndjson.1.json", schemars::schema_for!(Record).to_value()),
        ("postern.report.1.json", schemars::schema_for!(Report).to_value()),
    ]
}
