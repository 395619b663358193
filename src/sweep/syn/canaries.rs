//! Canaries: endpoints that are known to answer are asked once more, on a port of ours that they have not seen. How many
//! stay silent is the loss, measured while the sweep runs. Pure.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::number::Dice;
use crate::model::Place;
use crate::sweep::recall::Canaries as Count;

/// The canaries of a sweep.
#[derive(Clone, Debug)]
pub struct Canaries {
    dice: Dice,
    /// A fair sample of all that answered, and how many it was taken from.
    sample: Vec<Place>,
    seen: u64,
    /// What answered lately: for the first round, when nothing else is known.
    fresh: VecDeque<Place>,
    /// To be sent this round.
    queue: Vec<Place>,
    /// Of this wave: its positions, how many canaries it began with, and the position that the next one is due at. They go
    /// by positions and not by probes: what is left unanswered, or is this shard's, lies evenly among the positions, and so
    /// a part of the round that was lost is lost to the same share of canaries and of probes.
    positions: u64,
    spread: u64,
    next: u64,
    /// Sent and not yet answered, by place and port of ours: when, and where in the notes.
    pending: HashMap<(Place, u8), (Instant, Option<usize>)>,
    /// Those of the later rounds.
    notes: Vec<Note>,
    /// In the order of sending, until judged.
    order: VecDeque<(Instant, Place, u8)>,
    counts: Vec<Count>,
}

/// A canary of a later round and what came of it.
#[derive(Clone, Copy, Debug)]
pub struct Note {
    pub host: u64,
    pub round: usize,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Silent,
    Answered,
    /// It did not leave.
    Unsent,
}

impl Note {
    pub fn is_answered(&self) -> bool {
        self.fate == Fate::Answered
    }
}

/// Kept of all that answered.
const SAMPLE: usize = 4096;
/// Canaries of one round at most, and as many as a bound worth telling takes.
const MOST: usize = 2048;
const WANTED: usize = 256;
/// Hosts at most that one is of, where there is room for so many.
const MOST_HOSTS: usize = 1 << 16;
/// The first round's are one among this many positions.
const FIRST_INTERVAL: u64 = 256;
const FRESH: usize = 256;
/// Between two of them while the rate is low, at most.
const HASTE: Duration = Duration::from_millis(20);

impl Canaries {
    pub fn new(dice: Dice) -> Self {
        Self {
            dice,
            sample: Vec::new(),
            seen: 0,
            fresh: VecDeque::with_capacity(FRESH),
            queue: Vec::new(),
            positions: 0,
            spread: 0,
            next: FIRST_INTERVAL,
            pending: HashMap::new(),
            notes: Vec::new(),
            order: VecDeque::new(),
            counts: vec![Count::default()],
        }
    }

    /// An endpoint answered for the first time.
    pub fn learn(&mut self, place: Place) {
        self.seen += 1;
        if self.sample.len() < SAMPLE {
            self.sample.push(place);
        } else {
            // Below the sample's size, when it is.
            let at = self.dice.below(self.seen);
            if at < SAMPLE as u64 {
                self.sample[at as usize] = place;
            }
        }
        if self.is_first_round() {
            if self.fresh.len() == FRESH {
                self.fresh.pop_front();
            }
            self.fresh.push_back(place);
        }
    }

    /// Begins a later round of about `probes` probes. `of_hosts` has an answering endpoint of each host, so that every
    /// host's way is tried; `of_suspects` several of those whose ways are known to lose.
    /// The others are a sample of the hosts that `is_asked` knows.
    pub fn begin_round(
        &mut self,
        mut of_hosts: Vec<Place>,
        mut of_suspects: Vec<Place>,
        is_asked: impl Fn(u64) -> bool,
        probes: u64,
    ) {
        self.fresh.clear();
        self.counts.push(Count::default());
        self.shuffle(&mut of_hosts);
        self.shuffle(&mut of_suspects);
        // All of them, if that is little beside the round: each host may have banned us.
        let few = usize::try_from(probes / 20).unwrap_or(MOST_HOSTS).clamp(MOST / 4, MOST_HOSTS);
        of_hosts.truncate(few);
        of_suspects.truncate(MOST / 4);
        let mut hosts = of_suspects;
        hosts.append(&mut of_hosts);
        hosts.sort_unstable();
        hosts.dedup();
        let share = usize::try_from(probes / 50).unwrap_or(MOST).clamp(WANTED, MOST);
        let mut chosen: HashSet<Place> = hosts.iter().copied().collect();
        let mut sample = self.sample.clone();
        self.shuffle(&mut sample);
        let more = sample.into_iter().filter(|place| is_asked(place.host) && chosen.insert(*place));
        let wanted = share.saturating_sub(hosts.len());
        hosts.extend(more.take(wanted));
        self.shuffle(&mut hosts);
        self.queue = hosts;
    }

    fn shuffle(&mut self, places: &mut [Place]) {
        for last in (1..places.len()).rev() {
            // At most `last`, which is an index.
            places.swap(last, self.dice.below(last as u64 + 1) as usize);
        }
    }

    /// A walk through so many positions begins.
    pub fn begin_wave(&mut self, positions: u64) {
        self.positions = positions;
        self.spread = self.queue.len() as u64;
        self.next = if self.is_first_round() { FIRST_INTERVAL } else { self.due() };
    }

    /// Whether it is time for a canary once a walk is at `position`.
    pub const fn is_due(&self, position: u64) -> bool {
        position >= self.next
    }

    /// The rate is low at `position`, and more canaries tell sooner whether it need be: those of the first round are far
    /// between.
    pub fn hasten(&mut self, position: u64, now: Instant) {
        let has_waited = self.order.back().is_none_or(|(sent, ..)| now.saturating_duration_since(*sent) >= HASTE);
        if has_waited && self.is_first_round() {
            self.next = self.next.min(position);
        }
    }

    /// The next canary, at `position`.
    pub fn take(&mut self, position: u64) -> Option<Place> {
        if self.is_first_round() {
            // Each can be asked once in this round. Half of them are kept, so that there are some when no new ones come: what
            // is lost while nothing answers is lost to them, too.
            let place = self.fresh.pop_front();
            let interval = if place.is_some() { 2 * position / self.seen.max(1) } else { 0 };
            self.next = position + FIRST_INTERVAL.max(interval);
            return place;
        }
        let place = self.queue.pop();
        self.next = self.due();
        place
    }

    /// Where the canary that is next in the queue is due: in the middle of its share of the positions.
    fn due(&self) -> u64 {
        let left = self.queue.len() as u64;
        if left == 0 {
            return u64::MAX;
        }
        let number = self.spread.saturating_sub(left);
        let at = u128::from(self.positions) * u128::from(2 * number + 1) / u128::from(2 * self.spread);
        // Below the number of positions.
        at as u64
    }

    const fn is_first_round(&self) -> bool {
        self.counts.len() == 1
    }

    /// A canary that was taken was sent from our port number `ask`.
    pub fn sent(&mut self, place: Place, ask: u8, now: Instant) {
        let round = self.counts.len() - 1;
        let note = (round > 0).then_some(self.notes.len());
        if round > 0 {
            self.notes.push(Note { host: place.host, round, fate: Fate::Silent });
        }
        self.pending.insert((place, ask), (now, note));
        self.order.push_back((now, place, ask));
        if let Some(count) = self.counts.last_mut() {
            count.asked += 1;
        }
    }

    /// How many hosts those that wait are of.
    pub fn hosts(&self) -> usize {
        self.queue.iter().map(|place| place.host).collect::<HashSet<_>>().len()
    }

    /// One that was sent did not leave after all: nothing is lost, and nothing comes. Whether it was one.
    pub fn unsent(&mut self, place: Place, ask: u8) -> bool {
        let was = self.pending.remove(&(place, ask));
        if let Some((_, note)) = was {
            if let Some(note) = note {
                self.notes[note].fate = Fate::Unsent;
            }
            self.order.retain(|(_, other, from)| (*other, *from) != (place, ask));
            if let Some(count) = self.counts.last_mut() {
                count.asked = count.asked.saturating_sub(1);
            }
        }
        was.is_some()
    }

    /// An answer to what has answered before: when it was sent, if it was one of these.
    pub fn answered(&mut self, place: Place, ask: u8) -> Option<Instant> {
        let (sent, note) = self.pending.remove(&(place, ask))?;
        if let Some(note) = note {
            self.notes[note].fate = Fate::Answered;
        }
        if let Some(count) = self.counts.last_mut() {
            count.answered += 1;
        }
        Some(sent)
    }

    /// Judges those that are older than `patience`: `judged` is told when each was sent and whether it is lost. Answers are
    /// told no sooner, or those that came would outweigh those that are still waited for.
    pub fn expire(&mut self, now: Instant, patience: Duration, mut judged: impl FnMut(Instant, bool)) {
        while let Some(&(sent, place, ask)) = self.order.front() {
            if now.saturating_duration_since(sent) < patience {
                break;
            }
            self.order.pop_front();
            // Those that are silent stay pending: late answers count for recall, not for the rate.
            judged(sent, self.pending.contains_key(&(place, ask)));
        }
    }

    /// Whether nothing is waited for any more.
    pub fn is_settled(&self) -> bool {
        self.pending.is_empty() || self.order.is_empty()
    }

    /// The round is over: what has not answered is lost, and `judged` is told of all that it was not told of yet.
    pub fn end_round(&mut self, judged: impl FnMut(Instant, bool)) {
        if let Some(&(last, ..)) = self.order.back() {
            self.expire(last, Duration::ZERO, judged);
        }
        self.pending.clear();
        self.queue.clear();
    }

    /// All canaries of the later rounds that left, in the order of their rounds.
    pub fn asked(&self) -> impl DoubleEndedIterator<Item = &Note> {
        self.notes.iter().filter(|note| note.fate != Fate::Unsent)
    }

    /// By round, the first one first.
    pub fn counts(&self) -> &[Count] {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "some instant to count from")]

    use super::*;

    /// Canaries of a round of 10,000 positions, of which `is_asked` says which are asked: where each was sent.
    fn walk(is_asked: impl Fn(u64) -> bool) -> Vec<u64> {
        let mut canaries = Canaries::new(Dice::new(3));
        for host in 0..100 {
            canaries.learn(Place { host, port: 0 });
        }
        canaries.begin_round(Vec::new(), Vec::new(), |_| true, 100);
        canaries.begin_wave(10_000);
        let mut sent = Vec::new();
        for position in (0..10_000).filter(|position| is_asked(*position)) {
            while canaries.is_due(position) {
                let place = canaries.take(position).expect("what is due is there");
                canaries.sent(place, 1, Instant::now());
                sent.push(position);
            }
        }
        sent
    }

    #[test]
    fn each_part_of_a_round_has_its_share_of_canaries() {
        // All are asked; one in four (a shard); hardly any (the others have answered). The last ones follow the walk.
        for every in [1, 4, 500] {
            let sent = walk(|position| position % every == 0);
            assert!(sent.len() >= 95, "one in {every} is asked: {} canaries", sent.len());
            for quarter in 0..4 {
                let share = sent.iter().filter(|position| **position / 2500 == quarter).count();
                assert!((20..=30).contains(&share), "one in {every} is asked: {share} in quarter {quarter}");
            }
        }
    }
}
