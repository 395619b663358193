//! UDP: one request, the first answer from that very address.

#![expect(clippy::disallowed_methods, reason = "the probe's UDP sockets are made here")]

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::answer::{Answer, Outcome};
use super::codec::{Ask, CodecExchange, Framing, MAX_ROUNDS};
use super::stream::{self, Dialer};

/// Tries of one request: datagrams get lost.
const TRIES: u32 = 2;
/// Datagrams that are no answer after which the peer is given up.
const MISFITS: u32 = 16;

/// Sends raw bytes.
pub(super) async fn bytes(dialer: &Dialer, request: &[u8], wait: Duration) -> Answer {
    let exchange = async {
        let socket = connect(dialer).await?;
        exchange(&socket, request, wait, |_| true).await
    };
    exchange.await.map_or_else(|error| Answer::failed(outcome(&error)), Answer::bytes)
}

/// Holds a codec's conversation; `wait` is for each of its rounds.
pub(super) async fn codec(dialer: &Dialer, codec: &CodecExchange, ask: Ask, wait: Duration) -> Answer {
    let mut replies: Vec<Vec<u8>> = Vec::new();
    let mut ask = ask;
    let mut request = (codec.request)(&ask);
    let socket = match connect(dialer).await {
        Ok(socket) => socket,
        Err(error) => return Answer::failed(outcome(&error)),
    };
    loop {
        let whole = |datagram: &[u8]| matches!((codec.frame)(&ask, datagram), Framing::Done(_));
        match exchange(&socket, &request, wait, whole).await {
            Ok(reply) => replies.push(reply),
            Err(error) => return stream::conclude(codec, &replies, Vec::new(), outcome(&error)),
        }
        ask = Ask { id: ask.id.wrapping_add(1), ..ask };
        let views: Vec<&[u8]> = replies.iter().map(Vec::as_slice).collect();
        match (codec.next)(&ask, &views) {
            Some(next) if replies.len() <= MAX_ROUNDS => request = next,
            _ => return stream::conclude(codec, &replies, Vec::new(), Outcome::Malformed),
        }
    }
}

fn outcome(error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::TimedOut => Outcome::Silent,
        io::ErrorKind::InvalidData => Outcome::Malformed,
        // The ICMP answer `port unreachable`.
        io::ErrorKind::ConnectionRefused => Outcome::Closed,
        _ => Outcome::Unreachable,
    }
}

/// A connected socket takes datagrams of that very address only.
async fn connect(dialer: &Dialer) -> io::Result<UdpSocket> {
    let address = dialer.address;
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.bind_device(dialer.device.as_ref().map(String::as_bytes))?;
    socket.connect(address).await?;
    Ok(socket)
}

/// Sends, a second time if need be, and takes the first datagram that `fits`; the late answer to an earlier request
/// does not.
async fn exchange(
    socket: &UdpSocket,
    request: &[u8],
    wait: Duration,
    fits: impl Fn(&[u8]) -> bool,
) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 65_535];
    let mut misfits = 0;
    for _ in 0..TRIES {
        socket.send(request).await?;
        let deadline = Instant::now() + wait / TRIES;
        while let Ok(received) = timeout_at(deadline, socket.recv(&mut buffer)).await {
            let length = received?;
            if fits(&buffer[..length]) {
                buffer.truncate(length);
                return Ok(buffer);
            }
            misfits += 1;
            if misfits >= MISFITS {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }
    Err(if misfits == 0 { io::ErrorKind::TimedOut } else { io::ErrorKind::InvalidData }.into())
}
