//! Peers that mean harm: each gets a result, in bounded time.

use std::time::{Duration, Instant};

use postern::model::{Access, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::server::{Http, Peer, Raw, Server, not_found, response, serve};
use super::{assert_is, probe, settings};

async fn bounded(port: u16, peer: impl Peer) -> (Server, Service) {
    let server = serve(port, peer).await;
    let started = Instant::now();
    let service = probe(&server).await;
    let limit = settings().endpoint_timeout + Duration::from_secs(2);
    assert!(started.elapsed() < limit, "{:?}", started.elapsed());
    assert!(serde_json::to_string(&service).unwrap().len() < 8192, "{service:#?}");
    (server, service)
}

/// Reads a little, then writes `head` and `piece` again and again.
fn flood(head: &'static [u8], piece: &'static [u8], pause: Duration) -> impl Peer {
    Raw(move |mut stream: TcpStream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream.write_all(head).await;
        while stream.write_all(piece).await.is_ok() {
            tokio::time::sleep(pause).await;
        }
    })
}

#[tokio::test]
async fn endless_bodies() {
    for port in [0, 2379] {
        let (_, service) = bounded(port, flood(b"HTTP/1.1 200 OK\r\n\r\n", &[b'a'; 4096], Duration::ZERO)).await;
        assert_is(&service, "unknown", Access::Unknown);
    }
}

#[tokio::test]
async fn one_byte_at_a_time() {
    let (_, service) = bounded(2375, flood(b"HTTP/1.1 200 OK\r\n", b"a", Duration::from_millis(50))).await;
    assert_is(&service, "unknown", Access::Unknown);
}

#[tokio::test]
async fn endless_headers() {
    let peer =
        flood(b"HTTP/1.1 200 OK\r\n", b"X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n", Duration::ZERO);
    let (_, service) = bounded(10255, peer).await;
    assert_is(&service, "unknown", Access::Unknown);
}

#[tokio::test]
async fn binary_junk_before_anything_is_asked() {
    for port in [0, 10250] {
        let (_, service) = bounded(
            port,
            Raw(|mut stream: TcpStream| async move {
                while stream.write_all(&[0x16, 0xff, 0x00, 0x9b, b'\x1b']).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }),
        )
        .await;
        assert_is(&service, "unknown", Access::Unknown);
        assert!(!service.details["banner"].contains('\u{1b}'));
    }
}

#[tokio::test]
async fn junk_that_looks_like_tls() {
    let peer = flood(&[0x16, 0x03, 0x03, 0x00, 0x05], &[0xee; 16], Duration::from_millis(1));
    let (_, service) = bounded(2376, peer).await;
    assert_is(&service, "unknown", Access::Unknown);
}

#[tokio::test]
async fn immediate_close_and_reset() {
    for port in [0, 6443] {
        let (_, service) = bounded(port, Raw(|stream: TcpStream| async move { drop(stream) })).await;
        assert_is(&service, "unknown", Access::Unknown);
        let (_, service) = bounded(
            port,
            Raw(|stream: TcpStream| async move {
                let _ = stream.set_zero_linger();
            }),
        )
        .await;
        assert_is(&service, "unknown", Access::Unknown);
    }
}

#[tokio::test]
async fn silence() {
    let peer = Raw(|mut stream: TcpStream| async move {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let (server, service) = bounded(2379, peer).await;
    assert_is(&service, "unknown", Access::Unknown);
    assert!(server.connections() <= 6, "{} connections", server.connections());
}

#[tokio::test]
async fn json_nested_too_deep() {
    let deep = format!("{}1", r#"{"etcdserver":"#.repeat(4000));
    let peer = Http::plain(move |_| response(200, &[], deep.as_bytes()));
    let (_, service) = bounded(2379, peer).await;
    assert_is(&service, "unknown", Access::Unknown);
}

#[tokio::test]
async fn redirects_elsewhere_are_not_followed() {
    let canary = serve(0, Http::plain(|_| not_found())).await;
    let elsewhere = format!("http://{}/version", canary.address);
    for status in [301, 302, 303, 307, 308] {
        let location = elsewhere.clone();
        let peer = Http::plain(move |_| response(status, &[("Location", &location)], b""));
        let (_, service) = bounded(2379, peer).await;
        assert_is(&service, "unknown", Access::Unknown);
    }
    assert_eq!(canary.connections(), 0);
}
