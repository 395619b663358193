//! Podman on a host of a lab, with root and without: folders, users and limits of the host's own.

use std::fs;
use std::process::Output;

use super::{Host, finish};

/// Options of a container that needs no CAP_SYS_RESOURCE on this machine.
pub const LIMITS: [&str; 4] = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];

/// Podman as root.
#[derive(Debug)]
pub struct Podman<'a> {
    host: &'a Host,
    options: Vec<String>,
}

impl<'a> Podman<'a> {
    pub fn new(host: &'a Host) -> Self {
        // Its usual folder, but of this machine alone: seen in the host's own mount namespace.
        let own = "mkdir -p /var/lib/containers && mount -t tmpfs tmpfs /var/lib/containers";
        finish(host.command("sh").args(["-c", own]));
        let folder = |name: &str| host.directory.join("podman").join(name).display().to_string();
        fs::create_dir_all(host.directory.join("podman")).unwrap();
        let pairs = [
            ("--runtime", "runc".to_owned()),
            ("--root", "/var/lib/containers/storage".to_owned()),
            ("--runroot", "/run/containers/storage".to_owned()),
            ("--tmpdir", folder("tmp")),
            ("--network-config-dir", folder("nets")),
            ("--cgroup-manager", "cgroupfs".to_owned()),
            ("--events-backend", "file".to_owned()),
            ("--storage-driver", "vfs".to_owned()),
        ];
        Self { host, options: pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect() }
    }

    /// Must succeed.
    pub fn run(&self, arguments: &[&str]) -> String {
        finish(self.host.command("podman").args(&self.options).args(arguments))
    }
}

/// Podman of the ordinary user `lab`, uid 2000.
#[derive(Debug)]
pub struct RootlessPodman<'a> {
    host: &'a Host,
}

impl<'a> RootlessPodman<'a> {
    /// Where the user finds the image.
    pub const IMAGE: &'static str = "/run/rootless/root.tar";

    /// With `image`, a tar file of a root file system.
    pub fn new(host: &'a Host, image: &str) -> Self {
        // Names of the host's own: users and their subordinate ids, without touching those of this machine.
        let prepare = format!(
            "mkdir -p /run/user/2000 /run/rootless/home /run/rootless/etc && cp /etc/passwd /etc/group /run/rootless/etc/ && cd /run/rootless/etc &&
             echo 'lab:x:2000:2000::/run/rootless/home:/bin/sh' >>passwd && echo 'lab:x:2000:' >>group &&
             echo 'lab:300000:65536' >subuid && echo 'lab:300000:65536' >subgid &&
             for f in passwd group subuid subgid; do [ -e /etc/$f ] || exit 9; mount --bind $f /etc/$f; done;
             cp '{image}' {tar}; chown -R 2000:2000 /run/user/2000 /run/rootless;
             [ -w /dev/net/tun ] && mknod /run/tun c 10 200 && chmod 666 /run/tun && mount --bind /run/tun /dev/net/tun; umount /sys/fs/cgroup/unified 2>/dev/null; true",
            tar = Self::IMAGE,
        );
        finish(host.command("sh").args(["-c", &prepare]));
        Self { host }
    }

    /// May fail where user namespaces are not to be had.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.host.command("setpriv");
        command.args(["--reuid", "2000", "--regid", "2000", "--clear-groups", "env", "-i"]);
        command.args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/run/rootless/home"]);
        command.args(["XDG_RUNTIME_DIR=/run/user/2000", "podman"]);
        command.args(["--cgroup-manager=cgroupfs", "--events-backend=file", "--storage-driver=vfs"]).args(arguments);
        command.current_dir("/").output().unwrap()
    }
}
