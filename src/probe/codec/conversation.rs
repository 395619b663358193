//! One query to many, and what each of them says: the pure part of multicast discovery.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::{Ask, CodecExchange, Facts, Framing, MAX_ROUNDS};

/// Conversations with everyone who answers a query that was sent to a group. Datagrams in, follow-up requests out.
#[derive(Debug)]
pub struct Conversations {
    codec: &'static CodecExchange,
    id: u32,
    /// Answers come from this port and no other (RFC 6762, section 6, demands it of responders).
    port: u16,
    limit: usize,
    replies: BTreeMap<SocketAddr, Vec<Vec<u8>>>,
    /// The request that each responder was sent last and has not answered.
    waiting: BTreeMap<SocketAddr, Vec<u8>>,
    /// Somebody was turned away because of the limit.
    overflow: bool,
}

impl Conversations {
    /// Takes answers to the query with `id` from `port`, and of `limit` responders at most.
    pub fn new(codec: &'static CodecExchange, id: u32, port: u16, limit: usize) -> Self {
        Self { codec, id, port, limit, replies: BTreeMap::new(), waiting: BTreeMap::new(), overflow: false }
    }

    /// Takes a datagram in; returns what to send back to its sender.
    pub fn handle_datagram(&mut self, from: SocketAddr, datagram: &[u8]) -> Option<Vec<u8>> {
        if from.port() != self.port {
            return None;
        }
        let round = self.replies.get(&from).map_or(0, Vec::len);
        let framing = (self.codec.frame)(&self.ask(from, round), datagram);
        if round >= MAX_ROUNDS || !matches!(framing, Framing::Done(_)) {
            return None;
        }
        if round == 0 && self.replies.len() >= self.limit {
            self.overflow = true;
            return None;
        }
        let next = self.ask(from, round + 1);
        let replies = self.replies.entry(from).or_default();
        replies.push(datagram.to_vec());
        let views: Vec<&[u8]> = replies.iter().map(Vec::as_slice).collect();
        self.waiting.remove(&from);
        let follow_up = (self.codec.next)(&next, &views)?;
        self.waiting.insert(from, follow_up.clone());
        Some(follow_up)
    }

    /// Follow-up requests without an answer yet, each once: responders behind a filter that admits the group only
    /// answer these when the group is asked.
    pub fn unanswered(&self) -> Vec<Vec<u8>> {
        self.waiting.values().cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// What each responder said, by address; and whether there were more than the limit.
    pub fn finish(self) -> (Vec<(SocketAddr, Facts)>, bool) {
        let facts = |replies: &[Vec<u8>]| {
            let views: Vec<&[u8]> = replies.iter().map(Vec::as_slice).collect();
            (self.codec.facts)(&views)
        };
        let found = self.replies.iter().filter_map(|(from, replies)| Some((*from, facts(replies)?))).collect();
        (found, self.overflow)
    }

    /// Each round has an id of its own, so that a late answer is not taken for the next one.
    fn ask(&self, peer: SocketAddr, round: usize) -> Ask {
        let round = u32::try_from(round).unwrap_or(u32::MAX);
        Ask { id: self.id.wrapping_add(round), peer: peer.ip() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::dns_sd;
    use super::super::exchange::testing::hex;
    use super::*;

    const ID: u32 = 0x1234;

    fn reply(recorded: &str, id: u32) -> Vec<u8> {
        let mut reply = hex(recorded);
        reply[..2].copy_from_slice(&id.to_be_bytes()[2..]);
        reply
    }

    fn first(id: u32) -> Vec<u8> {
        reply(include_str!("../../../tests/data/codec/mdns_first.hex"), id)
    }

    fn responder(number: u8) -> SocketAddr {
        SocketAddr::from(([198, 18, 0, number], 5353))
    }

    #[test]
    fn goes_on_with_each_responder_on_its_own() {
        let mut conversations = Conversations::new(&dns_sd::BROWSE, ID, 5353, 8);
        assert!(conversations.handle_datagram(responder(1), &first(ID)).is_some());
        assert!(conversations.handle_datagram(responder(2), &first(ID)).is_some());
        let second = reply(include_str!("../../../tests/data/codec/mdns_several.hex"), ID + 1);
        let follow_up = conversations.handle_datagram(responder(1), &second).unwrap();
        assert_eq!(follow_up[..2], [0x12, 0x36]);
        let host = reply(include_str!("../../../tests/data/codec/mdns_host_any.hex"), ID + 2);
        // Both were asked the same, and one has not answered yet.
        assert_eq!(conversations.unanswered().len(), 2);
        assert_eq!(conversations.handle_datagram(responder(1), &host), None);
        assert_eq!(conversations.unanswered().len(), 1);
        let (found, overflow) = conversations.finish();
        assert_eq!((found.len(), overflow), (2, false));
        assert_eq!(found[0].0, responder(1));
        assert_eq!(found[0].1["hinfo"], "X86_64 LINUX");
        assert_eq!(found[1].1.get("hinfo"), None);
    }

    #[test]
    fn takes_only_answers_to_its_query_from_the_right_port() {
        let mut conversations = Conversations::new(&dns_sd::BROWSE, ID, 5353, 8);
        assert_eq!(conversations.handle_datagram(SocketAddr::from(([198, 18, 0, 1], 4000)), &first(ID)), None);
        assert_eq!(conversations.handle_datagram(responder(1), &first(ID + 1)), None);
        assert_eq!(conversations.handle_datagram(responder(1), b"junk"), None);
        assert!(conversations.finish().0.is_empty());
    }

    #[test]
    fn a_repeated_answer_is_not_taken_for_the_next_round() {
        let mut conversations = Conversations::new(&dns_sd::BROWSE, ID, 5353, 8);
        assert!(conversations.handle_datagram(responder(1), &first(ID)).is_some());
        assert_eq!(conversations.handle_datagram(responder(1), &first(ID)), None);
    }

    #[test]
    fn a_crowd_is_bounded_and_counted() {
        let mut conversations = Conversations::new(&dns_sd::BROWSE, ID, 5353, 2);
        for number in 1..=3 {
            conversations.handle_datagram(responder(number), &first(ID));
        }
        let (found, overflow) = conversations.finish();
        assert_eq!((found.len(), overflow), (2, true));
    }
}
