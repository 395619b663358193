//! SSH before any login: identification line (RFC 4253, section 4.2) and algorithm offer (section 7.1).
//!
//! One connection: our identification is sent at once, the server's offer follows without a key exchange, and no user
//! name is ever sent. OpenSSH 9.8 and later counts such a connection against the source; more than one would tell.
//!
//! Facts:
//!
//! | key | value |
//! |---|---|
//! | `protocol` | `2.0`, `1.99` (both), `1.5` |
//! | `software` | `OpenSSH_9.2p1` |
//! | `product`, `version` | `OpenSSH`, `9.2p1` |
//! | `comment` | `Debian-2+deb12u10`: the distribution's patch level |
//! | `offer` | `read` when the algorithm offer came; the facts below only then |
//! | `weak` | offered algorithms that are broken or deprecated |
//! | `terrapin` | `mitigated`, `vulnerable` (CVE-2023-48795), `not-affected` |
//! | `host_keys` | host key algorithms |

use std::collections::BTreeSet;

use super::banner::line;
use super::exchange::{MAX_ITEM, list, no_next, put, text};
use super::{CodecExchange, Facts, Framing};
use crate::model::Transport;

/// Identification and algorithm offer.
pub const IDENTIFY: CodecExchange = CodecExchange {
    name: "ssh",
    transport: Transport::Tcp,
    label: "SSH identification",
    request: |_| b"SSH-2.0-postern\r\n".to_vec(),
    frame: |_, received| frame(received),
    next: no_next,
    facts: |replies| facts(replies.first()?),
};

/// Lines that may come before the identification; the RFC sets no bound.
const MAX_LINES_BEFORE: usize = 20;

/// RFC 4253 allows 255 with the line end; some servers send longer lines before it.
const MAX_LINE: usize = 1024;

/// Largest packet that every implementation has to take (RFC 4253, section 6.1).
const MAX_PACKET: usize = 35_000;

const KEXINIT: u8 = 20;
const COOKIE: usize = 16;

/// A server's identification line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identification {
    pub protocol: String,
    pub software: String,
    pub comment: String,
}

impl Identification {
    /// Skips the lines before it. Returns it with what follows.
    pub fn read(received: &[u8]) -> Result<(Self, &[u8]), Framing> {
        let mut rest = received;
        for _ in 0..=MAX_LINES_BEFORE {
            let found = line(rest, MAX_LINE)?;
            rest = rest.get(found.length..).unwrap_or_default();
            if let Some(identification) = Self::parse(found.content) {
                return Ok((identification, rest));
            }
        }
        Err(Framing::Malformed("no SSH identification in the first lines"))
    }

    /// `SSH-protoversion-softwareversion SP comments`.
    fn parse(content: &[u8]) -> Option<Self> {
        let content = text(content.strip_prefix(b"SSH-")?, 253);
        let (protocol, rest) = content.split_once('-')?;
        let known = protocol.starts_with(|first: char| first.is_ascii_digit()) && protocol.len() <= 8;
        let (software, comment) = rest.split_once(' ').unwrap_or((rest, ""));
        known.then(|| Self {
            protocol: protocol.to_owned(),
            software: software.chars().take(MAX_ITEM).collect(),
            comment: comment.trim().chars().take(MAX_ITEM).collect(),
        })
    }

    /// `OpenSSH_9.2p1` is `OpenSSH`, `9.2p1`; `dropbear_2022.83`; `libssh-0.9.6`; `Cisco-1.25`.
    pub fn product_and_version(&self) -> (&str, &str) {
        let split = self.software.char_indices().find(|(position, character)| {
            let behind = self.software.get(position + 1..).unwrap_or("");
            matches!(character, '_' | '-') && behind.starts_with(|first: char| first.is_ascii_digit())
        });
        match split {
            Some((position, _)) => {
                (self.software.get(..position).unwrap_or(""), self.software.get(position + 1..).unwrap_or(""))
            }
            None => (&self.software, ""),
        }
    }

    fn speaks_version_2(&self) -> bool {
        matches!(self.protocol.as_str(), "2.0" | "1.99")
    }
}

/// What a server offers (SSH_MSG_KEXINIT), the directions taken together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    pub key_exchange: Vec<String>,
    pub host_keys: Vec<String>,
    pub ciphers: Vec<String>,
    pub macs: Vec<String>,
}

impl Offer {
    /// Reads an unencrypted packet (RFC 4253, section 6) that holds a KEXINIT.
    pub fn read(received: &[u8]) -> Result<(Self, usize), Framing> {
        let Some((length, behind)) = received.split_first_chunk::<4>() else { return Err(Framing::NeedMore) };
        let length = u32::from_be_bytes(*length) as usize;
        if !(2..=MAX_PACKET).contains(&length) {
            return Err(Framing::Malformed("no SSH packet behind the identification"));
        }
        let Some((packet, _)) = behind.split_at_checked(length) else { return Err(Framing::NeedMore) };
        let offer = Self::parse(packet).ok_or(Framing::Malformed("no SSH algorithm offer"))?;
        Ok((offer, 4 + length))
    }

    fn parse(packet: &[u8]) -> Option<Self> {
        let (&padding, behind) = packet.split_first()?;
        let payload = behind.get(..behind.len().checked_sub(usize::from(padding))?)?;
        let (&KEXINIT, behind) = payload.split_first()? else { return None };
        let mut lists = NameLists(behind.get(COOKIE..)?);
        let (key_exchange, host_keys) = (lists.read()?, lists.read()?);
        let ciphers = union(lists.read()?, lists.read()?);
        let macs = union(lists.read()?, lists.read()?);
        Some(Self { key_exchange, host_keys, ciphers, macs })
    }

    /// Algorithms that are broken or deprecated (RFC 8758, RFC 9142 and OpenSSH's own defaults), in the order offered.
    pub fn weak(&self) -> Vec<String> {
        let all = [&self.key_exchange, &self.host_keys, &self.ciphers, &self.macs];
        union(all.into_iter().flatten().filter(|name| is_weak(name)).cloned().collect(), Vec::new())
    }

    /// CVE-2023-48795: a prefix of the handshake can be cut when these ciphers are in use without strict key exchange.
    pub fn terrapin(&self) -> &'static str {
        let offers = |list: &[String], test: fn(&str) -> bool| list.iter().any(|name| test(name));
        let affected = offers(&self.ciphers, |name| name == "chacha20-poly1305@openssh.com")
            || offers(&self.ciphers, |name| name.ends_with("-cbc"))
                && offers(&self.macs, |name| name.ends_with("-etm@openssh.com"));
        match affected {
            _ if offers(&self.key_exchange, |name| name == "kex-strict-s-v00@openssh.com") => "mitigated",
            true => "vulnerable",
            false => "not-affected",
        }
    }
}

/// Comma-separated lists of algorithm names (RFC 4251, section 5).
struct NameLists<'a>(&'a [u8]);

impl NameLists<'_> {
    fn read(&mut self) -> Option<Vec<String>> {
        let (length, behind) = self.0.split_first_chunk::<4>()?;
        let (names, rest) = behind.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        self.0 = rest;
        let names = names.split(|byte| *byte == b',').filter(|name| !name.is_empty());
        Some(names.take(MAX_NAMES).map(|name| text(name, 64)).collect())
    }
}

/// Names of one list that are looked at; OpenSSH's longest has 15.
const MAX_NAMES: usize = 100;

fn union(mut one: Vec<String>, other: Vec<String>) -> Vec<String> {
    one.extend(other);
    let mut seen = BTreeSet::new();
    one.retain(|name| seen.insert(name.clone()));
    one
}

fn is_weak(name: &str) -> bool {
    const WEAK: &[&str] = &[
        "diffie-hellman-group-exchange-sha1",
        "diffie-hellman-group1-sha1",
        "diffie-hellman-group14-sha1",
        "hmac-md5",
        "hmac-ripemd160",
        "hmac-sha1-96",
        "none",
        "rsa1024-sha1",
        "ssh-dss",
        "ssh-rsa",
    ];
    WEAK.contains(&name)
        || ["arcfour", "hmac-md5-", "hmac-sha1-96-", "gss-group1-sha1-"].iter().any(|prefix| name.starts_with(prefix))
        || name.ends_with("-cbc")
        || name.starts_with("ssh-dss-cert")
}

fn frame(received: &[u8]) -> Framing {
    match Identification::read(received) {
        Err(framing) => framing,
        // Version 1 sends its keys in a form of its own, which says nothing that we need.
        Ok((identification, rest)) if !identification.speaks_version_2() => Framing::Done(received.len() - rest.len()),
        Ok((_, rest)) => match Offer::read(rest) {
            Ok((_, length)) => Framing::Done(received.len() - rest.len() + length),
            Err(framing) => framing,
        },
    }
}

fn facts(received: &[u8]) -> Option<Facts> {
    let (identification, rest) = Identification::read(received).ok()?;
    let mut facts = Facts::new();
    let (product, version) = identification.product_and_version();
    put(&mut facts, "protocol", identification.protocol.clone());
    put(&mut facts, "software", identification.software.clone());
    put(&mut facts, "product", product.to_owned());
    put(&mut facts, "version", version.to_owned());
    put(&mut facts, "comment", identification.comment.clone());
    if let Ok((offer, _)) = Offer::read(rest) {
        put(&mut facts, "offer", "read".to_owned());
        put(&mut facts, "weak", list(offer.weak()));
        put(&mut facts, "terrapin", offer.terrapin().to_owned());
        put(&mut facts, "host_keys", list(offer.host_keys));
    }
    Some(facts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::exchange::testing::{ask, hex, whole_only_at_its_end};
    use super::*;

    const DEFAULT: &str = include_str!("../../../tests/data/codec/ssh_openssh_9_2.hex");
    const WEAK: &str = include_str!("../../../tests/data/codec/ssh_openssh_weak.hex");
    const HTTP: &str = include_str!("../../../tests/data/codec/ssh_openssh_http.hex");

    #[test]
    fn a_real_server() {
        let facts = facts(&hex(DEFAULT)).unwrap();
        let expected = [
            ("comment", "Debian-2+deb12u10"),
            ("host_keys", "ssh-ed25519"),
            ("offer", "read"),
            ("product", "OpenSSH"),
            ("protocol", "2.0"),
            ("software", "OpenSSH_9.2p1"),
            ("terrapin", "mitigated"),
            ("version", "9.2p1"),
        ];
        assert_eq!(facts, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn a_real_server_with_old_algorithms() {
        let facts = facts(&hex(WEAK)).unwrap();
        assert_eq!(
            facts["weak"],
            "diffie-hellman-group1-sha1, diffie-hellman-group14-sha1, ssh-rsa, 3des-cbc, aes128-cbc, hmac-md5, \
             hmac-sha1-96"
        );
    }

    #[test]
    fn a_server_that_was_spoken_to_in_http_is_recognised() {
        let reply = hex(HTTP);
        assert_eq!(frame(&reply), Framing::Malformed("no SSH packet behind the identification"));
        let facts = facts(&reply).unwrap();
        assert_eq!((facts["software"].as_str(), facts.get("offer")), ("OpenSSH_9.2p1", None));
    }

    #[test]
    fn replies_are_whole_only_at_their_end() {
        for recorded in [DEFAULT, WEAK] {
            let reply = hex(recorded);
            whole_only_at_its_end(&IDENTIFY, &ask(0), &reply);
            let behind = [&reply[..], b"behind"].concat();
            assert_eq!((frame(&behind), facts(&behind)), (Framing::Done(reply.len()), facts(&reply)));
            for end in 0..41 {
                assert_eq!(facts(&reply[..end]), None, "{end}");
            }
        }
    }

    #[test]
    fn identifications_by_the_rfc() {
        for (received, protocol, product, version, comment) in [
            ("SSH-2.0-dropbear_2022.83\r\n", "2.0", "dropbear", "2022.83", ""),
            ("SSH-2.0-libssh-0.9.6\n", "2.0", "libssh", "0.9.6", ""),
            ("SSH-2.0-Go\r\n", "2.0", "Go", "", ""),
            ("SSH-1.99-Cisco-1.25\n", "1.99", "Cisco", "1.25", ""),
            ("SSH-1.5-OpenSSH_3.4p1\n", "1.5", "OpenSSH", "3.4p1", ""),
            (
                "Welcome\r\nto this host\r\nSSH-2.0-billsSSH_3.6.3q3 some words\r\n",
                "2.0",
                "billsSSH",
                "3.6.3q3",
                "some words",
            ),
        ] {
            let (identification, rest) = Identification::read(received.as_bytes()).unwrap();
            assert_eq!(identification.protocol, protocol);
            assert_eq!(identification.product_and_version(), (product, version));
            assert_eq!((identification.comment.as_str(), rest), (comment, &b""[..]));
        }
    }

    #[test]
    fn version_1_is_whole_with_its_line() {
        assert_eq!(frame(b"SSH-1.5-1.2.27\n\0\0\0\x10"), Framing::Done(15));
        assert_eq!(facts(b"SSH-1.5-1.2.27\n").unwrap()["protocol"], "1.5");
        assert_eq!(frame(b"SSH-1.99-Cisco-1.25\n"), Framing::NeedMore);
    }

    #[test]
    fn lines_before_it_are_bounded() {
        let many = "x\n".repeat(MAX_LINES_BEFORE + 1) + "SSH-2.0-late\r\n";
        assert_eq!(frame(many.as_bytes()), Framing::Malformed("no SSH identification in the first lines"));
        assert_eq!(frame(&[b'x'; MAX_LINE]), Framing::Malformed("line too long"));
        assert_eq!(facts(b"SSH-\r\n"), None);
        assert_eq!(facts(b"SSH-x-y\r\n"), None);
    }

    #[test]
    fn terrapin_needs_an_affected_cipher_and_no_strict_key_exchange() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
        let offer = |kex: &[&str], ciphers: &[&str], macs: &[&str]| Offer {
            key_exchange: names(kex),
            host_keys: Vec::new(),
            ciphers: names(ciphers),
            macs: names(macs),
        };
        let strict = ["curve25519-sha256", "kex-strict-s-v00@openssh.com"];
        let chacha = ["chacha20-poly1305@openssh.com"];
        let etm = ["hmac-sha2-256-etm@openssh.com"];
        assert_eq!(offer(&[], &chacha, &[]).terrapin(), "vulnerable");
        assert_eq!(offer(&strict, &chacha, &[]).terrapin(), "mitigated");
        assert_eq!(offer(&[], &["aes128-cbc"], &etm).terrapin(), "vulnerable");
        assert_eq!(offer(&[], &["aes128-cbc"], &["hmac-sha2-256"]).terrapin(), "not-affected");
        assert_eq!(offer(&[], &["aes128-ctr"], &etm).terrapin(), "not-affected");
    }

    #[test]
    fn hostile_offers_are_refused() {
        let identified = |packet: &[u8]| [b"SSH-2.0-x\r\n", packet].concat();
        for (packet, framing) in [
            (&[0xff, 0xff, 0xff, 0xff][..], Framing::Malformed("no SSH packet behind the identification")),
            (&[0, 0, 0, 0], Framing::Malformed("no SSH packet behind the identification")),
            (&[0, 0, 0, 2, 9, KEXINIT], Framing::Malformed("no SSH algorithm offer")),
            (&[0, 0, 0, 2, 0, 21], Framing::Malformed("no SSH algorithm offer")),
            (&[0, 0], Framing::NeedMore),
        ] {
            assert_eq!(frame(&identified(packet)), framing);
            assert!(facts(&identified(packet)).is_some());
        }
    }

    proptest! {
        #[test]
        fn any_offer_is_taken(packet in proptest::collection::vec(any::<u8>(), 0..400), padding in 0_u8..20) {
            let body = [&[padding, KEXINIT][..], &packet].concat();
            let length = u32::try_from(body.len()).unwrap().to_be_bytes();
            let reply = [b"SSH-2.0-x\r\n", &length[..], &body].concat();
            let _ = (frame(&reply), facts(&reply));
        }

        #[test]
        fn any_name_lists_are_taken(lengths in proptest::collection::vec(0_u32..12, 0..14), filler: u8) {
            let mut body = vec![0, KEXINIT];
            body.extend([0; COOKIE]);
            for length in lengths {
                body.extend(length.to_be_bytes());
                body.extend(vec![filler; length as usize]);
            }
            if let Some(offer) = Offer::parse(&body) {
                let _ = (offer.weak(), offer.terrapin());
            }
        }
    }
}
