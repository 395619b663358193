//! Control groups, by which the kernel tells the unit of a process.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// A cgroup of a test's own, gone with the value.
#[derive(Debug)]
pub struct Cgroup(Vec<PathBuf>);

impl Cgroup {
    /// In the unified hierarchy, or systemd's own of version 1.
    pub fn new(parts: &[&str]) -> Option<Self> {
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];
        let root = roots.iter().find(|root| Path::new(root).join("cgroup.procs").exists())?;
        let mut made = Self(Vec::new());
        let mut path = PathBuf::from(root);
        for part in parts {
            path.push(part);
            if !path.exists() {
                fs::create_dir(&path).ok()?;
                made.0.push(path.clone());
            }
        }
        made.0.last().is_some().then_some(made)
    }

    /// Moves the process into it.
    pub fn take(&self, pid: u32) {
        let procs = self.0[self.0.len() - 1].join("cgroup.procs");
        fs::write(&procs, pid.to_string()).unwrap_or_else(|error| panic!("{}: {error}", procs.display()));
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            // The kernel lets it go a moment after its last process.
            let from = Instant::now();
            while fs::remove_dir(path).is_err() && path.exists() && from.elapsed() < Duration::from_secs(5) {
                thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// The process that a background command runs behind `nsenter`, by its own children.
pub fn innermost(mut pid: u32) -> u32 {
    while let Ok(children) = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        && let Some(child) = children.split_whitespace().next()
    {
        pid = child.parse().unwrap();
    }
    pid
}
