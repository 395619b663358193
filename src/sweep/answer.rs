//! What the end of a connection attempt means. Pure.

use std::net::IpAddr;

use crate::model::{Icmp, PortState, Reason};

/// How one connection attempt ended, as the kernel told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The handshake completed.
    Accepted,
    /// The handshake completed, and a reset came before anyone looked (tcp_reset: ECONNRESET, EPIPE after a FIN).
    AcceptedThenReset,
    /// ECONNREFUSED without an ICMP error: a reset answered the SYN.
    Reset,
    /// An ICMP error from the error queue (IP_RECVERR, ip(7)).
    Icmp { icmp: Icmp, offender: IpAddr },
    /// An error without an ICMP message behind it: the local routing table or the local firewall said no.
    Local(LocalRefusal),
    /// Time is up.
    Timeout,
}

/// Why the own machine did not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalRefusal {
    /// No route, a `prohibit` or `unreachable` route, a broadcast address.
    NoRoute,
    /// EPERM: a local output rule dropped it.
    Forbidden,
    /// Neighbour discovery failed without a queued error.
    NoNeighbour,
}

/// State and reason of an endpoint at `target` for an outcome. `own` tells the addresses of this machine: a failed
/// neighbour resolution arrives as an ICMP host-unreachable that we sent to ourselves.
pub fn judge(target: IpAddr, outcome: Outcome, own: impl Fn(IpAddr) -> bool) -> (PortState, Reason) {
    match outcome {
        Outcome::Accepted => (PortState::Open, Reason::Accepted),
        Outcome::AcceptedThenReset => (PortState::Open, Reason::AcceptedThenReset),
        Outcome::Reset => (PortState::Closed, Reason::Refused),
        Outcome::Timeout => (PortState::Filtered, Reason::NoAnswer),
        Outcome::Local(LocalRefusal::NoRoute) => (PortState::Unreachable, Reason::NoRoute),
        Outcome::Local(LocalRefusal::NoNeighbour) => (PortState::Unreachable, Reason::HostAbsent),
        Outcome::Local(LocalRefusal::Forbidden) => (PortState::Unknown, Reason::LocalLimit),
        Outcome::Icmp { icmp, offender } => {
            let destination_unreachable = if target.is_ipv4() { 3 } else { 1 };
            if icmp.kind != destination_unreachable {
                return (PortState::Filtered, Reason::IcmpOther);
            }
            let reason = Reason::from_unreachable(target, icmp.code);
            let host_unreachable = reason == Reason::IcmpHostUnreachable;
            if host_unreachable && offender != target && own(offender) {
                (PortState::Unreachable, Reason::HostAbsent)
            } else if host_unreachable && offender != target {
                // A router that could not resolve the host says so in these words (RFC 1812 section 4.3.3.1).
                (PortState::Unreachable, reason)
            } else {
                (PortState::Filtered, reason)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [u8; 4] = [198, 18, 0, 1];
    const TARGET: [u8; 4] = [198, 18, 0, 9];
    const ROUTER: [u8; 4] = [198, 18, 0, 254];

    fn icmp(kind: u8, code: u8, offender: [u8; 4]) -> (PortState, Reason) {
        let outcome = Outcome::Icmp { icmp: Icmp { kind, code }, offender: offender.into() };
        judge(TARGET.into(), outcome, |address| address == IpAddr::from(OWN))
    }

    #[test]
    fn icmp_codes_are_filters_whoever_sends_them() {
        assert_eq!(icmp(3, 3, TARGET), (PortState::Filtered, Reason::IcmpPortUnreachable));
        assert_eq!(icmp(3, 13, ROUTER), (PortState::Filtered, Reason::IcmpAdminProhibited));
        assert_eq!(icmp(3, 10, TARGET), (PortState::Filtered, Reason::IcmpHostProhibited));
        assert_eq!(icmp(3, 0, ROUTER), (PortState::Filtered, Reason::IcmpNetUnreachable));
        assert_eq!(icmp(11, 0, ROUTER), (PortState::Filtered, Reason::IcmpOther));
    }

    #[test]
    fn host_unreachable_depends_on_the_offender() {
        assert_eq!(icmp(3, 1, OWN), (PortState::Unreachable, Reason::HostAbsent));
        assert_eq!(icmp(3, 1, ROUTER), (PortState::Unreachable, Reason::IcmpHostUnreachable));
        assert_eq!(icmp(3, 1, TARGET), (PortState::Filtered, Reason::IcmpHostUnreachable), "a reject rule says so too");
    }

    #[test]
    fn ipv6_codes_have_numbers_of_their_own() {
        let target: IpAddr = "2001:db8::9".parse().unwrap();
        let outcome = |code| Outcome::Icmp { icmp: Icmp { kind: 1, code }, offender: target };
        let never = |_| false;
        assert_eq!(judge(target, outcome(4), never), (PortState::Filtered, Reason::IcmpPortUnreachable));
        assert_eq!(judge(target, outcome(1), never), (PortState::Filtered, Reason::IcmpAdminProhibited));
    }

    #[test]
    fn a_reset_after_the_handshake_is_no_refusal() {
        let never = |_| false;
        let judged = |outcome| judge(TARGET.into(), outcome, never);
        assert_eq!(judged(Outcome::AcceptedThenReset), (PortState::Open, Reason::AcceptedThenReset));
        assert_eq!(judged(Outcome::Reset), (PortState::Closed, Reason::Refused));
    }

    #[test]
    fn what_we_did_not_send_is_not_closed() {
        let never = |_| false;
        let local = |refusal| judge(TARGET.into(), Outcome::Local(refusal), never).0;
        assert_eq!(local(LocalRefusal::NoRoute), PortState::Unreachable);
        assert_eq!(local(LocalRefusal::Forbidden), PortState::Unknown);
    }
}
