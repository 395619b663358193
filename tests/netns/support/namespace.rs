//! A named network namespace that is deleted when its value goes.

use std::fs;
use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::run;

/// Names are `pla-PID-COUNT-ROLE`: of this process alone, and what an earlier run left behind is told by its pid.
const PREFIX: &str = "pla";

#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    pub fn new(role: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        static STALE: Once = Once::new();
        STALE.call_once(delete_stale);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let namespace = Self { name: format!("{PREFIX}-{}-{count}-{role}", std::process::id()) };
        run("ip", &["netns", "add", &namespace.name]);
        namespace.ip("link set lo up");
        // No duplicate address detection, no router solicitations: addresses work at once and nothing talks unasked.
        namespace.sysctl("net.ipv6.conf.default.accept_dad", "0");
        namespace.sysctl("net.ipv6.conf.default.router_solicitations", "0");
        // A new namespace copies the IPv4 settings of the machine's own, which a dockerd may have changed.
        namespace.sysctl("net.ipv4.ip_forward", "0");
        namespace.sysctl("net.ipv4.conf.all.route_localnet", "0");
        namespace
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// `ip -n NAME WORDS…`
    pub fn ip(&self, words: &str) {
        let arguments: Vec<&str> = ["-n", &self.name].into_iter().chain(words.split_whitespace()).collect();
        run("ip", &arguments);
    }

    pub fn sysctl(&self, key: &str, value: &str) {
        let file = Path::new("/proc/sys").join(key.replace('.', "/"));
        self.inside(|| fs::write(&file, value).unwrap_or_else(|error| panic!("{}: {error}", file.display())));
    }

    /// A command that will run in this namespace. `nsenter`, not `ip netns exec`: that one hides the cgroups.
    /// It dies with the thread that starts it, should that one be killed before it can clean up.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "nsenter"]);
        command.arg(format!("--net={}", self.path().display())).arg(program.as_ref());
        command
    }

    /// Runs `work` on a thread of its own inside the namespace.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = self.path();
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    enter(&path);
                    work()
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// Moves the calling thread (and the threads that it starts from now on) into the namespace.
pub fn enter(path: &Path) {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("root enters a namespace");
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Not `run`: it panics, and this may happen while another panic unwinds.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Namespaces of test processes that are gone: killed before they could clean up.
fn delete_stale() {
    let Ok(entries) = fs::read_dir("/run/netns") else { return };
    for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let mut parts = name.split('-');
        let (Some(PREFIX), Some(pid)) = (parts.next(), parts.next()) else { continue };
        if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() {
            let _ = Command::new("ip").args(["netns", "del", &name]).status();
        }
    }
}
