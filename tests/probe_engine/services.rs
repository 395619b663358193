//! Recorded answers over sockets: on the service's own port and on one that no definition names.

use postern::model::{Access, Severity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::server::{Clients, Http, Peer, Raw, not_found, response, serve, tls};
use super::{assert_is, captures, probe};

const SECRET: &str = "not-a-real-secret";

#[tokio::test]
async fn an_open_kubelet_and_nothing_of_its_pods() {
    let handler = || captures::handler("kubelet-open", 10250);
    let config = || tls("kubelet-open@1795503015", &["kubelet-open"], Clients::Anybody, rustls::ALL_VERSIONS);
    for port in [10250, 0] {
        let server = serve(port, Http::tls(config(), handler())).await;
        let service = probe(&server).await;
        assert_is(&service, "kubelet", Access::Unauthenticated);
        assert_eq!(service.severity, Severity::Critical);
        assert_eq!(service.version.as_deref(), Some("1.36.2"));
        assert_eq!(service.details["node"], "kubelet-open");
        assert!(service.evidence.iter().any(|found| found.request == "GET /runningpods/" && found.status == "200"));
        let facts = service.tls.as_ref().unwrap();
        assert_eq!(facts.subject.as_deref(), Some("CN=kubelet-open@1795503015"));
        assert_eq!(facts.names, ["kubelet-open"]);
        assert!(!facts.self_signed && !facts.expired && !facts.client_certificate_requested);
        assert!(!serde_json::to_string(&service).unwrap().contains(SECRET));
    }
}

#[tokio::test]
async fn the_read_only_port_and_nothing_of_its_pods() {
    // The pod list really holds the secret: else the assertion below would prove nothing.
    let pods = captures::handler("kubelet-open", 10255)("GET /pods HTTP/1.1");
    assert!(String::from_utf8(pods).unwrap().contains(SECRET));
    for port in [10255, 0] {
        let server = serve(port, Http::plain(captures::handler("kubelet-open", 10255))).await;
        let service = probe(&server).await;
        assert_is(&service, "kubelet", Access::Unauthenticated);
        assert_eq!(service.severity, Severity::High);
        assert!(service.evidence.iter().any(|found| found.request == "GET /pods" && found.status == "200"));
        assert!(!serde_json::to_string(&service).unwrap().contains(SECRET));
    }
}

#[tokio::test]
async fn a_kubelet_that_asks_for_authentication() {
    for port in [10250, 0] {
        let config = tls("kubelet-auth@1795503015", &[], Clients::MayShowCertificate, rustls::ALL_VERSIONS);
        let server = serve(port, Http::tls(config, captures::handler("kubelet-auth", 10250))).await;
        let service = probe(&server).await;
        assert_is(&service, "kubelet", Access::AuthenticationRequired);
        let facts = service.tls.unwrap();
        assert!(facts.client_certificate_requested);
        assert_eq!(facts.client_certificate_authorities, ["CN=authority"]);
    }
}

#[tokio::test]
async fn api_servers_on_any_port() {
    let names = ["kubernetes", "kubernetes.default", "10.96.0.1"];
    for port in [6443, 0] {
        let config = tls("kube-apiserver", &names, Clients::MayShowCertificate, rustls::ALL_VERSIONS);
        let server = serve(port, Http::tls(config, captures::handler("apiserver-rbac", 6443))).await;
        let service = probe(&server).await;
        assert_is(&service, "kube-apiserver", Access::Forbidden);
        assert_eq!((service.version.as_deref(), service.severity), (Some("1.36.2"), Severity::Info));

        let config = tls("kube-apiserver", &names, Clients::MayShowCertificate, rustls::ALL_VERSIONS);
        let server = serve(port, Http::tls(config, captures::handler("apiserver-noanon", 6443))).await;
        assert_is(&probe(&server).await, "kube-apiserver", Access::AuthenticationRequired);
    }
}

#[tokio::test]
async fn a_controller_manager_on_any_port() {
    for port in [10257, 0] {
        let config = tls("localhost@1795503197", &["localhost"], Clients::MayShowCertificate, rustls::ALL_VERSIONS);
        let server = serve(port, Http::tls(config, captures::handler("kcm", 10257))).await;
        assert_is(&probe(&server).await, "kube-controller-manager", Access::Forbidden);
    }
}

fn etcd(line: &str) -> Vec<u8> {
    match line.split(' ').nth(1) {
        Some("/version") => response(200, &[], br#"{"etcdserver":"3.4.23","etcdcluster":"3.4.0"}"#),
        _ => not_found(),
    }
}

#[tokio::test]
async fn etcd_is_open_over_grpc_though_its_gateway_is_off() {
    let range = [&[0, 0, 0, 0, 4][..], &[0x0a, 2, 0x18, 1]].concat();
    for port in [2379, 0] {
        let server = serve(port, Http { grpc: Some(range.clone()), ..Http::plain(etcd) }).await;
        let service = probe(&server).await;
        assert_is(&service, "etcd", Access::Unauthenticated);
        let cited = service.evidence.iter().find(|found| found.request == "gRPC /etcdserverpb.KV/Range").unwrap();
        assert_eq!(cited.status, "grpc-status 0");
    }
}

#[tokio::test]
async fn what_cannot_be_decided_is_unknown() {
    // Recognised by /version, and every range request breaks off.
    let handler = |line: &str| if line.contains("/version") { etcd(line) } else { b"HTTP/1.1 ".to_vec() };
    let server = serve(2379, Http::plain(handler)).await;
    let service = probe(&server).await;
    assert_is(&service, "etcd", Access::Unknown);
}

#[tokio::test]
async fn strangers_get_no_guarded_request() {
    let server = serve(0, Http::plain(|_| response(200, &[("Server", "x\u{1b}[31m")], b"<html>hello</html>"))).await;
    let service = probe(&server).await;
    assert_is(&service, "unknown", Access::Unknown);
    let requests = server.requests();
    assert!(requests.contains(&"GET / HTTP/1.1".to_owned()), "{requests:?}");
    for guarded in ["/v3", "/v2", "/pods", "/runningpods", "/containers", "/namespaces", "/metrics"] {
        assert!(!requests.iter().any(|request| request.contains(guarded)), "{guarded}: {requests:?}");
    }
    let mut unique = requests.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), requests.len(), "a request was sent twice: {requests:?}");
}

/// Says `greeting` and reads in silence.
fn talkative(greeting: &'static [u8]) -> impl Peer {
    Raw(move |mut stream: TcpStream| async move {
        let _ = stream.write_all(greeting).await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
}

#[tokio::test]
async fn a_peer_that_speaks_first_is_left_alone() {
    for port in [0, 2379] {
        let server = serve(port, talkative(b"220 mail.example.org ESMTP\r\n")).await;
        let service = probe(&server).await;
        assert_is(&service, "unknown", Access::Unknown);
        assert!(service.details["banner"].starts_with("220 mail.example.org"), "{service:#?}");
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn ssh_costs_its_server_one_connection() {
    for port in [22, 0] {
        let server = serve(port, talkative(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10\r\n")).await;
        let service = probe(&server).await;
        assert_eq!((service.name.as_str(), service.version.as_deref()), ("ssh", Some("9.2p1")), "{service:#?}");
        assert_eq!(server.connections(), 1);
    }
}
