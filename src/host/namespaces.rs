//! Namespaces and their names: by the container in them, by their mount, else by number. Pure.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::collected::{Collected, Visited};
use super::engine::label;
use super::{containers, peers};
use crate::model::NetworkState;
use crate::model::host_report::{Container, HOST_NAMESPACE, Namespace};

/// The namespaces that were visited, each with a name of its own.
pub(super) fn namespaces(collected: &Collected, containers: &[Container]) -> Vec<Namespace> {
    let mut pids: HashMap<u64, Vec<u32>> = HashMap::new();
    for (pid, inode) in &collected.namespaces {
        pids.entry(*inode).or_default().push(*pid);
    }
    let mut first_pids: HashMap<u64, &Container> = HashMap::new();
    let asked = collected.engines.iter().flat_map(|engine| &engine.containers).map(|one| (&one.container.id, one.pid));
    let stated = collected.stated.iter().map(|one| (&one.container.id, one.pid));
    for (id, pid) in asked.chain(stated) {
        let inode = pid.and_then(|pid| collected.namespaces.get(&pid));
        if let (Some(inode), Some(known)) = (inode, containers.iter().find(|known| known.id == *id)) {
            first_pids.entry(*inode).or_insert(known);
        }
    }
    let mut taken = HashSet::new();
    let mut found = Vec::new();
    for visited in &collected.visited {
        let own = Some(visited.inode) == collected.own;
        let inside = pids.remove(&visited.inode).unwrap_or_default();
        let by_cgroup =
            inside.iter().filter_map(|pid| containers::of_process(collected.processes.get(pid)?, containers)).next();
        let container = by_cgroup
            .or_else(|| first_pids.get(&visited.inode).copied())
            .or_else(|| containers::of_mount(visited, collected, containers))
            .filter(|_| !own);
        let mut name = name(visited, own, container);
        // A name below /run/netns may be anything, `host` too; two engines may have a container of one name each.
        if (name == HOST_NAMESPACE && !own) || !taken.insert(name.clone()) {
            name = by_inode(visited.inode);
            taken.insert(name.clone());
        }
        let mut addresses: Vec<IpAddr> =
            visited.view.iter().flat_map(|view| view.state.addresses()).map(|(_, own)| own.address).collect();
        addresses.retain(|address| !address.is_loopback());
        addresses.sort_unstable();
        found.push(Namespace {
            name,
            inode: visited.inode,
            addresses,
            container: container.map(label),
            pids: inside.into_iter().take(SHOWN_PIDS).collect(),
            held_by: visited.held_by.clone(),
            network: visited
                .view
                .as_ref()
                .map(|view| NetworkState { firewall: view.filter.dump.clone(), ..view.state.network.clone() }),
        });
    }
    peers::name(&mut found, &collected.visited, &collected.peers);
    found
}

fn name(visited: &Visited, own: bool, container: Option<&Container>) -> String {
    if own {
        return HOST_NAMESPACE.to_owned();
    }
    let named = visited.mounts.iter().find_map(|mount| {
        let below = NAMED.iter().find_map(|folder| mount.strip_prefix(folder).ok())?;
        Some(below.to_string_lossy().into_owned())
    });
    named
        .or_else(|| container.map(|container| format!("container:{}", label(container))))
        .unwrap_or_else(|| by_inode(visited.inode))
}

/// What a namespace without a name is called.
pub(super) fn by_inode(inode: u64) -> String {
    format!("net:[{inode}]")
}

const NAMED: [&str; 2] = ["/run/netns", "/var/run/netns"];
const SHOWN_PIDS: usize = 8;
