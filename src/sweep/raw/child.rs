//! The sweeping process: takes its job and its sockets, gives up everything else, and has the machine run.
#![expect(clippy::disallowed_methods, reason = "the driver of the raw sweep: it asks the clock")]

use std::io::{self, BufWriter, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::closed::Closed;
use super::driver::Driver;
use super::link::RawLink;
use super::messages::{Event, Job, SpaceJob};
use super::opened::{Opened, open};
use super::parts::events_of;
use super::sender::Sender;
use crate::model::ProbeSpace;
use crate::net::confine::{ConfineError, give_up_calls, give_up_capabilities};
use crate::net::handover::receive_descriptors;
use crate::sweep::SweepResult;
use crate::sweep::syn::{DEFAULT_RESOLVE_RATE, Machine, SynSettings, Way, Ways};
use crate::sweep::tally::DEFAULT_MOST_HOSTS;

/// Why the process could not sweep.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    #[error("the job: {0}; hint: both processes are to be of one version")]
    Job(#[from] serde_json::Error),
    #[error("{what}: {error}")]
    Io { what: String, error: io::Error },
    #[error("sending by AF_XDP on {interface}: {error}; hint: {hint}; `--transmit auto` does without")]
    Xdp { interface: String, error: io::Error, hint: String },
    #[error(transparent)]
    Confine(#[from] ConfineError),
    #[error("the space of the job: {0}")]
    Space(String),
}

/// Serves one job from the other end of `stream`. `space_of` makes the space again that the job speaks of.
///
/// # Errors
/// The job cannot be done, which the other end has been told then; or the other end is gone.
pub fn serve(
    stream: &UnixStream,
    space_of: impl FnOnce(&SpaceJob) -> Result<Box<dyn ProbeSpace>, String>,
) -> Result<(), ChildError> {
    let told = match sweep(stream, space_of) {
        Ok(Some(result)) => tell_result(stream, result),
        // Nobody is there to tell.
        Ok(None) => return Ok(()),
        Err(error) => tell(stream, &Event::Failed { why: error.to_string() }),
    };
    told.map_err(failed("telling the result"))
}

/// Writes a result, a line for each of its parts.
///
/// # Errors
/// The other end is gone.
pub fn tell_result(stream: &UnixStream, result: SweepResult) -> io::Result<()> {
    let mut buffered = BufWriter::with_capacity(1 << 16, stream);
    for event in events_of(result) {
        serde_json::to_writer(&mut buffered, &event)?;
        buffered.write_all(b"\n")?;
    }
    buffered.flush()
}

/// Writes an event as a line.
///
/// # Errors
/// The other end is gone.
pub fn tell(mut stream: &UnixStream, event: &Event) -> io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    stream.write_all(&line)
}

fn sweep(
    stream: &UnixStream,
    space_of: impl FnOnce(&SpaceJob) -> Result<Box<dyn ProbeSpace>, String>,
) -> Result<Option<SweepResult>, ChildError> {
    give_up_capabilities()?;
    let mut job = take_job(stream)?;
    let count = 1 + job.descriptors.iter().map(|outlet| outlet.count()).sum::<usize>();
    let descriptors = receive_descriptors(stream, count).map_err(failed("the sockets"))?;
    let Opened { receiver, lanes, transmit } = open(&mut job, descriptors)?;
    let space = space_of(&job.space).map_err(ChildError::Space)?;
    // The last threads: none can be started later.
    let sender = Sender::start(lanes).map_err(failed("a thread"))?;
    give_up_calls()?;
    let mut driver = Driver::new(stream, RawLink { receiver, sender }, &job);
    driver.find_routers();
    let machine = Machine::new(space.as_ref(), settings(&job), Instant::now());
    Ok(driver.run(machine).map(|mut result| {
        result.stats.transmit = transmit;
        result.gaps.extend(job.closed.iter().map(Closed::gap));
        result
    }))
}

fn take_job(mut stream: &UnixStream) -> Result<Job, ChildError> {
    let mut length = [0; 8];
    stream.read_exact(&mut length).map_err(failed("the job"))?;
    let mut text = Vec::new();
    let length = u64::from_ne_bytes(length);
    stream.take(length).read_to_end(&mut text).map_err(failed("the job"))?;
    Ok(serde_json::from_slice(&text)?)
}

fn settings(job: &Job) -> SynSettings {
    let ways = job.exits.reaches.iter().map(|reach| {
        let way = reach.exit.map(|source| Way { source, hop: reach.hop });
        (reach.first, reach.last, way)
    });
    SynSettings {
        sources: job.exits.exits.iter().map(|exit| exit.source).collect(),
        ways: Ways::from_ranges(ways),
        source_ports: job.source_ports.clone(),
        rate: job.rate,
        host_rate: job.host_rate,
        recall: job.recall,
        resolve_rate: DEFAULT_RESOLVE_RATE,
        most_hosts: DEFAULT_MOST_HOSTS,
        own: job.own.clone(),
        key: job.key,
    }
}

fn failed(what: &str) -> impl Fn(io::Error) -> ChildError + '_ {
    move |error| ChildError::Io { what: what.to_owned(), error }
}
