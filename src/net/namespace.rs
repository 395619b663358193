//! Driver: network namespaces, entered by threads. A namespace belongs to a thread and is handed on to the threads that it
//! starts, so work in another one gets a thread of its own, and whatever runtime it needs is built there.
#![expect(clippy::disallowed_methods, reason = "opens namespace files")]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread::{self, JoinHandle};

use nix::sched::{CloneFlags, unshare};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace held open: it lives as long as this value, or a process or a mount that holds it too.
#[derive(Debug)]
pub struct NetworkNamespace {
    file: OwnedFd,
    inode: u64,
}

impl NetworkNamespace {
    /// The one behind a file: `/run/netns/NAME`, `/proc/PID/ns/net`.
    ///
    /// # Errors
    /// There is no such file, or it is none that may be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let inode = file.metadata()?.ino();
        Ok(Self { file: file.into(), inode })
    }

    /// That of the calling thread.
    pub fn here() -> io::Result<Self> {
        Self::open(Path::new(OWN))
    }

    /// A new one without a name, with nothing in it but a loopback interface that is down. The kernel removes it, and the
    /// interfaces in it with their other ends, when nothing holds it any more: also when this process is killed.
    ///
    /// # Errors
    /// Without CAP_SYS_ADMIN, or where seccomp forbids it.
    pub fn unnamed() -> io::Result<Self> {
        let made = thread::Builder::new().name("namespace".to_owned()).spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)?;
            Self::here()
        })?;
        made.join().unwrap_or_else(|_| Err(io::Error::other("the thread that made a namespace died")))
    }

    /// Number of the namespace's file, by which it is told from others while it lives.
    pub const fn inode(&self) -> u64 {
        self.inode
    }

    /// Runs `work` on a new thread inside, which nobody waits for but the holder of the handle.
    ///
    /// # Errors
    /// No thread could be started. That the namespace could not be entered is the handle's result.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<io::Result<T>>> {
        let file = self.file.try_clone()?;
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            enter(file.as_fd())?;
            Ok(work())
        })
    }

    /// Runs `work` inside, on a thread of its own, and waits for it.
    ///
    /// # Errors
    /// The namespace could not be entered.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                enter(self.file.as_fd())?;
                Ok(work())
            });
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl AsFd for NetworkNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?)
}

/// Of the calling thread; `/proc/self` would be the main thread's.
const OWN: &str = "/proc/thread-self/ns/net";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_namespace_is_told_by_its_number() {
        let here = NetworkNamespace::here().unwrap();
        assert_eq!(here.inode(), std::fs::metadata("/proc/self/ns/net").unwrap().ino());
        assert!(NetworkNamespace::open(Path::new("/nonexistent")).is_err());
    }

    #[test]
    fn what_runs_inside_sees_another_network_and_the_caller_stays() {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: namespaces of our own: they need root");
            return;
        }
        let here = NetworkNamespace::here().unwrap().inode();
        let new = NetworkNamespace::unnamed().unwrap();
        assert_ne!(new.inode(), here);
        assert_eq!(new.inside(|| NetworkNamespace::here().unwrap().inode()).unwrap(), new.inode());
        let spawned = new.spawn("inside", || NetworkNamespace::here().unwrap().inode()).unwrap();
        assert_eq!(spawned.join().unwrap().unwrap(), new.inode());
        assert_eq!(NetworkNamespace::here().unwrap().inode(), here);
    }
}
