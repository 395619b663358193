//! Driver: enters network namespaces on threads of its own (a namespace belongs to a thread, and never may one of a
//! runtime's workers be moved), several at a time, and takes their sockets, network state and packet filter. A namespace
//! that does not answer in time is left with its thread, and another thread goes on in its stead.
#![expect(clippy::disallowed_methods, reason = "opens namespaces, looks at the clock")]

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use netlink_sys::protocols::{NETLINK_ROUTE, NETLINK_SOCK_DIAG};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::collected::View;
use super::network::kernel::Kernel;
use super::network::wire;
use super::network::{self, Filter, Missing};
use super::peers::Told;
use super::sockets::{Found, KernelRaw, QUESTIONS, Question, TCP_AT_ONCE};
use super::{proc_text, processes};

/// A namespace to visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    pub inode: u64,
    /// Files that lead in, best first; none for the caller's own namespace.
    pub doors: Vec<PathBuf>,
}

/// How long one namespace may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sockets and network state, by netlink.
    pub look: Duration,
    /// The packet filter, by its tools.
    pub filter: Duration,
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

/// Visits all; the results come in the order of `visits`. Only the first may be the caller's own (without doors): the
/// threads start out there.
pub fn visit_all(visits: Vec<Visit>, limits: Limits) -> Vec<Result<View, VisitError>> {
    let shared = Arc::new(Shared { next: AtomicUsize::new(0), limits, visits });
    // As many messages as there are visits, thrice: no need to bound it.
    let (sender, receiver) = mpsc::channel();
    let mut party = Party { sender, busy: HashMap::new(), hired: 0, hung: 0 };
    let mut results: Vec<Option<Result<View, VisitError>>> = shared.visits.iter().map(|_| None).collect();
    for _ in 0..shared.visits.len().min(AT_ONCE) {
        party.hire(&shared);
    }
    while let Some(news) = party.wait(&receiver, &shared) {
        match news {
            News::Looked(visit, result) => results[visit] = Some(*result),
            News::Filtered(visit, filter) => {
                if let Some(Ok(view)) = &mut results[visit] {
                    view.filter = filter;
                }
            }
            News::Entering => {}
        }
    }
    results.into_iter().map(|result| result.unwrap_or(Err(VisitError::TimedOut(limits.look)))).collect()
}

/// What the threads share.
struct Shared {
    /// Number of the next visit that nobody has begun.
    next: AtomicUsize,
    limits: Limits,
    visits: Vec<Visit>,
}

/// What a thread tells; numbers are those of visits.
enum News {
    Entering,
    Looked(usize, Box<Result<View, VisitError>>),
    /// Ends a visit whose look was a success.
    Filtered(usize, Filter),
}

/// The threads that are under way.
struct Party {
    sender: Sender<(usize, Option<News>)>,
    /// Time by which each thread must speak again.
    busy: HashMap<usize, Instant>,
    hired: usize,
    hung: usize,
}

impl Party {
    fn hire(&mut self, shared: &Arc<Shared>) {
        let (thread, sender, own) = (self.hired, self.sender.clone(), Arc::clone(shared));
        let spawned = std::thread::Builder::new().name("namespaces".to_owned()).spawn(move || {
            walk(&own, |news| sender.send((thread, Some(news))).is_ok());
            let _ = sender.send((thread, None));
        });
        self.hired += 1;
        if spawned.is_ok() {
            self.busy.insert(thread, Instant::now() + shared.limits.look + STARTING);
        }
    }

    /// The next thing that a thread tells; `None` when no thread is left that could tell anything.
    fn wait(&mut self, receiver: &Receiver<(usize, Option<News>)>, shared: &Arc<Shared>) -> Option<News> {
        loop {
            let first = *self.busy.values().min()?;
            let Ok((thread, news)) = receiver.recv_timeout(first.saturating_duration_since(Instant::now())) else {
                let now = Instant::now();
                let before = self.busy.len();
                self.busy.retain(|_, until| *until > now);
                for _ in self.busy.len()..before {
                    self.hung += 1;
                    if self.hung <= MOST_HUNG && shared.next.load(Ordering::Relaxed) < shared.visits.len() {
                        self.hire(shared);
                    }
                }
                continue;
            };
            let Some(news) = news else {
                self.busy.remove(&thread);
                continue;
            };
            // One that was given up and speaks after all works on like the others.
            let time = match &news {
                News::Entering | News::Filtered(..) => shared.limits.look,
                News::Looked(..) => shared.limits.filter + STARTING,
            };
            self.busy.insert(thread, Instant::now() + time);
            return Some(news);
        }
    }
}

fn walk(shared: &Shared, tell: impl Fn(News) -> bool) {
    loop {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let Some(visit) = shared.visits.get(number) else { return };
        if !tell(News::Entering) {
            return;
        }
        let result = enter(visit).and_then(|()| look(shared.limits));
        let entered = result.is_ok();
        let told = tell(News::Looked(number, Box::new(result)))
            && (!entered || tell(News::Filtered(number, network::firewall(shared.limits.filter))));
        if !told {
            return;
        }
    }
}

/// Asks the kernel, in each namespace of `open`, for the numbers that it has there for the others. What it does not say
/// within `limit` is missing.
pub fn ask_peers(visits: &[Visit], open: Vec<(u64, Vec<u64>)>, limit: Duration) -> Told {
    let mut told = Told::new();
    if open.is_empty() {
        return told;
    }
    // The calling thread's own namespace has no door in the list.
    let own = PathBuf::from(format!("/proc/self/task/{}/ns/net", rustix::thread::gettid().as_raw_nonzero()));
    let visits: HashMap<u64, Visit> = visits
        .iter()
        .map(|visit| {
            let doors = if visit.doors.is_empty() { vec![own.clone()] } else { visit.doors.clone() };
            (visit.inode, Visit { inode: visit.inode, doors })
        })
        .collect();
    let (sender, receiver) = mpsc::sync_channel(WAITING);
    let spawned = std::thread::Builder::new().name("peers".to_owned()).spawn(move || {
        for (inode, others) in open {
            let Some(visit) = visits.get(&inode) else { continue };
            if enter(visit).is_err() {
                continue;
            }
            let others = others.iter().filter_map(|other| visits.get(other));
            for (number, other) in numbers(others).unwrap_or_default() {
                if sender.send(((inode, number), other)).is_err() {
                    return;
                }
            }
        }
    });
    let until = Instant::now() + limit;
    while spawned.is_ok()
        && let Ok((key, other)) = receiver.recv_timeout(until.saturating_duration_since(Instant::now()))
    {
        told.insert(key, other);
    }
    told
}

/// The numbers that this thread's namespace has for others (linux/net_namespace.h), where it has any.
fn numbers<'a>(others: impl Iterator<Item = &'a Visit>) -> std::io::Result<Vec<(u32, u64)>> {
    let mut kernel = Kernel::open(NETLINK_ROUTE)?;
    let mut found = Vec::new();
    for other in others {
        let Some(file) = other.doors.iter().find_map(|door| File::open(door).ok()) else { continue };
        if rustix::fs::fstat(&file)?.st_ino != other.inode {
            continue;
        }
        let mut body = vec![0; 4];
        wire::push_attribute(&mut body, NETNSA_FD, &file.as_raw_fd().to_ne_bytes());
        kernel.ask(RTM_GETNSID, &body, |_, answer| {
            let number = answer.get(4..).and_then(|inside| wire::u32_at(wire::attribute(inside, NETNSA_NSID)?, 0));
            found.extend(number.filter(|number| number.cast_signed() >= 0).map(|number| (number, other.inode)));
        })?;
    }
    Ok(found)
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
fn look(limits: Limits) -> Result<View, VisitError> {
    let mut sockets = Found::default();
    let mut raw = None;
    let mut refused = Vec::new();
    match Kernel::open(NETLINK_SOCK_DIAG) {
        Ok(mut kernel) => {
            let questions = match dump(&mut kernel, TCP_AT_ONCE) {
                Ok(found) => {
                    sockets = found;
                    &QUESTIONS[2..]
                }
                Err(_) => &QUESTIONS[..],
            };
            for &question in questions {
                match dump(&mut kernel, question) {
                    Ok(mut found) => {
                        sockets.sockets.append(&mut found.sockets);
                        sockets.raw.append(&mut found.raw);
                    }
                    // Without the module raw_diag.
                    Err(error) if question.name == "raw" && error.raw_os_error() == Some(libc::ENOENT) => {
                        raw.get_or_insert_with(raw_tables);
                    }
                    Err(error) => refused.push(format!("{} by sock_diag: {error}", question.name)),
                }
            }
        }
        Err(error) => refused.push(format!("sock_diag: {error}")),
    }
    sockets.raw.extend(raw.unwrap_or_default());
    let mut state =
        network::state().map_err(|error| VisitError::Failed(format!("netlink: list interfaces: {error}")))?;
    refused.extend(state.refused.drain(..).map(|(what, cause)| format!("{what}: {cause}")));
    // In case the tools hang.
    let unread = Missing {
        what: "the packet filter",
        cause: format!("its tools were not done within {:?}", limits.filter),
        settled_by: "`nft list ruleset` by hand, as root",
    };
    Ok(View {
        sockets: sockets.sockets,
        raw: sockets.raw,
        state,
        filter: Filter { dump: None, missing: vec![unread] },
        refused,
    })
}

fn dump(kernel: &mut Kernel, question: Question) -> std::io::Result<Found> {
    let mut found = Found::default();
    kernel.dump(question.kind(), &question.request(), |message| match message {
        Some((_, body)) => question.read(body, &mut found),
        None => found = Found::default(),
    })?;
    Ok(found)
}

fn raw_tables() -> Vec<KernelRaw> {
    let table = |name| std::fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap_or_default();
    let mut found = proc_text::raw_sockets(&table("raw"), false);
    found.extend(proc_text::raw_sockets(&table("raw6"), true));
    found
}

/// Of the calling thread; `/proc/self` would be the main thread's.
pub const OWN_NAMESPACE: &str = "/proc/thread-self/ns/net";
/// Threads that may hang before no more are started in their stead.
const MOST_HUNG: usize = 4;
/// Threads at a time: more would wait for each other in the kernel (the lock of rtnetlink is one for all).
const AT_ONCE: usize = 4;
const RTM_GETNSID: u16 = 90;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
const WAITING: usize = 64;
/// For a thread to start, or a tool to end.
const STARTING: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { look: Duration::from_secs(5), filter: Duration::from_secs(5) };

    #[test]
    fn sees_its_own_listener_in_its_own_namespace() {
        let listener = std::net::TcpListener::bind("127.0.0.9:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let inode = processes::namespace(Path::new(OWN_NAMESPACE)).unwrap();
        let results = visit_all(vec![Visit { inode, doors: Vec::new() }], LIMITS);
        let view = results[0].as_ref().unwrap();
        assert_eq!(view.refused, [""; 0]);
        let socket = view.sockets.iter().find(|socket| socket.port == port).unwrap();
        assert_eq!((socket.address.to_string(), socket.v6only), ("127.0.0.9".to_owned(), None));
        assert!(view.state.addresses().any(|(interface, _)| interface.name == "lo"));
    }

    /// As a namespace whose file is on a file system that does not answer.
    #[test]
    fn one_that_hangs_keeps_nobody_from_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let inode = processes::namespace(Path::new(OWN_NAMESPACE)).unwrap();
        let own = Visit { inode, doors: Vec::new() };
        let hung = Visit { inode: 1, doors: vec![pipe] };
        let limits = Limits { look: Duration::from_millis(300), ..LIMITS };
        let from = Instant::now();
        let mut visits = vec![own];
        visits.extend(std::iter::repeat_n(hung, 6));
        visits.push(Visit { inode: 2, doors: vec![PathBuf::from("/proc/0/ns/net")] });
        let results = visit_all(visits, limits);
        assert!(results[0].is_ok());
        assert_eq!(results[1], Err(VisitError::TimedOut(limits.look)));
        assert_eq!(results[7], Err(VisitError::Gone), "reached by threads that were started in their stead");
        assert!(from.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn what_is_gone_or_another_is_not_entered() {
        let gone = Visit { inode: 1, doors: vec![PathBuf::from("/proc/0/ns/net")] };
        assert_eq!(visit_all(vec![gone], LIMITS), [Err(VisitError::Gone)]);
        assert_eq!(visit_all(Vec::new(), LIMITS), []);
    }
}
