//! What comes off the wire during a raw sweep.
#![no_main]

use postern::wire::{NeighbourAnswer, Reply};

libfuzzer_sys::fuzz_target!(|frame: &[u8]| {
    let reply = Reply::from_ethernet(frame);
    if let Some([ethernet @ .., high, low]) = frame.get(..14)
        && matches!((high, low), (0x08, 0x00) | (0x86, 0xdd))
    {
        assert_eq!(ethernet.len(), 12);
        assert_eq!(reply, Reply::from_ip(&frame[14..]), "a link header changes what a packet means");
    }
    let _ = NeighbourAnswer::from_ethernet(frame);
});
