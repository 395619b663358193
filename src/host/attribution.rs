//! Whose a socket is: the process that holds it, its unit and its container. Pure.

use std::collections::HashMap;

use super::collected::{Collected, Process, View};
use super::engine::label;
use super::owner::{self, Holder};
use super::sockets::{KernelRaw, KernelSocket};
use super::{activation, containers};
use crate::model::host_report::{Container, HOST_NAMESPACE, Listener, Namespace, PublishedPort, RawSocket};

/// What sockets are joined with.
pub(super) struct Join<'a> {
    pub(super) collected: &'a Collected,
    pub(super) containers: &'a [Container],
    pub(super) names: &'a HashMap<u64, &'a Namespace>,
    pub(super) published: &'a [PublishedPort],
}

impl Join<'_> {
    /// A listening socket with its owner.
    pub(super) fn listener(&self, socket: &KernelSocket, view: &View, namespace: &Namespace) -> Listener {
        let mut listener = Listener {
            v6only: socket.v6only,
            accept_queue: socket.accept_queue,
            device: device(socket.interface, view),
            namespace: namespace.name.clone(),
            user: Some(self.user(socket.uid, None)),
            ..Listener::at(socket.transport, socket.address, socket.port)
        };
        let Some((owner, process, activated)) = self.owner(socket.inode) else { return listener };
        let container = containers::of_process(process, self.containers);
        listener.pid = Some(owner);
        listener.process = Some(process.name.clone());
        listener.exe.clone_from(&process.exe);
        listener.user = Some(self.user(process.uid.unwrap_or(socket.uid), container));
        listener.socket_activated = activated;
        // What systemd holds for a service that does not run has no unit of its own.
        listener.unit = process.membership.unit.clone().filter(|unit| unit != "init.scope");
        listener.container = container
            .map(label)
            .or_else(|| self.publishes_for(process, &listener))
            .or_else(|| namespace.container.clone());
        if process.name == activation::ACTIVATOR {
            listener.socket_activated = true;
            listener.starts = activation::activated_program(&process.arguments);
        } else if activated && owner == 1 {
            let unit = self.collected.socket_units.iter().find(|unit| unit.opened(&listener));
            listener.unit = unit.map(|unit| unit.name.clone());
            listener.starts = unit.map(|unit| unit.service.clone());
        }
        listener
    }

    /// A raw or packet socket with its owner.
    pub(super) fn raw(&self, socket: &KernelRaw, view: &View, namespace: &Namespace) -> RawSocket {
        let mut raw = RawSocket {
            kind: socket.kind,
            protocol: socket.protocol,
            ipv6: socket.ipv6,
            device: device(socket.interface, view),
            namespace: namespace.name.clone(),
            pid: None,
            process: None,
            user: socket.uid.map(|uid| self.user(uid, None)),
            unit: None,
            container: None,
        };
        let Some((owner, process, _)) = self.owner(socket.inode) else { return raw };
        let container = containers::of_process(process, self.containers);
        raw.pid = Some(owner);
        raw.process = Some(process.name.clone());
        raw.user = process.uid.or(socket.uid).map(|uid| self.user(uid, container));
        raw.unit = process.membership.unit.clone();
        raw.container = container.map(label).or_else(|| namespace.container.clone());
        raw
    }

    /// The process that is named as owner of a socket, and whether systemd holds the socket too.
    fn owner(&self, inode: u64) -> Option<(u32, &Process, bool)> {
        let pids = self.collected.holders.get(&inode)?;
        let holders: Vec<Holder> = pids
            .iter()
            .filter_map(|pid| Some(Holder { pid: *pid, name: self.collected.processes.get(pid)?.name.clone() }))
            .collect();
        let (owner, activated) = owner::choose(&holders)?;
        Some((owner.pid, self.collected.processes.get(&owner.pid)?, activated))
    }

    /// A name of the host's own user list; in a container the same number may be somebody else.
    fn user(&self, uid: u32, container: Option<&Container>) -> String {
        let name = self.collected.machine.users.get(&uid).filter(|_| container.is_none() || uid == 0);
        name.cloned().unwrap_or_else(|| uid.to_string())
    }

    /// The container that a socket of an engine's helper is there for.
    fn publishes_for(&self, process: &Process, listener: &Listener) -> Option<String> {
        if let Some(forward) = &process.forward {
            let known = containers::at(forward.container_address, self.containers, self.names);
            if known.is_some() {
                return known;
            }
        }
        let behind = containers::behind_helper(process, self.collected, self.containers, self.names);
        if behind.is_some() {
            return behind;
        }
        if listener.namespace != HOST_NAMESPACE || !PUBLISHERS.contains(&process.name.as_str()) {
            return None;
        }
        let same = self.published.iter().find(|one| {
            (one.transport, one.host_port) == (listener.transport, listener.port)
                && (one.host_address == listener.address || one.host_address.is_unspecified())
        });
        same.and_then(|one| one.container.clone())
    }
}

fn device(interface: Option<u32>, view: &View) -> Option<String> {
    let index = interface?;
    Some(view.state.interface(index).map_or_else(|| format!("#{index}"), |one| one.name.clone()))
}

/// Programs that hold a host's port for a container.
const PUBLISHERS: [&str; 8] =
    ["conmon", "docker-proxy", "dockerd", "forkproxy", "pasta", "rootlesskit", "rootlessport", "slirp4netns"];
