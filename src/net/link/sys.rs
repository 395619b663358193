//! The system interfaces of raw links that have no safe wrapper: shared memory with the kernel, options of packet
//! sockets, their addresses, and many messages in one call. All that is unsafe about raw links is here.

use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use socket2::SockAddr;

/// Memory that the kernel reads and writes too: a ring of a socket, or the frames of one. It goes with the value, or with
/// the last of its parts.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
    whole: Arc<Whole>,
    _bytes: PhantomData<u8>,
}

// SAFETY: the memory belongs to the value alone, on whichever thread that is; nothing in it is bound to a thread. Parts of
// one mapping do not overlap.
#[expect(unsafe_code, reason = "the pointer is an owned mapping")]
unsafe impl Send for Mapping {}

/// What is given back to the kernel in the end.
#[derive(Debug)]
struct Whole {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the pointer is only used to unmap, once, when nobody has a part any more.
#[expect(unsafe_code, reason = "the pointer is an owned mapping")]
unsafe impl Send for Whole {}
// SAFETY: as above; there is nothing to be done with a reference.
#[expect(unsafe_code, reason = "the pointer is an owned mapping")]
unsafe impl Sync for Whole {}

impl Mapping {
    /// `len` bytes of a socket's memory at `offset` of its file (packet_mmap.rst, af_xdp.rst of the kernel).
    #[expect(unsafe_code, reason = "mmap")]
    pub fn of(socket: impl AsFd, len: usize, offset: u64) -> io::Result<Self> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::POPULATE);
        // SAFETY: a new mapping at an address that the kernel picks touches no memory of this program.
        let start = unsafe { mmap(std::ptr::null_mut(), len, protection, flags, socket, offset) }?;
        Self::new(start, len)
    }

    /// `len` bytes of new memory, zeroed, at a page boundary.
    #[expect(unsafe_code, reason = "mmap")]
    pub fn anonymous(len: usize) -> io::Result<Self> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::POPULATE);
        // SAFETY: as above.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), len, protection, flags) }?;
        Self::new(start, len)
    }

    fn new(start: *mut std::ffi::c_void, len: usize) -> io::Result<Self> {
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len, whole: Arc::new(Whole { start, len }), _bytes: PhantomData })
    }

    /// Consecutive parts of `len` bytes each; what is left at the end is nobody's.
    ///
    /// # Panics
    /// When it has no so many bytes.
    #[expect(unsafe_code, reason = "pointers into an owned mapping")]
    pub fn into_parts(self, parts: usize, len: usize) -> Vec<Self> {
        assert!(parts.checked_mul(len).is_some_and(|all| all <= self.len), "{parts} x {len} of {} bytes", self.len);
        let part = |number| Self {
            // SAFETY: inside the mapping (checked). No two parts overlap, and the value that they come from is gone.
            start: unsafe { self.start.add(number * len) },
            len,
            whole: Arc::clone(&self.whole),
            _bytes: PhantomData,
        };
        (0..parts).map(part).collect()
    }

    /// For the kernel, which is told where frames lie.
    pub fn address(&self) -> u64 {
        self.start.as_ptr().addr() as u64
    }

    pub const fn len(&self) -> usize {
        self.len
    }

    /// A counter that the kernel moves, too.
    ///
    /// # Panics
    /// Outside the mapping, or where no number of four bytes can be.
    #[expect(unsafe_code, reason = "memory that the kernel shares")]
    pub fn counter(&self, offset: usize) -> &AtomicU32 {
        self.check(offset, 4);
        assert!((self.start.addr().get() + offset).is_multiple_of(4), "a counter at {offset}");
        // SAFETY: the four bytes are inside the mapping (checked) and aligned (checked: a part may begin anywhere); they
        // live as long as the value that the reference borrows; this program touches such places by atomics only.
        unsafe { AtomicU32::from_ptr(self.start.as_ptr().add(offset).cast()) }
    }

    /// Copies from the mapping, which the kernel may be writing to: what comes may then be torn, and is checked anyway.
    ///
    /// # Panics
    /// Outside the mapping.
    #[expect(unsafe_code, reason = "memory that the kernel shares")]
    pub fn read(&self, offset: usize, to: &mut [u8]) {
        self.check(offset, to.len());
        // SAFETY: the source is inside the mapping (checked), the destination is a slice of that length, and they cannot
        // overlap: no reference into a mapping is ever handed out but to its counters.
        unsafe { std::ptr::copy_nonoverlapping(self.start.as_ptr().add(offset), to.as_mut_ptr(), to.len()) }
    }

    /// Copies into the mapping.
    ///
    /// # Panics
    /// Outside the mapping.
    #[expect(unsafe_code, reason = "memory that the kernel shares")]
    pub fn write(&self, offset: usize, from: &[u8]) {
        self.check(offset, from.len());
        // SAFETY: as for `read`, the other way round. `&self` is enough, since nobody holds a reference to these bytes.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), self.start.as_ptr().add(offset), from.len()) }
    }

    pub fn read_u32(&self, offset: usize) -> u32 {
        let mut bytes = [0; 4];
        self.read(offset, &mut bytes);
        u32::from_ne_bytes(bytes)
    }

    fn check(&self, offset: usize, len: usize) {
        let inside = offset.checked_add(len).is_some_and(|end| end <= self.len);
        assert!(inside, "{len} bytes at {offset} of a mapping of {}", self.len);
    }
}

impl Drop for Whole {
    #[expect(unsafe_code, reason = "munmap")]
    fn drop(&mut self) {
        // SAFETY: the whole of a mapping whose parts are all gone; what they lent out has ended with the borrows.
        // A refusal leaves it to the end of the process.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// `SOL_PACKET` and `SOL_XDP` (linux/socket.h).
pub const SOL_PACKET: libc::c_int = 263;
pub const SOL_XDP: libc::c_int = 283;

/// Sets an option that is a number, or a structure of numbers of four bytes.
#[expect(unsafe_code, reason = "options without a wrapper")]
pub fn set_option(socket: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int, value: &[u32]) -> io::Result<()> {
    let size = size_of_val(value) as libc::socklen_t;
    // SAFETY: the kernel reads `size` bytes, which are those of the slice.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value.as_ptr().cast(), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Reads an option that is a structure of up to `N` numbers of four bytes.
#[expect(unsafe_code, reason = "options without a wrapper")]
pub fn option<const N: usize>(socket: BorrowedFd<'_>, level: libc::c_int, name: libc::c_int) -> io::Result<[u32; N]> {
    let mut value = [0_u32; N];
    let mut size = size_of::<[u32; N]>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `size` bytes, which is the size of the array.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// The address of a packet socket (packet(7)): an interface, and an EtherType in host order.
#[expect(unsafe_code, reason = "sockaddr_ll has no wrapper")]
pub fn packet_address(index: u32, protocol: u16) -> io::Result<SockAddr> {
    // SAFETY: the closure writes a `sockaddr_ll`, all of whose bytes may be anything, and its size.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let address = storage.cast::<libc::sockaddr_ll>();
            (*address).sll_family = libc::AF_PACKET as libc::sa_family_t;
            (*address).sll_protocol = protocol.to_be();
            (*address).sll_ifindex = index.cast_signed();
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })
    }?;
    Ok(address)
}

/// What one message of [`send_many`] is: bytes, and where they go on a socket that is bound to no peer.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub bytes: &'a [u8],
    pub to: Option<SocketAddr>,
}

/// Sends messages in one call, without waiting; how many went (sendmmsg(2)).
#[expect(unsafe_code, reason = "sendmmsg has no wrapper")]
pub fn send_many(socket: BorrowedFd<'_>, messages: &[Message<'_>]) -> io::Result<usize> {
    let addresses: Vec<Option<SockAddr>> = messages.iter().map(|message| message.to.map(SockAddr::from)).collect();
    let mut parts: Vec<libc::iovec> = messages
        .iter()
        .map(|message| libc::iovec { iov_base: message.bytes.as_ptr().cast_mut().cast(), iov_len: message.bytes.len() })
        .collect();
    let mut headers: Vec<libc::mmsghdr> = parts
        .iter_mut()
        .zip(&addresses)
        .map(|(part, address)| {
            // SAFETY: a `msghdr` of zeros is one without name, data and control messages.
            let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
            if let Some(address) = address {
                header.msg_name = address.as_ptr().cast_mut().cast();
                header.msg_namelen = address.len();
            }
            header.msg_iov = part;
            header.msg_iovlen = 1;
            libc::mmsghdr { msg_hdr: header, msg_len: 0 }
        })
        .collect();
    let count = headers.len() as libc::c_uint;
    // SAFETY: the kernel reads `count` headers and what they point to (addresses, parts and the messages' bytes, all of
    // which live until the call returns), and writes to the headers alone.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, libc::MSG_DONTWAIT as _) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent.cast_unsigned() as usize) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let memory = Mapping::anonymous(8192).unwrap();
        memory.write(4096, &[1, 2, 3, 4]);
        let mut bytes = [0; 6];
        memory.read(4095, &mut bytes);
        assert_eq!((bytes, memory.read_u32(4096)), ([0, 1, 2, 3, 4, 0], u32::from_ne_bytes([1, 2, 3, 4])));
        memory.counter(8).store(7, std::sync::atomic::Ordering::Release);
        assert_eq!((memory.read_u32(8), memory.len()), (7, 8192));
        assert!(memory.address().is_multiple_of(4096));
    }

    #[test]
    fn parts_lie_one_behind_the_other_and_outlive_the_whole() {
        let memory = Mapping::anonymous(8192).unwrap();
        memory.write(4000, &[7; 200]);
        let start = memory.address();
        let mut parts = memory.into_parts(2, 4096);
        let second = parts.pop().unwrap();
        drop(parts);
        assert_eq!((second.address() - start, second.len()), (4096, 4096));
        let mut bytes = [0; 105];
        second.read(0, &mut bytes);
        assert_eq!((bytes[103], bytes[104]), (7, 0));
    }

    #[test]
    #[should_panic(expected = "2 x 4097 of 8192 bytes")]
    fn there_is_no_more_than_the_whole() {
        Mapping::anonymous(8192).unwrap().into_parts(2, 4097);
    }

    #[test]
    #[should_panic(expected = "4 bytes at 8190")]
    fn nothing_is_read_behind_the_end() {
        Mapping::anonymous(8192).unwrap().read_u32(8190);
    }

    #[test]
    fn many_messages_go_in_one_call() {
        let to = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        to.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = to.local_addr().unwrap().as_socket();
        let from = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        let messages = [b"one", b"two"].map(|bytes| Message { bytes, to: address });
        assert_eq!(send_many(from.as_fd(), &messages).unwrap(), 2);
        let mut buffer = [std::mem::MaybeUninit::uninit(); 16];
        for _ in 0..2 {
            assert_eq!(to.recv(&mut buffer).unwrap(), 3);
        }
    }
}
