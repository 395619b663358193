//! Every codec, found by the name that definitions use.

use super::{CodecExchange, dns_sd, rpcbind, ssh};
use crate::model::Transport;

/// All codecs, ordered by name and transport.
pub static CODECS: &[&CodecExchange] =
    &[&dns_sd::BROWSE, &rpcbind::DUMP_TCP, &rpcbind::DUMP_UDP, &rpcbind::NULL_TCP, &rpcbind::NULL_UDP, &ssh::IDENTIFY];

/// Looks a codec up.
pub fn find(name: &str, transport: Transport) -> Option<&'static CodecExchange> {
    CODECS.iter().copied().find(|codec| codec.name == name && codec.transport == transport)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Framing;
    use super::super::exchange::testing::ask;
    use super::*;

    #[test]
    fn is_sorted_and_unique() {
        assert!(CODECS.is_sorted_by(|one, other| (one.name, one.transport) < (other.name, other.transport)));
        assert_eq!(CODECS.len(), 6);
    }

    #[test]
    fn finds_by_name_and_transport() {
        assert_eq!(find("rpcbind", Transport::Udp).map(|codec| codec.transport), Some(Transport::Udp));
        assert_eq!(find("ssh", Transport::Tcp).map(|codec| codec.name), Some("ssh"));
        assert!(find("ssh", Transport::Udp).is_none());
        assert!(find("", Transport::Tcp).is_none());
    }

    #[test]
    fn no_codec_takes_an_answer_of_another_protocol() {
        for other in
            [&b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"[..], b"220 mail ESMTP\r\n", b"", b"\r\n"]
        {
            for codec in CODECS {
                assert_eq!((codec.facts)(&[other]), None, "{}", codec.name);
                assert!(!matches!((codec.frame)(&ask(7), other), Framing::Done(_)), "{}", codec.name);
            }
        }
    }

    proptest! {
        /// Whatever arrives: no panic, and no more than was received is taken.
        #[test]
        fn any_bytes_are_taken(
            first in proptest::collection::vec(any::<u8>(), 0..600),
            second in proptest::collection::vec(any::<u8>(), 0..600),
            id: u32,
        ) {
            for codec in CODECS {
                if let Framing::Done(length) = (codec.frame)(&ask(id), &first) {
                    prop_assert!(length <= first.len());
                }
                let _ = (codec.next)(&ask(id), &[&first, &second]);
                let _ = (codec.facts)(&[&first, &second]);
            }
        }
    }
}
