//! Driver: the namespace with its TUN device, and the thread that carries packets between it and the wire.
#![expect(clippy::disallowed_methods, reason = "writes the settings of a namespace of our own")]

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use ipnetwork::IpNetwork;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use socket2::Socket;

use super::frames::{Gate, Mac};
use super::ports::KeptPorts;
use super::seam;
use crate::net::addresses::interface_names;
use crate::net::namespace::NetworkNamespace;
use crate::net::{NetlinkError, setup};

/// Through which host, and to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Through {
    /// Number of the interface that the host is a neighbour at, and the link-layer addresses there.
    pub index: u32,
    pub own: Mac,
    pub host: Mac,
    /// This machine's addresses at that interface, at most one a family.
    pub sources: Vec<IpAddr>,
    pub destinations: Vec<IpAddr>,
    /// Where to begin to look for free source ports.
    pub seed: u16,
}

/// A namespace that reaches [`Through::destinations`] through the host, while this value lives.
#[derive(Debug)]
pub struct Relay {
    namespace: NetworkNamespace,
    stop: Arc<OwnedFd>,
    carrier: Option<JoinHandle<()>>,
    _ports: KeptPorts,
}

/// Why there is no way through a host.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error("{what}: {error}")]
    Io { what: &'static str, error: io::Error },
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

impl Relay {
    /// From the calling thread's namespace.
    ///
    /// # Errors
    /// Without CAP_NET_RAW and CAP_SYS_ADMIN, or without /dev/net/tun.
    pub fn open(through: &Through) -> Result<Self, RelayError> {
        let failed = |what| move |error| RelayError::Io { what, error };
        let socket = seam::packets(through.index, through.host).map_err(failed("a packet socket"))?;
        socket.set_nonblocking(true).map_err(failed("a packet socket"))?;
        let ports = KeptPorts::keep(&through.sources, through.seed).map_err(failed("source ports of its own"))?;
        let namespace = NetworkNamespace::unnamed().map_err(failed("a network namespace of its own"))?;
        let made = namespace.inside(|| inner_side(through, &ports)).map_err(failed("entering that namespace"));
        let tun = made??;
        let gate = Gate {
            own: through.own,
            host: through.host,
            sources: through.sources.clone(),
            destinations: through.destinations.clone(),
            ports: ports.range.clone(),
        };
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| RelayError::Io { what: "an eventfd", error: error.into() })?;
        let stop = Arc::new(stop);
        let carrier = std::thread::Builder::new().name("through".to_owned()).spawn({
            let stop = Arc::clone(&stop);
            move || carry(tun, &socket, &gate, &stop)
        });
        let carrier = carrier.map_err(failed("a thread"))?;
        Ok(Self { namespace, stop, carrier: Some(carrier), _ports: ports })
    }

    pub const fn namespace(&self) -> &NetworkNamespace {
        &self.namespace
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // An eventfd takes eight bytes (eventfd(2)); it cannot be full.
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if let Some(carrier) = self.carrier.take() {
            let _ = carrier.join();
        }
    }
}

/// The device with its addresses and routes. `lo` stays down: so the namespace has no loopback addresses of its own, and
/// those of the host behind are reached like any others.
fn inner_side(through: &Through, ports: &KeptPorts) -> Result<File, RelayError> {
    let failed = |what| move |error| RelayError::Io { what, error };
    let tun = seam::tun(DEVICE).map_err(failed("/dev/net/tun"))?;
    let set = |name: &str, value: &str| {
        fs::write(format!("/proc/sys/net/{name}"), value).map_err(failed("the settings of that namespace"))
    };
    set("ipv4/ip_local_port_range", &format!("{} {}", ports.range.start(), ports.range.end()))?;
    // Answers from 127.0.0.1 are no martians here (ip-sysctl.rst, route_localnet).
    for (name, value) in [("rp_filter", "0"), ("route_localnet", "1")] {
        set(&format!("ipv4/conf/all/{name}"), value)?;
        set(&format!("ipv4/conf/{DEVICE}/{name}"), value)?;
    }
    let names = interface_names()?;
    let index = names.into_iter().find_map(|(index, name)| (name == DEVICE).then_some(index));
    let index = index.ok_or_else(|| failed("/dev/net/tun")(io::ErrorKind::NotFound.into()))?;
    setup::set_up(index)?;
    for source in &through.sources {
        setup::add_address(index, *source, if source.is_ipv4() { 32 } else { 128 })?;
        for destination in through.destinations.iter().filter(|one| one.is_ipv4() == source.is_ipv4()) {
            setup::add_route(index, IpNetwork::from(*destination), None)?;
        }
    }
    Ok(tun)
}

/// Until it is told to stop, or one of the two is gone.
fn carry(mut tun: File, socket: &Socket, gate: &Gate, stop: &OwnedFd) {
    let mut buffer = vec![0; LARGEST];
    loop {
        let mut events = [
            PollFd::new(&tun, PollFlags::IN),
            PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN),
            PollFd::new(stop, PollFlags::IN),
        ];
        match poll(&mut events, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
        let [inner, outer, ended] = events.map(|event| event.revents());
        if !ended.is_empty() || (inner | outer).intersects(PollFlags::NVAL | PollFlags::HUP) {
            return;
        }
        if !inner.is_empty() {
            while let Ok(length @ 1..) = tun.read(&mut buffer) {
                if let Some(frame) = gate.frame(&buffer[..length]) {
                    // A frame that is lost is sent again by TCP.
                    let _ = socket.send(&frame);
                }
            }
        }
        if !outer.is_empty() {
            let mut incoming = socket;
            while let Ok(length @ 1..) = incoming.read(&mut buffer) {
                if let Some(packet) = gate.packet(&buffer[..length]) {
                    let _ = tun.write(&packet);
                }
            }
        }
    }
}

const DEVICE: &str = "through0";
/// Of a packet that the interface's driver has put together from several (GRO), with its header.
const LARGEST: usize = (64 << 10) + 14;
