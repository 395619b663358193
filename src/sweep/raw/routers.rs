//! Where the routers of a sweep are on their links, asked again while it runs: in hours a gateway may move to another
//! machine, and one that was silent at the start may come back. Pure.
//!
//! Only an answer to a question of ours is taken, and of several the first one, as the kernel does; that somebody else
//! claims a router's address of his own accord only leads to a question. So nobody turns the sweep aside more easily than
//! he does the kernel, which takes such a claim at its word (`arp_process` of net/ipv4/arp.c).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::exits::{Exits, Outlet};
use crate::sweep::syn::Question;
use crate::wire::Mac;

/// All routers of a sweep.
#[derive(Clone, Debug)]
pub struct Routers {
    list: Vec<Router>,
}

#[derive(Clone, Debug)]
struct Router {
    /// Routers of several links may have one address: fe80::1 is a common one.
    interface: u32,
    address: IpAddr,
    /// Exits that lead to it, each of which has a source address to ask from.
    exits: Vec<u16>,
    mac: Option<Mac>,
    /// What the kernel takes it for.
    known: Option<Mac>,
    /// Since when a question is open, and how many in a row were.
    asked: Option<Instant>,
    tries: u32,
    /// When the last question was sent, and the next one is to be.
    last: Instant,
    next: Instant,
}

impl Routers {
    /// All of them, unknown yet; `known` are those of the kernel's table, by interface.
    pub fn new(exits: &Exits, known: &[(u32, IpAddr, [u8; 6])], now: Instant) -> Self {
        let mut list: Vec<Router> = Vec::new();
        for (number, exit) in (0..).zip(&exits.exits) {
            let outlet = exits.outlets.get(usize::from(exit.outlet));
            let (Some(address), Some(&Outlet::Ethernet { interface, .. })) = (exit.router, outlet) else { continue };
            let is_it = |router: &&mut Router| (router.interface, router.address) == (interface, address);
            if let Some(router) = list.iter_mut().find(is_it) {
                router.exits.push(number);
                continue;
            }
            let of_kernel = known.iter().find(|(on, of, _)| (*on, *of) == (interface, address));
            list.push(Router {
                interface,
                address,
                exits: vec![number],
                mac: None,
                known: of_kernel.map(|(.., mac)| Mac(*mac)),
                asked: None,
                tries: 0,
                last: now,
                next: now,
            });
        }
        Self { list }
    }

    /// Whether nobody knows where one of them is.
    pub fn any_missing(&self) -> bool {
        self.list.iter().any(|router| router.mac.is_none())
    }

    /// The questions that are due, by each way to a router.
    pub fn due(&mut self, now: Instant) -> Vec<Question> {
        let mut questions = Vec::new();
        for router in self.list.iter_mut().filter(|router| router.next <= now) {
            if router.asked.is_none() {
                router.tries = 0;
            }
            router.tries += 1;
            router.asked = Some(now);
            router.last = now;
            router.next = now + if router.tries <= QUICK_TRIES { QUICK } else { SLOW };
            questions.extend(router.exits.iter().map(|&source| Question { address: router.address, source }));
        }
        questions
    }

    /// Takes those that did not answer for what the kernel knows, once they had time to. Returns what is new.
    pub fn believe_kernel(&mut self, now: Instant) -> Vec<(u32, IpAddr, Mac)> {
        let silent = |router: &&mut Router| router.mac.is_none() && router.tries > 0 && router.last + QUICK <= now;
        let believe = |router: &mut Router| {
            router.mac = router.known;
            router.mac.map(|mac| (router.interface, router.address, mac))
        };
        self.list.iter_mut().filter(silent).filter_map(believe).collect()
    }

    /// Somebody on a link has said that an address is his. What that changes, if anything.
    pub fn heard(&mut self, interface: u32, address: IpAddr, mac: Mac, now: Instant) -> Option<Change> {
        let is_it = |router: &&mut Router| router.interface == interface && router.address == address;
        let router = self.list.iter_mut().find(is_it)?;
        let is_answer = router.asked.is_some_and(|asked| now.saturating_duration_since(asked) <= OPEN);
        if !is_answer {
            if router.mac != Some(mac) {
                router.next = router.next.min(now.max(router.last + LEAST));
            }
            return None;
        }
        router.asked = None;
        router.next = now + EVERY;
        match router.mac.replace(mac) {
            None => Some(Change::Found),
            Some(before) if before != mac => Some(Change::Moved),
            Some(_) => None,
        }
    }
}

/// What an answer of a router came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nobody knew where it was.
    Found,
    Moved,
}

/// Between two questions to a router that answers.
const EVERY: Duration = Duration::from_secs(30);
/// To one that does not: so many times soon, then later. What was known of it stays in force.
const QUICK_TRIES: u32 = 3;
const QUICK: Duration = Duration::from_millis(500);
const SLOW: Duration = Duration::from_secs(2);
/// How long what comes is an answer.
const OPEN: Duration = Duration::from_secs(1);
/// Between two questions at least, whatever is claimed.
const LEAST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "some instant to count from")]

    use super::super::exits::Exit;
    use super::*;

    const ONE: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Two exits by one router, and one by another of the same address on another link.
    fn routers(known: &[(u32, IpAddr, [u8; 6])], now: Instant) -> Routers {
        let exit = |outlet, source, router: Option<&str>| Exit { outlet, source: ip(source), router: router.map(ip) };
        let ethernet = |interface| Outlet::Ethernet { interface, mac: [2, 0, 0, 0, 0, 9] };
        let exits = Exits {
            outlets: vec![ethernet(2), ethernet(3), Outlet::Packets],
            exits: vec![
                exit(0, "198.18.0.1", Some("198.18.0.254")),
                exit(0, "198.18.0.2", Some("198.18.0.254")),
                exit(1, "198.19.0.1", Some("198.18.0.254")),
                exit(0, "198.18.0.1", None),
                exit(2, "198.18.0.1", Some("198.18.0.254")),
            ],
            reaches: Vec::new(),
        };
        Routers::new(&exits, known, now)
    }

    /// They were asked and have answered, both as the same machine.
    fn answered(start: Instant) -> (Routers, IpAddr) {
        let (mut routers, router) = (routers(&[], start), ip("198.18.0.254"));
        let _ = routers.due(start);
        let _ = (routers.heard(2, router, ONE, start), routers.heard(3, router, ONE, start));
        (routers, router)
    }

    #[test]
    fn each_router_is_asked_by_each_way_until_it_answers() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut routers = routers(&[], start);
        let router = ip("198.18.0.254");
        let asked = |questions: Vec<Question>| questions.iter().map(|one| one.source).collect::<Vec<_>>();
        assert_eq!(asked(routers.due(start)), [0, 1, 2]);
        assert_eq!(routers.heard(2, router, ONE, at(10)), Some(Change::Found));
        assert_eq!(routers.heard(4, router, ONE, at(10)), None, "no router of ours");
        assert!(routers.any_missing() && routers.due(at(499)).is_empty());
        assert_eq!([500, 1000].map(|ms| asked(routers.due(at(ms)))), [[2], [2]]);
        assert!(routers.due(at(1499)).is_empty());
        assert_eq!([1500, 3500, 5500].map(|ms| asked(routers.due(at(ms)))), [[2]; 3]);
        assert_eq!(routers.heard(3, router, OTHER, at(5600)), Some(Change::Found));
        assert!(!routers.any_missing() && routers.due(at(30_009)).is_empty());
        assert_eq!(asked(routers.due(at(30_010))), [0, 1]);
    }

    #[test]
    fn a_router_that_moves_is_followed_and_one_that_is_silent_stays_where_it_was() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (mut routers, router) = answered(start);
        assert_eq!(routers.due(at(30_000)).len(), 3);
        assert_eq!(routers.heard(2, router, OTHER, at(30_001)), Some(Change::Moved));
        assert_eq!(routers.heard(2, router, ONE, at(30_002)), None, "the first answer counts");
        assert_eq!(routers.due(at(30_500)).len(), 1);
        assert!(!routers.any_missing());
        assert_eq!(routers.heard(3, router, ONE, at(30_600)), None, "nothing new");
    }

    #[test]
    fn a_claim_that_nobody_asked_for_leads_to_a_question_and_no_more() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (mut routers, router) = answered(start);
        assert_eq!(routers.heard(2, router, ONE, at(300)), None);
        assert!(routers.due(at(5_000)).is_empty(), "it says what is known");
        for ms in [5_100, 5_200] {
            assert_eq!(routers.heard(2, router, OTHER, at(ms)), None);
        }
        assert_eq!(routers.due(at(5_200)).len(), 2);
        assert_eq!(routers.heard(2, router, ONE, at(5_201)), None, "the router itself was first");
        assert_eq!(routers.heard(2, router, OTHER, at(5_202)), None);
        assert!(routers.due(at(6_199)).is_empty(), "claims do not make a flood of questions");
        assert_eq!(routers.due(at(6_200)).len(), 2);
        assert_eq!(routers.heard(2, router, OTHER, at(6_300)), Some(Change::Moved));
    }

    #[test]
    fn the_kernel_is_believed_where_nobody_answers() {
        let start = Instant::now();
        let router = ip("198.18.0.254");
        let mut routers = routers(&[(3, router, ONE.0), (4, router, OTHER.0)], start);
        assert_eq!(routers.believe_kernel(start + QUICK), [], "nobody was asked");
        let _ = routers.due(start);
        assert_eq!(routers.heard(2, router, OTHER, start), Some(Change::Found));
        assert_eq!(routers.believe_kernel(start), []);
        assert_eq!(routers.believe_kernel(start + QUICK), [(3, router, ONE)]);
        assert!(!routers.any_missing());
        assert_eq!(routers.heard(3, router, OTHER, start + QUICK), Some(Change::Moved), "late, and still an answer");
    }
}
