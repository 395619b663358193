//! Asks hosts that answered once more, when all is asked: one that does not answer any more may have banned this vantage
//! meanwhile, and then its silence is no filter's.
#![expect(clippy::disallowed_methods, reason = "the connect sweep is a driver: it asks the clock")]

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::socket::{Attempt, ProbeSocket};
use crate::sweep::answer::Outcome;
use crate::sweep::pace::Pace;

/// How often a silent one is asked.
const TRIES: u32 = 3;
/// For an answer: the kernel sends a second SYN after a second (RFC 6298 section 2).
const PATIENCE: Duration = Duration::from_millis(1500);
/// Sockets at once, at most.
const MOST_AT_ONCE: usize = 4096;
/// Hosts that are looked at.
const MOST: usize = 1 << 16;
/// Between two looks while sockets wait for the pace.
const LOOK: Duration = Duration::from_millis(20);

/// The hosts whose endpoint does not answer any more, of the first [`MOST`], with so many sockets at once. `rate` in attempts per second.
pub fn fallen_silent(
    mut endpoints: Vec<SocketAddr>,
    at_once: usize,
    rate: f64,
    device: Option<&str>,
    cancel: &AtomicBool,
) -> HashSet<IpAddr> {
    endpoints.truncate(MOST);
    let mut pace = Pace::new(rate, Instant::now());
    for _ in 0..TRIES {
        let asked = std::mem::take(&mut endpoints);
        for some in asked.chunks(at_once.clamp(1, MOST_AT_ONCE)) {
            if cancel.load(Ordering::SeqCst) {
                return HashSet::new();
            }
            endpoints.extend(silent_ones(some, &mut pace, device));
        }
    }
    endpoints.into_iter().map(|endpoint| endpoint.ip()).collect()
}

/// Those that do not answer in time. What this machine cannot ask is not silent.
fn silent_ones(endpoints: &[SocketAddr], pace: &mut Pace, device: Option<&str>) -> Vec<SocketAddr> {
    let mut left: Vec<SocketAddr> = endpoints.to_vec();
    let mut pending: Vec<(SocketAddr, ProbeSocket, Instant)> = Vec::new();
    let mut silent = Vec::new();
    while !(left.is_empty() && pending.is_empty()) {
        let now = Instant::now();
        let granted = pace.take(left.len(), now);
        for endpoint in left.drain(..granted) {
            let Ok(socket) = ProbeSocket::new(endpoint.is_ipv4(), device) else { continue };
            match socket.start(endpoint) {
                Attempt::Pending => pending.push((endpoint, socket, now + PATIENCE)),
                Attempt::Ended(_) | Attempt::Exhausted(_) => end(&socket),
            }
        }
        let first = pending.iter().map(|(.., until)| until.saturating_duration_since(now)).min().unwrap_or(LOOK);
        wait(&pending, if left.is_empty() { first } else { first.min(LOOK) });
        let now = Instant::now();
        pending.retain(|(endpoint, socket, until)| {
            let is_over = match socket.check(*endpoint) {
                Attempt::Pending => now >= *until,
                // A neighbour that does not answer any more is as silent as one that drops.
                Attempt::Ended(Outcome::Timeout | Outcome::Local(_)) => true,
                Attempt::Ended(_) | Attempt::Exhausted(_) => {
                    end(socket);
                    return false;
                }
            };
            if is_over {
                silent.push(*endpoint);
            }
            !is_over
        });
    }
    silent
}

/// Resets what was accepted: nothing stays in TIME_WAIT.
fn end(socket: &ProbeSocket) {
    // Closing it would do, too.
    let _ = socket.dissolve();
}

/// Until one of the sockets has something to say, at most so long.
fn wait(pending: &[(SocketAddr, ProbeSocket, Instant)], longest: Duration) {
    let mut fds: Vec<PollFd<'_>> = pending.iter().map(|(_, socket, _)| PollFd::new(socket, PollFlags::OUT)).collect();
    // At most some seconds.
    let longest = Timespec { tv_sec: longest.as_secs() as i64, tv_nsec: longest.subsec_nanos().into() };
    // Interrupted or not: whoever waits looks again.
    let _ = poll(&mut fds, Some(&longest));
}
