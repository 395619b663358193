//! Driver: files in which engines without a service to ask keep what they run, and systemd's socket units. Read only.
#![expect(clippy::disallowed_methods, reason = "reads files")]

use std::fs;
use std::path::{Path, PathBuf};

use super::activation::SocketUnit;
use super::oci::{self, Stated};
use super::system;

/// Containers of containerd (also CRI), Podman and CRI-O by their state files; those that may not be read are left out.
pub fn containers(whole: u64) -> Vec<Stated> {
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
    for storage in storages() {
        let names = fs::read(storage.kept.join("containers.json")).map(|text| oci::podman_names(&text));
        let names = names.unwrap_or_default();
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
    }
    found.truncate(MOST);
    found
}

fn stated(folder: &Path, config: &Path, engine: &str, whole: u64) -> Option<Stated> {
    let id = folder.file_name()?.to_str()?;
    if fs::metadata(config).ok()?.len() > LONGEST {
        return None;
    }
    oci::config(id, engine, &fs::read(config).ok()?, whole)
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

fn number(file: &Path) -> Option<u32> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
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
