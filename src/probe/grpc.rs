//! One unary gRPC call over HTTP/2: by prior knowledge on plain TCP, by ALPN in TLS.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::answer::{Answer, Outcome};
use super::definition::{BODY_LIMIT, GrpcRequest, Layer};
use super::stream::Dialer;
use super::text;
use super::tls::{self, TlsProber};

/// Calls, and gives the facts `grpc-status`, `grpc-message` and `message-bytes` (length of the first message).
pub(super) async fn call(request: &GrpcRequest, layer: Layer, dialer: &Dialer, tls: &TlsProber, agent: &str) -> Answer {
    let wait = dialer.read_timeout;
    let done = timeout(wait + dialer.connect_timeout, async {
        match layer {
            Layer::Tls => match tls.connect(dialer, &[b"h2"]).await {
                Ok(stream) => converse(request, "https", stream, Target { dialer, agent }).await,
                Err(error) => Answer::failed(tls::alert(&error).map_or(Outcome::Closed, Outcome::Alert)),
            },
            Layer::Plain | Layer::Datagram => match dialer.connect().await {
                Ok(stream) => converse(request, "http", stream, Target { dialer, agent }).await,
                Err(_) => Answer::failed(Outcome::Unreachable),
            },
        }
    });
    done.await.unwrap_or_else(|_: tokio::time::error::Elapsed| Answer::failed(Outcome::Silent))
}

#[derive(Clone, Copy)]
struct Target<'a> {
    dialer: &'a Dialer,
    agent: &'a str,
}

async fn converse<S>(request: &GrpcRequest, scheme: &str, stream: S, target: Target<'_>) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let handshake = h2::client::Builder::new().max_header_list_size(32 * 1024).handshake(stream).await;
    let Ok((client, connection)) = handshake else {
        return Answer::failed(Outcome::Malformed);
    };
    // The connection has to be driven while the call waits; whichever ends first decides.
    let call = exchange(client, request, scheme, target);
    tokio::select! {
        biased;
        answer = call => answer.unwrap_or_else(|error| failed(&error)),
        ended = connection => match ended {
            Ok(()) => Answer::failed(Outcome::Closed),
            Err(error) => failed(&error),
        },
    }
}

fn failed(error: &h2::Error) -> Answer {
    let outcome = if error.is_io() { Outcome::Closed } else { Outcome::Malformed };
    Answer::failed(tls::alert(error).map_or(outcome, Outcome::Alert))
}

async fn exchange(
    client: h2::client::SendRequest<Bytes>,
    request: &GrpcRequest,
    scheme: &str,
    target: Target<'_>,
) -> Result<Answer, h2::Error> {
    let mut client = client.ready().await?;
    let uri = format!("{scheme}://{}{}", target.dialer.address, request.path);
    let head = http::Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", target.agent)
        .body(());
    let Ok(head) = head else {
        return Ok(Answer::failed(Outcome::Malformed));
    };
    let (response, mut body) = client.send_request(head, false)?;
    body.send_data(frame(&request.message), true)?;
    let (head, mut body) = response.await?.into_parts();
    let mut received = BytesMut::new();
    while received.len() < BODY_LIMIT
        && let Some(chunk) = body.data().await
    {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        received.extend_from_slice(&chunk);
    }
    let trailers = body.trailers().await?;
    let mut facts = BTreeMap::new();
    for name in ["grpc-status", "grpc-message"] {
        let value = head.headers.get(name).or_else(|| trailers.as_ref().and_then(|trailers| trailers.get(name)));
        if let Some(value) = value {
            facts.insert(name.to_owned(), text::clean(&String::from_utf8_lossy(value.as_bytes())));
        }
    }
    if let Some(length) = message_length(&received) {
        facts.insert("message-bytes".to_owned(), length.to_string());
    }
    let mut answer = Answer::facts(facts);
    answer.status = Some(head.status.as_u16());
    Ok(answer)
}

/// A message as a gRPC frame: not compressed, length, content.
fn frame(message: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(message.len() + 5);
    frame.push(0);
    // Messages come from definitions and are a few bytes long.
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    frame.into()
}

/// Length that the first frame announces, if the frame is whole.
fn message_length(received: &[u8]) -> Option<usize> {
    let (head, content) = received.split_at_checked(5)?;
    let length = u32::from_be_bytes(head[1..].try_into().ok()?) as usize;
    (content.len() >= length).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_measures() {
        let framed = frame(&[0x0a, 0x01, 0x00]);
        assert_eq!(&framed[..], [0, 0, 0, 0, 3, 0x0a, 1, 0]);
        assert_eq!(message_length(&framed), Some(3));
        assert_eq!(message_length(&framed[..7]), None);
        assert_eq!(message_length(&[0, 0xff, 0xff, 0xff, 0xff, 1]), None);
        assert_eq!(message_length(&[]), None);
    }
}
