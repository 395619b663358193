//! Where results go: files and stdout, whole at the end or streamed as found.
#![expect(clippy::disallowed_methods, reason = "creates the files that -o names")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::sync::Mutex;

use crate::cli::{Destination, Exit, Format, OutputSpec};
use crate::model::host_report::HostReport;
use crate::model::report::EndpointEntry;
use crate::model::{PathAnswer, Report, ServiceFacts};
use crate::report::ndjson::{self, Record};
use crate::report::{explain, host_table, json, probe_list, table};

/// The outputs of a run. Files are created before anything is sent, so that a run does not end without a place for its
/// results.
pub struct Sink {
    outputs: Vec<Mutex<Output>>,
}

struct Output {
    format: Format,
    name: String,
    is_terminal: bool,
    to: Box<dyn Write + Send>,
    /// The first error of a streamed write; later ones follow from it.
    failed: Option<io::Error>,
}

/// An output that could not be written.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot write results to {name}: {error}; hint: -o FORMAT=FILE with a file in a directory that you may write to"
)]
pub struct SinkError {
    name: String,
    error: io::Error,
}

impl Sink {
    /// Opens all outputs.
    pub fn open(outputs: &[OutputSpec]) -> Result<Self, SinkError> {
        let outputs = outputs
            .iter()
            .map(|spec| {
                let (name, is_terminal, to): (String, bool, Box<dyn Write + Send>) = match &spec.destination {
                    Destination::Stdout => {
                        let stdout = io::stdout();
                        ("stdout".to_owned(), stdout.is_terminal(), Box::new(BufWriter::new(stdout)))
                    }
                    Destination::File(path) => {
                        let name = path.display().to_string();
                        let file = File::create(path).map_err(|error| SinkError { name: name.clone(), error })?;
                        (name, false, Box::new(BufWriter::new(file)))
                    }
                };
                Ok(Mutex::new(Output { format: spec.format, name, is_terminal, to, failed: None }))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { outputs })
    }

    /// Streams an endpoint as it is found.
    pub fn endpoint(&self, entry: &EndpointEntry) {
        self.stream(&Record::Endpoint(Box::new(entry.clone())));
    }

    /// Streams one record to the outputs that take streams.
    pub fn stream(&self, record: &Record) {
        for output in &self.outputs {
            let Ok(mut output) = output.lock() else { continue };
            if output.format == Format::Ndjson && output.failed.is_none() {
                let written = ndjson::write(record, &mut output.to).and_then(|()| output.to.flush());
                output.failed = written.err();
            }
        }
    }

    /// Writes the finished report everywhere.
    ///
    /// # Errors
    /// The first output that failed, after all others were written: what was found is not lost to one full disk.
    pub fn finish(self, report: &Report, exit: Exit) -> Result<(), SinkError> {
        for record in ndjson::closing_records(report, exit.code()) {
            self.stream(&record);
        }
        self.write_all(|output| match output.format {
            Format::Table => table::write(report, style(output.is_terminal), &mut output.to),
            Format::Json => json::write(report, &mut output.to),
            Format::Ndjson => Ok(()),
        })
    }

    /// Writes a host report everywhere.
    pub fn finish_host(self, report: &HostReport) -> Result<(), SinkError> {
        self.write_all(|output| match output.format {
            Format::Table => host_table::write(report, style(output.is_terminal), &mut output.to),
            Format::Json | Format::Ndjson => json::write_host(report, &mut output.to),
        })
    }

    /// Writes the answer about a packet everywhere.
    pub fn finish_answer(self, answer: &PathAnswer) -> Result<(), SinkError> {
        self.write_all(|output| match output.format {
            Format::Table => explain::write(answer, style(output.is_terminal), &mut output.to),
            Format::Json | Format::Ndjson => json::write_answer(answer, &mut output.to),
        })
    }

    /// Writes the list of probe definitions everywhere.
    pub fn finish_probes(self, facts: &BTreeMap<String, ServiceFacts>) -> Result<(), SinkError> {
        self.write_all(|output| match output.format {
            Format::Table => probe_list::write_table(facts, &mut output.to),
            Format::Json | Format::Ndjson => probe_list::write_json(facts, &mut output.to),
        })
    }

    fn write_all(self, write: impl Fn(&mut Output) -> io::Result<()>) -> Result<(), SinkError> {
        let mut first = None;
        for output in self.outputs {
            let Ok(mut output) = output.into_inner() else { continue };
            let written = match output.failed.take() {
                Some(error) => Err(error),
                None => write(&mut output).and_then(|()| output.to.flush()),
            };
            match written {
                // A reader that closed the pipe (head, less) has seen what it wanted.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                Err(error) => {
                    first.get_or_insert(SinkError { name: output.name, error });
                }
                Ok(()) => {}
            }
        }
        first.map_or(Ok(()), Err)
    }
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").field("outputs", &self.outputs.len()).finish()
    }
}

/// Colours on a terminal unless NO_COLOR is set (no-color.org); the terminal's width, else what files read well in.
fn style(is_terminal: bool) -> table::TableStyle {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let columns = rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| usize::from(size.ws_col));
    table::TableStyle {
        color: is_terminal && !no_color,
        width: columns.filter(|columns| is_terminal && *columns >= 60).unwrap_or(120),
    }
}
