//! TCP: connect, listen to a peer that speaks first, send bytes and read an answer. Time and size are bounded.

#![expect(clippy::disallowed_methods, reason = "the probe's TCP connections are made here")]

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};

use super::answer::{Answer, Outcome};
use super::codec::{Ask, CodecExchange, Framing, MAX_ROUNDS};
use super::definition::{BODY_LIMIT, BytesRequest};
use super::text;

pub(super) type Stream = TcpStream;

/// Opens connections to one endpoint.
#[derive(Clone, Debug)]
pub(super) struct Dialer {
    pub(super) address: SocketAddr,
    pub(super) connect_timeout: Duration,
    pub(super) read_timeout: Duration,
    /// How long a peer gets to speak first.
    pub(super) greeting_timeout: Duration,
    /// Everything leaves by this interface; `None`: by the routes.
    pub(super) device: Option<String>,
}

/// A silence this long ends an answer whose length nothing tells.
const QUIET: Duration = Duration::from_millis(300);
/// Bytes of a greeting that are read.
const GREETING_LIMIT: usize = 4096;

impl Dialer {
    pub(super) async fn connect(&self) -> io::Result<Stream> {
        let socket = match self.address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.bind_device(self.device.as_ref().map(String::as_bytes))?;
        let stream = timeout(self.connect_timeout, socket.connect(self.address))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Listens; up to the first line's end, or what came when the peer fell silent.
pub(super) async fn greeting(stream: &mut Stream, wait: Duration) -> Answer {
    let deadline = Instant::now() + wait;
    let mut received = Vec::new();
    loop {
        // The first byte may take the whole wait; then a pause ends the greeting.
        let until = if received.is_empty() { deadline } else { (Instant::now() + QUIET).min(deadline + QUIET) };
        match timeout_at(until, read_some(stream, &mut received, GREETING_LIMIT)).await {
            Ok(Ok(0)) if received.is_empty() => return Answer::failed(Outcome::Closed),
            Ok(Err(_)) if received.is_empty() => return Answer::failed(Outcome::Closed),
            Ok(Ok(0) | Err(_)) | Err(_) => return Answer::bytes(received),
            Ok(Ok(_)) if received.ends_with(b"\n") || received.len() >= GREETING_LIMIT => {
                return Answer::bytes(received);
            }
            Ok(Ok(_)) => {}
        }
    }
}

/// Sends raw bytes and reads the answer.
pub(super) async fn bytes<S>(stream: &mut S, request: &BytesRequest, wait: Duration) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if !send(stream, &request.send, wait).await {
        return Answer::failed(Outcome::Closed);
    }
    let deadline = Instant::now() + wait;
    let mut received = Vec::new();
    loop {
        let quiet = if received.is_empty() || request.until.is_some() { wait } else { QUIET };
        let until = (Instant::now() + quiet).min(deadline);
        match timeout_at(until, read_some(stream, &mut received, request.limit)).await {
            Ok(Ok(0) | Err(_)) if received.is_empty() => return Answer::failed(Outcome::Closed),
            Ok(Ok(0) | Err(_)) | Err(_) => return Answer::bytes(received),
            Ok(Ok(_)) => {}
        }
        let whole = request.until.as_ref().is_some_and(|until| text::contains(&received, until));
        if whole || received.len() >= request.limit {
            return Answer::bytes(received);
        }
    }
}

/// Holds a codec's conversation. `received`: what the peer said before.
pub(super) async fn codec<S>(stream: &mut S, codec: &CodecExchange, ask: Ask, talk: Talk) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let deadline = Instant::now() + talk.wait;
    let mut received = talk.received;
    let mut replies: Vec<Vec<u8>> = Vec::new();
    let mut ask = ask;
    let mut request = (codec.request)(&ask);
    loop {
        if !send(stream, &request, talk.wait).await {
            return conclude(codec, &replies, received, Outcome::Closed);
        }
        match reply(stream, codec, &ask, &mut received, deadline).await {
            Ok(reply) => replies.push(reply),
            Err(outcome) => return conclude(codec, &replies, received, outcome),
        }
        ask = Ask { id: ask.id.wrapping_add(1), ..ask };
        let views: Vec<&[u8]> = replies.iter().map(Vec::as_slice).collect();
        match (codec.next)(&ask, &views) {
            Some(next) if replies.len() <= MAX_ROUNDS => request = next,
            _ => return conclude(codec, &replies, Vec::new(), Outcome::Malformed),
        }
    }
}

/// How a conversation goes on.
#[derive(Debug)]
pub(super) struct Talk {
    /// What the peer said by itself.
    pub(super) received: Vec<u8>,
    /// For the whole conversation.
    pub(super) wait: Duration,
}

/// Reads until the codec says that its reply is whole; what follows stays in `received`.
async fn reply<S: AsyncRead + Unpin>(
    stream: &mut S,
    codec: &CodecExchange,
    ask: &Ask,
    received: &mut Vec<u8>,
    deadline: Instant,
) -> Result<Vec<u8>, Outcome> {
    loop {
        match (codec.frame)(ask, received) {
            Framing::Done(length) => {
                let rest = received.split_off(length.min(received.len()));
                return Ok(std::mem::replace(received, rest));
            }
            Framing::Malformed(_) => return Err(Outcome::Malformed),
            Framing::NeedMore if received.len() >= BODY_LIMIT => return Err(Outcome::Malformed),
            Framing::NeedMore => {}
        }
        match timeout_at(deadline, read_some(stream, received, BODY_LIMIT)).await {
            Ok(Ok(0) | Err(_)) => return Err(Outcome::Closed),
            Err(_) => return Err(Outcome::Silent),
            Ok(Ok(_)) => {}
        }
    }
}

/// What a codec makes of the replies; also of a part, where the conversation broke off.
pub(super) fn conclude(codec: &CodecExchange, replies: &[Vec<u8>], part: Vec<u8>, outcome: Outcome) -> Answer {
    let mut views: Vec<&[u8]> = replies.iter().map(Vec::as_slice).collect();
    if !part.is_empty() {
        views.push(&part);
    }
    match (codec.facts)(&views) {
        Some(facts) => Answer::facts(facts.into_iter().map(|(name, value)| (name, text::clean_list(&value))).collect()),
        None => Answer::failed(outcome),
    }
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8], wait: Duration) -> bool {
    let write = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    matches!(timeout(wait, write).await, Ok(Ok(())))
}

async fn read_some<S: AsyncRead + Unpin>(stream: &mut S, into: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
    let mut buffer = [0; 4096];
    let room = limit.saturating_sub(into.len()).min(buffer.len());
    let count = stream.read(&mut buffer[..room]).await?;
    into.extend_from_slice(&buffer[..count]);
    Ok(count)
}
