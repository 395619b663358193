//! The threads that hand frames to the kernel. Nearly all of a sweep's time goes there (the kernel carries a packet on the
//! core of the one that sends it, over a veth pair even through the target's rules), so there is one for each core, up to
//! a number; the machine, which takes a tenth of that, thinks and reads answers beside them.
#![expect(clippy::disallowed_methods, reason = "a driver: it gives up on a way out that stays full")]

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, Sender as Giver, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::link::{Failure, Load};
use crate::net::link::Outlet;
use crate::sweep::syn::Unsent;

/// The threads, and what waits for them.
#[derive(Debug)]
pub struct Sender {
    loads: Option<SyncSender<Load>>,
    /// What the threads have no room for yet: what is given while [`Self::has_room`] says no.
    backlog: VecDeque<Load>,
    /// Unbounded: there are never more in it than were given to [`Self::send`].
    returned: Receiver<Load>,
    give_back: Giver<Load>,
    threads: Vec<JoinHandle<()>>,
    spare: Vec<Load>,
    out: usize,
}

impl Sender {
    /// Starts a thread for each lane, which has a way out for each outlet, and returns once they run.
    ///
    /// # Errors
    /// There is none to be had.
    pub fn start(lanes: Vec<Vec<Outlet>>) -> io::Result<Self> {
        let (loads, waiting) = sync_channel::<Load>(WAITING);
        let (give_back, returned) = channel::<Load>();
        let (begun, begins) = channel::<()>();
        let waiting = Arc::new(Mutex::new(waiting));
        let count = lanes.len();
        let mut threads = Vec::new();
        for outlets in lanes {
            let (waiting, give_back, begun) = (Arc::clone(&waiting), give_back.clone(), begun.clone());
            let thread = thread::Builder::new().name("transmit".to_owned()).spawn(move || {
                // Nobody waits any more only when the process ends.
                let _ = begun.send(());
                carry(outlets, &waiting, &give_back);
            })?;
            threads.push(thread);
        }
        // What a thread asks of the system at its start is done then.
        for _ in 0..count {
            begins.recv().map_err(|_| io::Error::other("a thread ended at once"))?;
        }
        let (backlog, spare) = (VecDeque::new(), Vec::new());
        Ok(Self { loads: Some(loads), backlog, returned, give_back, threads, spare, out: 0 })
    }

    /// An empty load for an outlet.
    pub fn load(&mut self, outlet: usize) -> Load {
        let mut load = self.spare.pop().unwrap_or_default();
        load.outlet = outlet;
        load
    }

    /// Takes a load, and waits for nobody.
    pub fn send(&mut self, load: Load) {
        self.out += 1;
        self.backlog.push_back(load);
        self.pass_on();
    }

    /// Whether the next load would be on its way at once, or wait for a thread in good company.
    pub fn has_room(&mut self) -> bool {
        self.pass_on();
        self.backlog.is_empty()
    }

    fn pass_on(&mut self) {
        let Some(loads) = &self.loads else { return };
        while let Some(load) = self.backlog.pop_front() {
            match loads.try_send(load) {
                Ok(()) => {}
                Err(TrySendError::Full(load)) => {
                    self.backlog.push_front(load);
                    break;
                }
                Err(TrySendError::Disconnected(mut load)) => {
                    // All threads have panicked, and told of it.
                    load.fail_from(0, Unsent::Device);
                    let _ = self.give_back.send(load);
                }
            }
        }
    }

    /// Takes back what has been sent; `failed` is told of each frame that did not leave.
    pub fn collect(&mut self, failed: &mut dyn FnMut(&Failure)) {
        while let Ok(mut load) = self.returned.try_recv() {
            self.out -= 1;
            load.failed.iter().for_each(&mut *failed);
            load.failed.clear();
            load.frames.clear();
            load.probes.clear();
            self.spare.push(load);
        }
    }

    /// Whether everything has been sent.
    pub const fn is_idle(&self) -> bool {
        self.out == 0
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.loads = None;
        for thread in self.threads.drain(..) {
            // A panic there has told of itself.
            let _ = thread.join();
        }
    }
}

/// Sends what comes, until nothing comes any more.
fn carry(mut outlets: Vec<Outlet>, waiting: &Mutex<Receiver<Load>>, give_back: &Giver<Load>) {
    loop {
        // The one that waits holds the lock: the next load is for it. A receiver is never left half-done.
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(mut load) = next else { break };
        if let Some(outlet) = outlets.get_mut(load.outlet) {
            send(outlet, &mut load);
        }
        if give_back.send(load).is_err() {
            break;
        }
    }
}

/// Sends all of a load, and waits for a way out that is full.
pub fn send(outlet: &mut Outlet, load: &mut Load) {
    let mut from = 0;
    let mut stuck: Option<Instant> = None;
    while from < load.frames.len() {
        match outlet.send(&load.frames, from) {
            Ok(0) => {
                let since = *stuck.get_or_insert_with(Instant::now);
                if since.elapsed() > GIVE_UP {
                    outlet.give_up();
                    load.fail_from(from, Unsent::Device);
                    return;
                }
                thread::sleep(PAUSE);
            }
            Ok(sent) => {
                from += sent;
                stuck = None;
            }
            Err(error) => {
                let why = why(&error);
                if why == Unsent::Device {
                    load.fail_from(from, why);
                    return;
                }
                load.failed.push(Failure { probe: load.probes[from], why });
                from += 1;
            }
        }
    }
}

fn why(error: &io::Error) -> Unsent {
    match error.raw_os_error() {
        Some(libc::EPERM) => Unsent::Forbidden,
        Some(libc::ENETDOWN | libc::ENODEV | libc::ENXIO) => Unsent::Device,
        _ => Unsent::NoRoute,
    }
}

/// Loads that wait for a thread: some milliseconds' worth.
const WAITING: usize = 6;
const PAUSE: Duration = Duration::from_micros(50);
const GIVE_UP: Duration = Duration::from_millis(500);
