//! Answers that this machine's own rules would still have translated. Pure.
//!
//! A packet to an own address goes through this machine's OUTPUT rules, which may lead it on to a container (DNAT). The
//! container's answer is heard as it comes in, before the kernel turns it back; what it acknowledges tells whose it is.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::sweep::syn::Probe;
use crate::wire::{Reply, ReplyKind};

/// Probes that this machine's rules may have translated.
#[derive(Clone, Debug, Default)]
pub struct Translated {
    /// By source port and sequence number.
    sent: HashMap<(u16, u32), Sent>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    from: IpAddr,
    to: IpAddr,
    port: u16,
}

/// So many are kept; own addresses are few.
const MOST: usize = 1 << 20;

impl Translated {
    /// A probe goes the kernel's way, from `source`.
    pub fn sent(&mut self, probe: &Probe, source: IpAddr) {
        if self.sent.len() < MOST {
            let sent = Sent { from: source, to: probe.syn.destination, port: probe.syn.port };
            self.sent.insert((probe.syn.source_port, probe.syn.sequence), sent);
        }
    }

    /// The reply as it would be without translation.
    pub fn undo(&self, mut reply: Reply) -> Reply {
        match &mut reply.kind {
            ReplyKind::Tcp(tcp) => {
                // The acknowledgement of a SYN is one more than its sequence number (RFC 9293 section 3.4).
                let asked = tcp.acknowledgement.wrapping_sub(1);
                if let Some(sent) = self.sent.get(&(tcp.our_port, asked)).filter(|_| tcp.acknowledges()) {
                    tcp.port = sent.port;
                    (reply.from, reply.to) = (sent.to, sent.from);
                }
            }
            ReplyKind::Icmp(error) => {
                let quoted = &mut error.quoted;
                if let Some(sent) = self.sent.get(&(quoted.our_port, quoted.sequence)) {
                    (quoted.from, quoted.to, quoted.port) = (sent.from, sent.to, sent.port);
                    reply.to = sent.from;
                }
            }
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Icmp;
    use crate::sweep::syn::NextHop;
    use crate::wire::{IcmpError, QuotedProbe, Syn, TcpOptions, TcpReply};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn translated() -> Translated {
        let syn = Syn { destination: ip("198.18.0.1"), port: 8080, source_port: 25_000, sequence: u32::MAX };
        let mut translated = Translated::default();
        translated.sent(&Probe { syn, source: 0, to: NextHop::Routed }, ip("198.18.0.1"));
        translated
    }

    fn tcp(our_port: u16, acknowledgement: u32) -> Reply {
        let options = TcpOptions::parse(&[]);
        let kind = TcpReply { port: 80, our_port, sequence: 7, acknowledgement, flags: 0x12, window: 1, options };
        Reply { from: ip("172.17.0.2"), to: ip("172.17.0.1"), ttl: 64, kind: ReplyKind::Tcp(kind) }
    }

    #[test]
    fn an_answer_is_told_by_what_it_acknowledges() {
        let undone = translated().undo(tcp(25_000, 0));
        let ReplyKind::Tcp(segment) = undone.kind else { panic!("{undone:?}") };
        assert_eq!((undone.from, undone.to, segment.port), (ip("198.18.0.1"), ip("198.18.0.1"), 8080));
        for other in [tcp(25_001, 0), tcp(25_000, 1)] {
            assert_eq!(translated().undo(other), other);
        }
    }

    #[test]
    fn an_error_is_told_by_what_it_quotes() {
        let quoted = QuotedProbe {
            from: ip("172.17.0.1"),
            to: ip("172.17.0.2"),
            our_port: 25_000,
            port: 80,
            sequence: u32::MAX,
        };
        let kind = ReplyKind::Icmp(IcmpError { icmp: Icmp { kind: 3, code: 13 }, quoted });
        let undone = translated().undo(Reply { from: ip("172.17.0.2"), to: ip("172.17.0.1"), ttl: 64, kind });
        let ReplyKind::Icmp(error) = undone.kind else { panic!("{undone:?}") };
        assert_eq!((undone.from, undone.to), (ip("172.17.0.2"), ip("198.18.0.1")));
        assert_eq!((error.quoted.to, error.quoted.port), (ip("198.18.0.1"), 8080));
    }
}
