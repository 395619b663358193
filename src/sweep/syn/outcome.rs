//! What a sweep came to, in the form that every engine's sweep has.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::hosts::HostRecord;
use super::machine::Machine;
use super::receive::TOLD;
use crate::model::report::{PortGroup, Recall, Sweep};
use crate::model::{Observation, Place, PortRanges, PortState, Reason, Transport};
use crate::sweep::SweepResult;
use crate::sweep::tally::sort_groups;

/// Open ports of one host, and their share of all that were asked, from which on they are no services.
const FLOOD: usize = 1024;

impl Machine<'_> {
    /// Sums up. `interrupted`: not everything was asked.
    pub fn finish(mut self, now: Instant, interrupted: bool) -> SweepResult {
        let interrupted = interrupted || self.phase != super::machine::Phase::Done;
        if !interrupted {
            self.judge_fallen();
        }
        self.recall = if self.complete && !self.found.iter().all(|found| *found == 0) {
            Some(Recall { estimate: 1.0, lower: 1.0, expected_missing: 0.0 })
        } else if interrupted && self.full_rounds == 0 || self.totals.not_asked.spoils_estimates() {
            // What was not asked at all is in no estimate.
            None
        } else {
            self.judged()
        };
        self.recall = self.recall.map(|recall| self.of_all_hosts(recall));
        let gaps = self.gaps(interrupted);
        let stats = self.stats(now);
        let mut improbable = BTreeMap::new();
        let mut groups = Vec::new();
        let (mut living, mut macs) = (BTreeSet::new(), BTreeMap::new());
        let silence = if interrupted {
            (PortState::Unknown, Reason::Interrupted)
        } else {
            (PortState::Filtered, Reason::NoAnswer)
        };
        let challenged = self.challenged();
        for (&number, host) in &self.hosts {
            groups.extend(
                // A router's word that it cannot reach a host leaves the host silent.
                host.folded
                    .groups(host.address, Transport::Tcp)
                    .filter(|group| host.alive || group.state != PortState::Unreachable),
            );
            if !host.alive {
                continue;
            }
            living.insert(host.address);
            macs.extend(self.neighbours.mac_of(number).map(|mac| (host.address, mac.to_string())));
            let silence = match host.fallen {
                true => (PortState::Unknown, Reason::FellSilent),
                false if self.totals.not_asked.concerns(number) => (PortState::Unknown, Reason::LocalLimit),
                false => silence,
            };
            groups.extend(self.silent_groups(number, host, silence, challenged.get(&number)));
            improbable.extend(host.improbable().filter(|is| is.open > 0).map(|is| (host.address, is)));
        }
        let mut observations = std::mem::take(&mut self.open);
        for observation in &mut observations {
            let host = self.space.host_of(observation.endpoint.address).and_then(|number| self.hosts.get(&number));
            if let (Some(host), Some(ttl)) = (host, observation.evidence.ttl) {
                observation.evidence.behind = host.behind(ttl);
            }
        }
        observations.sort_unstable_by_key(|observation| observation.endpoint);
        let floods = self.floods(&improbable);
        fold_floods(&floods, &mut observations, &mut groups);
        sort_groups(&mut groups);
        SweepResult { observations, groups, living, macs, improbable, stats, gaps, interrupted }
    }

    fn stats(&self, now: Instant) -> Sweep {
        let until = self.totals.last_sent.unwrap_or(now);
        let elapsed = self.totals.began.map_or(Duration::ZERO, |began| until.saturating_duration_since(began));
        Sweep {
            engine: "syn".to_owned(),
            transmit: String::new(),
            probes_sent: self.totals.sent,
            replies: self.totals.replies,
            rounds: u32::try_from(self.found.len()).unwrap_or(u32::MAX),
            packets_per_second: self.totals.sent as f64 / elapsed.max(Duration::from_millis(1)).as_secs_f64(),
            dropped_replies: self.totals.drops,
            recall: self.recall,
        }
    }

    /// Ports whose answers prove nothing, by host: challenged in two rounds and not settled by anything else.
    fn challenged(&self) -> HashMap<u64, Vec<u16>> {
        let mut ports: HashMap<u64, Vec<u16>> = HashMap::new();
        for (place, rounds) in &self.unproven {
            let port = self.asked_ports.nth(usize::from(place.port));
            if let Some(port) = port.filter(|_| rounds.count_ones() >= 2) {
                ports.entry(place.host).or_default().push(port);
            }
        }
        ports
    }

    /// The ports of a living host that never answered, and those whose answers prove nothing.
    fn silent_groups(
        &self,
        number: u64,
        host: &HostRecord,
        silence: (PortState, Reason),
        challenged: Option<&Vec<u16>>,
    ) -> Vec<PortGroup> {
        // By ranges: there may be many hosts, and of each all ports were asked.
        let told = PortRanges::from_ports(host.open.iter().chain(host.folded.ports()));
        let unanswered = self.own_ports(number).difference(&told);
        let challenged = PortRanges::from_ports(challenged.into_iter().flatten().copied()).intersection(&unanswered);
        let silent = unanswered.difference(&challenged);
        let group = |ports: PortRanges, (state, reason)| PortGroup {
            address: host.address,
            transport: Transport::Tcp,
            state,
            reason,
            offender: None,
            ports: ports.to_string(),
            seen_from: Vec::new(),
        };
        [(silent, silence), (challenged, (PortState::Unknown, Reason::ChallengeAck))]
            .into_iter()
            .filter(|(ports, _)| !ports.is_empty())
            .map(|(ports, state)| group(ports, state))
            .collect()
    }

    /// The ports of a host that this sweep asks: all of them, or a shard's.
    pub(super) fn own_ports(&self, host: u64) -> Cow<'_, PortRanges> {
        let is_whole = u128::from(self.space.len()) == u128::from(self.space.addresses()) * u128::from(self.ports);
        if is_whole {
            return Cow::Borrowed(&self.asked_ports);
        }
        let ports = self.asked_ports.iter().enumerate();
        // At most 65,536 ports.
        let own = ports.filter(|(position, _)| self.space.owns(Place { host, port: *position as u16 }));
        Cow::Owned(PortRanges::from_ports(own.map(|(_, port)| port)))
    }

    /// Addresses that accept whatever they are asked.
    fn floods(&self, improbable: &BTreeMap<IpAddr, crate::model::Improbable>) -> BTreeSet<IpAddr> {
        let by_controls = improbable.iter().filter(|(_, is)| is.accepts_everything()).map(|(address, _)| *address);
        let by_number =
            self.hosts.values().filter(|host| host.open.len() >= FLOOD && host.open.len() as u64 * 2 >= self.ports);
        by_controls.chain(by_number.map(|host| host.address)).collect()
    }
}

/// Keeps the first open ports of an address that accepts everything, and folds the rest.
fn fold_floods(floods: &BTreeSet<IpAddr>, observations: &mut Vec<Observation>, groups: &mut Vec<PortGroup>) {
    let mut of_floods: HashMap<IpAddr, (usize, Vec<u16>)> = HashMap::new();
    observations.retain(|Observation { endpoint, .. }| {
        if !floods.contains(&endpoint.address) {
            return true;
        }
        let (kept, folded) = of_floods.entry(endpoint.address).or_default();
        *kept += 1;
        if *kept > TOLD {
            folded.push(endpoint.port);
        }
        *kept <= TOLD
    });
    of_floods.retain(|_, (_, folded)| !folded.is_empty());
    for group in groups.iter_mut().filter(|group| group.state == PortState::Open) {
        if let Some((_, folded)) = of_floods.remove(&group.address) {
            let known: PortRanges = group.ports.parse().unwrap_or_default();
            group.ports = known.union(&PortRanges::from_ports(folded)).to_string();
        }
    }
    groups.extend(of_floods.into_iter().map(|(address, (_, folded))| PortGroup {
        address,
        transport: Transport::Tcp,
        state: PortState::Open,
        reason: Reason::SynAck,
        offender: None,
        ports: PortRanges::from_ports(folded).to_string(),
        seen_from: Vec::new(),
    }));
}
