//! Drives the machine through a simulated network on a virtual clock.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use postern::model::{Endpoint, PortRanges, ProbeSpace as _, Shard, Transport};
use postern::sweep::SweepResult;
use postern::sweep::syn::{Batch, Hop, Machine, Next, SynSettings, Way, Ways};
use postern::targets::{Space, TargetSet};
use postern::wire::{Mac, Reply};

use super::network::Network;
use super::scenario::Scenario;

/// One sweep of one network.
pub struct Run {
    pub seed: u64,
    pub result: SweepResult,
    pub network: Network,
    pub truth: BTreeSet<Endpoint>,
    /// Ports that each address is asked.
    pub asked: HashMap<IpAddr, usize>,
    pub seconds: f64,
    /// Most probes that one host was sent within any tenth of a second, and most questions for neighbours.
    pub host_burst: usize,
    pub question_burst: usize,
    /// Probes to addresses that nobody has, and to endpoints of other shards.
    pub in_vain: usize,
    pub strays: usize,
}

/// Probes per second that the driver takes.
const LINE_RATE: f64 = 1_000_000.0;
const BATCH: usize = 128;
/// A sweep that takes longer than this hangs.
const LIMIT: Duration = Duration::from_secs(3600);
const FIRST_PORT: u16 = 61_000;

enum Event {
    Packet(Reply),
    Neighbour(IpAddr, Mac),
}

pub fn run(scenario: &Scenario, seed: u64) -> Run {
    let ports: PortRanges = scenario.targets.ports.parse().unwrap();
    let list: Vec<u16> = ports.iter().collect();
    let start = some_instant();
    let mut network = Network::new(scenario, &list, seed, start);
    let targets = TargetSet::from_ranges(network.addresses().iter().map(|&address| (address, address)));
    let shard = scenario.targets.shard.as_ref().map_or_else(Shard::default, |shard| shard.parse().unwrap());
    let space = Space::new(targets, &ports, Transport::Tcp, seed).sharded(shard);
    let source: IpAddr = if scenario.targets.ipv6 { "2001:db8::1".parse().unwrap() } else { [198, 18, 0, 1].into() };
    let hop = if scenario.targets.on_link { Hop::OnLink } else { Hop::Routed };
    let everywhere = if scenario.targets.ipv6 { "::/0" } else { "0.0.0.0/0" };
    let rounds = scenario.sweep.rounds.unwrap_or(12);
    let mut key = [0; 16];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let settings = SynSettings {
        sources: vec![source],
        ways: Ways::new([(everywhere.parse().unwrap(), Some(Way { source: 0, hop }))]),
        source_ports: (FIRST_PORT..=FIRST_PORT + rounds).collect(),
        rate: scenario.sweep.rate,
        host_rate: scenario.sweep.host_rate,
        recall: scenario.sweep.recall,
        resolve_rate: 2000,
        most_hosts: scenario.sweep.most_hosts.unwrap_or(usize::MAX),
        own: vec![source],
        key,
    };
    let last = if scenario.hosts.always_half_open { FIRST_PORT + rounds } else { FIRST_PORT };
    (FIRST_PORT..=last).for_each(|port| network.leave_half_open(port));
    let truth = network.truth().into_iter().filter(|endpoint| space.contains(endpoint)).collect();
    let mut machine = Machine::new(&space, settings, start);
    let mut batch = Batch::new(BATCH);
    let mut now = start;
    let mut events: BinaryHeap<Reverse<(Instant, u64)>> = BinaryHeap::new();
    let mut pending: HashMap<u64, Event> = HashMap::new();
    let mut number = 0;
    let mut host_load: HashMap<(IpAddr, u128), usize> = HashMap::new();
    let mut questions: HashMap<u128, usize> = HashMap::new();
    let mut own_drops = scenario.own_drops.iter().peekable();
    let (mut in_vain, mut strays) = (0, 0);
    let stop = scenario.sweep.stop_ms.map(|stop| start + Duration::from_millis(stop));
    loop {
        if stop.is_some_and(|stop| now >= stop) {
            break;
        }
        while let Some(&Reverse((at, id))) = events.peek() {
            if at > now {
                break;
            }
            events.pop();
            match pending.remove(&id) {
                Some(Event::Packet(reply)) => drop(machine.on_packet(at, &reply)),
                Some(Event::Neighbour(address, mac)) => machine.on_resolved(at, address, Some(mac)),
                None => {}
            }
        }
        while let Some(drops) = own_drops.next_if(|drops| start + Duration::from_millis(drops.at_ms) <= now) {
            machine.on_drops(now, drops.packets);
        }
        let next = machine.poll_transmit(now, &mut batch);
        assert!(batch.probes.len() <= BATCH && batch.questions.len() <= BATCH);
        let mut schedule = |at: Instant, event: Event| {
            number += 1;
            events.push(Reverse((at, number)));
            pending.insert(number, event);
        };
        let tenth = now.duration_since(start).as_millis() / 100;
        *questions.entry(tenth).or_default() += batch.questions.len();
        for probe in &batch.probes {
            in_vain += usize::from(!network.is_living(probe.syn.destination));
            let endpoint = Endpoint::tcp(probe.syn.destination, probe.syn.port);
            strays += usize::from(ports.contains(endpoint.port) && !space.contains(&endpoint));
            *host_load.entry((probe.syn.destination, tenth)).or_default() += 1;
            for (at, reply) in network.send(probe, source, now) {
                schedule(at, Event::Packet(reply));
            }
        }
        for question in &batch.questions {
            if now < start + Duration::from_millis(scenario.path.no_questions_until_ms) {
                machine.on_question_unsent(question);
            } else if let Some(at) = network.resolve(question.address, now) {
                schedule(at, Event::Neighbour(question.address, Mac([2, 0, 0, 0, 0, 9])));
            }
        }
        let sending = Duration::from_secs_f64(batch.probes.len() as f64 / LINE_RATE) + Duration::from_micros(1);
        match next {
            Next::Send => now += sending,
            Next::Wait(until) => {
                assert!(until > now, "a wait that is none");
                let arrival = events.peek().map_or(until, |Reverse((at, _))| *at);
                now = until.min(arrival).max(now + sending);
            }
            Next::Done => break,
        }
        assert!(now.duration_since(start) < LIMIT, "seed {seed}: the sweep does not end: {machine:?}");
    }
    let result = machine.finish(now, stop.is_some());
    let host_burst = host_load.into_values().max().unwrap_or(0);
    let question_burst = questions.into_values().max().unwrap_or(0);
    let asked_of = |address: IpAddr| list.iter().filter(|port| space.contains(&Endpoint::tcp(address, **port))).count();
    let asked = network.addresses().iter().map(|&address| (address, asked_of(address))).collect();
    let seconds = now.duration_since(start).as_secs_f64();
    Run { seed, result, truth, network, asked, seconds, host_burst, question_burst, in_vain, strays }
}

#[expect(clippy::disallowed_methods, reason = "a virtual clock counts from some instant")]
fn some_instant() -> Instant {
    Instant::now()
}
