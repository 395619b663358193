//! One scanner and any number of hosts on a bridge, addresses 198.18.0.0/24 and 2001:db8::/64.
//!
//! The bridge lives in the scanner's namespace; nothing is connected to the machine's own network, so every lab may use
//! the same addresses.

use std::fmt::Debug;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{Background, Namespace, Postern, finish};

/// Says visibly that a test did not run.
fn skip(what: &str, why: &str) {
    println!("SKIPPED: {what}: {why}");
}

/// Fields are dropped in this order: servers end before the namespaces and the files they use go.
#[derive(Debug)]
pub struct Lab {
    servers: Vec<Box<dyn Debug>>,
    hosts: Vec<Host>,
    scanner: Namespace,
    directory: TempDir,
}

/// A host of a lab: namespaces of its own for network, processes, mounts and name, so that it knows nothing of what else
/// runs on this machine; /run and the machine id are its own, too.
///
/// Its first process is a shell that only waits. When that one ends, the kernel ends all others of the host.
#[derive(Debug)]
pub struct Host {
    _first: Background,
    /// Process id of the shell, as seen from outside.
    first: String,
    pub namespace: Namespace,
    pub number: u8,
    /// For what its servers keep.
    pub directory: PathBuf,
}

impl Host {
    fn start(namespace: Namespace, number: u8, directory: PathBuf) -> Self {
        fs::write(directory.join("machine-id"), format!("{:032x}\n", 0x1ab0_0000 + u32::from(number))).unwrap();
        // Network namespaces that others on this machine have mounted are none of the host's.
        let script = format!(
            "awk '$3 == \"nsfs\" {{ print $2 }}' /proc/self/mounts | xargs -r umount -l; \
             hostname h{number} && mount -t tmpfs tmpfs /run && mkdir -p /run/sshd /run/rpcbind /run/avahi-daemon \
             && mount --bind '{}/machine-id' /etc/machine-id && echo started && while :; do sleep 1; done",
            directory.display()
        );
        let mut command = namespace.command("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--uts", "sh", "-c", &script]);
        let mut shell = Background::start("first", &directory, &mut command);
        shell.wait_until("start", |output| output.contains("started"));
        let pid = shell.id();
        let first = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap().trim().to_owned();
        // The first process of a process namespace heeds no SIGTERM.
        Self { _first: shell.killed_at_once(), first, namespace, number, directory }
    }

    /// A command that will run in all namespaces of the host. It has the process group of the `nsenter` that waits for
    /// it, so that a signal to the group reaches it.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.first, "--pid", "--mount", "--net", "--uts"]).arg(program.as_ref());
        command
    }

    pub const fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, 0, self.number)
    }

    pub const fn address6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, self.number as u16)
    }

    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.address().into(), self.address6().into()]
    }

    /// Loads nft rules from a file of the host's.
    pub fn nft(&self, rules: &str) {
        let file = self.directory.join("rules.nft");
        fs::write(&file, rules).unwrap();
        finish(self.command("nft").arg("-f").arg(&file));
    }

    /// What the host says of itself by `postern host`, which finds the engines' sockets by itself: a file.
    pub fn native_report(&self) -> PathBuf {
        let file = self.directory.join("host.json");
        let output = format!("json={}", file.display());
        let outcome = Postern::new(self.command("timeout"), &self.directory, &["host", "-o", &output]).run();
        assert_eq!(outcome.code, 0, "{}", outcome.shown());
        file
    }

    /// Whether something listens on the port in this namespace.
    pub fn listens(&self, transport: &str, port: u16) -> bool {
        let wanted = format!(":{port:04X}");
        // Listening TCP sockets are in state 0A; a UDP socket without a peer is in 07.
        let state = if transport == "tcp" { "0A" } else { "07" };
        self.namespace.inside(|| {
            [transport.to_owned(), format!("{transport}6")].iter().any(|table| {
                fs::read_to_string(Path::new("/proc/thread-self/net").join(table)).unwrap_or_default().lines().any(
                    |line| {
                        let mut fields = line.split_whitespace().skip(1);
                        fields.next().is_some_and(|local| local.ends_with(&wanted)) && fields.nth(1) == Some(state)
                    },
                )
            })
        })
    }
}

impl Lab {
    /// `None`, after it said so, where labs cannot be built or one of the `programs` is missing.
    pub fn new(what: &str, programs: &[&str]) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip(what, "network namespaces need root");
            return None;
        }
        let missing: Vec<&str> = ["ip", "nsenter", "setpriv", "unshare"]
            .iter()
            .chain(programs)
            .filter(|name| !is_installed(name))
            .copied()
            .collect();
        if !missing.is_empty() {
            skip(what, &format!("not installed: {}", missing.join(", ")));
            return None;
        }
        let scanner = Namespace::new("scanner");
        // Without one of its own a bridge takes the lowest address of its ports, another one when a port is added.
        scanner.ip("link add br0 address 02:00:5e:10:00:01 type bridge");
        scanner.ip("addr add 198.18.0.1/24 dev br0");
        scanner.ip("addr add 2001:db8::1/64 dev br0 nodad");
        scanner.ip("link set br0 up");
        Some(Self { servers: Vec::new(), hosts: Vec::new(), scanner, directory: tempfile::tempdir().unwrap() })
    }

    pub fn scanner(&self) -> &Namespace {
        &self.scanner
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Adds the host 198.18.0.NUMBER, 2001:db8::NUMBER (in hexadecimal).
    pub fn add_host(&mut self, number: u8) {
        let namespace = Namespace::new(&format!("h{number}"));
        self.scanner.ip(&format!("link add h{number} type veth peer name eth0 netns {}", namespace.name()));
        self.scanner.ip(&format!("link set h{number} master br0 up"));
        namespace.ip(&format!("addr add 198.18.0.{number}/24 dev eth0"));
        namespace.ip(&format!("addr add 2001:db8::{number:x}/64 dev eth0 nodad"));
        namespace.ip("link set eth0 up");
        let directory = self.directory.path().join(format!("h{number}"));
        fs::create_dir(&directory).unwrap();
        self.hosts.push(Host::start(namespace, number, directory));
    }

    pub fn host(&self, number: u8) -> &Host {
        self.hosts.iter().find(|host| host.number == number).unwrap_or_else(|| panic!("no host {number} in the lab"))
    }

    /// Keeps a server until the lab goes.
    pub fn keep(&mut self, server: Box<dyn Debug>) {
        self.servers.push(server);
    }

    /// `postern` with these arguments, in the scanner's namespace.
    pub fn postern(&self, arguments: &[&str]) -> Postern {
        Postern::new(self.scanner.command("timeout"), self.directory.path(), arguments)
    }
}

fn is_installed(program: &str) -> bool {
    Command::new("sh")
        .args(["-c", "command -v \"$0\" >/dev/null", program])
        .status()
        .is_ok_and(|status| status.success())
}
