//! What could not be asked, and why. Pure.

use std::collections::HashSet;

use super::Unsent;
use super::number::NumberHash;
use crate::model::Endpoint;
use crate::model::report::Gap;

/// Rounds for what did not leave, beside those that a router is found for.
const MOST_AGAIN: u32 = 3;
/// Not for more than so many: whatever it is, it lasts.
const MOST_UNSENT: u64 = 1 << 24;

/// Endpoints that were not asked, or not again, by cause.
#[derive(Clone, Debug, Default)]
pub(super) struct NotAsked {
    /// Known from the start, and asked in no round.
    no_way: Count,
    closed: Count,
    /// What did not leave, by [`Unsent`], in the last round that asked everybody and since.
    unsent: [Count; 4],
    /// The hosts of that.
    hosts: HashSet<u64, NumberHash>,
    /// All endpoints that there is a way to have been asked in a round that is over: what does not leave is repeated.
    all_asked: bool,
    /// Some of that could leave now.
    is_open_again: bool,
    /// Rounds that asked everybody again for what did not leave.
    again: u32,
}

/// A number, and one of them.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    number: u64,
    repeated: bool,
    example: Option<Endpoint>,
}

impl NotAsked {
    pub(super) fn no_way(&mut self, endpoint: Endpoint) {
        self.no_way.note(endpoint);
    }

    pub(super) fn closed(&mut self, endpoint: Endpoint) {
        self.closed.note(endpoint);
    }

    pub(super) fn unsent(&mut self, endpoint: Endpoint, host: u64, why: Unsent) {
        self.unsent[why as usize].note(endpoint);
        if !self.all_asked {
            self.hosts.insert(host);
        }
    }

    /// Whether the silence of a host may be that of ports that were not asked.
    pub(super) fn concerns(&self, host: u64) -> bool {
        self.hosts.contains(&host)
    }

    /// Whether probes did not leave for a cause that comes and goes: what they would have found is in no estimate.
    pub(super) fn spoils_estimates(&self) -> bool {
        self.passing() > 0
    }

    fn passing(&self) -> u64 {
        [Unsent::Device, Unsent::NoRoute].map(|why| self.unsent[why as usize].number).iter().sum()
    }

    /// Whether everything has left.
    pub(super) fn is_nothing(&self) -> bool {
        self.unsent.iter().all(|count| count.number == 0)
    }

    /// A router was found that was missing.
    pub(super) const fn router_found(&mut self) {
        self.is_open_again = self.unsent[Unsent::NoRouter as usize].number > 0;
    }

    /// Whether another round is to ask what did not leave: a router was found, or, some times, whatever it was may be over.
    pub(super) fn wants_again(&mut self) -> bool {
        let is_unsent = (1..=MOST_UNSENT).contains(&self.passing()) && self.again < MOST_AGAIN;
        self.again += u32::from(is_unsent);
        std::mem::replace(&mut self.is_open_again, false) || is_unsent
    }

    /// A round is over.
    pub(super) fn end_round(&mut self) {
        self.all_asked |= self.is_nothing();
    }

    /// A round begins that asks everybody who has not answered.
    pub(super) fn ask_again(&mut self) {
        self.unsent = Default::default();
        self.hosts.clear();
    }

    pub(super) fn gaps(&self) -> impl Iterator<Item = Gap> {
        let by = |why: Unsent| Count { repeated: self.all_asked, ..self.unsent[why as usize] };
        let no_way = "this machine has no route there";
        let device = "the network device is down or gone, or it took no frames";
        let counts = [
            (self.no_way.and(by(Unsent::NoRoute)), no_way, "a route, or a vantage that has one"),
            (
                by(Unsent::NoRouter),
                "the router does not say where it is (ARP, NDP)",
                "the router up and on this link, and another run",
            ),
            (by(Unsent::Forbidden), "a rule of this machine's own firewall", "a rule that lets them pass"),
            (self.closed.and(by(Unsent::Device)), device, "the device up, and another run"),
        ];
        counts.into_iter().filter(|(count, ..)| count.number > 0).map(|(count, cause, settled_by)| Gap {
            what: count.to_string(),
            cause: cause.to_owned(),
            settled_by: settled_by.to_owned(),
            incomplete: true,
        })
    }
}

impl Count {
    fn note(&mut self, endpoint: Endpoint) {
        self.number += 1;
        self.example.get_or_insert(endpoint);
    }

    fn and(self, other: Self) -> Self {
        Self {
            number: self.number + other.number,
            repeated: other.repeated && self.number == 0,
            example: self.example.or(other.example),
        }
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = if self.repeated { "repeated probes did not leave" } else { "endpoints were not asked" };
        write!(f, "{} {what}", self.number)?;
        self.example.map_or(Ok(()), |example| write!(f, " ({example})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_number_and_an_example_of_its_own() {
        let endpoint = |port| Endpoint::tcp([198, 18, 0, 7].into(), port);
        let mut not_asked = NotAsked::default();
        assert_eq!(not_asked.gaps().count(), 0);
        not_asked.unsent(endpoint(1), 7, Unsent::NoRoute);
        not_asked.no_way(endpoint(2));
        not_asked.unsent(endpoint(3), 7, Unsent::Device);
        not_asked.unsent(endpoint(4), 7, Unsent::Device);
        not_asked.unsent(endpoint(5), 7, Unsent::NoRouter);
        let whats: Vec<String> = not_asked.gaps().map(|gap| gap.what).collect();
        let what = |number, port| format!("{number} endpoints were not asked (198.18.0.7:{port}/tcp)");
        assert_eq!(whats, [what(2, 2), what(1, 5), what(2, 3)]);
        not_asked.ask_again();
        let whats: Vec<String> = not_asked.gaps().map(|gap| gap.what).collect();
        assert_eq!(whats, [what(1, 2)], "the others may leave in this round");
        not_asked.unsent(endpoint(3), 7, Unsent::Device);
        not_asked.end_round();
        not_asked.ask_again();
        not_asked.end_round();
        not_asked.unsent(endpoint(3), 7, Unsent::Device);
        let whats: Vec<String> = not_asked.gaps().map(|gap| gap.what).collect();
        let repeated = "1 repeated probes did not leave (198.18.0.7:3/tcp)".to_owned();
        assert_eq!(whats, [what(1, 2), repeated], "it had been asked meanwhile");
    }

    #[test]
    fn a_router_is_news_to_what_it_kept_from_leaving() {
        let mut not_asked = NotAsked::default();
        not_asked.unsent(Endpoint::tcp([198, 18, 0, 7].into(), 1), 7, Unsent::Device);
        not_asked.router_found();
        assert!([true; 3].iter().all(|_| not_asked.wants_again()), "some times anyway");
        assert!(!not_asked.wants_again());
        not_asked.unsent(Endpoint::tcp([198, 18, 0, 7].into(), 2), 7, Unsent::NoRouter);
        not_asked.router_found();
        assert!(not_asked.wants_again() && !not_asked.wants_again());
    }
}
