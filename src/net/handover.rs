//! Hands open descriptors to another process over a socket pair (unix(7), SCM_RIGHTS).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// Sends descriptors, one with each byte: a message of its own, so that none is lost to a reader that takes less.
///
/// # Errors
/// The other end is gone.
pub fn send_descriptors(to: &UnixStream, descriptors: &[OwnedFd]) -> io::Result<()> {
    for descriptor in descriptors {
        let borrowed = [descriptor.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
            return Err(io::Error::other("no room for a descriptor"));
        }
        sendmsg(to, &[IoSlice::new(&[MARK])], &mut control, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Takes `count` descriptors.
///
/// # Errors
/// Something else came, or nothing any more.
pub fn receive_descriptors(from: &UnixStream, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        let mut byte = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut byte)];
        let message = recvmsg(from, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let before = taken.len();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = part {
                taken.extend(descriptors);
            }
        }
        if message.bytes == 0 || byte != [MARK] || taken.len() != before + 1 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no descriptor where one was to come"));
        }
    }
    Ok(taken)
}

const MARK: u8 = b'd';

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn descriptors_arrive_and_work_and_bytes_follow() {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut one, other) = UnixStream::pair().unwrap();
        let (third, _fourth) = UnixStream::pair().unwrap();
        send_descriptors(&here, &[other.into(), third.into()]).unwrap();
        (&here).write_all(b"job").unwrap();
        let mut taken = receive_descriptors(&there, 2).unwrap();
        assert_eq!(taken.len(), 2);
        one.write_all(b"x").unwrap();
        let mut byte = [0];
        UnixStream::from(taken.remove(0)).read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
        let mut job = [0; 3];
        (&there).read_exact(&mut job).unwrap();
        assert_eq!(&job, b"job");
        assert!(receive_descriptors(&there, 0).unwrap().is_empty());
    }

    #[test]
    fn bytes_without_a_descriptor_are_refused() {
        let (here, there) = UnixStream::pair().unwrap();
        (&here).write_all(b"dd").unwrap();
        assert!(receive_descriptors(&there, 1).is_err());
        drop(here);
        assert!(receive_descriptors(&there, 1).is_err());
    }
}
