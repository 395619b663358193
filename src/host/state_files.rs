//! Driver: files in which engines without a service to ask keep what they run, and systemd's socket units. Read only.
#![expect(clippy::disallowed_methods, reason = "reads files")]

use std::fs;
use std::path::{Path, PathBuf};

use super::activation::SocketUnit;
use super::oci::{self, Stated};

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
        let names = fs::read(storage.join("containers.json")).map(|text| oci::podman_names(&text)).unwrap_or_default();
        for folder in folders(&storage) {
            let engine = "podman";
            let Some(mut one) = stated(&folder, &folder.join("userdata/config.json"), engine, whole) else { continue };
            if let Some((_, name, image)) = names.iter().find(|(id, ..)| *id == one.container.id) {
                one.container.name = name.clone().or(one.container.name);
                one.container.image = image.clone().or(one.container.image);
            }
            // What is written beside the storage stays when the container ends; this folder does not.
            let run = Path::new(PODMAN_RUN).join(storage.file_name().unwrap_or_default());
            one.pid = number(&run.join(&one.container.id).join("userdata/pidfile"));
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

/// Podman's storage: root's, and that of each user.
fn storages() -> Vec<PathBuf> {
    let below = |home: &Path| {
        let storage = home.join(".local/share/containers/storage");
        ["overlay-containers", "vfs-containers"].map(|name| storage.join(name))
    };
    let mut found: Vec<PathBuf> = ["overlay-containers", "vfs-containers"]
        .iter()
        .map(|name| Path::new("/var/lib/containers/storage").join(name))
        .collect();
    let homes = folders(Path::new("/home"));
    found.extend(homes.iter().flat_map(|home| below(home)));
    found
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
const PODMAN_RUN: &str = "/run/containers/storage";
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
