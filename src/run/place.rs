//! The places that a run looks from: opened before anything is sent, left when the run ends.

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
    #[error("{0}: no interface here is called so")]
    NoInterface(String),
    #[error("{name}: {error}")]
    Namespace { name: String, error: std::io::Error },
    #[error("container:{name}: {error}")]
    Container { name: String, error: DoorError },
    #[error("neighbour: {0}")]
    Neighbour(#[from] NeighbourError),
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
                if !own.iter().any(|one| &one.interface == name) {
                    return Err(PlaceError::NoInterface(name.clone()));
                }
                Stand::Interface(name.clone())
            }
            VantageChoice::Netns(name) => {
                let failed = |error| PlaceError::Namespace { name: choice.to_string(), error };
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
    let named = Path::new("/run/netns").join(name);
    if !named.exists() && name.bytes().all(|byte| byte.is_ascii_digit()) {
        return PathBuf::from(format!("/proc/{name}/ns/net"));
    }
    named
}

async fn container(name: &str) -> Result<NetworkNamespace, PlaceError> {
    let (wanted, now) = (name.to_owned(), identity::now());
    let asked =
        tokio::task::spawn_blocking(move || container_doors(&wanted, &CollectSettings::from_environment(), now)).await;
    let failed = |error| PlaceError::Container { name: name.to_owned(), error };
    let doors = asked.unwrap_or(Err(DoorError::NoSuchContainer)).map_err(failed)?;
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
