//! Netlink's bytes: messages and attributes (RFC 3549; linux/netlink.h). Pure.
//!
//! Whatever is cut short or odd ends the walk; it never panics.

/// A message of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    pub body: &'a [u8],
}

/// The messages of one datagram.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = u32_at(rest, 0)? as usize;
        let message = Message {
            kind: u16_at(rest, 4)?,
            flags: u16_at(rest, 6)?,
            sequence: u32_at(rest, 8)?,
            body: rest.get(HEADER..length)?,
        };
        rest = rest.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or(&[]);
        Some(message)
    })
}

/// Attributes by type and value; the flags of the type (nested, byte order) are taken off.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)? & TYPE_MASK;
        let value = rest.get(ATTRIBUTE_HEADER..length)?;
        rest = rest.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

/// The value of the first attribute of a type.
pub fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// A request in bytes.
pub fn request(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).expect("requests are short");
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(body);
    bytes
}

/// Adds an attribute with its padding.
pub fn push_attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(ATTRIBUTE_HEADER + value.len()).expect("attributes of requests are short");
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
}

pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// In network byte order.
pub fn be16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// An IPv4 or IPv6 address by its length.
pub fn address(bytes: &[u8]) -> Option<std::net::IpAddr> {
    match bytes.len() {
        4 => Some(<[u8; 4]>::try_from(bytes).ok()?.into()),
        16 => Some(<[u8; 16]>::try_from(bytes).ok()?.into()),
        _ => None,
    }
}

/// A string that ends in a zero byte.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Size of `struct nlmsghdr`.
pub const HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
const ALIGNMENT: usize = 4;
/// NLA_TYPE_MASK: without NLA_F_NESTED and NLA_F_NET_BYTEORDER.
const TYPE_MASK: u16 = 0x3fff;

pub const NLM_F_REQUEST: u16 = 0x1;
pub const NLM_F_DUMP: u16 = 0x300;
/// The table changed during the dump: ask again.
pub const NLM_F_DUMP_INTR: u16 = 0x10;
pub const NLMSG_ERROR: u16 = 2;
pub const NLMSG_DONE: u16 = 3;

pub const AF_UNSPEC: u8 = 0;
pub const AF_INET: u8 = 2;
pub const AF_INET6: u8 = 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut body = Vec::new();
        push_attribute(&mut body, 3, b"eth0\0");
        push_attribute(&mut body, 0x8000 | 4, &7_u32.to_ne_bytes());
        let mut bytes = request(16, 0x301, 9, &body);
        bytes.extend(request(NLMSG_DONE, 2, 9, &[0; 4]));
        let found: Vec<_> = messages(&bytes).collect();
        assert_eq!((found.len(), found[0].kind, found[0].flags, found[0].sequence), (2, 16, 0x301, 9));
        let read: Vec<_> = attributes(found[0].body).map(|(kind, value)| (kind, value.len())).collect();
        assert_eq!(read, [(3, 5), (4, 4)]);
        assert_eq!(attribute(found[0].body, 3).map(text).as_deref(), Some("eth0"));
        assert_eq!(attribute(found[0].body, 4).and_then(|value| u32_at(value, 0)), Some(7));
    }

    #[test]
    fn lengths_that_lie_end_the_walk() {
        assert_eq!(attributes(&[0, 0, 1, 0]).count(), 0, "shorter than its own header");
        assert_eq!(attributes(&[8, 0, 1, 0, 1]).count(), 0, "longer than what is there");
        assert_eq!(messages(&[0; 16]).count(), 0);
        assert_eq!(address(&[1, 2, 3]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_walked_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for message in messages(&bytes) {
                for (_, value) in attributes(message.body) {
                    let _ = attributes(value).count();
                }
            }
        }
    }
}
