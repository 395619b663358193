//! Driver: enters network namespaces, one after the other on a thread of its own (a namespace belongs to a thread, and
//! never may one of a runtime's workers be moved), and takes their sockets, addresses and interfaces by netlink. A
//! namespace that does not answer in time is left with its thread, and another thread goes on behind it.
#![expect(clippy::disallowed_methods, reason = "opens namespaces and reads /proc")]

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::time::Duration;

use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::collected::View;
use super::sockets::{Dump, KernelSocket, Progress, QUESTIONS, Question};
use super::{client, proc_text, processes};
use crate::model::host_report::HostAddress;
use crate::net::addresses::{interface_names, own_addresses};

/// A namespace to visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    pub inode: u64,
    /// Files that lead in, best first; none for the caller's own namespace.
    pub doors: Vec<PathBuf>,
}

/// Why nothing was seen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VisitError {
    #[error("may not be entered without CAP_SYS_ADMIN")]
    Denied,
    #[error("is gone")]
    Gone,
    #[error("did not answer within {0:?}")]
    TimedOut(Duration),
    #[error("{0}")]
    Failed(String),
}

/// Visits all, in order. Only the first may be the caller's own (without doors): the thread starts out there.
pub fn visit_all(visits: Vec<Visit>, limit: Duration) -> Vec<Result<View, VisitError>> {
    let visits: Arc<[Visit]> = visits.into();
    let mut results = Vec::with_capacity(visits.len());
    let mut hung = 0;
    while results.len() < visits.len() {
        if hung == MOST_HUNG {
            results.push(Err(VisitError::TimedOut(limit)));
            continue;
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let (shared, first) = (Arc::clone(&visits), results.len());
        let thread = std::thread::Builder::new().name("namespaces".to_owned());
        if let Err(error) = thread.spawn(move || walk(&shared[first..], &sender)) {
            results.push(Err(VisitError::Failed(error.to_string())));
            continue;
        }
        while results.len() < visits.len() {
            if let Ok(result) = receiver.recv_timeout(limit) {
                results.push(result);
            } else {
                results.push(Err(VisitError::TimedOut(limit)));
                hung += 1;
                break;
            }
        }
    }
    results
}

fn walk(visits: &[Visit], results: &SyncSender<Result<View, VisitError>>) {
    for visit in visits {
        let result = enter(visit).and_then(|()| look());
        if results.send(result).is_err() {
            return;
        }
    }
}

fn enter(visit: &Visit) -> Result<(), VisitError> {
    let mut failure = VisitError::Gone;
    for door in &visit.doors {
        let entered = File::open(door)
            .and_then(|file| Ok(move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?))
            .and_then(|()| processes::namespace(Path::new(OWN_NAMESPACE)));
        match entered {
            Ok(inode) if inode == visit.inode => return Ok(()),
            // The process or the mount is another one by now.
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => failure = VisitError::Denied,
            Err(error) => failure = VisitError::Failed(error.to_string()),
        }
    }
    if visit.doors.is_empty() { Ok(()) } else { Err(failure) }
}

/// Looks around in the namespace that this thread is in.
fn look() -> Result<View, VisitError> {
    let failed = |error: &dyn std::error::Error| VisitError::Failed(error.to_string());
    let mut sockets = Vec::new();
    let mut refused = Vec::new();
    for question in QUESTIONS {
        match dump(question) {
            Ok(found) => sockets.extend(found),
            Err(error) => refused.push(format!("{} by sock_diag: {error}", question.transport)),
        }
    }
    let addresses = own_addresses().map_err(|error| failed(&error))?;
    let addresses = addresses.into_iter().map(|own| HostAddress {
        address: own.address,
        prefix: own.prefix,
        interface: own.interface,
        mac: own.mac,
        bridge: own.bridge,
    });
    // /proc/sys/net is that of the namespace of whoever reads it.
    let range = fs::read_to_string(EPHEMERAL).ok().and_then(|text| proc_text::port_range(&text));
    Ok(View {
        addresses: addresses.collect(),
        interfaces: if sockets.iter().any(|socket: &KernelSocket| socket.interface.is_some()) {
            interface_names().map_err(|error| failed(&error))?
        } else {
            HashMap::new()
        },
        ephemeral: range.unwrap_or(client::DEFAULT_EPHEMERAL),
        sockets,
        refused,
    })
}

fn dump(question: Question) -> std::io::Result<Vec<KernelSocket>> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut dump = Dump::new(question);
    for _ in 0..REPEATS {
        dump = Dump::new(question);
        socket.send(&question.request(), 0)?;
        loop {
            let (datagram, _) = socket.recv_from_full()?;
            match dump.read(&datagram) {
                Progress::More => {}
                Progress::Done => break,
                Progress::Failed(code) => return Err(std::io::Error::from_raw_os_error(code)),
            }
        }
        if !dump.interrupted {
            break;
        }
    }
    Ok(dump.sockets)
}

/// Of the calling thread; `/proc/self` would be the main thread's.
pub const OWN_NAMESPACE: &str = "/proc/thread-self/ns/net";
const EPHEMERAL: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// Dumps that a busy table interrupted; the last one counts even so.
const REPEATS: usize = 4;
/// Namespaces that may hang before the rest is given up.
const MOST_HUNG: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_its_own_listener_in_its_own_namespace() {
        let listener = std::net::TcpListener::bind("127.0.0.9:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let inode = processes::namespace(Path::new(OWN_NAMESPACE)).unwrap();
        let results = visit_all(vec![Visit { inode, doors: Vec::new() }], Duration::from_secs(5));
        let view = results[0].as_ref().unwrap();
        assert_eq!(view.refused, [""; 0]);
        let socket = view.sockets.iter().find(|socket| socket.port == port).unwrap();
        assert_eq!((socket.address.to_string(), socket.v6only), ("127.0.0.9".to_owned(), None));
        assert!(view.addresses.iter().any(|own| own.interface == "lo"));
    }

    #[test]
    fn what_is_gone_or_another_is_not_entered() {
        let gone = Visit { inode: 1, doors: vec![PathBuf::from("/proc/0/ns/net")] };
        assert_eq!(visit_all(vec![gone], Duration::from_secs(5)), [Err(VisitError::Gone)]);
        assert_eq!(visit_all(Vec::new(), Duration::from_secs(5)), []);
    }
}
