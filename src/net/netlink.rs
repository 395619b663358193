//! One request to the kernel's routing tables (rtnetlink, RFC 3549) and its answer. It speaks of the network namespace of
//! the calling thread.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// A netlink request that failed.
#[derive(Debug, thiserror::Error)]
#[error("netlink: {operation}: {error}; hint: is AF_NETLINK allowed here (seccomp, container)?")]
pub struct NetlinkError {
    operation: &'static str,
    error: io::Error,
}

impl NetlinkError {
    /// The kernel's error number, if it was the kernel that refused.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.error.raw_os_error()
    }
}

/// Asks for all objects of a kind (RFC 3549 section 2.3).
pub(super) fn dump(
    request: RouteNetlinkMessage,
    operation: &'static str,
) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
    exchange(request, NLM_F_DUMP).map_err(|error| NetlinkError { operation, error })
}

/// Asks for one object, which is answered by one message or an error.
pub(super) fn one(request: RouteNetlinkMessage, operation: &'static str) -> Result<RouteNetlinkMessage, NetlinkError> {
    let answers = exchange(request, 0).map_err(|error| NetlinkError { operation, error })?;
    answers.into_iter().next().ok_or_else(|| NetlinkError { operation, error: io::ErrorKind::UnexpectedEof.into() })
}

/// Makes a new object, which must not be there yet.
pub(super) fn create(request: RouteNetlinkMessage, operation: &'static str) -> Result<(), NetlinkError> {
    exchange(request, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL).map_err(|error| NetlinkError { operation, error })?;
    Ok(())
}

/// Changes an object that is there.
pub(super) fn change(request: RouteNetlinkMessage, operation: &'static str) -> Result<(), NetlinkError> {
    exchange(request, NLM_F_ACK).map_err(|error| NetlinkError { operation, error })?;
    Ok(())
}

/// `02:00:00:00:00:01`; none for what has no link-layer address: loopback and tunnels have none, or zeros.
pub(super) fn mac_text(bytes: &[u8]) -> Option<String> {
    (bytes.len() == 6 && bytes.iter().any(|byte| *byte != 0))
        .then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"))
}

fn exchange(request: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let mut answers = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = &datagram[..];
        while rest.len() >= NETLINK_HEADER {
            let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            let step = length.max(NETLINK_HEADER).next_multiple_of(4);
            // A message of a kind that this version does not know is stepped over.
            if let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest) {
                match message.payload {
                    NetlinkPayload::Done(_) => return Ok(answers),
                    // An acknowledgement is an error message without a code.
                    NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answers),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                    _ => {}
                }
            }
            rest = rest.get(step..).unwrap_or(&[]);
        }
        // Only a dump ends with a message that says so.
        if flags & NLM_F_DUMP == 0 {
            return Ok(answers);
        }
    }
}

/// Size of `struct nlmsghdr` (linux/netlink.h).
const NETLINK_HEADER: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_layer_addresses_print_as_people_write_them() {
        assert_eq!(mac_text(&[2, 0, 0, 0, 0, 0xab]).as_deref(), Some("02:00:00:00:00:ab"));
        assert_eq!(mac_text(&[0; 6]), None);
        assert_eq!(mac_text(&[1, 2, 3, 4]), None);
    }
}
