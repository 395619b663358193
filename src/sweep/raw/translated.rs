//! Answers that this machine's own rules would still have translated. Pure.
//!
//! A packet that the kernel routes goes through this machine's OUTPUT rules, which may lead it on to a container (DNAT).
//! The container's answer is heard as it comes in, before the kernel turns it back; what it acknowledges tells whose it is.
//!
//! Any rule may translate any destination, and a sequence number does not tell what it was made of: so probes are
//! remembered, but only for as long as a container of this machine takes to answer, and no more than a fixed number of
//! them. Most answers prove themselves, and need none of this.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::sweep::syn::Probe;
use crate::wire::{Reply, ReplyKind};

/// Recent probes that this machine's rules may have translated.
#[derive(Clone, Debug, Default)]
pub struct Translated {
    sent: HashMap<Key, Sent>,
    /// The oldest first.
    order: VecDeque<(Key, Instant)>,
}

/// Source port and sequence number.
type Key = (u16, u32);

#[derive(Clone, Copy, Debug)]
struct Sent {
    from: IpAddr,
    to: IpAddr,
    port: u16,
    at: Instant,
}

/// How long they are kept: the container may have to be found on its bridge first.
const KEPT: Duration = Duration::from_secs(2);
/// How many at most: a tenth of a second's worth at full speed, and some megabytes.
const MOST: usize = 1 << 15;

impl Translated {
    /// Whether no probe may have been translated.
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// A probe goes the kernel's way at `now`, from `source`.
    pub fn sent(&mut self, probe: &Probe, source: IpAddr, now: Instant) {
        self.forget(now);
        let key = (probe.syn.source_port, probe.syn.sequence);
        self.sent.insert(key, Sent { from: source, to: probe.syn.destination, port: probe.syn.port, at: now });
        self.order.push_back((key, now));
    }

    fn forget(&mut self, now: Instant) {
        while let Some(&(key, at)) = self.order.front()
            && (self.order.len() >= MOST || now.saturating_duration_since(at) > KEPT)
        {
            self.order.pop_front();
            // A probe that was repeated since stays.
            if self.sent.get(&key).is_some_and(|sent| sent.at == at) {
                self.sent.remove(&key);
            }
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
    #![expect(clippy::disallowed_methods, reason = "some instant to count from")]

    use super::*;
    use crate::model::Icmp;
    use crate::sweep::syn::NextHop;
    use crate::wire::{IcmpError, QuotedProbe, Syn, TcpOptions, TcpReply};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn probe(sequence: u32) -> Probe {
        let syn = Syn { destination: ip("198.18.0.1"), port: 8080, source_port: 25_000, sequence };
        Probe { syn, source: 0, to: NextHop::Routed }
    }

    fn translated() -> Translated {
        let mut translated = Translated::default();
        translated.sent(&probe(u32::MAX), ip("198.18.0.1"), Instant::now());
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

    #[test]
    fn no_more_are_kept_than_answers_can_still_come_for() {
        let start = Instant::now();
        let mut translated = Translated::default();
        let own = ip("198.18.0.1");
        for number in 0..1_000_000 {
            translated.sent(&probe(number), own, start);
        }
        assert!(translated.sent.len() <= MOST && translated.order.len() <= MOST);
        assert!(translated.sent.capacity() <= 4 * MOST, "{}", translated.sent.capacity());
        let is_known = |translated: &Translated, sequence: u32| translated.undo(tcp(25_000, sequence + 1)).from == own;
        assert!(is_known(&translated, 999_999) && !is_known(&translated, 900_000));
        translated.sent(&probe(999_999), own, start + KEPT);
        translated.sent(&probe(7), own, start + KEPT + Duration::from_millis(1));
        assert_eq!(translated.sent.len(), 2, "the others are too old");
        assert!(is_known(&translated, 999_999), "asked again since");
    }
}
