//! Driver: one pass over /proc. Who holds which socket, and which network namespaces the processes, their threads and
//! their descriptors lead to.
//!
//! Reads links and small files only. `/proc/PID/cmdline` can hang with a process that is stuck in its memory map: it is
//! read on a thread that may be left behind.
#![expect(clippy::disallowed_methods, reason = "reads /proc")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::collected::Process;
use super::{cgroup, proc_text};

/// What the pass found.
#[derive(Debug, Default)]
pub struct ProcessTable {
    /// Network namespace of each process that may be asked.
    pub namespaces: BTreeMap<u32, u64>,
    /// Ways into namespaces that no process's main thread is in: of threads and of descriptors; each with what holds it.
    pub side_doors: BTreeMap<u64, (PathBuf, String)>,
    /// Folder of a living thread of each process whose first one has ended.
    pub living: HashMap<u32, PathBuf>,
    /// One process of each mount namespace.
    pub mount_namespaces: BTreeMap<u64, u32>,
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
        let mut root = PathBuf::from(format!("/proc/{pid}"));
        let mut main = namespace(&root.join("ns/net"));
        if main.as_ref().is_err_and(|error| !is_denied(error))
            && let Some(living) = living_thread(pid)
        {
            // Its first thread has ended; what the others have is shown with them alone.
            main = namespace(&living.join("ns/net"));
            root = living.clone();
            table.living.insert(pid, living);
        }
        match &main {
            Ok(inode) => {
                table.namespaces.insert(pid, *inode);
            }
            Err(error) if is_denied(error) => table.hidden_namespaces += 1,
            // Gone meanwhile, or a zombie.
            Err(_) => continue,
        }
        if let Ok(inode) = inode_of(&root.join("ns/mnt"), "mnt") {
            table.mount_namespaces.entry(inode).or_insert(pid);
        }
        let tasks = PathBuf::from(format!("/proc/{pid}/task"));
        if let Ok(main) = main
            && has_threads(&tasks)
        {
            for task in numbers(&tasks).unwrap_or_default().into_iter().filter(|task| *task != pid) {
                let door = tasks.join(format!("{task}/ns/net"));
                if let Ok(inode) = namespace(&door)
                    && inode != main
                {
                    beside.entry(inode).or_insert_with(|| (door, format!("thread of {pid}")));
                }
            }
        }
        match numbers(&root.join("fd")) {
            Ok(descriptors) => {
                // The list alone may be open to those who may not follow its links.
                let denied =
                    descriptors.into_iter().filter(|fd| !descriptor(pid, &root, *fd, &mut table, &mut beside)).count();
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

/// Looks for holders once more: in the processes that `wanted` names and in those that `table` does not know.
pub fn holders_again(table: &BTreeMap<u32, u64>, wanted: impl Fn(u64) -> bool) -> HashMap<u64, Vec<(u32, u32)>> {
    let mut again = ProcessTable::default();
    for pid in numbers(Path::new("/proc")).unwrap_or_default() {
        if table.get(&pid).is_none_or(|namespace| wanted(*namespace)) {
            let root = home(pid);
            for fd in numbers(&root.join("fd")).unwrap_or_default() {
                descriptor(pid, &root, fd, &mut again, &mut BTreeMap::new());
            }
        }
    }
    again.holders
}

/// The folder that shows what a process has: that of a living thread where the first one has ended.
fn home(pid: u32) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{pid}"));
    match namespace(&root.join("ns/net")) {
        Err(error) if !is_denied(&error) => living_thread(pid).unwrap_or(root),
        _ => root,
    }
}

fn living_thread(pid: u32) -> Option<PathBuf> {
    let tasks = PathBuf::from(format!("/proc/{pid}/task"));
    let others = numbers(&tasks).ok()?.into_iter().filter(|task| *task != pid);
    others.map(|task| tasks.join(task.to_string())).find(|folder| namespace(&folder.join("ns/net")).is_ok())
}

/// The folder of the threads has a link to itself, one to its parent, and one a thread.
fn has_threads(tasks: &Path) -> bool {
    rustix::fs::stat(tasks).is_ok_and(|status| status.st_nlink != 3)
}

/// Whether the descriptor could be looked at, or is gone.
fn descriptor(
    pid: u32,
    root: &Path,
    fd: u32,
    table: &mut ProcessTable,
    beside: &mut BTreeMap<u64, (PathBuf, String)>,
) -> bool {
    let path = format!("{}/fd/{fd}", root.display());
    let target = match fs::read_link(&path) {
        Ok(target) => target,
        Err(error) => return !is_denied(&error),
    };
    let target = target.as_os_str().as_bytes();
    if let Some(inode) = proc_text::link_inode(target, "socket") {
        table.holders.entry(inode).or_default().push((pid, fd));
    } else if let Some(inode) = proc_text::link_inode(target, "net") {
        beside.entry(inode).or_insert_with(|| (PathBuf::from(path), format!("descriptor of {pid}")));
    }
    true
}

/// Looks at one process. `None`: it is gone.
pub fn look_at(pid: u32) -> Option<Process> {
    let root = home(pid);
    let file = |name: &str| fs::read_to_string(root.join(name)).ok();
    let comm = file("comm")?;
    let exe = fs::read_link(root.join("exe")).ok();
    let exe = exe.map(|path| proc_text::executable(&path.to_string_lossy()));
    let name = proc_text::process_name(&comm, exe.as_deref());
    let status = file("status").map(|text| proc_text::status(&text)).unwrap_or_default();
    Some(Process {
        uid: status.uid,
        status,
        membership: file("cgroup").map(|text| cgroup::parse(&text)).unwrap_or_default(),
        name,
        exe,
        ..Process::default()
    })
}

/// The command lines of `pids`, raw. One that hangs costs no more than `limit`, and is missing.
pub fn command_lines(pids: Vec<u32>, limit: Duration) -> HashMap<u32, Vec<u8>> {
    let pids: Arc<[u32]> = pids.into();
    let mut found = HashMap::new();
    let (mut next, mut hung) = (0, 0);
    while next < pids.len() && hung < MOST_HUNG {
        let (sender, receiver) = mpsc::sync_channel(WAITING);
        let (shared, first) = (Arc::clone(&pids), next);
        let spawned = std::thread::Builder::new().name("command lines".to_owned()).spawn(move || {
            for pid in &shared[first..] {
                if sender.send((*pid, command_line(*pid))).is_err() {
                    return;
                }
            }
        });
        if spawned.is_err() {
            break;
        }
        while next < pids.len() {
            let answer = receiver.recv_timeout(limit);
            next += 1;
            match answer {
                Ok((pid, Some(line))) => {
                    found.insert(pid, line);
                }
                Ok((_, None)) => {}
                Err(_) => {
                    hung += 1;
                    break;
                }
            }
        }
    }
    found
}

fn command_line(pid: u32) -> Option<Vec<u8>> {
    let read = |root: &Path| {
        let mut line = Vec::new();
        fs::File::open(root.join("cmdline")).ok()?.take(LONGEST_LINE).read_to_end(&mut line).ok()?;
        Some(line)
    };
    let root = PathBuf::from(format!("/proc/{pid}"));
    let line = read(&root)?;
    // Of a process whose first thread has ended; threads of the kernel have none.
    if line.is_empty() { read(&home(pid)) } else { Some(line) }
}

/// The capabilities that any process may have at most, by the caller's own bounding set.
pub fn whole_capabilities() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    proc_text::status(&text).bounding.unwrap_or_default()
}

/// Network namespaces that are bind-mounted where other mount namespaces than the own one show it: inode, a process that
/// sees the mount, mount point.
pub fn mounts_elsewhere(table: &ProcessTable) -> Vec<(u64, u32, PathBuf)> {
    let own = inode_of(Path::new("/proc/thread-self/ns/mnt"), "mnt").ok();
    let mut found = Vec::new();
    let others = table.mount_namespaces.iter().filter(|(inode, _)| Some(**inode) != own);
    for (_, pid) in others {
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/mountinfo")) else { continue };
        let mounts = proc_text::namespace_mounts(&text).into_iter();
        found.extend(mounts.map(|(inode, path)| (inode, *pid, path)));
    }
    // What a copy of a mount table shows is shown once.
    let mut seen = HashSet::new();
    found.retain(|(inode, _, path)| seen.insert((*inode, path.clone())));
    found
}

/// The network namespace that `/proc/PID/ns/net` or `/proc/PID/task/TID/ns/net` is. Other paths are not looked at: any user
/// can name one in a command line, on a file system that hangs; mounted namespaces are known by the tables of mounts.
pub fn namespace_file(path: &Path) -> Option<u64> {
    let words: Vec<&str> = path.to_str()?.strip_prefix("/proc/")?.split('/').collect();
    let is_number = |word: &str| word.parse::<u32>().is_ok();
    match words[..] {
        [pid, "ns", "net"] if is_number(pid) => namespace(path).ok(),
        [pid, "task", task, "ns", "net"] if is_number(pid) && is_number(task) => namespace(path).ok(),
        _ => None,
    }
}

/// Children of a process, whichever of its threads began them.
pub fn children(pid: u32) -> Vec<u32> {
    let tasks = numbers(&PathBuf::from(format!("/proc/{pid}/task"))).unwrap_or_default();
    let text = |task| fs::read_to_string(format!("/proc/{pid}/task/{task}/children")).unwrap_or_default();
    let of = |task| text(task).split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>();
    tasks.into_iter().flat_map(of).collect()
}

/// Whether a process is still the one that held these sockets (descriptor, inode): its pid may have become another's
/// meanwhile. One of them is proof.
pub fn still_holds(pid: u32, sockets: &[(u32, u64)]) -> bool {
    let root = home(pid).join("fd");
    sockets.iter().any(|(fd, inode)| {
        fs::read_link(root.join(fd.to_string()))
            .is_ok_and(|target| proc_text::link_inode(target.as_os_str().as_bytes(), "socket") == Some(*inode))
    })
}

/// The network namespace that a link of /proc names.
pub fn namespace(link: &Path) -> std::io::Result<u64> {
    inode_of(link, "net")
}

fn inode_of(link: &Path, kind: &str) -> std::io::Result<u64> {
    let target = fs::read_link(link)?;
    proc_text::link_inode(target.as_os_str().as_bytes(), kind).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

fn numbers(folder: &Path) -> std::io::Result<Vec<u32>> {
    let names = fs::read_dir(folder)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(names.collect())
}

fn is_denied(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::PermissionDenied
}

const LONGEST_LINE: u64 = 64 << 10;
/// Command lines that may hang before the others are given up.
const MOST_HUNG: usize = 4;
const WAITING: usize = 16;

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
        assert!(still_holds(own, &[(fd + 1000, *inode), (fd, *inode)]));
        let process = look_at(own).unwrap();
        assert_eq!(process.uid, Some(rustix::process::geteuid().as_raw()));
        assert!(process.exe.unwrap().ends_with(&process.name));
        let named = namespace_file(Path::new(&format!("/proc/{own}/ns/net")));
        assert_eq!(named, table.namespaces.get(&own).copied());
        for other in ["/proc/self/ns/net", "/proc/1/root/proc/1/ns/net", "/run/netns/x", "/proc/1/../1/ns/net"] {
            assert_eq!(namespace_file(Path::new(other)), None, "{other}");
        }
        // The test's own thread is one beside the main one.
        assert!(has_threads(Path::new("/proc/self/task")));
        let again = holders_again(&table.namespaces, |namespace| table.namespaces.get(&own) == Some(&namespace));
        assert!(again[inode].contains(&(own, fd)));
        let none = holders_again(&table.namespaces, |_| false);
        assert!(!none.get(inode).is_some_and(|holders| holders.contains(&(own, fd))));
        drop(listener);
        assert!(!still_holds(own, &[(fd, *inode)]));
        assert_eq!(look_at(u32::MAX), None);
        let lines = command_lines(vec![own, u32::MAX], Duration::from_secs(5));
        assert_eq!(lines.len(), 1);
        assert!(lines[&own].ends_with(&[0]), "arguments end in zero bytes");
    }
}
