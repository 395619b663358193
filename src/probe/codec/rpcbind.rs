//! The portmapper's list of RPC programs (RFC 1833): DUMP of version 2, and of versions 3 and 4 where only they exist.
//!
//! Facts:
//!
//! | key | value |
//! |---|---|
//! | `reply` | `success`, `program-unavailable`, `program-mismatch`, `procedure-unavailable`, `garbage-arguments`, `system-error`, `rpc-mismatch`, `auth-error` |
//! | `auth_error` | `rejected credentials` and the like |
//! | `versions` | the versions a `program-mismatch` names: `2-4` |
//! | `entries` | number of registrations read |
//! | `cut` | `true` when the list was longer than we read, or broke off |
//! | `programs` | `nfs v3 v4 tcp/2049, mountd v3 udp/20048` |
//! | `exposes` | classes that raise the severity, one word each, see [`CLASSES`](rpc_programs::CLASSES) |
//! | `owners` | who registered (versions 3 and 4 only): `superuser, 106` |

use std::collections::{BTreeMap, BTreeSet};

use super::exchange::{MAX_ITEM, list, no_next, put, text};
use super::rpc::{Call, Outcome, Reply, Xdr, frame_datagram, frame_stream};
use super::rpc_programs::{self, PORTMAPPER};
use super::{CodecExchange, Facts};
use crate::model::Transport;

/// DUMP over TCP.
pub const DUMP_TCP: CodecExchange = CodecExchange {
    name: "rpcbind",
    transport: Transport::Tcp,
    label: "portmap v2 DUMP",
    request: |ask| dump(ask.id, 2).to_record(),
    frame: frame_stream,
    next: |ask, replies| {
        newer_dump(replies.iter().map(|reply| Reply::from_stream(reply))).map(|v| dump(ask.id, v).to_record())
    },
    facts: |replies| facts(replies.iter().filter_map(|reply| Reply::from_stream(reply))),
};

/// DUMP over UDP. A server with hundreds of programs stays silent: the list does not fit its datagram.
pub const DUMP_UDP: CodecExchange = CodecExchange {
    name: "rpcbind",
    transport: Transport::Udp,
    label: "portmap v2 DUMP",
    request: |ask| dump(ask.id, 2).to_datagram(),
    frame: frame_datagram,
    next: |ask, replies| {
        newer_dump(replies.iter().map(|reply| Reply::from_datagram(reply))).map(|v| dump(ask.id, v).to_datagram())
    },
    facts: |replies| facts(replies.iter().filter_map(|reply| Reply::from_datagram(reply))),
};

/// NULL over TCP: cheap, and answered where a wrapper refuses the list.
pub const NULL_TCP: CodecExchange = CodecExchange {
    name: "rpcbind-null",
    transport: Transport::Tcp,
    label: "portmap v2 NULL",
    request: |ask| null(ask.id).to_record(),
    frame: frame_stream,
    next: no_next,
    facts: |replies| null_facts(Reply::from_stream(replies.first()?)?),
};

/// NULL over UDP: says that a portmapper is there when its list does not fit a datagram.
pub const NULL_UDP: CodecExchange = CodecExchange {
    name: "rpcbind-null",
    transport: Transport::Udp,
    label: "portmap v2 NULL",
    request: |ask| null(ask.id).to_datagram(),
    frame: frame_datagram,
    next: no_next,
    facts: |replies| null_facts(Reply::from_datagram(replies.first()?)?),
};

/// Registrations that are read; more are counted as cut.
const MAX_ENTRIES: usize = 1024;

/// A program that registered itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub program: u32,
    pub version: u32,
    /// `tcp`, `udp`, `tcp6`, `local`; the number where version 2 has one that we do not know.
    pub netid: String,
    /// 0 when the address has none (a local socket).
    pub port: u32,
    /// Versions 3 and 4 only.
    pub owner: Option<String>,
}

/// Registrations in the results of a DUMP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    pub entries: Vec<Entry>,
    /// The list went on, or broke off.
    pub cut: bool,
}

impl Listing {
    /// `pmaplist` of version 2: program, version, protocol, port (RFC 1833, section 3.1).
    pub fn version_2(results: &[u8]) -> Self {
        Self::read(results, |xdr| {
            let (program, version, protocol, port) = (xdr.u32()?, xdr.u32()?, xdr.u32()?, xdr.u32()?);
            let netid = match protocol {
                6 => "tcp".to_owned(),
                17 => "udp".to_owned(),
                other => format!("protocol-{other}"),
            };
            Some(Entry { program, version, netid, port, owner: None })
        })
    }

    /// `rpcblist` of versions 3 and 4: program, version, netid, universal address, owner (RFC 1833, section 2.1).
    pub fn version_3(results: &[u8]) -> Self {
        Self::read(results, |xdr| {
            let (program, version) = (xdr.u32()?, xdr.u32()?);
            let (netid, address, owner) = (xdr.opaque()?, xdr.opaque()?, xdr.opaque()?);
            let port = universal_port(address).unwrap_or(0);
            Some(Entry { program, version, netid: text(netid, 16), port, owner: Some(text(owner, 32)) })
        })
    }

    fn read(results: &[u8], mut entry: impl FnMut(&mut Xdr<'_>) -> Option<Entry>) -> Self {
        let mut listing = Self::default();
        let mut xdr = Xdr(results);
        loop {
            match xdr.u32() {
                Some(0) => return listing,
                Some(1) if listing.entries.len() < MAX_ENTRIES => match entry(&mut xdr) {
                    Some(entry) => listing.entries.push(entry),
                    None => break,
                },
                _ => break,
            }
        }
        listing.cut = true;
        listing
    }

    /// `nfs v3 v4 tcp/2049`, one item per program, transport and port; in the order of the first registration.
    fn programs(&self) -> Vec<String> {
        let mut order = Vec::new();
        let mut versions: BTreeMap<(u32, &str, u32), BTreeSet<u32>> = BTreeMap::new();
        for entry in &self.entries {
            let key = (entry.program, entry.netid.as_str(), entry.port);
            if !versions.contains_key(&key) {
                order.push(key);
            }
            versions.entry(key).or_default().insert(entry.version);
        }
        let item = |key: (u32, &str, u32)| {
            let (program, netid, port) = key;
            let mut item = rpc_programs::name(program);
            for version in versions.get(&key).into_iter().flatten().take(8) {
                item.push_str(&format!(" v{version}"));
            }
            item.push_str(&format!(" {netid}"));
            if port != 0 {
                item.push_str(&format!("/{port}"));
            }
            item.chars().take(MAX_ITEM).collect()
        };
        order.into_iter().map(item).collect()
    }

    fn classes(&self) -> Vec<String> {
        let has = |programs: &[u32]| self.entries.iter().any(|entry| programs.contains(&entry.program));
        rpc_programs::CLASSES
            .iter()
            .filter(|(_, programs)| has(programs))
            .map(|(class, _)| (*class).to_owned())
            .collect()
    }

    fn owners(&self) -> Vec<String> {
        let owners: BTreeSet<&String> = self.entries.iter().filter_map(|entry| entry.owner.as_ref()).collect();
        owners.into_iter().cloned().collect()
    }
}

fn dump(xid: u32, version: u32) -> Call {
    Call { xid, program: PORTMAPPER, version, procedure: 4 }
}

fn null(xid: u32) -> Call {
    Call { xid, program: PORTMAPPER, version: 2, procedure: 0 }
}

fn null_facts(reply: Reply) -> Option<Facts> {
    Some(Facts::from([("reply".to_owned(), reply.outcome.as_str().to_owned())]))
}

/// A server without version 2 names the versions it has: ask once more with its lowest.
fn newer_dump(replies: impl ExactSizeIterator<Item = Option<Reply>>) -> Option<u32> {
    let mut replies = replies;
    match (replies.len(), replies.next()??.outcome) {
        (1, Outcome::ProgramMismatch { low, .. }) if (3..=4).contains(&low) => Some(low),
        _ => None,
    }
}

fn facts(replies: impl Iterator<Item = Reply>) -> Option<Facts> {
    let mut replies = replies.peekable();
    replies.peek()?;
    let mut facts = Facts::new();
    // Only `newer_dump` leads to a second reply, which then is in the newer form.
    for (position, Reply { outcome, .. }) in replies.enumerate() {
        put(&mut facts, "reply", outcome.as_str().to_owned());
        match outcome {
            Outcome::Success(results) if position == 0 => put_listing(&mut facts, &Listing::version_2(&results)),
            Outcome::Success(results) => put_listing(&mut facts, &Listing::version_3(&results)),
            Outcome::ProgramMismatch { low, high } | Outcome::RpcMismatch { low, high } => {
                put(&mut facts, "versions", format!("{low}-{high}"));
            }
            Outcome::AuthError(error) => put(&mut facts, "auth_error", error.to_owned()),
            _ => {}
        }
    }
    Some(facts)
}

fn put_listing(facts: &mut Facts, listing: &Listing) {
    put(facts, "entries", listing.entries.len().to_string());
    put(facts, "programs", list(listing.programs()));
    put(facts, "exposes", listing.classes().join(" "));
    put(facts, "owners", list(listing.owners()));
    if listing.cut {
        put(facts, "cut", "true".to_owned());
    }
}

/// The port is the last two numbers of a universal address, `0.0.0.0.8.1` (RFC 5665, section 5.2.3.3).
fn universal_port(address: &[u8]) -> Option<u32> {
    let address = std::str::from_utf8(address).ok()?;
    let mut numbers = address.rsplit('.');
    let low: u8 = numbers.next()?.parse().ok()?;
    let high: u8 = numbers.next()?.parse().ok()?;
    Some(u32::from(high) << 8 | u32::from(low))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Framing;
    use super::super::exchange::MAX_FACT;
    use super::super::exchange::testing::{ask, hex, whole_only_at_its_end};
    use super::*;

    const XID: u32 = 0x4c41_4e31;
    const DUMP2_TCP: &str = include_str!("../../../tests/data/codec/rpcbind_dump2_tcp.hex");
    const DUMP2_UDP: &str = include_str!("../../../tests/data/codec/rpcbind_dump2_udp.hex");
    const DUMP2_BARE: &str = include_str!("../../../tests/data/codec/rpcbind_dump2_bare_tcp.hex");
    const DUMP3_TCP: &str = include_str!("../../../tests/data/codec/rpcbind_dump3_tcp.hex");
    const FRAGMENTS: &str = include_str!("../../../tests/data/codec/rpcbind_fragments_tcp.hex");
    const MISMATCH: &str = include_str!("../../../tests/data/codec/rpcbind_mismatch_tcp.hex");
    const BADAUTH: &str = include_str!("../../../tests/data/codec/rpcbind_badauth_udp.hex");

    fn facts_of(codec: &CodecExchange, replies: &[&str]) -> Facts {
        let replies: Vec<Vec<u8>> = replies.iter().map(|reply| hex(reply)).collect();
        let replies: Vec<&[u8]> = replies.iter().map(Vec::as_slice).collect();
        (codec.facts)(&replies).unwrap()
    }

    #[test]
    fn a_real_list_over_both_transports() {
        let facts = facts_of(&DUMP_TCP, &[DUMP2_TCP]);
        assert_eq!(
            facts["programs"],
            "portmapper v2 v3 v4 tcp/111, portmapper v2 v3 v4 udp/111, nfs v3 v4 tcp/2049, nfs_acl v3 tcp/2049, \
             mountd v3 tcp/20048, mountd v3 udp/20048, nlockmgr v4 udp/44001, status v1 tcp/44002, \
             ypserv v2 udp/834, rusersd v2 udp/44003"
        );
        assert_eq!(facts["exposes"], "mountd nfs nis remote-status");
        assert_eq!((facts["reply"].as_str(), facts["entries"].as_str()), ("success", "15"));
        assert!(!facts.contains_key("cut"));
        assert_eq!(facts_of(&DUMP_UDP, &[DUMP2_UDP]), facts);
    }

    #[test]
    fn a_bare_portmapper_exposes_nothing_else() {
        let facts = facts_of(&DUMP_TCP, &[DUMP2_BARE]);
        assert_eq!(facts["programs"], "portmapper v2 v3 v4 tcp/111, portmapper v2 v3 v4 udp/111");
        assert!(!facts.contains_key("exposes"));
    }

    #[test]
    fn a_real_reply_in_two_fragments() {
        let facts = facts_of(&DUMP_TCP, &[FRAGMENTS]);
        assert_eq!(facts["entries"], "515");
        assert!(facts["programs"].ends_with("more") && facts["programs"].chars().count() <= MAX_FACT + 20);
        assert!(facts["exposes"].contains("nis"));
    }

    #[test]
    fn replies_are_whole_only_at_their_end() {
        for recorded in [DUMP2_TCP, DUMP2_BARE, DUMP3_TCP, MISMATCH] {
            whole_only_at_its_end(&DUMP_TCP, &ask(XID), &hex(recorded));
        }
        let fragments = hex(FRAGMENTS);
        for end in (0..fragments.len()).step_by(37) {
            assert_eq!((DUMP_TCP.frame)(&ask(XID), &fragments[..end]), Framing::NeedMore);
            assert_eq!((DUMP_TCP.facts)(&[&fragments[..end]]), None);
        }
        assert_eq!((DUMP_TCP.frame)(&ask(XID), &fragments), Framing::Done(fragments.len()));
        let behind = [hex(DUMP2_TCP), b"behind".to_vec()].concat();
        assert_eq!((DUMP_TCP.frame)(&ask(XID), &behind), Framing::Done(behind.len() - 6));
        assert_eq!((DUMP_TCP.facts)(&[&behind]), Some(facts_of(&DUMP_TCP, &[DUMP2_TCP])));
    }

    /// A datagram has no record mark: a list that breaks off is read as far as it goes, and says so.
    #[test]
    fn a_datagram_cut_anywhere_is_no_whole_list() {
        let datagram = hex(DUMP2_UDP);
        for end in 0..datagram.len() {
            match (DUMP_UDP.facts)(&[&datagram[..end]]) {
                None => assert!(end < 24, "{end}"),
                Some(facts) => assert_eq!(facts.get("cut").map(String::as_str), Some("true"), "{end}"),
            }
        }
    }

    #[test]
    fn the_newer_lists_have_owners() {
        let reply = Reply::from_stream(&hex(DUMP3_TCP)).unwrap();
        let Outcome::Success(results) = reply.outcome else { panic!("{reply:?}") };
        let listing = Listing::version_3(&results);
        assert!(!listing.cut);
        let first = Entry {
            program: PORTMAPPER,
            version: 4,
            netid: "tcp6".to_owned(),
            port: 111,
            owner: Some("superuser".to_owned()),
        };
        assert_eq!(listing.entries[0], first);
        let nfs = listing.entries.iter().find(|entry| entry.program == 100_003).unwrap();
        assert_eq!((nfs.port, nfs.netid.as_str()), (2049, "tcp"));
    }

    #[test]
    fn a_server_without_version_2_is_asked_once_more() {
        let only_new = hex("80000020 4c414e31 00000001 00000000 00000000 00000000 00000002 00000003 00000004");
        let again = (DUMP_TCP.next)(&ask(XID), &[&only_new]).unwrap();
        assert_eq!(again, dump(XID, 3).to_record());
        assert_eq!((DUMP_TCP.next)(&ask(XID), &[&only_new, &only_new]), None);
        assert_eq!((DUMP_TCP.next)(&ask(XID), &[&hex(MISMATCH)]), None, "this one has version 2");
        assert_eq!((DUMP_TCP.next)(&ask(XID), &[&hex(DUMP2_TCP)]), None);
        let both = (DUMP_TCP.facts)(&[&only_new, &hex(DUMP3_TCP)]).unwrap();
        assert_eq!(both["reply"], "success");
        assert_eq!(both["owners"], "superuser");
        assert_eq!(both["versions"], "3-4");
    }

    #[test]
    fn refusals_are_told_apart() {
        let facts = facts_of(&DUMP_UDP, &[BADAUTH]);
        assert_eq!((facts["reply"].as_str(), facts["auth_error"].as_str()), ("auth-error", "rejected credentials"));
        let facts = facts_of(&DUMP_TCP, &[MISMATCH]);
        assert_eq!((facts["reply"].as_str(), facts["versions"].as_str()), ("program-mismatch", "2-4"));
    }

    #[test]
    fn null_says_only_that_it_is_there() {
        let reply = hex("4c414e31 00000001 00000000 00000000 00000000 00000000");
        assert_eq!((NULL_UDP.frame)(&ask(XID), &reply), Framing::Done(24));
        assert_eq!((NULL_UDP.facts)(&[&reply]).unwrap()["reply"], "success");
        assert_eq!((NULL_UDP.request)(&ask(XID)).len(), 40);
        let record = [&hex("80000018")[..], &reply].concat();
        whole_only_at_its_end(&NULL_TCP, &ask(XID), &record);
        assert_eq!((NULL_TCP.facts)(&[&record]), (NULL_UDP.facts)(&[&reply]));
    }

    #[test]
    fn endless_lists_end() {
        let mut results = Vec::new();
        for number in 0..MAX_ENTRIES + 5 {
            results.extend([1, u32::try_from(number).unwrap(), 1, 99, 7].iter().flat_map(|word| word.to_be_bytes()));
        }
        let listing = Listing::version_2(&results);
        assert_eq!((listing.entries.len(), listing.cut), (MAX_ENTRIES, true));
        assert_eq!(listing.entries[3].netid, "protocol-99");
    }

    #[test]
    fn universal_addresses_end_in_a_port() {
        assert_eq!(universal_port(b"0.0.0.0.8.1"), Some(2049));
        assert_eq!(universal_port(b"::.0.111"), Some(111));
        for odd in [&b"/run/rpcbind.sock"[..], b"", b"1", b"0.0.0.0.256.1", b"\xff.0.1."] {
            assert_eq!(universal_port(odd), None);
        }
    }

    proptest! {
        #[test]
        fn any_list_is_taken(words in proptest::collection::vec(prop_oneof![0_u32..20, any::<u32>()], 0..60)) {
            let results: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            for listing in [Listing::version_2(&results), Listing::version_3(&results)] {
                let mut facts = Facts::new();
                put_listing(&mut facts, &listing);
                prop_assert!(facts.values().all(|value| value.chars().count() <= MAX_FACT + 20));
            }
        }
    }
}
