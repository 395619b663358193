//! Driver: asks the container engines over their sockets. Each has a thread and a runtime of its own, so that one that
//! hangs costs no more than its time limit, and nothing is run on the caller's runtime.
//!
//! Only `GET /containers/json` and `GET /containers/ID/json` are sent; both change nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use super::engine::{self, EngineContainer, EngineSocket};

/// What one engine said.
#[derive(Debug)]
pub struct EngineAnswer {
    pub containers: Vec<EngineContainer>,
    /// The process that listens on the socket (by its peer credentials).
    pub pid: Option<u32>,
    /// Containers beyond [`INSPECTED`], or that could not be asked: nothing is known of their privileges.
    pub not_inspected: usize,
}

/// Why an engine said nothing.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("no such socket")]
    Absent,
    #[error("nobody listens there")]
    NotListening,
    #[error("no permission to ask it")]
    Denied,
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("{0}")]
    Failed(String),
}

/// Asks all engines at once. The answers come in the order of `sockets`.
pub fn ask_all(sockets: &[EngineSocket], limit: Duration) -> Vec<Result<EngineAnswer, EngineError>> {
    let waiting: Vec<_> = sockets
        .iter()
        .map(|socket| {
            let (sender, receiver) = mpsc::sync_channel(1);
            let path = socket.path.clone();
            let spawned = std::thread::Builder::new().name("engine".to_owned()).spawn(move || {
                // The receiver may have given up.
                let _ = sender.send(ask(&path, limit));
            });
            spawned.map(|_| receiver)
        })
        .collect();
    waiting
        .into_iter()
        .map(|receiver| match receiver {
            Err(error) => Err(EngineError::Failed(error.to_string())),
            // The runtime's own limit comes first; this one is for a thread that hangs in the kernel.
            Ok(receiver) => receiver.recv_timeout(limit + GRACE).unwrap_or_else(|error| match error {
                RecvTimeoutError::Timeout => Err(EngineError::TimedOut(limit)),
                RecvTimeoutError::Disconnected => Err(EngineError::Failed("its thread died".to_owned())),
            }),
        })
        .collect()
}

fn ask(path: &Path, limit: Duration) -> Result<EngineAnswer, EngineError> {
    if !path.exists() {
        return Err(EngineError::Absent);
    }
    let failed = |error: &dyn std::error::Error| EngineError::Failed(error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))?;
    let answer = runtime.block_on(async {
        tokio::time::timeout(limit, conversation(path)).await.unwrap_or(Err(EngineError::TimedOut(limit)))
    });
    runtime.shutdown_background();
    answer
}

async fn conversation(path: &Path) -> Result<EngineAnswer, EngineError> {
    let pid = listener_pid(path).await?;
    let client = client(path)?;
    let (list, server) = get(&client, "/containers/json", LIST_LIMIT).await?;
    let name = if server.starts_with("Libpod") { "podman" } else { "docker" };
    let mut containers = engine::containers(&list, name).map_err(|error| EngineError::Failed(error.to_string()))?;
    let mut not_inspected = containers.len().saturating_sub(INSPECTED);
    for one in containers.iter_mut().take(INSPECTED) {
        // The id goes into a path: nothing but what an id is made of.
        if !one.container.id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            not_inspected += 1;
            continue;
        }
        let answer = get(&client, &format!("/containers/{}/json", one.container.id), DETAILS_LIMIT).await;
        match answer.map(|(body, _)| engine::details(&body)) {
            Ok(Ok(details)) => {
                one.add(details);
            }
            _ => not_inspected += 1,
        }
    }
    Ok(EngineAnswer { containers, pid, not_inspected })
}

/// Who listens there. A socket that systemd holds names systemd.
async fn listener_pid(path: &Path) -> Result<Option<u32>, EngineError> {
    let stream = tokio::net::UnixStream::connect(path).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => EngineError::Denied,
        std::io::ErrorKind::NotFound => EngineError::Absent,
        std::io::ErrorKind::ConnectionRefused => EngineError::NotListening,
        _ => EngineError::Failed(error.to_string()),
    })?;
    Ok(stream.peer_cred().ok().and_then(|credentials| credentials.pid()).and_then(|pid| u32::try_from(pid).ok()))
}

fn client(path: &Path) -> Result<reqwest::Client, EngineError> {
    let failed = |error: &dyn std::error::Error| EngineError::Failed(error.to_string());
    // Nothing is encrypted here, but without a configuration reqwest looks for a process-wide TLS provider.
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let client = reqwest::Client::builder()
        .unix_socket(path)
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("postern/", env!("CARGO_PKG_VERSION")))
        .build();
    client.map_err(|error| failed(&error))
}

/// Body and `Server` header of a 200 answer that is no longer than `limit`.
async fn get(client: &reqwest::Client, path: &str, limit: usize) -> Result<(Vec<u8>, String), EngineError> {
    let failed = |error: reqwest::Error| EngineError::Failed(error.to_string());
    let mut response = client.get(format!("http://engine{path}")).send().await.map_err(failed)?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(EngineError::Failed(format!("it answered {}", response.status())));
    }
    let server =
        response.headers().get("server").and_then(|server| server.to_str().ok()).unwrap_or_default().to_owned();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > limit {
            return Err(EngineError::Failed(format!("its answer is longer than {limit} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body, server))
}

const LIST_LIMIT: usize = 16 << 20;
const DETAILS_LIMIT: usize = 1 << 20;
/// Containers that are asked for one by one.
pub const INSPECTED: usize = 256;
const GRACE: Duration = Duration::from_millis(500);
