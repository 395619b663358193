//! What a bridge does to a packet before and beside the IP layer (net/bridge/br_netfilter_hooks.c).
//!
//! A frame that comes in by a bridge's port is either for the host (addressed to the bridge itself) or is bridged to
//! another port. Tables of the family `bridge` see both. With br_netfilter (`bridge-nf-call-iptables`), the IP hooks see
//! bridged packets too, and prerouting runs in the bridge: a translation may then turn a frame for the host into a bridged
//! one, which goes to no port that it came from.

use super::evaluate::{End, Evaluation, Way, join};
use super::packet::Device;
use super::routing::{Decision, Flow};
use super::rules::{ChainId, priority};
use super::ruleset::Hook;
use super::walk::{Finish, NamespaceWalk, Nat, Passed, Routing, Walked, ended, is_loopback_of_ipv6};

/// A frame's way through a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    ToHost,
    /// To another host on the bridge.
    Bridged,
    /// The same, because prerouting translated its destination.
    BridgedByTranslation,
}

impl NamespaceWalk {
    /// The bridge that packets come in by, if `input` is one.
    pub(super) fn bridge_of(&self, input: &Device) -> Option<String> {
        let Device::Name(name) = input else { return None };
        let interface = self.router.interface(name)?;
        (interface.kind.as_deref() == Some("bridge")).then(|| interface.name.clone())
    }

    /// All ways of a packet that comes in by a port of the bridge.
    pub(super) fn over_bridge(&self, way: Way, bridge: &str) -> Vec<Walked> {
        if is_loopback_of_ipv6(&way.packet) {
            let what = "what a bridge makes of the loopback address on a link".to_owned();
            return vec![ended(way, Finish::Unknown(what), None)];
        }
        match self.router.bridge_calls_ip(way.packet.is_ipv6()) {
            Some(calls) => self.by_port(way, bridge, calls),
            None => [true, false]
                .into_iter()
                .flat_map(|calls| {
                    let mut way = way.clone();
                    way.assumed.push(("whether br_netfilter hands bridged packets to the IP hooks".to_owned(), calls));
                    self.by_port(way, bridge, calls)
                })
                .collect(),
        }
    }

    fn by_port(&self, way: Way, bridge: &str, calls: bool) -> Vec<Walked> {
        let neighbour = self.router.is_neighbour_on(bridge, &way.packet);
        let (ways, mut found) = self.port_ingress(vec![way], bridge);
        let (mut ways, stopped) = self.bridge_hook(Hook::Prerouting, ways, ..BRIDGE_NETFILTER);
        found.extend(stopped);
        if calls {
            for way in &mut ways {
                way.packet.physical_input = Device::Unknown;
            }
            let (passed, stopped) = self.hook(Hook::Prerouting, ways, Nat::Yes);
            found.extend(stopped);
            ways = passed;
        }
        let first = if neighbour { Course::Bridged } else { Course::ToHost };
        for way in ways {
            let translated = way.packet.destination != way.packet.original.destination;
            let courses =
                if translated { self.translated_course(&way, bridge) } else { Ok(vec![(first, way.clone())]) };
            match courses {
                Ok(courses) => {
                    for (course, way) in courses {
                        found.extend(self.on(way, bridge, course, calls));
                    }
                }
                Err(routing) => found.push(ended(way, Finish::Dropped, Some(routing))),
            }
        }
        found
    }

    /// br_nf_pre_routing_finish: where a translated frame goes. The error is the routing decision that drops it.
    fn translated_course(&self, way: &Way, bridge: &str) -> Result<Vec<(Course, Way)>, Routing> {
        let packet = &way.packet;
        let flow = Flow {
            source: packet.source,
            destination: packet.destination,
            input: Some(bridge),
            output: None,
            mark: packet.mark,
        };
        let decisions = self.router.decide(flow);
        let back = |decision: &Decision| matches!(decision, Decision::Forward { interface, .. } if interface == bridge);
        if let [Decision::Drop(reason)] = &decisions[..] {
            // ip6_route_input does not ask whether this host forwards, and a bridged frame is not forwarded.
            if packet.is_ipv6() && self.router.is_on_link_of(bridge, packet.destination) {
                return Ok(vec![(Course::BridgedByTranslation, way.clone())]);
            }
            return Err(Routing {
                after: way.steps.len(),
                reason: reason.clone(),
                action: "drop".to_owned(),
                decides: true,
            });
        }
        if !decisions.iter().any(back) {
            return Ok(vec![(Course::ToHost, way.clone())]);
        }
        if decisions.len() == 1 {
            return Ok(vec![(Course::BridgedByTranslation, way.clone())]);
        }
        let assume = |holds| {
            let mut way = way.clone();
            way.assumed.push((format!("whether the route to {} leads by {bridge}", packet.destination), holds));
            way
        };
        Ok(vec![(Course::BridgedByTranslation, assume(true)), (Course::ToHost, assume(false))])
    }

    /// The way on from the bridge's prerouting hook.
    fn on(&self, way: Way, bridge: &str, course: Course, calls: bool) -> Vec<Walked> {
        let (ways, mut found) = self.bridge_hook(Hook::Prerouting, vec![way], BRIDGE_NETFILTER..);
        if course != Course::ToHost {
            for way in ways {
                found.extend(self.bridged(way, bridge, course, calls));
            }
            return found;
        }
        let (ways, stopped) = self.bridge_hook(Hook::Input, ways, ..);
        found.extend(stopped);
        let (mut ways, stopped) = self.hook(Hook::Ingress, ways, Nat::Yes);
        found.extend(stopped);
        if !calls {
            let (passed, stopped) = self.hook(Hook::Prerouting, ways, Nat::Yes);
            found.extend(stopped);
            ways = passed;
        }
        for way in ways {
            found.extend(self.route(way));
        }
        found
    }

    /// br_forward, with the IP hooks inside the bridge's when br_netfilter calls them.
    fn bridged(&self, mut way: Way, bridge: &str, course: Course, calls: bool) -> Vec<Walked> {
        let routing = Some(Routing {
            after: way.steps.len(),
            reason: format!("{} is a neighbour on {bridge}", way.packet.destination),
            action: format!("bridged by {bridge}"),
            decides: false,
        });
        let mut found = Vec::new();
        if course == Course::BridgedByTranslation {
            // should_deliver: not out of the port that it came in by, unless that is in hairpin mode.
            let what = format!("whether {} is behind the sender's own port of {bridge}", way.packet.destination);
            let mut same = way.clone();
            same.assumed.push((what.clone(), true));
            found.push(ended(same, Finish::Dropped, routing.clone()));
            way.assumed.push((what, false));
        }
        way.packet.output = Device::Name(bridge.into());
        way.packet.physical_output = Device::Unknown;
        way.packet.bridged = Some(true);
        let mut stopped_at = Vec::new();
        let mut take = |(ways, stopped): Passed| {
            stopped_at.extend(stopped);
            ways
        };
        let mut ways = take(self.bridge_hook(Hook::Forward, vec![way], ..BRIDGE_NETFILTER));
        if calls {
            ways = take(self.hook(Hook::Forward, ways, Nat::Yes));
        }
        ways = take(self.bridge_hook(Hook::Forward, ways, BRIDGE_NETFILTER..));
        ways = take(self.bridge_hook(Hook::Postrouting, ways, ..));
        if calls {
            for way in &mut ways {
                way.packet.input = Device::None;
            }
            ways = take(self.hook(Hook::Postrouting, ways, Nat::Yes));
        }
        let interface = bridge.to_owned();
        let passed = ways.into_iter().map(|way| ended(way, Finish::Forwarded { interface: interface.clone() }, None));
        let all = passed.chain(stopped_at).map(|walked| Walked { routing: routing.clone(), ..walked });
        found.extend(all);
        found
    }

    /// The bridge's hooks for a packet that the host itself sends out by it (br_dev_xmit).
    pub(super) fn out_by_bridge(&self, ways: Vec<Way>) -> Passed {
        let (ways, mut stopped) = self.bridge_hook(Hook::Output, ways, ..);
        let (ways, more) = self.bridge_hook(Hook::Postrouting, ways, ..);
        stopped.extend(more);
        (ways, stopped)
    }

    /// Chains at the ingress of the bridge's ports: which port it is, nobody says.
    fn port_ingress(&self, ways: Vec<Way>, bridge: &str) -> Passed {
        let Some(first) = ways.first() else { return (Vec::new(), Vec::new()) };
        let chains = self.rules.base_chains(Hook::Ingress, first.packet.is_ipv6()).iter().filter_map(|id| {
            let devices = &self.rules.chain(*id).base.as_ref()?.devices;
            let ports = devices.iter().filter(|device| self.router.is_port_of(device, bridge)).count();
            (ports > 0).then_some(*id)
        });
        self.between_ports(Hook::Ingress, chains.collect(), ways, true)
    }

    /// Base chains of the family `bridge` at a hook, those with priorities in `range`.
    fn bridge_hook(&self, hook: Hook, ways: Vec<Way>, range: impl std::ops::RangeBounds<i32>) -> Passed {
        let chains = self.rules.bridge_chains(hook).iter().copied();
        let chains = chains.filter(|id| range.contains(&priority(self.rules.chain(*id)))).collect();
        self.between_ports(hook, chains, ways, false)
    }

    /// Runs chains that see ports where the IP hooks see the bridge.
    fn between_ports(&self, hook: Hook, chains: Vec<ChainId>, mut open: Vec<Way>, perhaps: bool) -> Passed {
        let mut stopped = Vec::new();
        for id in chains {
            let mut passed = Vec::new();
            for mut way in open {
                let (input, output) = (way.packet.input.clone(), way.packet.output.clone());
                if perhaps {
                    let mut other = way.clone();
                    let devices = &self.rules.chain(id).base.as_ref().map_or(&[][..], |base| base.devices.as_slice());
                    let what = format!("whether it comes by {}", devices.join(" or "));
                    other.assumed.push((what.clone(), false));
                    way.assumed.push((what, true));
                    passed.push((End::Accept, other));
                }
                let comes = matches!(hook, Hook::Ingress | Hook::Prerouting | Hook::Input | Hook::Forward);
                let leaves = matches!(hook, Hook::Forward | Hook::Output | Hook::Postrouting);
                way.packet.input = if comes { Device::Unknown } else { Device::None };
                way.packet.output = if leaves { Device::Unknown } else { Device::None };
                let evaluation =
                    Evaluation { rules: &self.rules, router: &self.router, hook, base: id, without_nat: false };
                passed.extend(self.awake(&evaluation, way).into_iter().map(|(end, mut way)| {
                    (way.packet.input, way.packet.output) = (input.clone(), output.clone());
                    (end, way)
                }));
            }
            open = Vec::new();
            for (end, way) in join(passed) {
                let finish = match end {
                    End::Accept => {
                        open.push(way);
                        continue;
                    }
                    End::Drop => Finish::Dropped,
                    End::Reject(kind) => Finish::Rejected(kind),
                    End::Unknown(what) => Finish::Unknown(what),
                };
                stopped.push(ended(way, finish, None));
            }
        }
        (open, stopped)
    }
}

/// NF_BR_PRI_BRNF (linux/netfilter_bridge.h): where br_netfilter's own hooks are; in the forward hook one before it.
const BRIDGE_NETFILTER: i32 = 0;
