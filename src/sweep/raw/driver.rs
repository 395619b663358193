//! Carries between the machine, the link, and the process that waits for results.
#![expect(clippy::disallowed_methods, reason = "the driver of the raw sweep: it asks the clock")]

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant, SystemTime};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::child::tell;
use super::dress::Dress;
use super::link::{Asked, Link, Load};
use super::messages::{Event, Job, STOP, Seen};
use super::routers::{Change, Routers};
use super::translated::Translated;
use crate::net::link::Packet;
use crate::sweep::SweepResult;
use crate::sweep::syn::{Batch, Machine, Next, Question, Unsent};
use crate::wire::{Mac, NeighbourAnswer, Reply};

/// All that is outside of the machine.
#[derive(Debug)]
pub struct Driver<'a, L> {
    stream: &'a UnixStream,
    link: L,
    dress: Dress,
    routers: Routers,
    translated: Translated,
    /// One for each outlet, filled from a batch.
    loads: Vec<Option<Load>>,
    dropped: u64,
}

/// What the other process wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    GoOn,
    Stop,
    /// Nobody waits for a result any more.
    Gone,
}

/// A packet that counts.
enum Heard {
    Neighbour(NeighbourAnswer),
    Reply(Reply),
}

impl<'a, L: Link> Driver<'a, L> {
    pub fn new(stream: &'a UnixStream, link: L, job: &Job) -> Self {
        let dress = Dress::new(&job.exits.exits, &job.exits.outlets);
        let routers = Routers::new(&job.exits, &job.known, Instant::now());
        let loads = job.exits.outlets.iter().map(|_| None).collect();
        Self { stream, link, dress, routers, translated: Translated::default(), loads, dropped: 0 }
    }

    /// Asks for the routers, each by each way to it, until all are known or had time to answer. One that stays silent is
    /// taken as known to the kernel.
    pub fn find_routers(&mut self) {
        let until = Instant::now() + ROUTERS_WAIT;
        while self.routers.any_missing() && Instant::now() < until {
            self.ask_routers(Instant::now());
            self.link.wait(Duration::from_millis(5));
            let (routers, dress, now) = (&mut self.routers, &mut self.dress, Instant::now());
            self.link.receive(&mut |packet| {
                if let Some(Heard::Neighbour(answer)) = heard(packet) {
                    hear_router(routers, dress, packet.interface, answer, now);
                }
            });
            for (interface, address, mac) in self.routers.believe_kernel(now) {
                self.dress.set_router(interface, address, mac);
            }
        }
    }

    fn ask_routers(&mut self, now: Instant) {
        let questions = self.routers.due(now);
        if !questions.is_empty() {
            self.dress_questions(&questions);
            self.hand_over();
        }
    }

    /// Runs the machine to its end; `None` when nobody waits for the result.
    pub fn run(mut self, mut machine: Machine<'_>) -> Option<SweepResult> {
        let mut batch = Batch::new(BATCH);
        let mut looked = Instant::now();
        let mut told = looked;
        let interrupted = loop {
            let now = Instant::now();
            self.listen(&mut machine, now);
            self.settle(&mut machine);
            if now.duration_since(looked) >= LOOK {
                looked = now;
                self.count_losses(&mut machine, now);
                self.ask_routers(now);
                match self.order() {
                    Order::GoOn => {}
                    Order::Stop => break true,
                    Order::Gone => return None,
                }
            }
            if now.duration_since(told) >= TELL {
                told = now;
                // One who is gone is noticed by the order.
                let _ = tell(self.stream, &Event::from(machine.progress()));
            }
            let next = if self.link.has_room() {
                let next = machine.poll_transmit(now, &mut batch);
                self.transmit(&mut machine, &batch, now);
                next
            } else {
                Next::Wait(now + ROOM_LOOK)
            };
            match next {
                Next::Send => {}
                Next::Wait(until) => {
                    let longest = until.saturating_duration_since(Instant::now()).min(LOOK);
                    self.link.wait(longest);
                }
                Next::Done => break false,
            }
        };
        self.send_the_rest(&mut machine);
        self.count_losses(&mut machine, Instant::now());
        // Nobody is to take the silence for a standstill. One who is gone is noticed when the result is told.
        let _ = tell(self.stream, &Event::SummingUp);
        Some(machine.finish(Instant::now(), interrupted))
    }

    /// Gives the machine what has arrived, and the other process what is open.
    fn listen(&mut self, machine: &mut Machine<'_>, now: Instant) {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (stream, translated) = (self.stream, &self.translated);
        let (routers, dress) = (&mut self.routers, &mut self.dress);
        self.link.receive(&mut |packet| {
            // The kernel's time is the wall clock's, which may have been set meanwhile.
            let age = wall.checked_sub(packet.at).filter(|age| *age < OLDEST).unwrap_or_default();
            let at = now.checked_sub(age).unwrap_or(now);
            match heard(packet) {
                Some(Heard::Neighbour(answer)) => {
                    if hear_router(routers, dress, packet.interface, answer, now) == Some(Change::Found) {
                        machine.on_router_found();
                    }
                    // What is said on one link is nothing to the others.
                    let exit = machine.source_to(answer.address);
                    if exit.and_then(|exit| dress.interface(exit)) != Some(packet.interface) {
                        return;
                    }
                    machine.on_resolved(at, answer.address, Some(answer.mac));
                }
                Some(Heard::Reply(reply)) => {
                    let is_plain = translated.is_empty() || machine.is_proven(&reply);
                    let reply = if is_plain { reply } else { translated.undo(reply) };
                    if let Some(open) = machine.on_packet(at, &reply) {
                        let _ = tell(stream, &Event::Found(Box::new(Seen::from(&open))));
                    }
                }
                None => {}
            }
        });
    }

    /// Tells the machine what did not leave.
    fn settle(&mut self, machine: &mut Machine<'_>) {
        self.link.collect(&mut |failure| match &failure.probe {
            Asked::Probe(probe) => machine.on_unsent(probe, failure.why),
            Asked::Neighbour(question) => machine.on_question_unsent(question),
        });
    }

    /// What was handed over and has not left is not asked: waits until that is known.
    fn send_the_rest(&mut self, machine: &mut Machine<'_>) {
        let until = Instant::now() + LAST_FRAMES;
        loop {
            self.settle(machine);
            let now = Instant::now();
            if self.link.is_idle() || now >= until {
                break;
            }
            self.listen(machine, now);
            self.link.wait(ROOM_LOOK);
        }
    }

    fn count_losses(&mut self, machine: &mut Machine<'_>, now: Instant) {
        let dropped = self.link.drops().dropped;
        let receive_drops = dropped - self.dropped;
        self.dropped = dropped;
        machine.on_drops(now, receive_drops);
    }

    fn order(&self) -> Order {
        let mut byte = [0; 1];
        match recv(self.stream, &mut byte[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => Order::Gone,
            Ok(_) if byte == [STOP] => Order::Stop,
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Order::GoOn,
            Err(_) => Order::Gone,
        }
    }

    /// Hands a batch over, outlet by outlet.
    fn transmit(&mut self, machine: &mut Machine<'_>, batch: &Batch, now: Instant) {
        self.dress_questions(&batch.questions);
        for probe in &batch.probes {
            let Some(load) = load_of(&mut self.loads, &mut self.link, self.dress.outlet(probe.source)) else {
                continue;
            };
            let mut length = None;
            load.frames.push(|slot| {
                length = self.dress.probe(probe, slot);
                length.unwrap_or(0)
            });
            match length {
                Some(_) => {
                    load.probes.push(Asked::Probe(*probe));
                    if let Some(source) = self.dress.kernel_routed(probe.source) {
                        self.translated.sent(probe, source, now);
                    }
                }
                // Its router does not answer.
                None => machine.on_unsent(probe, Unsent::NoRouter),
            }
        }
        self.hand_over();
    }

    fn dress_questions(&mut self, questions: &[Question]) {
        for question in questions {
            let Some(load) = load_of(&mut self.loads, &mut self.link, self.dress.outlet(question.source)) else {
                continue;
            };
            let mut length = None;
            load.frames.push(|slot| {
                length = self.dress.question(question, slot);
                length.unwrap_or(0)
            });
            load.probes.extend(length.map(|_| Asked::Neighbour(*question)));
        }
    }

    fn hand_over(&mut self) {
        for load in self.loads.iter_mut().filter_map(Option::take) {
            self.link.send(load);
        }
    }
}

/// The load that is being filled for an outlet.
fn load_of<'l>(loads: &'l mut [Option<Load>], link: &mut impl Link, outlet: Option<usize>) -> Option<&'l mut Load> {
    let outlet = outlet?;
    Some(loads.get_mut(outlet)?.get_or_insert_with(|| link.load(outlet)))
}

/// Takes in who is a router's neighbour.
fn hear_router(
    routers: &mut Routers,
    dress: &mut Dress,
    interface: u32,
    answer: NeighbourAnswer,
    now: Instant,
) -> Option<Change> {
    let change = routers.heard(interface, answer.address, answer.mac, now)?;
    dress.set_router(interface, answer.address, answer.mac);
    Some(change)
}

/// What a packet is to a sweep.
fn heard(packet: &Packet<'_>) -> Option<Heard> {
    if is_neighbour(packet) {
        NeighbourAnswer::read(packet.protocol, packet.bytes, Mac(packet.sender)).map(Heard::Neighbour)
    } else {
        Reply::from_ip(packet.bytes).map(Heard::Reply)
    }
}

/// ARP, or an advertisement of neighbour discovery (ICMPv6 type 136).
fn is_neighbour(packet: &Packet<'_>) -> bool {
    match packet.protocol {
        0x0806 => true,
        0x86dd => packet.bytes.get(6) == Some(&58) && packet.bytes.get(40) == Some(&136),
        _ => false,
    }
}

/// Probes at a time: some tenths of a millisecond's worth at full speed.
const BATCH: usize = 512;
/// Between two looks at a way out that is full. What waits for it is worth some milliseconds at full speed.
const ROOM_LOOK: Duration = Duration::from_micros(250);
/// A way out that stays full has given up on what it was handed by then.
const LAST_FRAMES: Duration = Duration::from_secs(3);
/// Between two looks at losses and orders.
const LOOK: Duration = Duration::from_millis(20);
const TELL: Duration = Duration::from_millis(100);
/// A timestamp older than this is of a clock that was set.
const OLDEST: Duration = Duration::from_secs(10);
/// For routers at the start: three questions' time.
const ROUTERS_WAIT: Duration = Duration::from_millis(1500);
