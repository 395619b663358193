//! What could not be asked, and why. Pure.

use super::Unsent;
use crate::model::Endpoint;
use crate::model::report::Gap;

/// Probes that did not leave, by cause.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NotAsked {
    /// Known from the start, and asked in no round.
    no_way: Count,
    closed: Count,
    /// By [`Unsent`].
    unsent: [Count; 4],
    /// Some of what no router took could leave now.
    is_open_again: bool,
    /// The round that asked what is behind routers for the first time, as far as they were there.
    asked_in: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// Of a first round: endpoints that were not asked.
    endpoints: u64,
    repeated: u64,
    example: Option<Endpoint>,
}

impl NotAsked {
    pub(super) fn no_way(&mut self, endpoint: Endpoint) {
        self.no_way.note(endpoint, false);
    }

    pub(super) fn closed(&mut self, endpoint: Endpoint) {
        self.closed.note(endpoint, false);
    }

    /// A probe of a round, or (`None`) of what is known.
    pub(super) fn unsent(&mut self, endpoint: Endpoint, why: Unsent, round: Option<usize>) {
        let first = if why == Unsent::NoRouter { self.asked_in } else { 0 };
        self.unsent[why as usize].note(endpoint, round != Some(first));
    }

    /// A router was found that was missing.
    pub(super) const fn router_found(&mut self) {
        self.is_open_again = self.unsent[Unsent::NoRouter as usize].endpoints > 0;
    }

    /// Whether another round could ask what did not leave: said once.
    pub(super) const fn take_open_again(&mut self) -> bool {
        std::mem::replace(&mut self.is_open_again, false)
    }

    /// A round begins that asks everybody who has not answered: what no router took is counted anew.
    pub(super) fn ask_again(&mut self, round: usize) {
        self.unsent[Unsent::NoRouter as usize] = Count::default();
        self.asked_in = round;
    }

    pub(super) fn gaps(&self) -> impl Iterator<Item = Gap> {
        let by = |why: Unsent| self.unsent[why as usize];
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
        counts.into_iter().filter_map(|(count, cause, settled_by)| {
            Some(Gap {
                what: count.what()?,
                cause: cause.to_owned(),
                settled_by: settled_by.to_owned(),
                incomplete: true,
            })
        })
    }
}

impl Count {
    fn note(&mut self, endpoint: Endpoint, is_repeated: bool) {
        *(if is_repeated { &mut self.repeated } else { &mut self.endpoints }) += 1;
        self.example.get_or_insert(endpoint);
    }

    fn and(self, other: Self) -> Self {
        Self {
            endpoints: self.endpoints + other.endpoints,
            repeated: self.repeated + other.repeated,
            example: self.example.or(other.example),
        }
    }

    /// Nothing, if everything left.
    fn what(&self) -> Option<String> {
        let example = self.example.map_or(String::new(), |one| format!(" ({one})"));
        match (self.endpoints, self.repeated) {
            (0, 0) => None,
            (0, repeated) => Some(format!("{repeated} repeated probes did not leave{example}")),
            (endpoints, 0) => Some(format!("{endpoints} endpoints were not asked{example}")),
            (endpoints, repeated) => Some(format!(
                "{endpoints} endpoints were not asked{example}, and {repeated} repeated probes did not leave"
            )),
        }
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
        not_asked.unsent(endpoint(1), Unsent::NoRoute, Some(0));
        not_asked.no_way(endpoint(2));
        not_asked.unsent(endpoint(3), Unsent::Device, Some(0));
        not_asked.unsent(endpoint(4), Unsent::Device, Some(0));
        not_asked.unsent(endpoint(5), Unsent::NoRouter, Some(0));
        not_asked.unsent(endpoint(6), Unsent::Forbidden, Some(1));
        not_asked.unsent(endpoint(6), Unsent::Forbidden, None);
        let whats = |of: &NotAsked| of.gaps().map(|gap| gap.what).collect::<Vec<String>>();
        let what = |number, port| format!("{number} endpoints were not asked (198.18.0.7:{port}/tcp)");
        let repeated = "2 repeated probes did not leave (198.18.0.7:6/tcp)".to_owned();
        assert_eq!(whats(&not_asked), [what(2, 2), what(1, 5), repeated.clone(), what(2, 3)]);
        not_asked.ask_again(2);
        assert_eq!(whats(&not_asked), [what(2, 2), repeated.clone(), what(2, 3)], "a router may be there now");
        not_asked.unsent(endpoint(7), Unsent::NoRouter, Some(2));
        assert_eq!(whats(&not_asked), [what(2, 2), what(1, 7), repeated, what(2, 3)]);
    }

    #[test]
    fn a_router_is_news_to_what_it_kept_from_leaving() {
        let endpoint = Endpoint::tcp([198, 18, 0, 7].into(), 1);
        let mut not_asked = NotAsked::default();
        not_asked.unsent(endpoint, Unsent::Device, Some(0));
        not_asked.router_found();
        assert!(!not_asked.take_open_again());
        not_asked.unsent(endpoint, Unsent::NoRouter, Some(0));
        not_asked.router_found();
        assert!(not_asked.take_open_again() && !not_asked.take_open_again());
    }
}
