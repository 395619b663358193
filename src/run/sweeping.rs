//! The sweeping process of a raw sweep: what its program does, started once more by itself. Its job and its sockets come
//! on stdin.

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use crate::cli::Exit;
use crate::model::{PortRanges, ProbeSpace, Shard, Transport};
use crate::sweep::raw::child;
use crate::sweep::raw::messages::SpaceJob;
use crate::targets::{Space, TargetSet};

/// Serves the one job.
pub fn serve() -> Exit {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    match stdin.map(|stdin| child::serve(&UnixStream::from(stdin), space_of)) {
        Ok(Ok(())) => Exit::Clean,
        Ok(Err(_)) | Err(_) => Exit::Failed,
    }
}

/// What a space is rebuilt from in the sweeping process.
pub fn space_job(targets: &TargetSet, ports: &PortRanges, seed: u64, shard: Shard) -> SpaceJob {
    let shard = if shard.is_whole() { String::new() } else { shard.to_string() };
    SpaceJob { ranges: targets.ranges().collect(), ports: ports.to_string(), seed, shard }
}

fn space_of(job: &SpaceJob) -> Result<Box<dyn ProbeSpace>, String> {
    let ports: PortRanges = job.ports.parse().map_err(|error| format!("{error}"))?;
    let space = Space::new(TargetSet::from_ranges(job.ranges.iter().copied()), &ports, Transport::Tcp, job.seed);
    if job.shard.is_empty() {
        return Ok(Box::new(space));
    }
    let shard: Shard = job.shard.parse().map_err(|error| format!("{error}"))?;
    Ok(Box::new(space.sharded(shard)))
}
