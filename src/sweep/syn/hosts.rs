//! What is known of each host that was heard of. Pure.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::number::NumberHash;
use crate::model::Improbable;
use crate::sweep::rtt::Rtt;
use crate::sweep::tally::{Folded, PortSet};
use crate::sweep::texts::Texts;
use crate::wire::TcpReply;

/// Hosts by number.
pub type Hosts = HashMap<u64, HostRecord, NumberHash>;

/// A host that was heard of.
#[derive(Clone, Debug)]
pub struct HostRecord {
    pub address: IpAddr,
    /// It answered itself: a router's word about it does not count.
    pub alive: bool,
    /// Somebody answered in its name without proof: worth asking again.
    pub hinted: bool,
    /// The round in which it was first heard.
    pub heard_in: u32,
    pub rtt: Rtt,
    /// Endpoints that answered over TCP; what of them was not found by the first round, by round.
    pub found: u32,
    pub later: Vec<Later>,
    /// One of its canaries stayed silent.
    pub lost_canary: bool,
    /// Nothing of it answers any more.
    pub fallen: bool,
    /// Endpoints that are settled.
    pub answered: u32,
    pub open: PortSet,
    pub folded: Folded,
    /// An endpoint that answers, to ask again.
    pub canary: Option<u16>,
    /// Hops to the nearest of its answers.
    pub nearest: Option<u8>,
    pub controls: Controls,
}

/// Endpoints that a later round was the first to find.
#[derive(Clone, Copy, Debug)]
pub struct Later {
    pub round: usize,
    pub found: u32,
    pub open: u32,
}

/// Ports that nobody uses, asked of a host that has open ones.
#[derive(Clone, Debug, Default)]
pub struct Controls {
    pub ports: [u16; CONTROLS],
    pub state: [Control; CONTROLS],
    pub window: u16,
    pub options: Option<Arc<str>>,
}

/// What came of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Control {
    #[default]
    None,
    Asked,
    Open,
    Closed,
}

/// Two open ones of these are no chance.
pub const CONTROLS: usize = 3;

impl HostRecord {
    pub fn new(address: IpAddr, round: u32) -> Self {
        Self {
            address,
            alive: false,
            hinted: false,
            heard_in: round,
            rtt: Rtt::default(),
            found: 0,
            later: Vec::new(),
            lost_canary: false,
            fallen: false,
            answered: 0,
            open: PortSet::default(),
            folded: Folded::default(),
            canary: None,
            nearest: None,
            controls: Controls::default(),
        }
    }

    /// An endpoint answered over TCP for the first time, or proved to be open: what it was asked from is `round`'s port.
    pub fn count(&mut self, round: usize, is_new: bool, is_open: bool) {
        self.found += u32::from(is_new);
        if round == 0 {
            return;
        }
        let at = self.later.iter().position(|later| later.round == round).unwrap_or_else(|| {
            self.later.push(Later { round, found: 0, open: 0 });
            self.later.len() - 1
        });
        self.later[at].found += u32::from(is_new);
        self.later[at].open += u32::from(is_open);
    }

    /// Whether anything that this host sent or was sent is known to have been lost.
    pub const fn is_suspect(&self) -> bool {
        !self.later.is_empty() || self.lost_canary
    }

    /// A TCP answer came with this time to live.
    pub fn heard(&mut self, ttl: u8) {
        let hops = hops(ttl);
        self.nearest = Some(self.nearest.map_or(hops, |nearest| nearest.min(hops)));
    }

    /// How much further away than the nearest answer one with this time to live is.
    pub fn behind(&self, ttl: u8) -> Option<u8> {
        self.nearest.and_then(|nearest| hops(ttl).checked_sub(nearest)).filter(|behind| *behind > 0)
    }

    /// What its improbable ports said, if any was asked.
    pub fn improbable(&self) -> Option<Improbable> {
        let count = |state| self.controls.state.iter().filter(|is| **is == state).count() as u8;
        if count(Control::None) as usize == CONTROLS {
            return None;
        }
        let (open, closed) = (count(Control::Open), count(Control::Closed));
        let mut ports = self.controls.ports.to_vec();
        ports.sort_unstable();
        let window = (open > 0).then_some(self.controls.window);
        Some(Improbable { ports, open, closed, window, options: self.controls.options.clone().filter(|_| open > 0) })
    }
}

impl Controls {
    /// An answer on one of them.
    pub fn answered(&mut self, port: u16, tcp: &TcpReply, texts: &mut Texts) {
        let Some(at) = self.ports.iter().position(|its| *its == port) else { return };
        if tcp.is_reset() {
            self.state[at] = Control::Closed;
        } else if self.state[at] != Control::Closed {
            self.state[at] = Control::Open;
            self.window = tcp.window;
            self.options = Some(texts.share(&tcp.options.to_string()));
        }
    }
}

/// Hops that a packet came, from its time to live: systems start at 32, 64, 128 or 255.
const fn hops(ttl: u8) -> u8 {
    let started = match ttl {
        0..=32 => 32,
        33..=64 => 64,
        65..=128 => 128,
        129..=255 => 255,
    };
    started - ttl
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_behind_the_others_shows_whatever_the_initial_value() {
        let mut host = HostRecord::new([198, 18, 0, 9].into(), 0);
        assert_eq!(host.behind(63), None, "nothing to compare with");
        host.heard(63);
        assert_eq!(host.behind(63), None);
        host.heard(64);
        assert_eq!((host.behind(64), host.behind(63)), (None, Some(1)));
        assert_eq!(host.behind(255), None, "resets that start at 255");
        assert_eq!(host.behind(126), Some(2));
    }

    #[test]
    fn improbable_ports_count_when_asked() {
        let mut host = HostRecord::new([198, 18, 0, 9].into(), 0);
        assert_eq!(host.improbable(), None);
        host.controls.ports = [9, 8, 7];
        host.controls.state = [Control::Asked, Control::Open, Control::Open];
        let improbable = host.improbable().unwrap();
        assert!(improbable.accepts_everything());
        assert_eq!(improbable.ports, [7, 8, 9]);
        host.controls.state[0] = Control::Closed;
        assert!(!host.improbable().unwrap().accepts_everything());
    }
}
