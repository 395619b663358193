//! In-process peers on loopback: HTTP/1.1 with a handler, TLS with or without client certificates, gRPC, raw bytes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use postern::model::Endpoint;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A running peer; ends when dropped.
#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    /// Request lines and raw first bytes, as they came.
    pub log: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Server {
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::tcp(self.address.ip(), self.address.port())
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A loopback address that no other test, and no test of another process, uses at the same time.
pub fn address(port: u16) -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let last = NEXT.fetch_add(1, Ordering::SeqCst);
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 64 | (high & 0x3f), low, last)), port)
}

/// What a server does with a connection.
pub trait Peer: Clone + Send + Sync + 'static {
    fn talk(self, stream: TcpStream, log: Arc<Mutex<Vec<String>>>) -> impl Future<Output = ()> + Send;
}

pub async fn serve(port: u16, peer: impl Peer) -> Server {
    let listener = TcpListener::bind(address(port)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let log = Arc::new(Mutex::new(Vec::new()));
    let task = tokio::spawn({
        let (connections, log) = (connections.clone(), log.clone());
        async move {
            let mut talks = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                talks.spawn(peer.clone().talk(stream, log.clone()));
            }
        }
    });
    Server { address, connections, log, task }
}

/// Request line to whole HTTP/1.1 response.
pub type Handler = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

/// HTTP/1.1 over plain TCP or TLS; gRPC answers with this body when the client speaks HTTP/2.
#[derive(Clone)]
pub struct Http {
    pub handler: Handler,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    pub grpc: Option<Vec<u8>>,
}

impl Http {
    pub fn plain(handler: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self { handler: Arc::new(handler), tls: None, grpc: None }
    }

    pub fn tls(config: rustls::ServerConfig, handler: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self { handler: Arc::new(handler), tls: Some(Arc::new(config)), grpc: None }
    }

    async fn http(self, mut stream: impl AsyncRead + AsyncWrite + Unpin, log: Arc<Mutex<Vec<String>>>) {
        let mut received = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            while let Some(head) = received.windows(4).position(|window| window == b"\r\n\r\n") {
                let text = String::from_utf8_lossy(&received[..head]).into_owned();
                let length = text
                    .lines()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned))
                    .map_or(0, |length| length.trim().parse().unwrap());
                if received.len() < head + 4 + length {
                    break;
                }
                received.drain(..head + 4 + length);
                let line = text.lines().next().unwrap_or("").to_owned();
                log.lock().unwrap().push(line.clone());
                if stream.write_all(&(self.handler)(&line)).await.is_err() {
                    return;
                }
                let _ = stream.flush().await;
            }
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => received.extend_from_slice(&buffer[..count]),
            }
        }
    }

    async fn grpc(stream: TcpStream, log: Arc<Mutex<Vec<String>>>, body: Vec<u8>) {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            log.lock().unwrap().push(format!("gRPC {}", request.uri().path()));
            let head = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
            let mut send = respond.send_response(head, false).unwrap();
            send.send_data(bytes::Bytes::from(body.clone()), false).unwrap();
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            send.send_trailers(trailers).unwrap();
        }
    }
}

impl Peer for Http {
    async fn talk(self, stream: TcpStream, log: Arc<Mutex<Vec<String>>>) {
        let mut first = [0; 4];
        let Ok(count) = stream.peek(&mut first).await else {
            return;
        };
        match (&self.tls, &self.grpc, &first[..count]) {
            (None, Some(body), b"PRI ") => Self::grpc(stream, log, body.clone()).await,
            (None, ..) => self.http(stream, log).await,
            (Some(config), ..) => {
                if let Ok(stream) = TlsAcceptor::from(config.clone()).accept(stream).await {
                    self.http(stream, log).await;
                }
            }
        }
    }
}

/// A response with a length.
pub fn response(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut response = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        response.push_str(&format!("{name}: {value}\r\n"));
    }
    response.push_str("\r\n");
    [response.into_bytes(), body.to_vec()].concat()
}

/// Go's answer to a path that is not there.
pub fn not_found() -> Vec<u8> {
    response(404, &[("Content-Type", "text/plain; charset=utf-8")], b"404 page not found\n")
}

/// A peer that reads nothing and does one thing with the connection.
#[derive(Clone)]
pub struct Raw<F>(pub F);

impl<F, T> Peer for Raw<F>
where
    F: Fn(TcpStream) -> T + Clone + Send + Sync + 'static,
    T: Future<Output = ()> + Send,
{
    async fn talk(self, stream: TcpStream, _log: Arc<Mutex<Vec<String>>>) {
        (self.0)(stream).await;
    }
}

/// What the server asks of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    Anybody,
    MayShowCertificate,
    MustShowCertificate,
}

/// A server configuration with a certificate `CN=common_name` of a throwaway authority `CN=authority`.
pub fn tls(
    common_name: &str,
    names: &[&str],
    clients: Clients,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name = rcgen::DistinguishedName::new();
    authority.distinguished_name.push(rcgen::DnType::CommonName, "authority");
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut leaf = rcgen::CertificateParams::new(names).unwrap();
    leaf.distinguished_name = rcgen::DistinguishedName::new();
    leaf.distinguished_name.push(rcgen::DnType::CommonName, common_name);
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let builder =
        rustls::ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(versions).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority_certificate.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match clients {
        Clients::Anybody => builder.with_no_client_auth(),
        Clients::MayShowCertificate => {
            builder.with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
        }
        Clients::MustShowCertificate => builder.with_client_cert_verifier(verifier.build().unwrap()),
    };
    let chain: Vec<CertificateDer<'static>> = vec![leaf.der().clone(), authority_certificate.der().clone()];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    builder.with_single_cert(chain, key).unwrap()
}
