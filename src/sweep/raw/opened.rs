//! Takes the sockets of a job into use.

use std::io;
use std::os::fd::OwnedFd;

use super::child::ChildError;
use super::closed::Closed;
use super::exits::Outlet as OutletJob;
use super::messages::{Descriptors, Job};
use crate::net::link::raw::AF_PACKET;
use crate::net::link::ring::Receiver;
use crate::net::link::{Outlet, OutletSockets, xdp};

/// Sockets in use.
#[derive(Debug)]
pub struct Opened {
    pub receiver: Receiver,
    /// The ways out of each lane, one for each outlet.
    pub lanes: Vec<Vec<Outlet>>,
    /// How they are called.
    pub transmit: String,
}

/// Takes the `descriptors` of a job into use. A way out that is not to be had is closed, in the job too.
///
/// # Errors
/// No way in; AF_XDP is asked for and not to be had.
pub fn open(job: &mut Job, descriptors: Vec<OwnedFd>) -> Result<Opened, ChildError> {
    let mut descriptors = descriptors.into_iter();
    let mut next = || -> Result<OwnedFd, ChildError> {
        descriptors.next().ok_or_else(|| failed("the sockets")(io::ErrorKind::UnexpectedEof.into()))
    };
    let receiver = Receiver::new(next()?, &job.source_ports, &job.lower).map_err(failed("the receiving ring"))?;
    let mut lanes: Vec<Vec<Outlet>> = (0..job.lanes).map(|_| Vec::new()).collect();
    let mut names: Vec<&str> = Vec::new();
    for (number, descriptors) in job.descriptors.iter().enumerate() {
        let sockets = match *descriptors {
            Descriptors::Frames { xdp } => {
                let xdp = (0..xdp).map(|_| next()).collect::<Result<_, _>>()?;
                Some(OutletSockets::Ethernet { xdp, frames: next()? })
            }
            Descriptors::Packets { ipv4, ipv6 } => Some(OutletSockets::Packets {
                ipv4: if ipv4 { Some(next()?) } else { None },
                ipv6: if ipv6 { Some(next()?) } else { None },
            }),
            Descriptors::Closed => None,
        };
        let index = match job.exits.outlets.get(number) {
            Some(OutletJob::Ethernet { interface, .. }) => *interface,
            Some(OutletJob::Packets) | None => 0,
        };
        let opened = sockets.and_then(|sockets| match Outlet::lanes(sockets, index, job.lanes) {
            Ok(opened) => Some(opened),
            Err(error) => {
                job.closed.extend(job.names.get(number).map(|name| Closed::by_error(name, error)));
                job.exits.close(number);
                None
            }
        });
        let Some((ways, without_xdp)) = opened else {
            lanes.iter_mut().for_each(|lane| lane.push(Outlet::Closed));
            continue;
        };
        if job.xdp_only && matches!(ways.first(), Some(Outlet::Frames(_))) {
            let error = without_xdp.unwrap_or_else(|| io::ErrorKind::Unsupported.into());
            let interface = job.names.get(number).cloned().unwrap_or_default();
            return Err(ChildError::Xdp { interface, hint: xdp::hint(&error, job.lanes), error });
        }
        for (way, lane) in ways.into_iter().zip(&mut lanes) {
            let way = if job.xdp_only { way.without_instead() } else { way };
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
    Ok(Opened { receiver, lanes, transmit: names.join(",") })
}

fn failed(what: &str) -> impl Fn(io::Error) -> ChildError + '_ {
    move |error| ChildError::Io { what: what.to_owned(), error }
}
