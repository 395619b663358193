//! Counts at the target which endpoints were asked, and how often.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use postern::net::link::ring::{Receiver, packet_socket};
use rustix::net::SocketType;

use crate::lab::{TARGETS, namespace};

/// What arrived.
#[derive(Default)]
pub struct Counted {
    /// By address, port, and the port that they came from, which each round has its own.
    pub probes: HashMap<([u8; 4], u16, u16), u32>,
    /// Probes that the counter itself lost.
    pub lost: u64,
}

/// SYNs to `ports` of the targets while `work` runs.
pub fn count<T>(ports: &[u16], work: impl FnOnce() -> T) -> Result<(Counted, T), String> {
    let socket = namespace(TARGETS)?.inside(|| packet_socket(SocketType::DGRAM)).map_err(|error| error.to_string())?;
    let socket = socket.map_err(|error| error.to_string())?;
    let mut receiver = Receiver::new(socket, ports, &[]).map_err(|error| error.to_string())?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let counter = scope.spawn(|| {
            let mut counted = Counted::default();
            loop {
                let ended = stop.load(Ordering::Acquire);
                let packets = receiver.receive(&mut |packet| {
                    let Some([flags]) = packet.bytes.get(33..34) else { return };
                    if *flags == 2
                        && let (Some(to), Some(ports)) = (packet.bytes.get(16..20), packet.bytes.get(20..24))
                        && let Ok(to) = to.try_into()
                    {
                        let from = u16::from_be_bytes([ports[0], ports[1]]);
                        let port = u16::from_be_bytes([ports[2], ports[3]]);
                        *counted.probes.entry((to, port, from)).or_default() += 1;
                    }
                });
                if ended && packets == 0 {
                    counted.lost = receiver.drops().dropped;
                    return counted;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let result = work();
        std::thread::sleep(Duration::from_millis(20));
        stop.store(true, Ordering::Release);
        counter.join().map(|counted| (counted, result)).map_err(|_| "the counter stopped".to_owned())
    })
}
