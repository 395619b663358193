//! Driver: the two system interfaces that have no safe wrapper: a TUN device (tun.rst of the kernel) and a packet socket
//! that is bound to an interface (packet(7)).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;

use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};

use super::frames::Mac;

/// A TUN device in the calling thread's namespace: packets without any header in front. It goes with its descriptor.
#[expect(unsafe_code, reason = "TUNSETIFF has no wrapper")]
pub fn tun(name: &str) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    let mut request: libc::ifreq = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short },
    };
    // The last byte stays 0.
    for (to, from) in request.ifr_name[..libc::IFNAMSIZ - 1].iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, which lives until the call returns.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(file) }
}

/// A socket for the frames of one interface. It gets those of `host` only.
#[expect(unsafe_code, reason = "sockaddr_ll has no wrapper")]
pub fn packets(index: u32, host: Mac) -> io::Result<Socket> {
    // Protocol 0: nothing comes in before the filter stands and the socket is bound.
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    socket.attach_filter(&only_from(host))?;
    // SAFETY: the closure writes a `sockaddr_ll`, all of whose bytes may be anything, and its size.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let address = storage.cast::<libc::sockaddr_ll>();
            (*address).sll_family = libc::AF_PACKET as libc::sa_family_t;
            (*address).sll_protocol = (libc::ETH_P_ALL as u16).to_be();
            (*address).sll_ifindex = index.cast_signed();
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })
    }?;
    socket.bind(&address)?;
    Ok(socket)
}

/// Classic BPF: bytes 6 to 11 of the frame are `host`.
fn only_from(host: Mac) -> [SockFilter; 6] {
    let high = u32::from_be_bytes([host[0], host[1], host[2], host[3]]);
    let low = u32::from(u16::from_be_bytes([host[4], host[5]]));
    [
        // ldw [6]; jne high, drop; ldh [10]; jne low, drop; ret all; drop: ret 0.
        SockFilter::new(0x20, 0, 0, 6),
        SockFilter::new(0x15, 0, 3, high),
        SockFilter::new(0x28, 0, 0, 10),
        SockFilter::new(0x15, 0, 1, low),
        SockFilter::new(0x06, 0, 0, 0x0004_0000),
        SockFilter::new(0x06, 0, 0, 0),
    ]
}

/// `_IOW('T', 202, int)` of linux/if_tun.h.
const TUNSETIFF: libc::Ioctl = 0x4004_54ca;
