//! Driver: one pass over /proc. Who holds which socket, and which network namespaces the processes, their threads and
//! their descriptors lead to.
//!
//! Reads links and small files only. `/proc/PID/cmdline`, which can hang with a process that is stuck in its memory map,
//! is read of docker-proxy alone.
#![expect(clippy::disallowed_methods, reason = "reads /proc")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::collected::Process;
use super::{cgroup, docker_proxy, proc_text};

/// What the pass found.
#[derive(Debug, Default)]
pub struct ProcessTable {
    /// Network namespace of each process that may be asked.
    pub namespaces: BTreeMap<u32, u64>,
    /// Ways into namespaces that no process's main thread is in: of threads and of descriptors.
    pub side_doors: BTreeMap<u64, PathBuf>,
    /// Pid and descriptor of the holders, by the inode of the socket.
    pub holders: HashMap<u64, Vec<(u32, u32)>>,
    /// Processes whose namespace may not be read.
    pub hidden_namespaces: usize,
    /// Processes whose descriptors may not be read.
    pub hidden_descriptors: usize,
}

/// Goes over all of /proc once.
pub fn survey() -> ProcessTable {
    let mut table = ProcessTable::default();
    let mut beside = BTreeMap::new();
    for pid in numbers(Path::new("/proc")).unwrap_or_default() {
        let root = PathBuf::from(format!("/proc/{pid}"));
        let main = namespace(&root.join("ns/net"));
        match &main {
            Ok(inode) => {
                table.namespaces.insert(pid, *inode);
            }
            Err(error) if is_denied(error) => table.hidden_namespaces += 1,
            // Gone meanwhile, or a zombie.
            Err(_) => continue,
        }
        if let (Ok(main), Ok(tasks)) = (main, numbers(&root.join("task"))) {
            for task in tasks.into_iter().filter(|task| *task != pid) {
                let door = root.join(format!("task/{task}/ns/net"));
                if let Ok(inode) = namespace(&door)
                    && inode != main
                {
                    beside.entry(inode).or_insert(door);
                }
            }
        }
        match numbers(&root.join("fd")) {
            Ok(descriptors) => {
                // The list alone may be open to those who may not follow its links.
                let denied =
                    descriptors.into_iter().filter(|fd| !descriptor(pid, *fd, &mut table, &mut beside)).count();
                table.hidden_descriptors += usize::from(denied > 0);
            }
            Err(error) if is_denied(&error) => table.hidden_descriptors += 1,
            Err(_) => {}
        }
    }
    let inhabited: HashSet<u64> = table.namespaces.values().copied().collect();
    table.side_doors = beside.into_iter().filter(|(inode, _)| !inhabited.contains(inode)).collect();
    table
}

/// Whether the descriptor could be looked at, or is gone.
fn descriptor(pid: u32, fd: u32, table: &mut ProcessTable, beside: &mut BTreeMap<u64, PathBuf>) -> bool {
    let path = format!("/proc/{pid}/fd/{fd}");
    let target = match fs::read_link(&path) {
        Ok(target) => target,
        Err(error) => return !is_denied(&error),
    };
    let target = target.as_os_str().as_bytes();
    if let Some(inode) = proc_text::link_inode(target, "socket") {
        table.holders.entry(inode).or_default().push((pid, fd));
    } else if let Some(inode) = proc_text::link_inode(target, "net") {
        beside.entry(inode).or_insert_with(|| PathBuf::from(path));
    }
    true
}

/// Looks at one process. `None`: it is gone.
pub fn look_at(pid: u32) -> Option<Process> {
    let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
    let comm = file("comm")?;
    let exe = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let exe = exe.map(|path| proc_text::executable(&path.to_string_lossy()));
    let name = proc_text::process_name(&comm, exe.as_deref());
    let forward = (name == docker_proxy::PROGRAM)
        .then(|| fs::read(format!("/proc/{pid}/cmdline")).ok())
        .flatten()
        .and_then(|line| docker_proxy::parse(&line));
    Some(Process {
        uid: file("status").as_deref().and_then(proc_text::effective_uid),
        membership: file("cgroup").map(|text| cgroup::parse(&text)).unwrap_or_default(),
        name,
        exe,
        forward,
    })
}

/// Whether a holder still has the socket: its pid may have become another process's meanwhile.
pub fn still_holds(pid: u32, fd: u32, inode: u64) -> bool {
    fs::read_link(format!("/proc/{pid}/fd/{fd}"))
        .is_ok_and(|target| proc_text::link_inode(target.as_os_str().as_bytes(), "socket") == Some(inode))
}

/// The network namespace that a link of /proc names.
pub fn namespace(link: &Path) -> std::io::Result<u64> {
    let target = fs::read_link(link)?;
    proc_text::link_inode(target.as_os_str().as_bytes(), "net").ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

fn numbers(folder: &Path) -> std::io::Result<Vec<u32>> {
    let names = fs::read_dir(folder)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(names.collect())
}

fn is_denied(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::PermissionDenied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_itself() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let table = survey();
        let own = std::process::id();
        assert_eq!(table.namespaces.get(&own).copied(), namespace(Path::new("/proc/self/ns/net")).ok());
        let fd = u32::try_from(std::os::fd::AsRawFd::as_raw_fd(&listener)).unwrap();
        let (inode, _) = table.holders.iter().find(|(_, holders)| holders.contains(&(own, fd))).unwrap();
        assert!(still_holds(own, fd, *inode));
        let process = look_at(own).unwrap();
        assert_eq!(process.uid, Some(rustix::process::geteuid().as_raw()));
        assert!(process.exe.unwrap().ends_with(&process.name));
        drop(listener);
        assert!(!still_holds(own, fd, *inode));
        assert_eq!(look_at(u32::MAX), None);
    }
}
