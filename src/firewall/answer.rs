//! What the host's own output rules do to the answer that a refused packet gets: an ICMP error or a reset that they drop
//! leaves the sender with silence.

use super::evaluate::{End, Way};
use super::packet::{Device, Packet, Port, Protocol, Tracking};
use super::rules::kind;
use super::ruleset::{ChainKind, Field, Hook, Reject};
use super::walk::{Finish, NamespaceWalk, Nat, Walked, ended};

impl NamespaceWalk {
    /// The walk of a refused packet, with what became of its refusal.
    pub(super) fn answered(&self, walked: Walked) -> Vec<Walked> {
        let Finish::Rejected(kind) = walked.finish else { return vec![walked] };
        let ipv6 = walked.packet.is_ipv6();
        // nf_send_reset: a reset for what came by a bridge goes out of the port at once.
        if kind == Reject::TcpReset && walked.packet.physical_input != Device::None {
            return vec![walked];
        }
        if [Hook::Output, Hook::Postrouting].iter().all(|hook| self.rules.base_chains(*hook, ipv6).is_empty()) {
            return vec![walked];
        }
        let way = Way {
            packet: self.refusal(&walked.packet, kind),
            steps: walked.steps.clone(),
            assumed: walked.assumed.clone(),
        };
        let (ways, mut stopped) = self.hook(Hook::Output, vec![way], Nat::No);
        let (ways, more) = self.hook(Hook::Postrouting, ways, Nat::No);
        stopped.extend(more);
        if kind == Reject::TcpReset {
            stopped.extend(ways.iter().filter(|way| self.nat_may_refuse(way)).map(|way| {
                let what = "whether a NAT chain that refuses is asked about a reset".to_owned();
                ended(way.clone(), Finish::Unknown(what), None)
            }));
        }
        // What matters is whether it leaves; the walk that is told is the refused packet's.
        let left = ways.into_iter().map(|way| Walked { assumed: way.assumed, ..walked.clone() });
        let silent = stopped.into_iter().map(|end| Walked {
            finish: match end.finish {
                Finish::Unknown(what) => Finish::Unknown(what),
                _ => Finish::Dropped,
            },
            packet: walked.packet.clone(),
            steps: end.steps,
            routing: walked.routing.clone(),
            assumed: end.assumed,
        });
        left.chain(silent).collect()
    }

    /// Whether a NAT chain would stop a reset. nf_nat_inet_fn asks them where the connection has no binding yet.
    fn nat_may_refuse(&self, way: &Way) -> bool {
        [Hook::Output, Hook::Postrouting].into_iter().any(|hook| {
            let chains = self.rules.base_chains(hook, way.packet.is_ipv6()).iter();
            let mut nat = chains.filter(|id| kind(self.rules.chain(**id)) == Some(ChainKind::Nat));
            nat.any(|id| self.chain(hook, *id, way.clone(), Nat::No).iter().any(|(end, _)| *end != End::Accept))
        })
    }

    /// The ICMP error or reset that the kernel sends (nf_reject_ipv4.c, icmp_send): part of the connection that it refuses,
    /// where there is one already (nf_ct_attach).
    fn refusal(&self, refused: &Packet, kind: Reject) -> Packet {
        let ipv6 = refused.is_ipv6();
        let output = self.router.way_back(refused.source, refused.destination);
        let mut answer = refused.clone();
        answer.input = Device::None;
        answer.output = output.map_or(Device::Unknown, |name| Device::Name(name.as_str().into()));
        (answer.physical_input, answer.physical_output, answer.bridged) = (Device::Unknown, Device::Unknown, None);
        answer.mark = Some(0);
        answer.changed.clear();
        answer.tracking = match refused.tracking {
            Tracking::New { status, mark } => Tracking::Related { status, mark },
            // Nothing is known of the connection, and so nothing of what refuses it.
            Tracking::Before | Tracking::Untracked | Tracking::Related { .. } => Tracking::Before,
        };
        (answer.source, answer.destination) = (refused.destination, refused.source);
        (answer.source_port, answer.destination_port) = (refused.destination_port, refused.source_port);
        answer.source_unknown = false;
        if kind == Reject::TcpReset {
            answer.changed.push((Field::TcpFlags, None));
        } else {
            // An address of this host, which one depends on the route.
            answer.source_unknown = !self.router.is_own(refused.destination);
            answer.protocol = Protocol::Icmp { kind: if ipv6 { ICMP6_UNREACHABLE } else { ICMP_UNREACHABLE }, code: 0 };
            answer.changed.push((if ipv6 { Field::Icmp6Code } else { Field::IcmpCode }, None));
            (answer.source_port, answer.destination_port) = (Port::Missing, Port::Missing);
        }
        answer
    }
}

const ICMP_UNREACHABLE: u8 = 3;
const ICMP6_UNREACHABLE: u8 = 1;
