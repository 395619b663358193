//! The sweeping process: takes its job and its sockets, gives up everything else, and has the machine run.
#![expect(clippy::disallowed_methods, reason = "the driver of the raw sweep: it asks the clock")]

use std::io::{self, BufWriter, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use super::driver::Driver;
use super::exits::Outlet as OutletJob;
use super::link::RawLink;
use super::messages::{Descriptors, Event, Job, SpaceJob};
use super::parts::events_of;
use super::sender::Sender;
use crate::model::ProbeSpace;
use crate::net::confine::{ConfineError, give_up_calls, give_up_capabilities};
use crate::net::handover::receive_descriptors;
use crate::net::link::raw::AF_PACKET;
use crate::net::link::ring::Receiver;
use crate::net::link::{Outlet, OutletSockets};
use crate::sweep::SweepResult;
use crate::sweep::syn::{DEFAULT_MOST_HOSTS, DEFAULT_RESOLVE_RATE, Hop, Machine, SynSettings, Way, Ways};

/// Why the process could not sweep.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    #[error("the job: {0}; hint: both processes are to be of one version")]
    Job(#[from] serde_json::Error),
    #[error("{what}: {error}")]
    Io { what: String, error: io::Error },
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
    let job = take_job(stream)?;
    let (receiver, lanes, transmit) = take_sockets(stream, &job)?;
    let space = space_of(&job.space).map_err(ChildError::Space)?;
    // The last threads: none can be started later.
    let sender = Sender::start(lanes).map_err(failed("a thread"))?;
    give_up_calls()?;
    let mut driver = Driver::new(stream, RawLink { receiver, sender }, &job);
    driver.find_routers(&job.known);
    let machine = Machine::new(space.as_ref(), settings(&job), Instant::now());
    Ok(driver.run(machine).map(|mut result| {
        result.stats.transmit = transmit;
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

/// The sockets in use, the ways out of each lane, and how they are called.
fn take_sockets(stream: &UnixStream, job: &Job) -> Result<(Receiver, Vec<Vec<Outlet>>, String), ChildError> {
    let count = 1 + job.descriptors.iter().map(|outlet| outlet.count()).sum::<usize>();
    let mut descriptors = receive_descriptors(stream, count).map_err(failed("the sockets"))?.into_iter();
    let mut next = || -> Result<OwnedFd, ChildError> {
        descriptors.next().ok_or_else(|| failed("the sockets")(io::ErrorKind::UnexpectedEof.into()))
    };
    let receiver = Receiver::new(next()?, &job.source_ports).map_err(failed("the receiving ring"))?;
    let mut lanes: Vec<Vec<Outlet>> = (0..job.lanes).map(|_| Vec::new()).collect();
    let mut names: Vec<&str> = Vec::new();
    for (outlet, descriptors) in job.exits.outlets.iter().zip(&job.descriptors) {
        let sockets = match *descriptors {
            Descriptors::Frames { xdp } => {
                let xdp = (0..xdp).map(|_| next()).collect::<Result<_, _>>()?;
                OutletSockets::Ethernet { xdp, frames: next()? }
            }
            Descriptors::Packets { ipv4, ipv6 } => OutletSockets::Packets {
                ipv4: if ipv4 { Some(next()?) } else { None },
                ipv6: if ipv6 { Some(next()?) } else { None },
            },
        };
        let index = match outlet {
            OutletJob::Ethernet { interface, .. } => *interface,
            OutletJob::Packets => 0,
        };
        let (ways, without_xdp) = Outlet::lanes(sockets, index, job.lanes).map_err(failed("a way out"))?;
        if job.xdp_only && matches!(ways.first(), Some(Outlet::Frames(_))) {
            return Err(failed("AF_XDP")(without_xdp.unwrap_or_else(|| io::ErrorKind::Unsupported.into())));
        }
        for (way, lane) in ways.into_iter().zip(&mut lanes) {
            if !names.contains(&way.name()) {
                names.push(way.name());
            }
            lane.push(way);
        }
    }
    if job.xdp_only && names.contains(&AF_PACKET) {
        // Rather one thread than another way out.
        lanes.truncate(1);
        names.retain(|name| *name != AF_PACKET);
    }
    Ok((receiver, lanes, names.join(",")))
}

fn settings(job: &Job) -> SynSettings {
    let hop = |on_link| if on_link { Hop::OnLink } else { Hop::Routed };
    let ways = job.exits.reaches.iter().map(|reach| {
        let way = reach.exit.map(|source| Way { source, hop: hop(reach.on_link) });
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
