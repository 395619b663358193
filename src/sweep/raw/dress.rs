//! From probes and questions to frames: each exit has a template, and a router's link-layer address where there is one.
//! Pure.

use std::net::IpAddr;

use super::exits::{Exit, Outlet};
use crate::net::link::SLOT;
use crate::sweep::syn::{NextHop, Probe, Question};
use crate::wire::neighbour::MAX_QUESTION;
use crate::wire::{LinkHeader, Mac, NeighbourQuestion, SynTemplate};

/// Makes the frames of a sweep.
#[derive(Clone, Debug)]
pub struct Dress {
    exits: Vec<Dressed>,
}

#[derive(Clone, Debug)]
struct Dressed {
    outlet: usize,
    source: IpAddr,
    interface: Option<u32>,
    /// Of the interface; `None` where packets are whole without a link header.
    mac: Option<Mac>,
    router: Option<IpAddr>,
    router_mac: Option<Mac>,
    template: SynTemplate,
}

/// Hops of what we send: what Linux sends.
const HOPS: u8 = 64;

impl Dress {
    pub fn new(exits: &[Exit], outlets: &[Outlet]) -> Self {
        let dressed = |exit: &Exit| {
            let outlet = usize::from(exit.outlet);
            let (interface, mac, link) = match outlets.get(outlet) {
                Some(Outlet::Ethernet { interface, mac }) => {
                    (Some(*interface), Some(Mac(*mac)), LinkHeader::Ethernet { source: Mac(*mac) })
                }
                Some(Outlet::Packets) | None => (None, None, LinkHeader::None),
            };
            let template = SynTemplate::new(exit.source, link, HOPS);
            Dressed { outlet, source: exit.source, interface, mac, router: exit.router, router_mac: None, template }
        };
        Self { exits: exits.iter().map(dressed).collect() }
    }

    /// The outlet of an exit.
    pub fn outlet(&self, exit: u16) -> Option<usize> {
        self.exits.get(usize::from(exit)).map(|exit| exit.outlet)
    }

    /// The source of an exit whose packets this machine's own rules see.
    pub fn kernel_routed(&self, exit: u16) -> Option<IpAddr> {
        self.exits.get(usize::from(exit)).filter(|exit| exit.mac.is_none()).map(|exit| exit.source)
    }

    /// Writes a probe's frame; `None` when its router is not known.
    pub fn probe(&self, probe: &Probe, slot: &mut [u8; SLOT]) -> Option<usize> {
        let exit = self.exits.get(usize::from(probe.source))?;
        let to = match (probe.to, exit.mac) {
            (NextHop::Neighbour(mac), _) => mac,
            // Nothing is done with it.
            (NextHop::Routed, None) => Mac::default(),
            (NextHop::Routed, Some(_)) => exit.router_mac?,
        };
        Some(exit.template.write(&probe.syn, to, slot))
    }

    /// Writes a question's frame; `None` where nobody can be asked.
    pub fn question(&self, question: &Question, slot: &mut [u8; SLOT]) -> Option<usize> {
        let exit = self.exits.get(usize::from(question.source))?;
        let asked = NeighbourQuestion { source: exit.source, mac: exit.mac?, target: question.address };
        asked.write(slot.first_chunk_mut::<MAX_QUESTION>()?)
    }

    /// The interface of an exit; `None` where the kernel picks it.
    pub fn interface(&self, exit: u16) -> Option<u32> {
        self.exits.get(usize::from(exit))?.interface
    }

    /// A router of some interface is there from now on.
    pub fn set_router(&mut self, interface: u32, address: IpAddr, mac: Mac) {
        let is_it = |exit: &&mut Dressed| exit.router == Some(address) && exit.interface == Some(interface);
        for exit in self.exits.iter_mut().filter(is_it) {
            exit.router_mac = Some(mac);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Syn;

    const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 9]);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn frames_go_to_the_router_or_the_neighbour() {
        let outlets = [Outlet::Ethernet { interface: 2, mac: OURS }, Outlet::Packets];
        let exit = |outlet, router: Option<&str>| Exit { outlet, source: ip("198.18.0.1"), router: router.map(ip) };
        let mut dress = Dress::new(&[exit(0, Some("198.18.0.254")), exit(0, None), exit(1, None)], &outlets);
        let syn = Syn { destination: ip("198.19.0.7"), port: 22, source_port: 25_000, sequence: 7 };
        let mut slot = [0; SLOT];
        let probe = |source, to| Probe { syn, source, to };
        assert_eq!(dress.probe(&probe(0, NextHop::Routed), &mut slot), None, "the router is not known");
        let length = dress.question(&Question { address: ip("198.18.0.254"), source: 0 }, &mut slot).unwrap();
        assert_eq!((length, &slot[6..12], &slot[38..42]), (42, &OURS[..], &[198, 18, 0, 254][..]));
        dress.set_router(3, ip("198.18.0.254"), Mac([2, 0, 0, 0, 0, 8]));
        assert_eq!(dress.probe(&probe(0, NextHop::Routed), &mut slot), None, "one of that address on another link");
        dress.set_router(2, ip("198.18.0.254"), ROUTER);
        assert_eq!([0, 2].map(|exit| dress.interface(exit)), [Some(2), None]);
        assert_eq!(dress.probe(&probe(0, NextHop::Routed), &mut slot), Some(74));
        assert_eq!((&slot[..6], &slot[6..12]), (&ROUTER.0[..], &OURS[..]));
        let neighbour = Mac([2, 0, 0, 0, 0, 7]);
        assert_eq!(dress.probe(&probe(1, NextHop::Neighbour(neighbour)), &mut slot), Some(74));
        assert_eq!(slot[..6], neighbour.0);
        assert_eq!(dress.probe(&probe(2, NextHop::Routed), &mut slot), Some(60));
        assert_eq!((slot[0], dress.outlet(2)), (0x45, Some(1)));
    }
}
