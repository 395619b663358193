//! Client certificates: not asked for, optional, required; with TLS 1.3 the refusal comes after the handshake.

use postern::model::Access;
use tokio_rustls::TlsAcceptor;

use super::server::{Clients, Http, Raw, not_found, response, serve, tls};
use super::{assert_is, probe};

#[tokio::test]
async fn required_in_both_versions_of_tls() {
    for versions in [rustls::ALL_VERSIONS, &[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let config = tls("node1", &["node1"], Clients::MustShowCertificate, versions);
        let server = serve(0, Http::tls(config, |_| not_found())).await;
        let service = probe(&server).await;
        assert_is(&service, "unknown", Access::ClientCertificateRequired);
        let facts = service.tls.as_ref().unwrap();
        assert!(facts.client_certificate_requested);
        assert_eq!(facts.subject.as_deref(), Some("CN=node1"));
        assert!(server.requests().is_empty());
    }
}

#[tokio::test]
async fn behind_it_the_port_is_an_assumption_and_says_so() {
    for (port, name) in [(2376, "docker"), (2379, "etcd"), (2380, "etcd-peer")] {
        let config = tls("node1", &[], Clients::MustShowCertificate, rustls::ALL_VERSIONS);
        let server = serve(port, Http::tls(config, |_| not_found())).await;
        let service = probe(&server).await;
        assert_is(&service, name, Access::ClientCertificateRequired);
        assert!(service.details["identity"].starts_with("assumed from port"), "{service:#?}");
        assert!(service.evidence.iter().any(|found| found.status.starts_with("client certificate required (alert")));
    }
}

#[tokio::test]
async fn optional_is_not_required() {
    let config = tls("node1", &[], Clients::MayShowCertificate, rustls::ALL_VERSIONS);
    let server = serve(0, Http::tls(config, |_| not_found())).await;
    let service = probe(&server).await;
    assert_is(&service, "unknown", Access::Unknown);
    assert!(!server.requests().is_empty());
}

#[tokio::test]
async fn a_bare_reset_after_the_handshake_is_settled_by_tls_1_2() {
    // Asks for a certificate, gets none, and hangs up without an alert, in 1.3 as in 1.2.
    let config = tls("node1", &[], Clients::MayShowCertificate, rustls::ALL_VERSIONS);
    let acceptor = TlsAcceptor::from(std::sync::Arc::new(config));
    let server = serve(
        0,
        Raw(move |stream: tokio::net::TcpStream| {
            let acceptor = acceptor.clone();
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let (tcp, _) = stream.into_inner();
                    let _ = tcp.set_zero_linger();
                }
            }
        }),
    )
    .await;
    assert_is(&probe(&server).await, "unknown", Access::ClientCertificateRequired);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn nginx_completes_the_handshake_and_says_it_in_http() {
    let config = tls("node1", &[], Clients::MayShowCertificate, rustls::ALL_VERSIONS);
    let page = b"<html><head><title>400 No required SSL certificate was sent</title></head></html>";
    let server = serve(0, Http::tls(config, move |_| response(400, &[("Server", "nginx")], page))).await;
    assert_is(&probe(&server).await, "unknown", Access::ClientCertificateRequired);
}
