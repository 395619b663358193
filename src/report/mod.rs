//! One file an output format: a function of the report and a writer.
//!
//! Whatever a peer or a host sent is shown through [`escape`]: no byte of it reaches a terminal as a control character.

pub mod escape;
pub mod explain;
mod gaps;
pub mod host_table;
pub mod json;
pub mod layout;
mod matrix;
pub mod missed;
pub mod ndjson;
pub mod probe_list;
pub mod schema;
pub mod table;
