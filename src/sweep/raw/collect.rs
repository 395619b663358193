//! Takes in what the sweeping process tells, until the end or until it is gone.
#![expect(clippy::disallowed_methods, reason = "the driver of the raw sweep: it asks the clock")]

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::kept::Kept;
use super::loss::{Loss, UNINTERRUPTED};
use super::messages::{Done, Event, STOP};
use crate::model::report::{Gap, Sweep};
use crate::model::{PortState, ProbeSpace, Reason};
use crate::net::pressure::Pressure;
use crate::sweep::{Progress, SweepEvent, SweepResult};

/// What came so far.
#[derive(Debug)]
pub struct Collected<'s> {
    pub kept: Kept<'s>,
    progress: Progress,
    /// It has said something of the sweep.
    pub began: bool,
    /// Bytes of all that was told to be kept.
    said: u64,
    most_said: u64,
    patience: Patience,
    /// The pressure when this machine's connection tracking was fullest.
    pub fullest: Pressure,
}

impl<'s> Collected<'s> {
    /// Nothing, of what is asked in `space`.
    pub fn new(space: &'s dyn ProbeSpace) -> Self {
        Self {
            kept: Kept::new(space),
            progress: Progress::default(),
            began: false,
            said: 0,
            most_said: most_said(space),
            patience: Patience::new(PATIENCE, SUMMING),
            fullest: Pressure::default(),
        }
    }

    /// With room for so many bytes of text.
    #[must_use]
    pub fn with_room(mut self, bytes: u64) -> Self {
        self.most_said = self.most_said.min(bytes);
        self
    }

    /// With so much patience once it was asked to stop: for the next part of a result, and while it sums up.
    #[must_use]
    pub fn with_patience(mut self, word: Duration, sum: Duration) -> Self {
        self.patience = Patience::new(word, sum);
        self
    }

    /// Until the result is there, or the other end is closed (`None`). What is found goes to `events`; `cancel` has the
    /// other end asked to stop.
    ///
    /// # Errors
    /// Why there is no result.
    pub fn until_the_end(
        &mut self,
        mut stream: &UnixStream,
        events: &mpsc::Sender<SweepEvent>,
        cancel: &AtomicBool,
    ) -> Result<Option<Done>, Loss> {
        stream.set_read_timeout(Some(GLANCE))?;
        let mut buffer = vec![0; 1 << 16];
        let mut line = Vec::new();
        let mut looked = Instant::now();
        loop {
            let now = Instant::now();
            if cancel.load(Ordering::Relaxed) && self.patience.ask(now) {
                // One who is gone is noticed below.
                let _ = stream.write_all(&[STOP]);
            }
            if self.patience.is_out(now) {
                return Err(Loss::Late(self.patience.allowed().as_secs()));
            }
            if now.duration_since(looked) >= PRESSURE_LOOK {
                looked = now;
                self.look();
            }
            let length = match stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                // It ended without having read all that it was told.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Ok(length) => length,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            for piece in buffer[..length].split_inclusive(|byte| *byte == b'\n') {
                line.extend_from_slice(piece);
                if line.len() > LONGEST_LINE {
                    return Err(Loss::Line);
                }
                if line.last() != Some(&b'\n') {
                    continue;
                }
                let event: Event = serde_json::from_slice(&line).map_err(Loss::Nonsense)?;
                match event {
                    Event::SummingUp => self.patience.summing_up(Instant::now()),
                    Event::Part(_) => self.patience.part(Instant::now()),
                    _ => {}
                }
                if matches!(event, Event::Part(_) | Event::Found(_)) {
                    self.said += line.len() as u64;
                    if self.said > self.most_said {
                        return Err(Loss::Full);
                    }
                }
                line.clear();
                if let Some(end) = self.take(event, events) {
                    return end.map(Some);
                }
            }
        }
    }

    /// Takes an event in; the last one ends the sweep.
    fn take(&mut self, event: Event, events: &mpsc::Sender<SweepEvent>) -> Option<Result<Done, Loss>> {
        match event {
            Event::Found(seen) => {
                self.began = true;
                if let Some(open) = self.kept.take_found(*seen) {
                    // Nobody listens any more: the run ends.
                    let _ = events.blocking_send(SweepEvent::Found(open.clone()));
                }
                None
            }
            Event::Progress { round, done, total, sent, open } => {
                self.began = true;
                self.progress = Progress { round, done, total, sent, open };
                // A progress report that finds no room is not worth waiting for.
                let _ = events.try_send(SweepEvent::Progress(self.progress));
                None
            }
            Event::SummingUp => {
                self.began = true;
                None
            }
            Event::Part(part) => {
                self.began = true;
                self.kept.take(part);
                None
            }
            Event::Done(done) => Some(Ok(*done)),
            Event::Failed { why } => Some(Err(Loss::Failed(why))),
        }
    }

    fn look(&mut self) {
        let now = Pressure::now();
        if now.conntrack >= self.fullest.conntrack {
            self.fullest = now;
        }
    }

    /// The sweeping process is gone, or is not listened to any more: what it had found and told stays.
    pub fn without_end(self, loss: &Loss, interrupted: bool) -> SweepResult {
        let settled_by = match loss {
            Loss::Full => loss.settled_by().to_owned(),
            _ if interrupted => UNINTERRUPTED.to_owned(),
            _ => format!("{}, or --engine connect", loss.settled_by()),
        };
        let gap = Gap {
            what: self.kept.missing(),
            cause: format!("the sweeping process: {loss}"),
            settled_by,
            incomplete: true,
        };
        let stats = Sweep {
            engine: "syn".to_owned(),
            transmit: "unknown".to_owned(),
            probes_sent: self.progress.sent,
            replies: self.kept.open() as u64,
            rounds: self.progress.round + 1,
            packets_per_second: 0.0,
            dropped_replies: 0,
            recall: None,
        };
        let why = if interrupted { Reason::Interrupted } else { Reason::LocalLimit };
        let result = self.kept.without_end((PortState::Unknown, why), stats);
        SweepResult { gaps: vec![gap], interrupted, ..result }
    }
}

/// How long the other end may take once it was asked to stop.
#[derive(Debug)]
struct Patience {
    /// When it was asked, or said anything of the result since.
    last: Option<Instant>,
    /// It has said that it sums up; no part came yet.
    sums_up: Option<bool>,
    /// For the next word, and for the first part of a result that is summed up.
    word: Duration,
    sum: Duration,
}

impl Patience {
    const fn new(word: Duration, sum: Duration) -> Self {
        Self { last: None, sums_up: None, word, sum }
    }

    /// Whether it is to be asked now, for the first time.
    fn ask(&mut self, now: Instant) -> bool {
        let first = self.last.is_none();
        self.last.get_or_insert(now);
        first
    }

    /// A part came: a large result is not cut off while it flows.
    fn part(&mut self, now: Instant) {
        self.sums_up = self.sums_up.map(|_| false);
        self.last = self.last.map(|_| now);
    }

    /// It sums up, which may begin before it was asked. Said again, it is worth nothing.
    fn summing_up(&mut self, now: Instant) {
        if self.sums_up.is_none() {
            self.sums_up = Some(true);
            self.last = self.last.map(|_| now);
        }
    }

    fn allowed(&self) -> Duration {
        if self.sums_up == Some(true) { self.sum } else { self.word }
    }

    fn is_out(&self, now: Instant) -> bool {
        self.last.is_some_and(|last| now.duration_since(last) > self.allowed())
    }
}

/// Bytes that are told to be kept by an honest process, and that there is room for.
fn most_said(space: &dyn ProbeSpace) -> u64 {
    let endpoints = space.addresses().saturating_mul(space.ports().len() as u64);
    let of_hosts = space.addresses().saturating_mul(PER_HOST);
    let honest = endpoints.saturating_mul(PER_ENDPOINT).saturating_add(of_hosts).saturating_add(LONGEST_LINE as u64);
    honest.min(MOST_SAID)
}

const GLANCE: Duration = Duration::from_millis(50);
const PRESSURE_LOOK: Duration = Duration::from_millis(250);
/// For the next thing that is left to say after it was asked to stop.
const PATIENCE: Duration = Duration::from_secs(10);
/// For the first part of a result: ten million open endpoints take some ten seconds on a slow machine.
const SUMMING: Duration = Duration::from_secs(120);
/// A part has less than 2 MiB.
const LONGEST_LINE: usize = 1 << 24;
/// An open endpoint is some 400 bytes of text, as it is found and in its part, and a hundred bytes that are kept: five
/// millions of them. All else takes no more room than its text, addresses of hosts without open ports three times that.
const MOST_SAID: u64 = 1 << 31;
/// An observation, twice, or a group of one port, with all that may be said of it.
const PER_ENDPOINT: u64 = 2048;
/// Living, link-layer address, improbable ports.
const PER_HOST: u64 = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    fn patience() -> Patience {
        Patience::new(PATIENCE, SUMMING)
    }

    #[test]
    fn patience_begins_anew_with_each_part_once_it_was_asked() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut patience = patience();
        patience.part(at(0));
        assert!(!patience.is_out(at(60)), "it was not asked");
        assert!(patience.ask(at(60)));
        assert!(!patience.ask(at(61)), "asked once");
        assert!(!patience.is_out(at(70)) && patience.is_out(at(71)));
        patience.part(at(69));
        assert!(!patience.is_out(at(79)) && patience.is_out(at(80)));
    }

    #[test]
    fn summing_up_may_take_longer_once() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        for (said, asked) in [(1, 10), (10, 2)] {
            let mut patience = patience();
            if said < asked {
                patience.summing_up(at(said));
                patience.ask(at(asked));
            } else {
                patience.ask(at(asked));
                patience.summing_up(at(said));
            }
            patience.summing_up(at(11));
            assert!(
                !patience.is_out(at(130)) && patience.is_out(at(131)),
                "from the tenth second on, not the eleventh"
            );
            patience.part(at(90));
            patience.summing_up(at(91));
            assert!(!patience.is_out(at(100)) && patience.is_out(at(101)));
        }
    }
}
