//! The receiving half of the machine: what an answer means.

use std::time::Instant;

use super::cookie::Tuple;
use super::hosts::{CONTROLS, Control, HostRecord};
use super::machine::Machine;
use crate::model::{Endpoint, Evidence, Observation, Place, PortRanges, PortState, Reason};
use crate::sweep::answer::{Outcome, judge};
use crate::sweep::tally::Fold;
use crate::wire::{IcmpError, Reply, ReplyKind, TcpReply};

/// What a TCP segment says about the SYN with a sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Open,
    Closed,
    /// An acknowledgement of something that we did not send: half-open state of another SYN.
    Unproven,
    Nothing,
}

/// An answer to a probe.
#[derive(Clone, Copy, Debug)]
struct Answer {
    endpoint: Endpoint,
    place: Place,
    /// Which of our ports was answered to.
    ask: usize,
}

/// Remembered unproven answers: a hostile network may send any number.
const MOST_UNPROVEN: usize = 1 << 16;
/// Found endpoints of an address that accepts everything are told of one by one up to this many.
pub(super) const TOLD: usize = 256;
/// Ports that nobody uses: among these, unless they are to be asked anyway.
const IMPROBABLE: (u16, u16) = (20_000, 59_999);

impl Machine<'_> {
    /// Takes in a packet. Returns an endpoint that was found open by it.
    pub fn on_packet(&mut self, now: Instant, reply: &Reply) -> Option<Observation> {
        match reply.kind {
            ReplyKind::Tcp(tcp) => self.on_tcp(now, reply, &tcp),
            ReplyKind::Icmp(error) => {
                self.on_icmp(now, reply, &error);
                None
            }
        }
    }

    /// The number of a port of ours, and the sequence number of the probe that left from it.
    fn proof(&self, tuple: &Tuple) -> Option<(usize, u32)> {
        let ask = self.settings.source_ports.iter().position(|port| *port == tuple.source_port)?;
        self.settings.sources.contains(&tuple.source).then(|| (ask, self.cookies.sequence(tuple)))
    }

    /// Whether a packet proves by itself which probe it answers.
    pub fn is_proven(&self, reply: &Reply) -> bool {
        let (tuple, is_of) = match &reply.kind {
            ReplyKind::Tcp(tcp) => (tuple_of(reply, tcp), Ok(tcp)),
            ReplyKind::Icmp(error) => (tuple_quoted(error), Err(error.quoted.sequence)),
        };
        self.proof(&tuple).is_some_and(|(_, sequence)| match is_of {
            Ok(tcp) => matches!(meaning(tcp, sequence), Meaning::Open | Meaning::Closed),
            Err(quoted) => quoted == sequence,
        })
    }

    fn on_tcp(&mut self, now: Instant, reply: &Reply, tcp: &TcpReply) -> Option<Observation> {
        let (ask, sequence) = self.proof(&tuple_of(reply, tcp))?;
        let meaning = meaning(tcp, sequence);
        if meaning == Meaning::Nothing {
            return None;
        }
        let endpoint = Endpoint::tcp(reply.from, tcp.port);
        let Some(place) = self.space.place_of(&endpoint) else {
            if meaning != Meaning::Unproven {
                self.on_control(endpoint, reply.ttl, tcp);
            }
            return None;
        };
        let answer = Answer { endpoint, place, ask };
        if meaning == Meaning::Unproven {
            self.on_unproven(&answer);
            return None;
        }
        self.totals.replies += 1;
        let is_open = meaning == Meaning::Open;
        if !is_open && !self.has_room(place) {
            return None;
        }
        let number = self.number(place);
        let is_new = self.answered.insert(number);
        // Repetitions and canaries were not sent when the order came to them.
        let rtt = self.time_of(&answer).filter(|_| is_new).map(|sent| now.saturating_duration_since(sent));
        if let Some(rtt) = rtt {
            self.timing.sample(rtt);
        }
        let host = host(&mut self.hosts, &answer, self.round);
        if !host.alive {
            host.alive = true;
            host.heard_in = self.round;
        }
        host.heard(reply.ttl);
        if let Some(rtt) = rtt {
            host.rtt.sample(rtt);
        }
        // Open is what counts, whatever was said before: a reset or an ICMP error may come from something in between.
        let is_first = if is_open { host.open.insert(tcp.port) } else { is_new };
        if !is_first {
            self.on_repeated(now, &answer);
            return None;
        }
        host.answered += u32::from(is_new);
        if is_open || host.canary.is_none() {
            host.canary = Some(place.port);
        }
        host.folded.remove(tcp.port);
        self.count(&answer, is_open, is_new);
        if !is_open {
            let fold = Fold { state: PortState::Closed, reason: Reason::Refused, offender: None };
            host_of(&mut self.hosts, place).folded.add(fold, tcp.port);
            return None;
        }
        self.unproven.remove(&place);
        let options = self.texts.share(&tcp.options.to_string());
        let asked = u8::try_from(ask + 1).unwrap_or(u8::MAX);
        self.found_open(
            &answer,
            tcp,
            Evidence {
                ttl: Some(reply.ttl),
                rtt_us: rtt.map(|rtt| u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX)),
                asked: Some(asked),
                window: Some(tcp.window),
                options: Some(options),
                ..Evidence::default()
            },
        )
    }

    /// Counts an endpoint that answered for the first time.
    fn count(&mut self, answer: &Answer, is_open: bool, is_new: bool) {
        if is_new {
            self.canaries.learn(answer.place);
            if answer.ask == self.round as usize {
                self.totals.round_answered += 1;
            }
        }
        // What answers on the port of the first round's canaries answered that round before, if it is not new.
        let at = answer.ask.min(self.found.len() - 1);
        self.found[at] += u64::from(is_new);
        self.found_open[at] += u64::from(is_open);
        host_of(&mut self.hosts, answer.place).count(at, is_new, is_open);
    }

    /// Notes an open endpoint; returned for whoever wants to know at once.
    fn found_open(&mut self, answer: &Answer, tcp: &TcpReply, evidence: Evidence) -> Option<Observation> {
        let observation =
            Observation { endpoint: answer.endpoint, state: PortState::Open, reason: Reason::SynAck, evidence };
        let host = host_of(&mut self.hosts, answer.place);
        if host.open.len() > TOLD && host.improbable().is_some_and(|improbable| improbable.accepts_everything()) {
            let fold = Fold { state: PortState::Open, reason: Reason::SynAck, offender: None };
            host.folded.add(fold, tcp.port);
            return None;
        }
        self.open.push(observation.clone());
        if host.controls.state == [Control::None; CONTROLS] {
            self.choose_controls(answer);
        }
        Some(observation)
    }

    /// Picks ports that nobody uses and nobody asked for, to see whether the host accepts them all the same. There may be
    /// too few of them.
    fn choose_controls(&mut self, answer: &Answer) {
        let Endpoint { address, .. } = answer.endpoint;
        let unasked = PortRanges::from_ranges([IMPROBABLE]).difference(&self.asked_ports);
        if unasked.len() < CONTROLS {
            return;
        }
        let mut ports = [0; CONTROLS];
        let mut chosen = 0;
        while chosen < CONTROLS {
            // Below the number of these, which is one of ports.
            let at = self.dice.below(unasked.len() as u64) as usize;
            let Some(port) = unasked.nth(at) else { break };
            if !ports[..chosen].contains(&port) {
                ports[chosen] = port;
                chosen += 1;
            }
        }
        let host = host_of(&mut self.hosts, answer.place);
        host.controls.ports = ports;
        host.controls.state = [Control::Asked; CONTROLS];
        self.controls.extend(ports.map(|port| (answer.place.host, Endpoint::tcp(address, port))));
    }

    fn on_control(&mut self, endpoint: Endpoint, ttl: u8, tcp: &TcpReply) {
        let Some(number) = self.control_hosts.get(&(endpoint.address, endpoint.port)) else { return };
        if let Some(host) = self.hosts.get_mut(number) {
            self.totals.replies += 1;
            self.totals.controls_open = self.totals.controls_open.saturating_sub(1);
            host.heard(ttl);
            host.controls.answered(endpoint.port, tcp, &mut self.texts);
        }
    }

    /// An answer of an endpoint that has answered before: of a canary, or a duplicate.
    fn on_repeated(&mut self, now: Instant, answer: &Answer) {
        if let Some(sent) = self.canaries.answered(answer.place, answer.ask as u8) {
            self.timing.sample(now.saturating_duration_since(sent));
        }
    }

    fn on_unproven(&mut self, answer: &Answer) {
        if self.answered.contains(self.number(answer.place)) {
            return;
        }
        let is_known = self.unproven.contains_key(&answer.place);
        if is_known || self.unproven.len() < MOST_UNPROVEN && self.has_room(answer.place) {
            *self.unproven.entry(answer.place).or_default() |= 1 << (answer.ask % 16);
            host(&mut self.hosts, answer, self.round).hinted = true;
        }
    }

    fn on_icmp(&mut self, now: Instant, reply: &Reply, error: &IcmpError) {
        let quoted = &error.quoted;
        let Some((ask, sequence)) = self.proof(&tuple_quoted(error)) else { return };
        let endpoint = Endpoint::tcp(quoted.to, quoted.port);
        let Some(place) = self.space.place_of(&endpoint).filter(|_| sequence == quoted.sequence) else { return };
        self.totals.replies += 1;
        if !self.has_room(place) {
            return;
        }
        let answer = Answer { endpoint, place, ask };
        let own = &self.settings.own;
        let outcome = Outcome::Icmp { icmp: error.icmp, offender: reply.from };
        let (state, reason) = judge(quoted.to, outcome, |address| own.contains(&address));
        let number = self.number(place);
        if self.answered.contains(number) {
            return;
        }
        let rtt = self.time_of(&answer).map(|sent| now.saturating_duration_since(sent));
        if let Some(rtt) = rtt {
            self.timing.sample(rtt);
        }
        // A router that knows no way now may know one later, and a host that it cannot resolve may answer the next time.
        let is_settled = state != PortState::Unreachable;
        let host = host(&mut self.hosts, &answer, self.round);
        host.folded.remove(quoted.port);
        host.folded.add(Fold { state, reason, offender: Some(reply.from) }, quoted.port);
        if reply.from == quoted.to && !host.alive {
            host.alive = true;
            host.heard_in = self.round;
        }
        if is_settled {
            host.answered += 1;
            self.answered.insert(number);
            self.totals.round_answered += u64::from(ask == self.round as usize);
        }
    }

    /// Whether a host is remembered, or may be one more; an answer of another one is counted.
    fn has_room(&mut self, place: Place) -> bool {
        let has_room = self.hosts.len() < self.settings.most_hosts || self.hosts.contains_key(&place.host);
        self.totals.unlisted += u64::from(!has_room);
        has_room
    }

    /// When the probe that is answered left, if that is known.
    fn time_of(&self, answer: &Answer) -> Option<Instant> {
        if answer.ask != self.round as usize {
            return None;
        }
        let space = self.wave.space.as_deref().unwrap_or(self.space);
        let position = space.position(self.round, answer.place).filter(|position| *position < self.wave.position)?;
        self.wave.sent.time_of(position)
    }
}

/// Whom a probe went to and came from, by the segment that answers it.
const fn tuple_of(reply: &Reply, tcp: &TcpReply) -> Tuple {
    Tuple { destination: reply.from, port: tcp.port, source: reply.to, source_port: tcp.our_port }
}

/// The same by an error that quotes it.
const fn tuple_quoted(error: &IcmpError) -> Tuple {
    let quoted = &error.quoted;
    Tuple { destination: quoted.to, port: quoted.port, source: quoted.from, source_port: quoted.our_port }
}

/// The record of the host that an answer is about.
fn host<'h>(hosts: &'h mut super::hosts::Hosts, answer: &Answer, round: u32) -> &'h mut HostRecord {
    hosts.entry(answer.place.host).or_insert_with(|| HostRecord::new(answer.endpoint.address, round))
}

fn host_of(hosts: &mut super::hosts::Hosts, place: Place) -> &mut HostRecord {
    hosts.get_mut(&place.host).expect("the host was entered when its answer was taken in")
}

fn meaning(tcp: &TcpReply, sequence: u32) -> Meaning {
    let next = sequence.wrapping_add(1);
    if tcp.is_reset() {
        // RFC 9293 section 3.5.2 acknowledges the SYN; some stacks acknowledge what stood before it, and some boxes send
        // a bare reset at the sequence number that a real one would have.
        let at = if tcp.acknowledges() { tcp.acknowledgement } else { tcp.sequence };
        if at == next || at == sequence { Meaning::Closed } else { Meaning::Nothing }
    } else if tcp.is_syn_ack() {
        if tcp.acknowledgement == next { Meaning::Open } else { Meaning::Nothing }
    } else if tcp.is_challenge_ack() {
        if tcp.acknowledgement == next { Meaning::Open } else { Meaning::Unproven }
    } else {
        Meaning::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::TcpOptions;

    #[test]
    fn only_what_acknowledges_our_number_means_something() {
        let tcp = |flags, sequence, acknowledgement| TcpReply {
            port: 80,
            our_port: 61_000,
            sequence,
            acknowledgement,
            flags,
            window: 0,
            options: TcpOptions::default(),
        };
        let of = |flags, sequence, acknowledgement| meaning(&tcp(flags, sequence, acknowledgement), 100);
        assert_eq!(of(0x12, 7, 101), Meaning::Open);
        assert_eq!(of(0x12, 7, 100), Meaning::Nothing);
        assert_eq!([of(0x14, 0, 101), of(0x14, 0, 100), of(0x04, 101, 0)], [Meaning::Closed; 3]);
        assert_eq!([of(0x14, 101, 0), of(0x04, 0, 101)], [Meaning::Nothing; 2]);
        assert_eq!([of(0x10, 7, 55), of(0x10, 7, 101)], [Meaning::Unproven, Meaning::Open]);
        assert_eq!([of(0x02, 100, 101), of(0x11, 100, 101), of(0x00, 100, 101)], [Meaning::Nothing; 3]);
    }
}
