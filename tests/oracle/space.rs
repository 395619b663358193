//! Network namespaces without a name: the kernel removes them when the last descriptor and thread is gone, also after a
//! kill.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

/// A namespace, held by its descriptor.
#[derive(Debug)]
pub struct Space(File);

impl Space {
    /// A new namespace; the calling thread is inside it afterwards.
    #[expect(unsafe_code, reason = "no safe wrapper of unshare(2) remains")]
    pub fn new() -> Self {
        // SAFETY: a network namespace of its own changes neither memory nor descriptors of the thread.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network namespace (needs root)");
        Self(File::open("/proc/thread-self/ns/net").unwrap())
    }

    /// Puts the calling thread inside. Programs that it starts then are inside, too, and so is its `/proc/sys/net`.
    pub fn enter(&self) {
        move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// A path for `ip link … netns PATH`, good as long as this process lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

/// Runs a program with this input in the namespace of the calling thread; what it says when it fails.
pub fn run(program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let output = output(program, arguments, input);
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
    }
}

fn output(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(program);
    // Legacy iptables takes one lock of the machine; a file of our own without a name stands in for it.
    static LOCK: LazyLock<File> = LazyLock::new(|| tempfile::tempfile().unwrap());
    command.env("XTABLES_LOCKFILE", format!("/proc/{}/fd/{}", std::process::id(), LOCK.as_raw_fd()));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
    // A program that refuses its input early says so on its standard error.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Writes a setting of the namespace that the calling thread is in: `ipv4.ip_forward`, `ipv4.conf.eth0.rp_filter`.
pub fn set(name: &str, value: &str) {
    let path = format!("/proc/sys/net/{}", name.replace('.', "/"));
    std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
}
