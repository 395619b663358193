//! The shape that all codecs share.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::model::Transport;

/// What a codec learnt, key to value. Keys are fixed words of the codec; values are bounded and hold no secrets, but
/// they are the peer's text: escape them where they are shown.
pub type Facts = BTreeMap<String, String>;

/// Rounds of [`CodecExchange::next`] that a driver runs at most.
pub const MAX_ROUNDS: usize = 4;

/// Longest text of one fact, in characters.
pub const MAX_FACT: usize = 1024;

/// Longest single value inside a fact (a name, an algorithm), in characters.
pub const MAX_ITEM: usize = 128;

/// Most items in a fact that is a list.
pub const MAX_ITEMS: usize = 64;

/// Replies so far, one item each, in the order of their requests.
pub type Replies<'a> = &'a [&'a [u8]];

/// A request and the understanding of its answer. All of it is pure: the driver owns socket, clock and randomness.
///
/// ```text
/// send request(ask) ─▶ read until frame(ask, bytes) is Done ─▶ next(ask, replies): another request? ─▶ … ─▶ facts(replies)
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CodecExchange {
    /// What definitions call it; a service that speaks TCP and UDP has two entries with one name.
    pub name: &'static str,
    pub transport: Transport,
    /// For the evidence: `portmap v2 DUMP`.
    pub label: &'static str,
    /// First request.
    pub request: fn(&Ask) -> Vec<u8>,
    /// Where the reply to the request made for the same [`Ask`] ends. Over UDP the bytes are one datagram.
    pub frame: fn(&Ask, received: &[u8]) -> Framing,
    /// Further request that the replies so far suggest, on the same socket, with a new id; at most [`MAX_ROUNDS`] times.
    pub next: fn(&Ask, replies: Replies<'_>) -> Option<Vec<u8>>,
    /// What the replies say; `None` when they are not of this protocol. Never fails on hostile bytes.
    pub facts: fn(replies: Replies<'_>) -> Option<Facts>,
}

/// What a request may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Random; the peer has to repeat it where the protocol has such a field.
    pub id: u32,
    pub peer: IpAddr,
}

/// Whether what was received so far is a whole reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Read on. When the peer closes or the time is over, `facts` may still make something of the part.
    NeedMore,
    /// The reply is the first so many bytes.
    Done(usize),
    /// No reply of this protocol, or not to this request.
    Malformed(&'static str),
}

/// For codecs with a single request.
pub(super) fn no_next(_ask: &Ask, _replies: Replies<'_>) -> Option<Vec<u8>> {
    None
}

/// Bytes of a peer as text of at most `limit` characters; what is not UTF-8 becomes U+FFFD.
pub(super) fn text(bytes: &[u8], limit: usize) -> String {
    // A character has at most four bytes: no need to look at more.
    let head = bytes.get(..limit.saturating_mul(4)).unwrap_or(bytes);
    String::from_utf8_lossy(head).chars().take(limit).collect()
}

/// Joins items into one bounded fact; says how many were left out.
pub(super) fn list<I: IntoIterator<Item = String>>(items: I) -> String {
    let mut joined = String::new();
    let mut length = 0;
    let mut left_out = 0_usize;
    for (position, item) in items.into_iter().enumerate() {
        let characters = item.chars().count();
        if position >= MAX_ITEMS || length + characters + 2 > MAX_FACT {
            left_out += 1;
            continue;
        }
        if !joined.is_empty() {
            joined.push_str(", ");
            length += 2;
        }
        joined.push_str(&item);
        length += characters;
    }
    if left_out > 0 {
        joined.push_str(&format!(", and {left_out} more"));
    }
    joined
}

/// Sets a fact unless there is nothing to say.
pub(super) fn put(facts: &mut Facts, key: &str, value: String) {
    if !value.is_empty() {
        facts.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
pub(super) mod testing {
    use std::net::{IpAddr, Ipv4Addr};

    use super::{Ask, CodecExchange, Framing};

    /// A request to the documentation network.
    pub const fn ask(id: u32) -> Ask {
        Ask { id, peer: IpAddr::V4(Ipv4Addr::new(198, 18, 77, 1)) }
    }

    /// Bytes of a recorded reply: hexadecimal digits, lines with `#` are its origin.
    pub fn hex(recorded: &str) -> Vec<u8> {
        let digits: Vec<u8> = recorded
            .lines()
            .filter(|line| !line.starts_with('#'))
            .flat_map(str::bytes)
            .filter(u8::is_ascii_hexdigit)
            .collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    /// A recorded reply is whole at its end and nowhere before; bytes behind it change nothing.
    pub fn whole_only_at_its_end(codec: &CodecExchange, ask: &Ask, reply: &[u8]) {
        for end in 0..reply.len() {
            let framing = (codec.frame)(ask, &reply[..end]);
            assert!(!matches!(framing, Framing::Done(_)), "{} of {} bytes: {framing:?}", end, reply.len());
            // Must not panic; whether a part is worth something is the codec's affair.
            let _ = (codec.facts)(&[&reply[..end]]);
        }
        assert_eq!((codec.frame)(ask, reply), Framing::Done(reply.len()));
        assert!((codec.facts)(&[reply]).is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_bounded_and_say_so() {
        assert_eq!(list(["a".to_owned(), "b".to_owned()]), "a, b");
        let many = list((0..100).map(|number| number.to_string()));
        assert!(many.ends_with("63, and 36 more"), "{many}");
        let long = list((0..60).map(|_| "x".repeat(100)));
        assert!(long.chars().count() <= MAX_FACT + 20 && long.ends_with("more"), "{long}");
        assert_eq!(list([]), "");
    }

    #[test]
    fn text_is_cut_at_characters() {
        assert_eq!(text("Büro".as_bytes(), 2), "Bü");
        assert_eq!(text(b"\xff\xfe", 8), "\u{fffd}\u{fffd}");
        assert_eq!(text(b"", 8), "");
    }
}
