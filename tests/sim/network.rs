//! Plays a scenario: takes probes, gives the packets that come back, each with its time.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use postern::model::{Endpoint, Icmp};
use postern::sweep::syn::Probe;
use postern::wire::{IcmpError, QuotedProbe, Reply, ReplyKind, TcpOptions, TcpReply};

use super::scenario::{Others, Scenario};

/// A network.
pub struct Network {
    scenario: Scenario,
    dice: Dice,
    start: Instant,
    addresses: Vec<IpAddr>,
    living: HashMap<IpAddr, Host>,
    /// Connections that the middlebox knows, with their end.
    table: HashMap<(IpAddr, u16, u16), Instant>,
    /// Tokens of the path's capacity.
    tokens: f64,
    last: Instant,
}

struct Host {
    kind: Kind,
    loss: f64,
    open: BTreeSet<u16>,
    /// SYNs in the half-open state: by port and port of ours, the sequence number.
    half_open: HashMap<(u16, u16), u32>,
    icmp_tokens: f64,
    icmp_last: Instant,
    /// Ports that have been asked, where each is let through once, and SYNs.
    asked: BTreeSet<u16>,
    syns: u32,
    guard: Guard,
}

/// What guards a host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guard {
    None,
    /// Lets each port be asked once.
    Once,
    /// Lets so many SYNs pass, and then none.
    Ban(u32),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    SynProxy,
    Tarpit,
}

const SYN_ACK: u8 = 0x12;
const RESET_ACK: u8 = 0x14;
const ACK: u8 = 0x10;
/// What a Linux host answers with.
const OPTIONS: [u8; 20] = [2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
/// A SYN-ACK that is not reset is sent again (RFC 6298).
const AGAIN: [u64; 2] = [1000, 3000];

impl Network {
    pub fn new(scenario: &Scenario, ports: &[u16], seed: u64, start: Instant) -> Self {
        let mut dice = Dice(seed);
        let targets = &scenario.targets;
        let addresses: Vec<IpAddr> = (0..targets.addresses)
            .map(|number| {
                if targets.ipv6 {
                    IpAddr::V6(((0x2001_0db8_u128 << 96) + u128::from(number) + 0x100).into())
                } else {
                    IpAddr::V4(((198_u32 << 24 | 18 << 16 | 1 << 8) + number).into())
                }
            })
            .collect();
        let mut shuffled = addresses.clone();
        dice.shuffle(&mut shuffled);
        let mut living = HashMap::new();
        for (number, address) in (0..targets.living).zip(shuffled) {
            let kind = match number {
                number if number < scenario.hosts.syn_proxies => Kind::SynProxy,
                number if number < scenario.hosts.syn_proxies + scenario.hosts.tarpits => Kind::Tarpit,
                _ => Kind::Plain,
            };
            let mut shuffled = ports.to_vec();
            dice.shuffle(&mut shuffled);
            let open = shuffled.into_iter().take(targets.open).collect();
            let others = scenario.hosts.syn_proxies + scenario.hosts.tarpits;
            let is_far = (others..others + scenario.hosts.far).contains(&number);
            let guard = match number {
                number if number < scenario.hosts.once => Guard::Once,
                number if number < scenario.hosts.once + scenario.hosts.banning => Guard::Ban(scenario.hosts.ban_after),
                _ => Guard::None,
            };
            let host = Host {
                guard,
                asked: BTreeSet::new(),
                syns: 0,
                kind,
                loss: if is_far { scenario.hosts.far_loss } else { 0.0 },
                open,
                half_open: HashMap::new(),
                icmp_tokens: scenario.hosts.icmp_burst,
                icmp_last: start,
            };
            living.insert(address, host);
        }
        Self {
            scenario: scenario.clone(),
            dice,
            start,
            addresses,
            living,
            table: HashMap::new(),
            tokens: 100.0,
            last: start,
        }
    }

    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    pub fn is_living(&self, address: IpAddr) -> bool {
        self.living.contains_key(&address)
    }

    /// Hosts that accept on every port.
    pub fn accepts_everything(&self, address: IpAddr) -> bool {
        self.living.get(&address).is_some_and(|host| host.kind != Kind::Plain)
    }

    /// The open ports of ordinary hosts.
    pub fn truth(&self) -> BTreeSet<Endpoint> {
        let plain = self.living.iter().filter(|(_, host)| host.kind == Kind::Plain);
        plain.flat_map(|(&address, host)| host.open.iter().map(move |&port| Endpoint::tcp(address, port))).collect()
    }

    /// The first open port of each ordinary host, which is forwarded in some scenarios.
    pub fn is_forwarded(&self, endpoint: &Endpoint) -> bool {
        self.scenario.hosts.forwarded
            && self.living.get(&endpoint.address).is_some_and(|host| host.open.first() == Some(&endpoint.port))
    }

    /// Leaves the half-open state of an earlier scan behind, for probes from one of our ports.
    pub fn leave_half_open(&mut self, our_port: u16) {
        let mut addresses: Vec<IpAddr> = self.living.keys().copied().collect();
        addresses.sort_unstable();
        for address in addresses {
            let Some(host) = self.living.get_mut(&address) else { continue };
            for &port in &host.open {
                if self.dice.chance(self.scenario.hosts.half_open) {
                    host.half_open.insert((port, our_port), 12_345);
                }
            }
        }
    }

    /// Sends a probe from `source` at `now`: what comes back, and when.
    pub fn send(&mut self, probe: &Probe, source: IpAddr, now: Instant) -> Vec<(Instant, Reply)> {
        let mut back = Vec::new();
        if self.dice.chance(self.scenario.path.forged) {
            // Somebody else's answer: it acknowledges, or quotes, nothing of ours.
            let number = self.dice.roll() as u32;
            let reply = match self.dice.below(4) {
                3 => rejection(probe, source, number),
                kind => {
                    let flags = [SYN_ACK, RESET_ACK, ACK][kind as usize];
                    tcp(probe, source, Segment { flags, ttl: 64, acknowledgement: number, stack: Kind::Plain })
                }
            };
            back.push((now + Duration::from_micros(100), reply));
        }
        if !self.has_room(now) || self.is_lost(now) || !self.passes_middlebox(probe, now) {
            return back;
        }
        if now < self.start + Duration::from_millis(self.scenario.path.unreachable_until_ms) {
            let arrival = now + self.delay();
            let reply = unreachable(probe, source);
            self.send_back(arrival, reply, &mut back);
            return back;
        }
        let loss = self.living.get(&probe.syn.destination).map_or(0.0, |host| host.loss);
        if self.dice.chance(loss) {
            return back;
        }
        let arrival = now + self.delay();
        for (leaves, reply) in self.answer(probe, source, arrival) {
            if self.dice.chance(loss) {
                continue;
            }
            self.send_back(leaves, reply, &mut back);
        }
        back
    }

    /// Asks who has an address: when the answer comes.
    pub fn resolve(&mut self, address: IpAddr, now: Instant) -> Option<Instant> {
        let back = now + Duration::from_micros(300);
        (self.is_living(address) && !self.is_lost(now) && !self.is_lost(back)).then_some(back)
    }

    /// What the target sends, and when it does.
    fn answer(&mut self, probe: &Probe, source: IpAddr, arrival: Instant) -> Vec<(Instant, Reply)> {
        let syn = &probe.syn;
        let hosts = &self.scenario.hosts;
        let is_forwarded = self.is_forwarded(&Endpoint::tcp(syn.destination, syn.port));
        let Some(host) = self.living.get_mut(&syn.destination) else { return Vec::new() };
        host.syns += 1;
        let is_stopped = match host.guard {
            Guard::None => false,
            Guard::Once => !host.asked.insert(syn.port),
            Guard::Ban(after) => host.syns > after,
        };
        if is_stopped {
            return Vec::new();
        }
        let proper =
            Segment { flags: SYN_ACK, ttl: 64, acknowledgement: syn.sequence.wrapping_add(1), stack: host.kind };
        match host.kind {
            Kind::SynProxy => return vec![(arrival, tcp(probe, source, proper))],
            Kind::Tarpit => return vec![(arrival + Duration::from_millis(20), tcp(probe, source, proper))],
            Kind::Plain => {}
        }
        if host.open.contains(&syn.port) {
            return match host.half_open.get(&(syn.port, syn.source_port)) {
                // Linux: the SYN-ACK was sent already.
                Some(sequence) if *sequence == syn.sequence => Vec::new(),
                Some(other) => {
                    let challenge = Segment { flags: ACK, acknowledgement: other.wrapping_add(1), ..proper };
                    vec![(arrival, tcp(probe, source, challenge))]
                }
                None => {
                    host.half_open.insert((syn.port, syn.source_port), syn.sequence);
                    let ttl = if is_forwarded { 63 } else { 64 };
                    let reply = tcp(probe, source, Segment { ttl, ..proper });
                    let reset = tcp(probe, source, Segment { flags: RESET_ACK, ..proper });
                    let resets = usize::from(self.dice.chance(self.scenario.path.resets));
                    let again = AGAIN.map(|later| (arrival + Duration::from_millis(later), reply));
                    // The own kernel resets the first one, unless that or the reset is lost.
                    let is_reset = !self.is_lost(arrival) && !self.is_lost(arrival);
                    let sent = if is_reset { 1 } else { 3 };
                    let answers = [(arrival, reply)].into_iter().chain(again).take(sent);
                    std::iter::repeat_n((arrival, reset), resets).chain(answers).collect()
                }
            };
        }
        match self.scenario.targets.others {
            Others::Drop => Vec::new(),
            Others::Refuse => vec![(arrival, tcp(probe, source, Segment { flags: RESET_ACK, ..proper }))],
            Others::Reject => {
                if hosts.icmp_per_second > 0.0 {
                    let elapsed = arrival.saturating_duration_since(host.icmp_last).as_secs_f64();
                    host.icmp_last = host.icmp_last.max(arrival);
                    host.icmp_tokens = (host.icmp_tokens + elapsed * hosts.icmp_per_second).min(hosts.icmp_burst);
                    if host.icmp_tokens < 1.0 {
                        return Vec::new();
                    }
                    host.icmp_tokens -= 1.0;
                }
                vec![(arrival, rejection(probe, source, syn.sequence))]
            }
        }
    }

    /// The way back, which loses, delays, repeats and reorders.
    fn send_back(&mut self, leaves: Instant, reply: Reply, back: &mut Vec<(Instant, Reply)>) {
        if self.is_lost(leaves) {
            return;
        }
        let mut arrives = leaves + self.delay();
        if self.dice.chance(self.scenario.path.reorder) {
            arrives += Duration::from_micros(self.dice.below(self.scenario.path.reorder_us + 1));
        }
        back.push((arrives, reply));
        if self.dice.chance(self.scenario.path.duplicate) {
            back.push((arrives + self.delay(), reply));
        }
    }

    fn is_lost(&mut self, at: Instant) -> bool {
        if let Some(burst) = self.scenario.path.burst {
            let since = at.saturating_duration_since(self.start).as_millis() as u64;
            // Shifted a little from run to run.
            if (since + self.addresses.len() as u64 * 7) % burst.every_ms < burst.lasts_ms
                && self.dice.chance(burst.loss)
            {
                return true;
            }
        }
        let step =
            self.scenario.path.steps.iter().rev().find(|step| self.start + Duration::from_millis(step.at_ms) <= at);
        let loss = step.map_or(self.scenario.path.loss, |step| step.loss);
        self.dice.chance(loss)
    }

    /// Whether the narrowest part of the way has room for a probe.
    fn has_room(&mut self, now: Instant) -> bool {
        let Some(capacity) = self.scenario.path.capacity else { return true };
        let elapsed = now.saturating_duration_since(self.last).as_secs_f64();
        self.last = now;
        self.tokens = (self.tokens + elapsed * capacity).min(capacity / 50.0);
        let has_room = self.tokens >= 1.0;
        self.tokens -= if has_room { 1.0 } else { 0.0 };
        has_room
    }

    fn passes_middlebox(&mut self, probe: &Probe, now: Instant) -> bool {
        let Some(middlebox) = self.scenario.middlebox else { return true };
        if self.table.len() >= middlebox.table {
            self.table.retain(|_, end| *end > now);
        }
        let tuple = (probe.syn.destination, probe.syn.port, probe.syn.source_port);
        if !self.table.contains_key(&tuple) && self.table.len() >= middlebox.table {
            return false;
        }
        self.table.insert(tuple, now + Duration::from_millis(middlebox.timeout_ms));
        true
    }

    fn delay(&mut self) -> Duration {
        let [from, to] = self.scenario.path.delay_us;
        // Half of it each way.
        Duration::from_micros((from + self.dice.below(to - from + 1)) / 2)
    }
}

struct Segment {
    flags: u8,
    ttl: u8,
    acknowledgement: u32,
    stack: Kind,
}

fn tcp(probe: &Probe, source: IpAddr, segment: Segment) -> Reply {
    let (window, options) = match segment.stack {
        Kind::Plain if segment.flags == SYN_ACK => (65_160, TcpOptions::parse(&OPTIONS)),
        Kind::Plain | Kind::SynProxy => (0, TcpOptions::default()),
        Kind::Tarpit => (10, TcpOptions::default()),
    };
    let kind = ReplyKind::Tcp(TcpReply {
        port: probe.syn.port,
        our_port: probe.syn.source_port,
        sequence: 7,
        acknowledgement: segment.acknowledgement,
        flags: segment.flags,
        window,
        options,
    });
    Reply { from: probe.syn.destination, to: source, ttl: segment.ttl, kind }
}

/// ICMP port unreachable from the host, about a probe with this sequence number.
fn rejection(probe: &Probe, source: IpAddr, sequence: u32) -> Reply {
    let icmp = if source.is_ipv4() { Icmp { kind: 3, code: 3 } } else { Icmp { kind: 1, code: 4 } };
    error(probe, source, sequence, icmp)
}

/// ICMP host unreachable from a router.
fn unreachable(probe: &Probe, source: IpAddr) -> Reply {
    let icmp = if source.is_ipv4() { Icmp { kind: 3, code: 1 } } else { Icmp { kind: 1, code: 3 } };
    let router = if source.is_ipv4() { [198, 18, 0, 254].into() } else { "2001:db8::fe".parse().unwrap() };
    Reply { from: router, ..error(probe, source, probe.syn.sequence, icmp) }
}

fn error(probe: &Probe, source: IpAddr, sequence: u32, icmp: Icmp) -> Reply {
    let syn = &probe.syn;
    let quoted = QuotedProbe { from: source, to: syn.destination, our_port: syn.source_port, port: syn.port, sequence };
    Reply { from: syn.destination, to: source, ttl: 64, kind: ReplyKind::Icmp(IcmpError { icmp, quoted }) }
}

/// SplitMix64.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let value = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && (self.roll() >> 11) as f64 / (1_u64 << 53) as f64 <= probability
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}
