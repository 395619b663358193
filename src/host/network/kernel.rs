//! Driver: a netlink socket of the namespace that the calling thread is in. It stays of that namespace.

use std::io;

use netlink_sys::{Socket, SocketAddr};

use super::wire::{self, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR};

/// A conversation with one subsystem of the kernel.
pub struct Kernel {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Kernel {
    /// `protocol`: NETLINK_ROUTE, NETLINK_SOCK_DIAG...
    pub fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// Asks for all objects of a kind. `take` gets the kind and the body of each message of the last try; it is told by
    /// `None` to forget all, when the table changed meanwhile and it is asked again.
    pub fn dump(&mut self, kind: u16, body: &[u8], mut take: impl FnMut(Option<(u16, &[u8])>)) -> io::Result<()> {
        for round in 0..ROUNDS {
            if round > 0 {
                take(None);
            }
            let interrupted = self.exchange(kind, NLM_F_DUMP, body, &mut |kind, body| take(Some((kind, body))))?;
            if !interrupted {
                break;
            }
        }
        Ok(())
    }

    /// Asks for one object.
    pub fn ask(&mut self, kind: u16, body: &[u8], mut take: impl FnMut(u16, &[u8])) -> io::Result<()> {
        self.exchange(kind, 0, body, &mut take).map(|_| ())
    }

    fn exchange(&mut self, kind: u16, flags: u16, body: &[u8], take: Take<'_>) -> io::Result<bool> {
        self.sequence += 1;
        self.socket.send(&wire::request(kind, NLM_F_REQUEST | flags, self.sequence, body), 0)?;
        let mut interrupted = false;
        loop {
            let mut buffer = &mut self.buffer[..];
            let length = self.socket.recv(&mut buffer, 0)?;
            for message in wire::messages(&self.buffer[..length.min(BUFFER)]) {
                // The rest of an answer that was given up.
                if message.sequence != self.sequence {
                    continue;
                }
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                match message.kind {
                    // The end of a dump may bear an error, too.
                    NLMSG_DONE | NLMSG_ERROR => {
                        let code = wire::u32_at(message.body, 0).map_or(0, u32::cast_signed);
                        return if code >= 0 { Ok(interrupted) } else { Err(io::Error::from_raw_os_error(-code)) };
                    }
                    kind => take(kind, message.body),
                }
            }
            // Only a dump ends with a message that says so.
            if flags & NLM_F_DUMP == 0 {
                return Ok(interrupted);
            }
        }
    }
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Kernel").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

/// Is given kind and body of each message.
type Take<'a> = &'a mut dyn FnMut(u16, &[u8]);

/// The kernel fills datagrams of up to 32 KiB (netlink_dump in net/netlink/af_netlink.c).
const BUFFER: usize = 64 << 10;
/// Dumps that a busy table may interrupt; the last one counts even so.
const ROUNDS: usize = 4;
