//! DNS service discovery (RFC 6763) from a multicast DNS responder (RFC 6762) that is asked from an ordinary port.
//!
//! Such a query ("legacy unicast", RFC 6762, section 6.7) is answered to the asking port, by unicast and by multicast.
//! Rounds: the service types and the host's name; then the instances of each type with their ports, texts and
//! addresses; then everything about the host names, which is where HINFO shows. A responder that publishes no service
//! stays silent to the first question alone, hence the name. Questions without an answer are met by silence.
//!
//! Facts:
//!
//! | key | value |
//! |---|---|
//! | `reply` | `answer`, or `not-mdns` (a name server that happens to be there) |
//! | `services` | `_ipp._tcp, _ssh._tcp` |
//! | `instances` | `Printer _ipp._tcp port 631`; names are the peer's free text |
//! | `hosts` | `server.local` |
//! | `addresses` | of the hosts, IPv6 too |
//! | `mac` | from the workstation service's names |
//! | `hinfo` | `X86_64 LINUX` |
//! | `model` | value of `model=` in a text record |
//! | `text_keys` | keys of the text records; the values may be secrets and are not kept |
//! | `leaks` | words: `services`, `hosts`, `addresses`, `mac`, `hinfo`, `model`, `texts` |

use std::collections::BTreeSet;
use std::net::IpAddr;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

use super::discovery::{Discovery, service_type};
use super::exchange::MAX_ITEMS;
use super::{Ask, CodecExchange, Facts, Framing};
use crate::model::Transport;

/// Service types, instances, host names.
pub const BROWSE: CodecExchange = CodecExchange {
    name: "dns-sd",
    transport: Transport::Udp,
    label: "DNS-SD browse",
    request: |ask| browse(ask.id, &[ask.peer]),
    frame,
    next,
    facts,
};

/// Questions in one follow-up query.
const MAX_QUESTIONS: usize = 16;

/// A query for the service types and for the names of `addresses`, of which some eight fit comfortably.
pub fn browse(id: u32, addresses: &[IpAddr]) -> Vec<u8> {
    let labels = [&b"_services"[..], b"_dns-sd", b"_udp", b"local"];
    let services = Name::from_labels(labels).into_iter();
    let reverse = addresses.iter().map(|address| Name::from(address.to_canonical()));
    query(id, services.chain(reverse).map(|name| (name, RecordType::PTR)))
}

fn query(id: u32, questions: impl Iterator<Item = (Name, RecordType)>) -> Vec<u8> {
    let mut message = Message::new(transaction(id), MessageType::Query, OpCode::Query);
    for (name, kind) in questions {
        message.add_query(Query::query(name, kind));
    }
    // A few short questions, made of valid names: nothing to fail.
    message.to_vec().unwrap_or_default()
}

/// The field has 16 bits. 0 is what multicast replies carry, so it would tell nothing.
fn transaction(id: u32) -> u16 {
    let [.., high, low] = id.to_be_bytes();
    u16::from_be_bytes([high, low]).max(1)
}

fn parse(datagram: &[u8]) -> Option<Message> {
    let message = Message::from_vec(datagram).ok()?;
    (message.metadata.message_type == MessageType::Response && message.metadata.op_code == OpCode::Query)
        .then_some(message)
}

/// Responders speak with authority and without errors (RFC 6762, sections 18.4 and 18.11); a name server does not.
fn is_responder(message: &Message) -> bool {
    message.metadata.authoritative
        && message.metadata.response_code == ResponseCode::NoError
        && !message.answers.is_empty()
}

fn frame(ask: &Ask, datagram: &[u8]) -> Framing {
    match parse(datagram) {
        None => Framing::Malformed("not a DNS reply"),
        Some(message) if message.metadata.id != transaction(ask.id) => Framing::Malformed("reply to another query"),
        Some(_) => Framing::Done(datagram.len()),
    }
}

fn next(ask: &Ask, replies: &[&[u8]]) -> Option<Vec<u8>> {
    let messages: Vec<Message> = replies.iter().filter_map(|reply| parse(reply)).filter(is_responder).collect();
    let types = || {
        let targets = messages.iter().flat_map(Message::all_sections).filter_map(|record| match &record.data {
            RData::PTR(target) if service_type(&target.0).is_some() => Some(target.0.clone()),
            _ => None,
        });
        targets.map(|name| (name, RecordType::PTR))
    };
    let hosts = || {
        let names = messages.iter().flat_map(Message::all_sections).filter_map(|record| match &record.data {
            RData::SRV(service) => Some(service.target.clone()),
            RData::PTR(target) if is_host(&target.0) => Some(target.0.clone()),
            _ => None,
        });
        names.map(|name| (name, RecordType::ANY))
    };
    let questions = match replies.len() {
        1 if types().next().is_some() => questions(types()),
        // Nothing published: straight to the host.
        1 => questions(hosts()),
        2 if types().next().is_some() => questions(hosts()),
        _ => Vec::new(),
    };
    (!questions.is_empty()).then(|| query(ask.id, questions.into_iter()))
}

fn questions(wanted: impl Iterator<Item = (Name, RecordType)>) -> Vec<(Name, RecordType)> {
    let unique: BTreeSet<(Name, RecordType)> = wanted.take(MAX_ITEMS).collect();
    unique.into_iter().take(MAX_QUESTIONS).collect()
}

fn facts(replies: &[&[u8]]) -> Option<Facts> {
    let messages: Vec<Message> = replies.iter().filter_map(|reply| parse(reply)).collect();
    let first = messages.first()?;
    if !is_responder(first) {
        return Some(Facts::from([("reply".to_owned(), "not-mdns".to_owned())]));
    }
    let mut discovery = Discovery::default();
    messages.iter().filter(|message| is_responder(message)).for_each(|message| discovery.add(message));
    Some(discovery.facts())
}

fn is_host(name: &Name) -> bool {
    let first_is_plain = name.iter().next().is_some_and(|label| !label.starts_with(b"_"));
    first_is_plain && name.num_labels() == 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::exchange::MAX_FACT;
    use super::super::exchange::testing::{ask, hex, whole_only_at_its_end};
    use super::*;

    const ID: u32 = 0x1234;
    const FIRST: &str = include_str!("../../../tests/data/codec/mdns_first.hex");
    const PLAIN: &str = include_str!("../../../tests/data/codec/mdns_first_plain.hex");
    const WORKSTATION: &str = include_str!("../../../tests/data/codec/mdns_workstation.hex");
    const IPP: &str = include_str!("../../../tests/data/codec/mdns_ipp.hex");
    const SSH: &str = include_str!("../../../tests/data/codec/mdns_ssh.hex");
    const DEVICE_INFO: &str = include_str!("../../../tests/data/codec/mdns_device_info.hex");
    const SEVERAL: &str = include_str!("../../../tests/data/codec/mdns_several.hex");
    const HOST: &str = include_str!("../../../tests/data/codec/mdns_host_any.hex");

    fn facts_of(replies: &[&str]) -> Facts {
        let replies: Vec<Vec<u8>> = replies.iter().map(|reply| hex(reply)).collect();
        let replies: Vec<&[u8]> = replies.iter().map(Vec::as_slice).collect();
        facts(&replies).unwrap()
    }

    fn questions_of(query: &[u8]) -> Vec<String> {
        let message = Message::from_vec(query).unwrap();
        message.queries.iter().map(|query| format!("{} {}", query.name, query.query_type)).collect()
    }

    #[test]
    fn the_query_has_the_bytes_of_rfc_6763() {
        let services = "1234 0000 0001 0000 0000 0000 09 5f7365727669636573 07 5f646e732d7364 04 5f756470 05 6c6f63616c \
                        00 000c 0001";
        assert_eq!(browse(ID, &[]), hex(services));
        let first = (BROWSE.request)(&ask(ID));
        assert_eq!(
            questions_of(&first),
            ["_services._dns-sd._udp.local. PTR", "1.77.18.198.in-addr.arpa. PTR"].map(str::to_owned)
        );
        assert_eq!(transaction(0x7_0000), 1);
    }

    #[test]
    fn everything_of_a_talkative_responder() {
        let facts = facts_of(&[FIRST, WORKSTATION, IPP, SSH, DEVICE_INFO, HOST]);
        let expected = [
            ("addresses", "198.18.77.1, 2001:db8:77::1"),
            ("hinfo", "X86_64 LINUX"),
            ("hosts", "postern-lab.local"),
            (
                "instances",
                "Drucker im Büro _device-info._tcp, Drucker im Büro _ipp._tcp port 631, postern-lab _ssh._tcp port 22, \
                 postern-lab [da:58:c3:93:b1:84] _workstation._tcp port 9",
            ),
            ("leaks", "services hosts addresses mac hinfo model texts"),
            ("mac", "da:58:c3:93:b1:84"),
            ("model", "RackMac"),
            ("reply", "answer"),
            ("services", "_device-info._tcp, _ipp._tcp, _ssh._tcp, _workstation._tcp"),
            ("text_keys", "adminpass, model, rp, ty"),
        ];
        assert_eq!(facts, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn values_of_texts_are_not_kept() {
        let all: String = facts_of(&[FIRST, IPP, SEVERAL]).into_values().collect();
        assert!(all.contains("adminpass") && !all.contains("PLANTED"), "{all}");
    }

    #[test]
    fn a_responder_without_services_tells_its_name() {
        let facts = facts_of(&[PLAIN]);
        assert_eq!((facts["hosts"].as_str(), facts["leaks"].as_str()), ("plain-lab.local", "hosts"));
        let host = next(&ask(ID), &[&hex(PLAIN)]).unwrap();
        assert_eq!(questions_of(&host), ["plain-lab.local. ANY"]);
        assert_eq!(next(&ask(ID), &[&hex(PLAIN), &hex(HOST)]), None);
    }

    #[test]
    fn rounds_follow_what_was_answered() {
        let instances = next(&ask(ID), &[&hex(FIRST)]).unwrap();
        let expected = ["_device-info._tcp", "_ipp._tcp", "_ssh._tcp", "_workstation._tcp"];
        assert_eq!(questions_of(&instances), expected.map(|kind| format!("{kind}.local. PTR")));
        let hosts = next(&ask(ID), &[&hex(FIRST), &hex(SEVERAL)]).unwrap();
        assert_eq!(questions_of(&hosts), ["postern-lab.local. ANY"]);
        assert_eq!(next(&ask(ID), &[&hex(FIRST), &hex(SEVERAL), &hex(HOST)]), None);
        assert_eq!(next(&ask(ID), &[]), None);
        assert_eq!(next(&ask(ID), &[b"junk"]), None);
    }

    #[test]
    fn replies_are_whole_only_at_their_end() {
        for recorded in [FIRST, PLAIN, WORKSTATION, IPP, SSH, DEVICE_INFO, SEVERAL, HOST] {
            let reply = hex(recorded);
            whole_only_at_its_end(&BROWSE, &ask(ID), &reply);
            for end in 0..reply.len() {
                assert_eq!(facts(&[&reply[..end]]), None, "{end}");
            }
            let behind = [&reply[..], b"behind"].concat();
            assert_eq!(facts(&[&behind]), facts(&[&reply]));
        }
    }

    #[test]
    fn other_answers_are_refused() {
        assert_eq!(frame(&ask(ID + 1), &hex(FIRST)), Framing::Malformed("reply to another query"));
        assert_eq!(frame(&ask(ID), &browse(ID, &[])), Framing::Malformed("not a DNS reply"), "our own query");
        // A name server: recursion available, NXDOMAIN, no authority.
        let mut refused = browse(ID, &[]);
        refused[2..4].copy_from_slice(&[0x80, 0x83]);
        assert_eq!(facts(&[&refused]).unwrap()["reply"], "not-mdns");
    }

    #[test]
    fn hostile_pointers_end() {
        // A name that points to itself.
        let looping = hex("1234 8400 0000 0001 0000 0000 c00c 000c 0001 0000000a 0002 c00c");
        assert_eq!(facts(&[&looping]), None);
    }

    proptest! {
        /// Replies with valid headers and mutated records.
        #[test]
        fn mutated_replies_are_taken(position in 0_usize..300, byte: u8, cut in 0_usize..300) {
            let mut reply = hex(SEVERAL);
            let position = position % reply.len();
            reply[position] = byte;
            let cut = reply.len() - cut % reply.len();
            for reply in [&reply[..], &reply[..cut]] {
                let _ = (frame(&ask(ID), reply), next(&ask(ID), &[reply]), next(&ask(ID), &[reply, reply]));
                if let Some(facts) = facts(&[reply]) {
                    prop_assert!(facts.values().all(|value| value.chars().count() <= MAX_FACT + 20));
                }
            }
        }
    }
}
