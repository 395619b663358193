//! Driver: `postern host`. This machine's own view, from /proc, netlink and the engines' sockets. Reads only, and leaves
//! nothing behind.
//!
//! The host's *own* namespace is the one that the calling thread is in; where that is not pid 1's, a gap says so. All
//! other namespaces are found by the processes, threads and descriptors of /proc and by the bind mounts of every mount
//! namespace that some process is in. Not found: a namespace that is held by a socket alone.
#![expect(clippy::disallowed_methods, reason = "reads small files")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::thread::CapabilitySet;

use super::collect_settings::{CollectSettings, NamespaceScope};
use super::collected::{Collected, Engine, Machine, Visited};
use super::engine::{self, EngineSocket};
use super::engine_fetch::{self, EngineAnswer, EngineError};
use super::network::Missing;
use super::processes::{self, ProcessTable};
use super::publisher::{self, Behind};
use super::visit::{self, Limits, OWN_NAMESPACE, Visit, VisitError};
use super::{assemble, docker_proxy, peers, proc_text, redact, state_files, support, system};
use crate::model::host_report::{HostReport, OperatingSystem, Privileges};
use crate::model::report::Gap;

/// Looks at this machine. What cannot be seen becomes a gap of the report, never an error.
///
/// Blocks, for a few milliseconds mostly and never longer than the limits allow; in async code it belongs on a blocking
/// thread. The namespaces are entered on a thread of their own: the caller's stays where it is.
pub fn collect(settings: &CollectSettings, now: jiff::Timestamp) -> HostReport {
    let (sockets, gaps) =
        engine::sockets(settings.docker_host.as_deref(), settings.container_host.as_deref(), &settings.engine_sockets);
    let sockets = distinct(sockets.into_iter().chain(users_sockets()).collect());
    let mut collected = Collected {
        own: processes::namespace(Path::new(OWN_NAMESPACE)).ok(),
        first: processes::namespace(Path::new("/proc/1/ns/net")).ok(),
        machine: machine(now),
        privileges: privileges(),
        gaps,
        ..Collected::default()
    };
    let answers = std::thread::scope(|scope| {
        let engines = scope.spawn(|| engine_fetch::ask_all(&sockets, settings.engine_limit));
        let mut table = processes::survey();
        visit_namespaces(settings, &mut table, &mut collected);
        owners(table, &mut collected);
        engines.join().unwrap_or_default()
    });
    for (socket, answer) in sockets.iter().zip(answers) {
        take_engine(socket, answer, &mut collected);
    }
    assemble::assemble(collected, format!("{:.0}", now))
}

/// Enters the namespaces and notes those that could not be.
fn visit_namespaces(settings: &CollectSettings, table: &mut ProcessTable, collected: &mut Collected) {
    let mut mounts: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    let mut held_by: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let mut doors: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    let mountinfo = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    for (inode, path) in proc_text::namespace_mounts(&mountinfo) {
        held_by.entry(inode).or_default().push(format!("mount {}", path.display()));
        mounts.entry(inode).or_default().push(path.clone());
        doors.entry(inode).or_default().push(path);
    }
    for (inode, pid, path) in processes::mounts_elsewhere(table) {
        // A copy of the own mount table, as most mount namespaces begin.
        if mounts.get(&inode).is_some_and(|known| known.contains(&path)) {
            continue;
        }
        held_by.entry(inode).or_default().push(format!("mount {} (seen by {pid})", path.display()));
        let door = Path::new("/proc").join(pid.to_string()).join("root").join(path.strip_prefix("/").unwrap_or(&path));
        // A path of another mount namespace names the namespace no less.
        mounts.entry(inode).or_default().push(path);
        doors.entry(inode).or_default().push(door);
    }
    for (inode, (door, holder)) in &table.side_doors {
        held_by.entry(*inode).or_default().push(holder.clone());
        doors.entry(*inode).or_default().push(door.clone());
    }
    let inhabited: HashSet<u64> = table.namespaces.values().copied().collect();
    for inode in &inhabited {
        held_by.entry(*inode).or_default().insert(0, "process".to_owned());
    }
    for (pid, inode) in &table.namespaces {
        let known = doors.entry(*inode).or_default();
        if known.len() < MOST_DOORS {
            let home = table.living.get(pid).cloned().unwrap_or_else(|| PathBuf::from(format!("/proc/{pid}")));
            known.push(home.join("ns/net"));
        }
    }
    let mut visits = Vec::new();
    if let Some(own) = collected.own {
        doors.remove(&own);
        visits.push(Visit { inode: own, doors: Vec::new() });
    }
    visits.extend(doors.into_iter().map(|(inode, doors)| Visit { inode, doors }));
    let entered = match settings.namespaces {
        NamespaceScope::All => visits.clone(),
        NamespaceScope::Own => visits.iter().take(usize::from(collected.own.is_some())).cloned().collect(),
    };
    let limits = Limits { look: settings.namespace_limit, filter: settings.firewall_limit };
    let ways = entered.clone();
    let mut results = visit::visit_all(entered, limits).into_iter();
    let mut failures: BTreeMap<String, (Vec<u64>, bool)> = BTreeMap::new();
    let mut unread: BTreeMap<Missing, Vec<u64>> = BTreeMap::new();
    for visit in visits {
        let view = match results.next() {
            Some(Ok(view)) => Some(view),
            // It went away while we looked: what was in it is gone too.
            Some(Err(VisitError::Gone)) => continue,
            Some(Err(error)) => {
                let hidden = error == VisitError::Denied;
                failures.entry(error.to_string()).or_insert_with(|| (Vec::new(), !hidden)).0.push(visit.inode);
                None
            }
            None => {
                failures.entry(LEFT_OUT.to_owned()).or_default().0.push(visit.inode);
                None
            }
        };
        for refusal in view.iter().flat_map(|view| &view.refused) {
            failures.entry(refusal.clone()).or_insert_with(|| (Vec::new(), true)).0.push(visit.inode);
        }
        for missing in view.iter().flat_map(|view| &view.filter.missing) {
            unread.entry(missing.clone()).or_default().push(visit.inode);
        }
        let mounts = mounts.remove(&visit.inode).unwrap_or_default();
        let held_by = held_by.remove(&visit.inode).unwrap_or_default();
        collected.visited.push(Visited { inode: visit.inode, mounts, held_by, view });
    }
    collected.peers = visit::ask_peers(&ways, peers::open(&collected.visited), settings.namespace_limit);
    for (cause, (inodes, incomplete)) in failures {
        collected.gaps.push(Gap {
            what: format!("the sockets of {}", shown(&inodes)),
            settled_by: if cause == LEFT_OUT { "a run without that restriction" } else { "`postern host` as root" }
                .to_owned(),
            cause,
            incomplete,
        });
    }
    for (missing, inodes) in unread {
        collected.gaps.push(Gap {
            what: format!("{} of {}", missing.what, shown(&inodes)),
            cause: missing.cause,
            settled_by: missing.settled_by.to_owned(),
            incomplete: false,
        });
    }
    if table.hidden_namespaces > 0 {
        collected.gaps.push(Gap {
            what: format!("the network namespaces of {} processes", table.hidden_namespaces),
            cause: "the kernel lets nobody but their users, or root, look into them".to_owned(),
            settled_by: "root with CAP_SYS_PTRACE, outside of any container".to_owned(),
            incomplete: false,
        });
    }
    collected.namespaces = std::mem::take(&mut table.namespaces);
}

/// `2 network namespaces: net:[1], net:[2]`.
fn shown(inodes: &[u64]) -> String {
    let shown: Vec<String> = inodes.iter().take(SHOWN).map(|inode| format!("net:[{inode}]")).collect();
    let more = if inodes.len() > SHOWN { ", …" } else { "" };
    format!("{} network namespaces: {}{more}", inodes.len(), shown.join(", "))
}

/// Finds the processes that hold the sockets, and looks at them and at some of each other namespace.
fn owners(table: ProcessTable, collected: &mut Collected) {
    // The sockets by their namespaces.
    let mut wanted: HashMap<u64, u64> = HashMap::new();
    for visited in &collected.visited {
        let Some(view) = &visited.view else { continue };
        let inodes = view.sockets.iter().map(|one| one.inode).chain(view.raw.iter().map(|one| one.inode));
        wanted.extend(inodes.filter(|inode| *inode != 0).map(|inode| (inode, visited.inode)));
    }
    collected.hidden_descriptors = table.hidden_descriptors;
    let mut holders = table.holders;
    holders.retain(|inode, _| wanted.contains_key(inode));
    // A socket that was opened after /proc was read has no holder yet: a process of its namespace has it, or a new one.
    let open: HashSet<u64> =
        wanted.iter().filter(|(inode, _)| !holders.contains_key(inode)).map(|(_, namespace)| *namespace).collect();
    if !open.is_empty() {
        for (inode, found) in processes::holders_again(&collected.namespaces, |namespace| open.contains(&namespace)) {
            if wanted.contains_key(&inode) {
                holders.entry(inode).or_insert(found);
            }
        }
    }
    let mut inside: HashMap<u64, usize> = HashMap::new();
    let mut pids: HashSet<u32> = holders.values().flatten().map(|(pid, _)| *pid).collect();
    for (pid, inode) in &collected.namespaces {
        let seen = inside.entry(*inode).or_default();
        if Some(*inode) != collected.own && *seen < LOOKED_AT {
            *seen += 1;
            pids.insert(*pid);
        }
    }
    collected.processes = pids.into_iter().filter_map(|pid| Some((pid, processes::look_at(pid)?))).collect();
    command_lines(collected);
    collected.whole_capabilities = processes::whole_capabilities();
    let (stated, complete) = state_files::containers(collected.whole_capabilities, STATE_LIMIT);
    collected.stated = stated;
    if !complete {
        collected.gaps.push(Gap {
            what: "containers that only the files of their engine tell of (containerd, Podman without its service)"
                .to_owned(),
            cause: format!("the files were not all read within {STATE_LIMIT:?}"),
            settled_by: "the homes of users on file systems that answer".to_owned(),
            incomplete: true,
        });
    }
    if holders.values().flatten().any(|(pid, _)| *pid == 1) {
        collected.socket_units = state_files::socket_units();
    }
    // After the look, so that a process that came by a dead one's pid is not taken for it.
    let mut sockets: HashMap<u32, Vec<(u32, u64)>> = HashMap::new();
    for (inode, found) in &holders {
        for (pid, fd) in found {
            sockets.entry(*pid).or_default().push((*fd, *inode));
        }
    }
    sockets.retain(|pid, sockets| processes::still_holds(*pid, sockets));
    for (inode, found) in holders {
        let mut pids: Vec<u32> =
            found.into_iter().map(|(pid, _)| pid).filter(|pid| sockets.contains_key(pid)).collect();
        pids.sort_unstable();
        pids.dedup();
        if !pids.is_empty() {
            collected.holders.insert(inode, pids);
        }
    }
}

/// Reads the arguments of the processes that were looked at, and what they say of the containers behind.
fn command_lines(collected: &mut Collected) {
    let lines = processes::command_lines(collected.processes.keys().copied().collect(), LINE_LIMIT);
    for (pid, line) in lines {
        let Some(process) = collected.processes.get_mut(&pid) else { continue };
        process.arguments = redact::arguments(&line);
        if process.name == docker_proxy::PROGRAM {
            process.forward = docker_proxy::parse(&line);
        }
        process.helper = publisher::helper(&process.name, &line);
        process.helper_namespace = match process.helper.as_ref().map(|helper| &helper.behind) {
            Some(Behind::Process(pid)) => collected.namespaces.get(pid).copied(),
            Some(Behind::Namespace(path)) => processes::namespace_file(path),
            Some(Behind::Child) => {
                // rootlessport moves threads of its own, the main one among them.
                let pids = std::iter::once(pid).chain(processes::children(pid));
                let inner = pids.filter_map(|pid| collected.namespaces.get(&pid).copied());
                inner.into_iter().find(|inner| Some(*inner) != collected.own)
            }
            Some(Behind::Container(_)) | None => None,
        };
    }
}

fn take_engine(socket: &EngineSocket, answer: Result<EngineAnswer, EngineError>, collected: &mut Collected) {
    let path = socket.path.display();
    let mut gap = |what: String, cause: String, settled_by: &str, incomplete| {
        collected.gaps.push(Gap { what, cause, settled_by: settled_by.to_owned(), incomplete });
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(EngineError::Absent | EngineError::NotListening) if !socket.named => return,
        Err(error) => {
            let settled_by = match error {
                EngineError::Denied => "root, or membership in the group of the socket",
                _ => "an engine that answers there",
            };
            let incomplete = !matches!(error, EngineError::Denied);
            return gap(
                format!("containers and published ports of the engine at {path}"),
                error.to_string(),
                settled_by,
                incomplete,
            );
        }
    };
    if answer.not_inspected > 0 {
        gap(
            format!("whether {} containers of the engine at {path} are privileged", answer.not_inspected),
            format!("at most {} are asked for one by one, and each must answer", engine_fetch::INSPECTED),
            "the engine's `inspect`",
            false,
        );
    }
    let namespace = answer.pid.and_then(|pid| collected.namespaces.get(&pid)).copied();
    // A rootless engine runs in a namespace of its own and publishes in its user's, by rootlesskit or rootlessport.
    let rootless = socket.path.starts_with(USERS);
    let here = rootless || namespace.is_none() || collected.own.is_none() || namespace == collected.own;
    if !here {
        gap(
            format!("the ports that the engine at {path} publishes"),
            "it runs in another network namespace: they are not this host's".to_owned(),
            "`postern host` in the engine's namespace",
            false,
        );
    }
    collected.engines.push(Engine { containers: answer.containers, here });
}

/// The sockets of rootless engines.
fn users_sockets() -> Vec<EngineSocket> {
    let Ok(users) = fs::read_dir(USERS) else { return Vec::new() };
    let folders = users.filter_map(|entry| Some(entry.ok()?.path())).take(MOST_USERS);
    folders
        .flat_map(|folder| ["docker.sock", "podman/podman.sock"].map(|name| folder.join(name)))
        .filter(|path| path.exists())
        .map(|path| EngineSocket { path, named: false })
        .collect()
}

/// /var/run is mostly a link to /run.
fn distinct(sockets: Vec<EngineSocket>) -> Vec<EngineSocket> {
    let mut seen = HashSet::new();
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    sockets.into_iter().filter(|socket| seen.insert(real(&socket.path))).collect()
}

fn machine(now: jiff::Timestamp) -> Machine {
    let file = |path: &str| fs::read_to_string(path).ok();
    let line = |path: &str| file(path).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let os = file("/etc/os-release").or_else(|| file("/usr/lib/os-release")).and_then(|text| system::os_release(&text));
    Machine {
        machine_id: line("/etc/machine-id").or_else(|| line("/var/lib/dbus/machine-id")),
        hostname: line("/proc/sys/kernel/hostname"),
        os: os
            .map(|os| OperatingSystem { kernel: line("/proc/sys/kernel/osrelease"), ..os })
            .map(|os| support::judge(os, &now.strftime("%Y-%m-%d").to_string())),
        users: file("/etc/passwd").map(|text| system::users(&text)).unwrap_or_default(),
    }
}

fn privileges() -> Privileges {
    let effective = rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    Privileges {
        uid: Some(rustix::process::geteuid().as_raw()),
        namespaces: effective.contains(CapabilitySet::SYS_ADMIN),
        processes: effective.contains(CapabilitySet::SYS_PTRACE),
    }
}

/// Time for the files that engines keep.
const STATE_LIMIT: Duration = Duration::from_secs(3);
/// Time for one command line.
const LINE_LIMIT: Duration = Duration::from_millis(500);
const USERS: &str = "/run/user";
/// Users whose engines are asked.
const MOST_USERS: usize = 64;
const LEFT_OUT: &str = "only the own namespace was asked for";
/// Ways in that are tried.
const MOST_DOORS: usize = 8;
/// Processes that are looked at to name their namespace.
const LOOKED_AT: usize = 8;
/// Namespaces that a gap names.
const SHOWN: usize = 8;
