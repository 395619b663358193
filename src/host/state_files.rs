//! Driver: files in which engines without a service to ask keep what they run, and systemd's socket units. Read only.
//!
//! Some of them are in the homes of users, who may put there what they like: pipes that never say anything, endless
//! devices, file systems that hang.
#![expect(clippy::disallowed_methods, reason = "reads files, looks at the clock")]

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::activation::SocketUnit;
use super::oci::{self, Stated};
use super::system;

/// Containers of containerd (also CRI), Podman and CRI-O by their state files; those that may not be read are left out.
/// `false`: the files were not all read within `limit`.
pub fn containers(whole: u64, limit: Duration) -> (Vec<Stated>, bool) {
    let (sender, receiver) = mpsc::channel();
    let until = Instant::now() + limit;
    let spawned = std::thread::Builder::new().name("state files".to_owned()).spawn(move || {
        for one in roots(whole) {
            if sender.send(Some(one)).is_err() {
                return;
            }
        }
        for one in storages().iter().flat_map(|storage| podman(storage, whole)) {
            if sender.send(Some(one)).is_err() {
                return;
            }
        }
        let _ = sender.send(None);
    });
    let mut found = Vec::new();
    while spawned.is_ok() && found.len() < MOST {
        match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Some(one)) => found.push(one),
            Ok(None) => return (found, true),
            Err(_) => return (found, false),
        }
    }
    (found, false)
}

/// Those of containerd.
fn roots(whole: u64) -> Vec<Stated> {
    let mut found = Vec::new();
    // One folder a namespace of containerd, in it one a container.
    for namespace in folders(Path::new(CONTAINERD)) {
        // Docker's own are better asked of Docker.
        let engine = if namespace.ends_with("moby") { "docker" } else { "containerd" };
        for bundle in folders(&namespace) {
            let one = stated(&bundle, &bundle.join("config.json"), engine, whole);
            found.extend(one.map(|one| Stated { pid: number(&bundle.join("init.pid")), ..one }));
        }
    }
    found
}

/// Those of one storage of Podman.
fn podman(storage: &Storage, whole: u64) -> Vec<Stated> {
    let names = file(&storage.kept.join("containers.json")).map(|text| oci::podman_names(&text)).unwrap_or_default();
    let mut found = Vec::new();
    for folder in folders(&storage.kept) {
        let Some(mut one) = stated(&folder, &folder.join("userdata/config.json"), "podman", whole) else {
            continue;
        };
        if let Some((_, name, image)) = names.iter().find(|(id, ..)| *id == one.container.id) {
            one.container.name = name.clone().or(one.container.name);
            one.container.image = image.clone().or(one.container.image);
        }
        // What is written beside the storage stays when the container ends; this folder does not.
        one.pid = number(&storage.run.join(&one.container.id).join("userdata/pidfile"));
        found.push(one);
    }
    found
}

fn stated(folder: &Path, config: &Path, engine: &str, whole: u64) -> Option<Stated> {
    let id = folder.file_name()?.to_str()?;
    oci::config(id, engine, &file(config)?, whole)
}

/// A regular file of no more than `LONGEST`; opening never waits, as that of a pipe would, and follows no link at its end.
fn file(path: &Path) -> Option<Vec<u8>> {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_NOCTTY;
    let file = fs::File::options().read(true).custom_flags(flags).open(path).ok()?;
    let mut bytes = Vec::new();
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    file.take(LONGEST + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= LONGEST).then_some(bytes)
}

/// Where one user's Podman keeps its containers.
struct Storage {
    /// What stays.
    kept: PathBuf,
    /// What goes with the container.
    run: PathBuf,
}

/// Podman's storage: root's, and that of each user.
fn storages() -> Vec<Storage> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let homes = system::homes(&passwd).into_iter().take(MOST_USERS).map(|(uid, home)| {
        (Path::new(&home).join(".local/share/containers/storage"), PathBuf::from(format!("/run/user/{uid}/containers")))
    });
    let root = (PathBuf::from("/var/lib/containers/storage"), PathBuf::from("/run/containers/storage"));
    let places = std::iter::once(root).chain(homes);
    places
        .flat_map(|(kept, run)| {
            ["overlay-containers", "vfs-containers"].map(|name| Storage { kept: kept.join(name), run: run.join(name) })
        })
        .collect()
}

/// The socket units of the system's manager that listen on ports.
pub fn socket_units() -> Vec<SocketUnit> {
    let mut found: Vec<SocketUnit> = Vec::new();
    let mut seen = Vec::new();
    // In systemd's own order of precedence (systemd.unit(5)): the first file of a name counts.
    for folder in UNITS {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
            if !name.ends_with(".socket") || seen.contains(&name) {
                continue;
            }
            let mut text = fs::read_to_string(Path::new(folder).join(&name)).unwrap_or_default();
            for place in UNITS {
                let mut drops: Vec<PathBuf> = files(&Path::new(place).join(format!("{name}.d")));
                drops.sort();
                for drop in drops {
                    text.push('\n');
                    text.push_str(&fs::read_to_string(drop).unwrap_or_default());
                }
            }
            found.extend(SocketUnit::parse(&name, &text));
            seen.push(name);
        }
    }
    found
}

fn number(path: &Path) -> Option<u32> {
    std::str::from_utf8(&file(path)?).ok()?.trim().parse().ok()
}

fn folders(path: &Path) -> Vec<PathBuf> {
    files(path).into_iter().filter(|path| path.is_dir()).collect()
}

fn files(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).take(MOST).collect()
}

const CONTAINERD: &str = "/run/containerd/io.containerd.runtime.v2.task";
/// Users whose storage is looked at.
const MOST_USERS: usize = 256;
const UNITS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// Folders and containers that are looked at.
const MOST: usize = 4096;
const LONGEST: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_of_a_bounded_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let pipe = std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap();
        assert!(pipe.success());
        std::os::unix::fs::symlink("/dev/zero", path("endless")).unwrap();
        fs::write(path("long"), vec![b' '; LONGEST as usize + 1]).unwrap();
        fs::write(path("plain"), " 12\n").unwrap();
        for name in ["pipe", "endless", "long", ".", "missing"] {
            assert_eq!(file(&path(name)), None, "{name}");
        }
        assert_eq!(number(&path("plain")), Some(12));
        assert_eq!(file(Path::new("/dev/zero")), None);
    }
}
