//! The probe engine over real sockets: recorded Kubernetes answers, TLS with every kind of client authentication,
//! and peers that mean harm.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "test servers: sockets, files, and a panic is a failed test"
)]

mod captures;
mod hostile;
mod server;
mod services;
mod tls_clients;

use std::sync::Arc;
use std::time::Duration;

use postern::model::{Access, Service};
use postern::probe::{Catalogue, Prober, ProberSettings};
use server::Server;

/// Short waits: the peers are on loopback.
pub fn settings() -> ProberSettings {
    ProberSettings {
        connect_timeout: Duration::from_secs(1),
        read_timeout: Duration::from_secs(1),
        greeting_timeout: Duration::from_millis(150),
        endpoint_timeout: Duration::from_secs(6),
        ..ProberSettings::default()
    }
}

pub async fn probe(server: &Server) -> Service {
    let prober = Prober::new(Arc::new(Catalogue::builtin()), settings()).unwrap();
    prober.tcp(server.endpoint()).await
}

pub fn assert_is(service: &Service, name: &str, access: Access) {
    assert_eq!((service.name.as_str(), service.access), (name, access), "{service:#?}");
}
