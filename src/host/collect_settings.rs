//! What `postern host` looks at, and how long it waits for it.
#![expect(clippy::disallowed_methods, reason = "reads DOCKER_HOST and CONTAINER_HOST of the environment")]

use std::path::PathBuf;
use std::time::Duration;

/// What to look at, and how long to wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectSettings {
    /// Default: all.
    pub namespaces: NamespaceScope,
    /// In place of Docker's usual sockets, as in `DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// In place of Podman's usual socket, as in `CONTAINER_HOST`.
    pub container_host: Option<String>,
    /// More engine sockets to ask.
    pub engine_sockets: Vec<PathBuf>,
    /// Time for one engine. Default: 3 s.
    pub engine_limit: Duration,
    /// Time for one namespace. Default: 2 s.
    pub namespace_limit: Duration,
    /// Time for the tools of one namespace's packet filter, where it has any rules. Default: 10 s.
    pub firewall_limit: Duration,
}

impl Default for CollectSettings {
    fn default() -> Self {
        Self {
            namespaces: NamespaceScope::All,
            docker_host: None,
            container_host: None,
            engine_sockets: Vec::new(),
            engine_limit: Duration::from_secs(3),
            namespace_limit: Duration::from_secs(2),
            firewall_limit: Duration::from_secs(10),
        }
    }
}

impl CollectSettings {
    /// The defaults, with `DOCKER_HOST` and `CONTAINER_HOST` of the environment.
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self { docker_host: variable("DOCKER_HOST"), container_host: variable("CONTAINER_HOST"), ..Self::default() }
    }
}

/// Which network namespaces are entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceScope {
    /// Every one that may be entered.
    All,
    /// The caller's own; the others are named but not entered.
    Own,
}
