//! The sockets of a worker and the epoll set that watches them: made as they are needed, and used again.

use std::ops::{Index, IndexMut};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use super::socket::ProbeSocket;
use crate::model::{Endpoint, Observation};

/// A socket and what it is used for.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) socket: ProbeSocket,
    /// Counts uses: a deadline of an earlier use is stale.
    pub(super) generation: u32,
    pub(super) state: SlotState,
}

/// What a slot does.
#[derive(Clone, Debug)]
pub(super) enum SlotState {
    Idle,
    Connecting {
        endpoint: Endpoint,
        sent: Instant,
    },
    /// Accepted; watched for a moment whether the peer closes at once.
    Watched {
        observation: Box<Observation>,
    },
}

/// The slots, by number.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// Idle slots by family: IPv4, IPv6.
    idle: [Vec<u32>; 2],
    epoll: Option<OwnedFd>,
    /// No more than these.
    most: usize,
    device: Option<String>,
}

/// Why there is no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoSlot {
    /// All are in use.
    InUse,
    /// Descriptors or buffers are used up: there will be no more than there are.
    Exhausted,
}

impl Slots {
    /// At most `most`, whose sockets leave by `device`.
    pub(super) fn new(most: usize, device: Option<String>) -> Self {
        Self { slots: Vec::new(), idle: [Vec::new(), Vec::new()], epoll: None, most, device }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn get(&self, number: u32) -> Option<&Slot> {
        self.slots.get(number as usize)
    }

    /// A slot with a socket of the family, from the idle ones or new.
    pub(super) fn take(&mut self, ipv4: bool) -> Result<u32, NoSlot> {
        let family = usize::from(!ipv4);
        if let Some(number) = self.idle[family].pop() {
            return Ok(number);
        }
        if self.slots.len() >= self.most {
            // All sockets may be idle ones of the other family.
            let number = self.idle[1 - family].pop().ok_or(NoSlot::InUse)?;
            let socket = ProbeSocket::new(ipv4, self.device.as_deref()).map_err(|_| NoSlot::InUse)?;
            self[number].socket = socket;
            self.register(number).ok_or(NoSlot::InUse)?;
            return Ok(number);
        }
        let number = u32::try_from(self.slots.len()).map_err(|_| NoSlot::InUse)?;
        let socket = ProbeSocket::new(ipv4, self.device.as_deref()).map_err(|_| NoSlot::Exhausted)?;
        self.slots.push(Slot { socket, generation: 0, state: SlotState::Idle });
        self.register(number).ok_or(NoSlot::InUse)?;
        Ok(number)
    }

    fn register(&mut self, number: u32) -> Option<()> {
        if self.epoll.is_none() {
            self.epoll = epoll::create(epoll::CreateFlags::CLOEXEC).ok();
        }
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(u64::from(number));
        epoll::add(self.epoll.as_ref()?, &self[number].socket, data, flags).ok()
    }

    /// Ends what the slot does and makes it idle.
    pub(super) fn release(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.state = SlotState::Idle;
        let ipv4 = slot.socket.is_ipv4();
        // A socket that will not be dissolved is replaced, which closes it.
        if slot.socket.dissolve().is_err() {
            if let Ok(socket) = ProbeSocket::new(ipv4, self.device.as_deref()) {
                slot.socket = socket;
                if self.register(number).is_none() {
                    return;
                }
            } else {
                return;
            }
        }
        self.idle[usize::from(!ipv4)].push(number);
    }

    /// Waits for what the sockets tell, or for `longest`.
    pub(super) fn wait(&self, ready: &mut Vec<epoll::Event>, longest: Duration) {
        let Some(epoll) = &self.epoll else { return };
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(longest.subsec_nanos()) };
        // Interrupted or failed waits bring no events; the loop goes on.
        let _ = epoll::wait(epoll, spare_capacity(ready), Some(&timeout));
    }
}

impl Index<u32> for Slots {
    type Output = Slot;

    fn index(&self, number: u32) -> &Slot {
        &self.slots[number as usize]
    }
}

impl IndexMut<u32> for Slots {
    fn index_mut(&mut self, number: u32) -> &mut Slot {
        &mut self.slots[number as usize]
    }
}
