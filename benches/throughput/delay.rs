//! A network that takes a millisecond each way: frames between two tap devices wait in a relay of this bench.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::lab::{SCANNER, TARGETS, namespace, shell};

/// The devices and the thread between them.
pub struct Delay {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Behind the delay the same hosts answer as 198.19.1.0/24.
pub const ROUTE: &str = "198.19.1.0/24";

impl Delay {
    /// Leads the route through the relay until it is dropped.
    pub fn start(each_way: Duration) -> Result<Self, String> {
        let open = |name: &str| namespace(name)?.inside(tap).map_err(|error| error.to_string());
        let near = open(SCANNER)?.map_err(|error| format!("a tap: {error}"))?;
        let far = open(TARGETS)?.map_err(|error| format!("a tap: {error}"))?;
        for (name, address) in [(SCANNER, "198.18.254.1"), (TARGETS, "198.18.254.2")] {
            shell(&format!("ip -n {name} addr add {address}/30 dev {DEVICE}"))?;
            shell(&format!("ip -n {name} link set {DEVICE} up txqueuelen 10000"))?;
        }
        shell(&format!("ip -n {SCANNER} route add {ROUTE} via 198.18.254.2"))?;
        // Answers go back the way that probes came.
        shell(&format!("ip -n {TARGETS} route add 198.18.254.0/30 dev {DEVICE} metric 1"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || relay(near, far, each_way, &stopped));
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn relay(mut near: File, mut far: File, delay: Duration, stop: &AtomicBool) {
    let mut queues: [VecDeque<(Instant, Vec<u8>)>; 2] = [VecDeque::new(), VecDeque::new()];
    let mut buffer = vec![0; 2048];
    while !stop.load(Ordering::Acquire) {
        let now = Instant::now();
        for (from, queue) in [&mut near, &mut far].into_iter().zip(&mut queues) {
            for _ in 0..256 {
                let Ok(length @ 1..) = from.read(&mut buffer) else { break };
                queue.push_back((now + delay, buffer[..length].to_vec()));
            }
        }
        for (to, queue) in [&mut far, &mut near].into_iter().zip(&mut queues) {
            while queue.front().is_some_and(|(due, _)| *due <= Instant::now()) {
                // A frame that finds no room is lost, as on a wire.
                if let Some((_, frame)) = queue.pop_front() {
                    let _ = to.write(&frame);
                }
            }
        }
        let due = queues.iter().filter_map(|queue| queue.front()).map(|(due, _)| *due).min();
        let wait = due.map_or(Duration::from_millis(20), |due| due.saturating_duration_since(Instant::now()));
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) };
        let mut events = [PollFd::new(&near, PollFlags::IN), PollFd::new(&far, PollFlags::IN)];
        let _ = poll(&mut events, Some(&timeout));
    }
}

#[expect(unsafe_code, reason = "TUNSETIFF has no wrapper")]
fn tap() -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short },
    };
    // The last byte stays 0.
    for (to, from) in request.ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(DEVICE.bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: TUNSETIFF (linux/if_tun.h) reads and writes one `ifreq`, which lives until the call returns.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), 0x4004_54ca, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(file) }
}

const DEVICE: &str = "pbtap0";
