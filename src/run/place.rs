//! The places that a run looks from: opened before anything is sent, left when the run ends.
#![expect(clippy::disallowed_methods, reason = "lists the namespaces that a name could have meant")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::identity;
use crate::cli::VantageChoice;
use crate::host::remote::SshDestination;
use crate::host::{CollectSettings, DoorError, container_doors};
use crate::model::report::{Gap, VantageKind};
use crate::net::OwnAddress;
use crate::net::namespace::NetworkNamespace;
use crate::net::neighbour::{NeighbourError, NeighbourNamespace};

/// A place to look from.
#[derive(Debug)]
pub struct Place {
    /// The vantage's name in reports; `None`: that of the interface by which the route leads.
    pub name: Option<String>,
    pub kind: VantageKind,
    pub stand: Stand,
}

/// How to look from there.
#[derive(Debug)]
pub enum Stand {
    /// From the namespace that the program runs in.
    Here,
    /// The same, through one interface.
    Interface(String),
    /// From another namespace of this machine.
    Inside(NetworkNamespace),
    Neighbour(NeighbourNamespace),
    Remote(SshDestination),
}

/// A place that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error("{name}: no interface here is called so; hint: {}", those(interfaces))]
    NoInterface { name: String, interfaces: Vec<String> },
    #[error("netns:{name}: neither a namespace below {NAMED} nor a process is called so; hint: {}", those(namespaces))]
    NoNamespace { name: String, namespaces: Vec<String> },
    #[error("{name}: {error}")]
    Namespace { name: String, error: std::io::Error },
    #[error("container:{name}: {error}")]
    Container { name: String, error: DoorError },
    #[error("neighbour: {0}")]
    Neighbour(#[from] NeighbourError),
}

impl PlaceError {
    /// Whether the operator named what does not exist.
    pub const fn is_unknown(&self) -> bool {
        matches!(
            self,
            Self::NoInterface { .. }
                | Self::NoNamespace { .. }
                | Self::Container { error: DoorError::NoSuchContainer { .. }, .. }
        )
    }
}

fn those(there_are: &[String]) -> String {
    if there_are.is_empty() { "there is none".to_owned() } else { format!("there are {}", there_are.join(", ")) }
}

impl Place {
    /// Where the route leads, and over `lo` to own addresses.
    pub const fn by_route() -> Self {
        Self { name: None, kind: VantageKind::Interface, stand: Stand::Here }
    }

    /// Goes there. A neighbour changes this machine: what, is told on stderr.
    pub async fn open(choice: &VantageChoice, own: &[OwnAddress]) -> Result<Self, PlaceError> {
        let stand = match choice {
            VantageChoice::Own => Stand::Here,
            VantageChoice::Interface(name) => {
                let interfaces: BTreeSet<&String> = own.iter().map(|one| &one.interface).collect();
                if !interfaces.contains(name) {
                    let interfaces = interfaces.into_iter().cloned().collect();
                    return Err(PlaceError::NoInterface { name: name.clone(), interfaces });
                }
                Stand::Interface(name.clone())
            }
            VantageChoice::Netns(name) => {
                let failed = |error: std::io::Error| match error.kind() {
                    std::io::ErrorKind::NotFound => {
                        PlaceError::NoNamespace { name: name.clone(), namespaces: named_namespaces() }
                    }
                    _ => PlaceError::Namespace { name: choice.to_string(), error },
                };
                Stand::Inside(NetworkNamespace::open(&netns_door(name)).map_err(failed)?)
            }
            VantageChoice::Container(name) => Stand::Inside(container(name).await?),
            VantageChoice::Neighbour => Stand::Neighbour(neighbour(own)?),
            VantageChoice::Ssh(destination) => Stand::Remote(destination.clone()),
        };
        Ok(Self { name: Some(choice.to_string()), kind: choice.kind(), stand })
    }

    /// Whether it is on this machine and sees its own addresses as those of another.
    pub const fn is_beside_this_machine(&self) -> bool {
        matches!(self.stand, Stand::Inside(_) | Stand::Neighbour(_))
    }

    /// Number of the namespace that this program made and a host report is not to show.
    pub const fn made_namespace(&self) -> Option<(u64, &NeighbourNamespace)> {
        match &self.stand {
            Stand::Neighbour(neighbour) => Some((neighbour.namespace().inode(), neighbour)),
            _ => None,
        }
    }
}

/// What keeps a vantage out of a run.
pub fn missing(choice: &VantageChoice, cause: &PlaceError, asked_for: bool) -> Gap {
    Gap {
        what: format!("the view from {choice}"),
        cause: cause.to_string(),
        settled_by: match choice {
            VantageChoice::Neighbour => "root (CAP_SYS_ADMIN and CAP_NET_ADMIN), or a scan from another host",
            _ => "root, and a place of that name",
        }
        .to_owned(),
        incomplete: asked_for,
    }
}

/// `NAME` below /run/netns, where `ip netns add` puts it; a number that is no name there is a process.
fn netns_door(name: &str) -> PathBuf {
    let named = Path::new(NAMED).join(name);
    if !named.exists() && name.bytes().all(|byte| byte.is_ascii_digit()) {
        return PathBuf::from(format!("/proc/{name}/ns/net"));
    }
    named
}

/// What `ip netns list` lists.
fn named_namespaces() -> Vec<String> {
    let entries = std::fs::read_dir(NAMED).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

/// Where `ip netns add` puts namespaces.
const NAMED: &str = "/run/netns";

async fn container(name: &str) -> Result<NetworkNamespace, PlaceError> {
    let (wanted, now) = (name.to_owned(), identity::now());
    let asked =
        tokio::task::spawn_blocking(move || container_doors(&wanted, &CollectSettings::from_environment(), now)).await;
    let failed = |error| PlaceError::Container { name: name.to_owned(), error };
    let nobody = DoorError::NoSuchContainer { others: Vec::new() };
    let doors = asked.unwrap_or(Err(nobody)).map_err(failed)?;
    let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
    for door in doors {
        match NetworkNamespace::open(&door) {
            Ok(namespace) => return Ok(namespace),
            Err(error) => last = error,
        }
    }
    Err(PlaceError::Namespace { name: format!("container:{name}"), error: last })
}

fn neighbour(own: &[OwnAddress]) -> Result<NeighbourNamespace, PlaceError> {
    let neighbour = NeighbourNamespace::join(own)?;
    let addresses: Vec<String> =
        neighbour.joins().iter().map(|join| format!("{}/{}", join.here, join.prefix)).collect();
    let from: Vec<String> = neighbour.joins().iter().map(|join| join.there.to_string()).collect();
    tracing::info!(
        "neighbour: this host has one interface more, {} with {}, until this run ends; its other end, {} in a namespace \
         without a name, is where the asking is done from (--vantage self declines)",
        neighbour.interface(),
        addresses.join(" and "),
        from.join(" and ")
    );
    Ok(neighbour)
}

/// Addresses that a neighbour can ask: the machine's own that mean the same on another link.
pub fn neighbours_targets(own: &[OwnAddress]) -> impl Iterator<Item = IpAddr> + '_ {
    own.iter().map(|own| own.address).filter(|address| match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    })
}
