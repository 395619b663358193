//! The TLS handshake as a measurement: a verifier that records instead of trusting, and never a client certificate.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::answer::{ClientCertificate, Handshake, HandshakeResult};
use super::certificate;
use super::stream::{Dialer, Stream};

/// How long a TLS 1.3 server gets to refuse us after its handshake, when it has asked for a certificate.
const REFUSAL_WAIT: Duration = Duration::from_millis(300);
/// Bytes of the peer's first words that are kept.
const FIRST_BYTES: usize = 512;

/// Makes TLS connections that trust nothing and show what they saw.
#[derive(Clone, Debug)]
pub(super) struct TlsProber {
    provider: Arc<CryptoProvider>,
    read_timeout: Duration,
}

impl TlsProber {
    pub(super) fn new(read_timeout: Duration) -> Self {
        Self { provider: Arc::new(rustls::crypto::ring::default_provider()), read_timeout }
    }

    /// Measures the handshake, on `stream` if there is one. A TLS 1.3 server that insists on a client certificate
    /// refuses only after the handshake, and often by a bare reset; then TLS 1.2, where the refusal is an alert
    /// within the handshake, decides.
    pub(super) async fn handshake(&self, dialer: &Dialer, stream: Option<Stream>, now: Timestamp) -> Handshake {
        let (first, cut) = self.attempt(dialer, stream, rustls::ALL_VERSIONS, now).await;
        if !cut {
            return first;
        }
        let (second, cut) = self.attempt(dialer, None, &[&rustls::version::TLS12], now).await;
        let refused = second.client_certificate == ClientCertificate::Required
            || second.facts.client_certificate_requested && cut;
        // A server without TLS 1.2 cannot tell; it asked for a certificate, got none and hung up.
        let deaf = !second.facts.client_certificate_requested;
        let client_certificate = if refused || deaf && first.facts.client_certificate_requested {
            ClientCertificate::Required
        } else {
            first.client_certificate
        };
        Handshake { alert: first.alert.or(second.alert), client_certificate, ..first }
    }

    /// One attempt; `true` when a certificate was asked for and the connection was cut without an alert.
    async fn attempt(
        &self,
        dialer: &Dialer,
        stream: Option<Stream>,
        versions: &[&'static SupportedProtocolVersion],
        now: Timestamp,
    ) -> (Handshake, bool) {
        let stream = match stream {
            Some(stream) => stream,
            None => match dialer.connect().await {
                Ok(stream) => stream,
                Err(_) => return (Handshake::default(), false),
            },
        };
        let recorder = Arc::new(Recorder::default());
        let Ok(config) = self.config(&recorder, versions, &[b"h2", b"http/1.1"]) else {
            return (Handshake::default(), false);
        };
        let first = Arc::new(Mutex::new(Vec::new()));
        let tapped = Tap { inner: stream, first: first.clone() };
        let connect = TlsConnector::from(Arc::new(config)).connect(server_name(dialer.address), tapped);
        let done = timeout(self.read_timeout, connect).await;
        let first = first.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut handshake = Handshake::default();
        recorder.describe(now, &mut handshake);
        let requested = handshake.facts.client_certificate_requested;
        let failure = match done {
            Ok(Ok(mut stream)) => {
                let (_, connection) = stream.get_ref();
                handshake.facts.protocol = connection.protocol_version().and_then(version_name);
                handshake.facts.alpn =
                    connection.alpn_protocol().map(|protocol| String::from_utf8_lossy(protocol).into_owned());
                handshake.result = HandshakeResult::Completed;
                if !requested {
                    return (handshake, false);
                }
                // Anything that is read, or silence, means that we were let in.
                match timeout(REFUSAL_WAIT, stream.read(&mut [0; 1])).await {
                    Ok(Ok(0)) => io::Error::from(io::ErrorKind::UnexpectedEof),
                    Ok(Err(error)) => error,
                    Ok(Ok(_)) | Err(_) => return (handshake, false),
                }
            }
            Ok(Err(error)) => {
                handshake.result = result_of(&first);
                error
            }
            Err(_) => {
                handshake.result = result_of(&first);
                return (handshake, false);
            }
        };
        handshake.alert = alert(&failure);
        let certificate_alert = matches!(handshake.alert, Some(40 | 42 | 116));
        if requested && certificate_alert {
            handshake.client_certificate = ClientCertificate::Required;
        }
        let cut = requested && handshake.alert.is_none();
        (handshake, cut)
    }

    /// A connection for requests other than HTTP.
    pub(super) async fn connect(&self, dialer: &Dialer, alpn: &[&[u8]]) -> io::Result<TlsStream<Stream>> {
        let config = self.config(&Arc::new(Recorder::default()), rustls::ALL_VERSIONS, alpn)?;
        let stream = dialer.connect().await?;
        let connect = TlsConnector::from(Arc::new(config)).connect(server_name(dialer.address), stream);
        timeout(self.read_timeout, connect).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// A configuration for an HTTP client.
    pub(super) fn http_config(&self) -> io::Result<ClientConfig> {
        self.config(&Arc::new(Recorder::default()), rustls::ALL_VERSIONS, &[b"h2", b"http/1.1"])
    }

    fn config(
        &self,
        recorder: &Arc<Recorder>,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&[u8]],
    ) -> io::Result<ClientConfig> {
        let mut config = ClientConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(versions)
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(recorder.clone())
            .with_client_cert_resolver(recorder.clone());
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }
}

/// Number of the alert in an error's chain of causes.
pub(super) fn alert(error: &(dyn std::error::Error + 'static)) -> Option<u8> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::AlertReceived(alert)) = error.downcast_ref::<rustls::Error>() {
            return Some(u8::from(*alert));
        }
        // io::Error hides its inner error from `source`.
        let inner = error.downcast_ref::<io::Error>().and_then(|error| error.get_ref());
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn server_name(address: SocketAddr) -> ServerName<'static> {
    ServerName::IpAddress(address.ip().into())
}

fn version_name(version: rustls::ProtocolVersion) -> Option<String> {
    match version {
        rustls::ProtocolVersion::TLSv1_2 => Some("TLSv1.2".to_owned()),
        rustls::ProtocolVersion::TLSv1_3 => Some("TLSv1.3".to_owned()),
        other => other.as_str().map(str::to_owned),
    }
}

/// What a failed handshake was, by the peer's first bytes: an alert or handshake record (RFC 8446, section 5.1) is
/// TLS.
fn result_of(first: &[u8]) -> HandshakeResult {
    match first {
        [] => HandshakeResult::NoAnswer,
        [0x15 | 0x16, 0x03, ..] => HandshakeResult::Refused,
        other => HandshakeResult::NotTls(other.to_vec()),
    }
}

/// Keeps what the server showed and asked for, believes nothing, and has no certificate to show.
#[derive(Debug, Default)]
struct Recorder {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    leaf: Option<Vec<u8>>,
    asked: bool,
    authorities: Vec<Vec<u8>>,
}

impl Recorder {
    fn describe(&self, now: Timestamp, handshake: &mut Handshake) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = &seen.leaf {
            certificate::describe(leaf, now, &mut handshake.facts);
        }
        handshake.facts.client_certificate_requested = seen.asked;
        handshake.facts.client_certificate_authorities = certificate::authorities(&seen.authorities);
        if seen.asked {
            handshake.client_certificate = ClientCertificate::Requested;
        }
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).leaf = Some(end_entity.to_vec());
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

impl ResolvesClientCert for Recorder {
    fn resolve(&self, root_hint_subjects: &[&[u8]], _sigschemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.asked = true;
        seen.authorities = root_hint_subjects.iter().take(32).map(|name| name.to_vec()).collect();
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Keeps the first bytes that come in.
struct Tap {
    inner: Stream,
    first: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Tap {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let room = FIRST_BYTES.saturating_sub(first.len());
        first.extend(buf.filled()[before..].iter().take(room));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
