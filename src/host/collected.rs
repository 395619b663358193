//! What the drivers bring home, before it becomes a report. Plain data.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use super::activation::SocketUnit;
use super::cgroup::Membership;
use super::docker_proxy::Forward;
use super::engine::EngineContainer;
use super::network::{Filter, State};
use super::oci::Stated;
use super::peers::Told;
use super::proc_text::Status;
use super::publisher::Helper;
use super::sockets::{KernelRaw, KernelSocket};
use crate::model::host_report::{OperatingSystem, Privileges};
use crate::model::report::Gap;

/// Everything that was seen.
#[derive(Debug, Default)]
pub struct Collected {
    /// Namespace of the caller: the host's own.
    pub own: Option<u64>,
    /// Namespace of pid 1.
    pub first: Option<u64>,
    pub visited: Vec<Visited>,
    /// What the kernel said of the other ends of veth pairs.
    pub peers: Told,
    /// Network namespace of each process that may be asked.
    pub namespaces: BTreeMap<u32, u64>,
    /// Pids that hold a socket, by its inode.
    pub holders: HashMap<u64, Vec<u32>>,
    /// Processes that were looked at: holders, and some of each namespace.
    pub processes: HashMap<u32, Process>,
    pub engines: Vec<Engine>,
    /// Containers by files that engines without a service keep.
    pub stated: Vec<Stated>,
    /// systemd's socket units, when it holds a socket.
    pub socket_units: Vec<SocketUnit>,
    /// The caller's own bounding set: what `all` capabilities are here.
    pub whole_capabilities: u64,
    pub machine: Machine,
    pub privileges: Privileges,
    /// Processes whose descriptors may not be read.
    pub hidden_descriptors: usize,
    pub gaps: Vec<Gap>,
}

/// A network namespace that was found.
#[derive(Debug)]
pub struct Visited {
    pub inode: u64,
    /// Where it is bind-mounted.
    pub mounts: Vec<PathBuf>,
    /// What keeps it alive, for people.
    pub held_by: Vec<String>,
    /// `None`: it could not be entered; a gap says why.
    pub view: Option<View>,
}

/// What was seen inside a namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    pub sockets: Vec<KernelSocket>,
    pub raw: Vec<KernelRaw>,
    /// Interfaces, addresses, routes, settings.
    pub state: State,
    pub filter: Filter,
    /// Questions that the kernel refused, with its reason.
    pub refused: Vec<String>,
}

/// A process that owns a socket or lives in a namespace of interest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    pub name: String,
    pub exe: Option<String>,
    pub uid: Option<u32>,
    pub status: Status,
    pub membership: Membership,
    /// Redacted.
    pub arguments: Vec<String>,
    /// For a docker-proxy.
    pub forward: Option<Forward>,
    /// For another program that holds a host's port for a container.
    pub helper: Option<Helper>,
    /// Namespace that such a helper's container is in, where the helper does not name the container itself.
    pub helper_namespace: Option<u64>,
}

/// A container engine that answered.
#[derive(Debug)]
pub struct Engine {
    pub containers: Vec<EngineContainer>,
    /// It runs in the host's own network namespace, so that the ports it publishes are the host's.
    pub here: bool,
}

/// The machine as it names itself.
#[derive(Debug, Default)]
pub struct Machine {
    pub machine_id: Option<String>,
    pub hostname: Option<String>,
    pub os: Option<OperatingSystem>,
    pub users: HashMap<u32, String>,
}
