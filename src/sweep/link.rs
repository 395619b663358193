//! Which hosts on the link are there: holds probes back until the neighbour table knows. Pure.
//!
//! An address that nobody answers for keeps an incomplete entry for three seconds. Entries are limited in number (1,024
//! by default, for all namespaces of a machine together), and once they are used up living hosts time out, too. So only
//! so many unresolved addresses are asked at once, each by one probe; the rest of its ports wait.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::net::Neighbour;

/// What may be done with a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    Send,
    /// The host is being resolved: the port was noted and comes back when the host is there.
    Held,
    /// The host is absent.
    Skip,
    /// Too many unresolved hosts: try again later.
    Stall,
}

/// The hosts on the link that this worker has asked.
#[derive(Debug)]
pub struct Link {
    limit: usize,
    unresolved: usize,
    hosts: HashMap<IpAddr, State>,
}

#[derive(Debug)]
enum State {
    Unresolved { since: Instant, held: Vec<u16> },
    Present,
    Absent,
}

/// ARP gives up after three requests, a second apart (`mcast_solicit`, `retrans_time_ms`); failed entries may be collected
/// before anyone looks, so that an address without an entry is absent after this long.
const GIVE_UP: Duration = Duration::from_millis(3500);

impl Link {
    /// At most `limit` addresses are unresolved at once.
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), unresolved: 0, hosts: HashMap::new() }
    }

    /// Asks for `port` of a host on the link.
    pub fn gate(&mut self, address: IpAddr, port: u16, now: Instant) -> Gate {
        match self.hosts.get_mut(&address) {
            Some(State::Present) => Gate::Send,
            Some(State::Absent) => Gate::Skip,
            Some(State::Unresolved { held, .. }) => {
                held.push(port);
                Gate::Held
            }
            None if self.unresolved >= self.limit => Gate::Stall,
            None => {
                self.unresolved += 1;
                self.hosts.insert(address, State::Unresolved { since: now, held: Vec::new() });
                Gate::Send
            }
        }
    }

    /// Whether somebody must look at the neighbour table.
    pub const fn is_waiting(&self) -> bool {
        self.unresolved > 0
    }

    /// Whether a new address would stall.
    pub const fn is_full(&self) -> bool {
        self.unresolved >= self.limit
    }

    pub fn is_absent(&self, address: IpAddr) -> bool {
        matches!(self.hosts.get(&address), Some(State::Absent))
    }

    /// The host answered: returns the ports that were held.
    pub fn present(&mut self, address: IpAddr) -> Vec<u16> {
        self.settle(address, State::Present)
    }

    /// The host cannot be resolved. A host that answered before stays present: entries fail for a moment, too.
    pub fn absent(&mut self, address: IpAddr) {
        if matches!(self.hosts.get(&address), Some(State::Unresolved { .. })) {
            self.settle(address, State::Absent);
        }
    }

    /// Takes in the neighbour table: returns the endpoints that were held and may go now.
    pub fn update(&mut self, table: &HashMap<IpAddr, Neighbour>, now: Instant) -> Vec<(IpAddr, u16)> {
        let mut present = Vec::new();
        let mut absent = Vec::new();
        for (&address, state) in &self.hosts {
            let State::Unresolved { since, .. } = state else { continue };
            let overdue = now.saturating_duration_since(*since) >= GIVE_UP;
            match table.get(&address) {
                Some(Neighbour::Resolved) => present.push(address),
                Some(Neighbour::Failed) => absent.push(address),
                Some(Neighbour::Resolving) | None if overdue => absent.push(address),
                Some(Neighbour::Resolving) | None => {}
            }
        }
        for address in absent {
            self.absent(address);
        }
        present
            .into_iter()
            .flat_map(|address| self.present(address).into_iter().map(move |port| (address, port)))
            .collect()
    }

    /// Forgets who was absent: they are asked anew.
    pub fn forget_absent(&mut self) {
        self.hosts.retain(|_, state| !matches!(state, State::Absent));
    }

    fn settle(&mut self, address: IpAddr, to: State) -> Vec<u16> {
        match self.hosts.insert(address, to) {
            Some(State::Unresolved { held, .. }) => {
                self.unresolved -= 1;
                held
            }
            Some(State::Present | State::Absent) | None => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "some instant to count from")]

    use super::*;

    fn host(last: u8) -> IpAddr {
        IpAddr::from([198, 18, 0, last])
    }

    #[test]
    fn one_probe_a_host_until_it_is_resolved() {
        let now = Instant::now();
        let mut link = Link::new(2);
        assert_eq!(link.gate(host(1), 22, now), Gate::Send);
        assert_eq!(link.gate(host(1), 80, now), Gate::Held);
        assert_eq!(link.gate(host(2), 22, now), Gate::Send);
        assert_eq!(link.gate(host(3), 22, now), Gate::Stall);
        let table = HashMap::from([(host(1), Neighbour::Resolved), (host(2), Neighbour::Failed)]);
        assert_eq!(link.update(&table, now), [(host(1), 80)]);
        assert_eq!(link.gate(host(1), 443, now), Gate::Send);
        assert_eq!(link.gate(host(2), 443, now), Gate::Skip);
        assert!(link.is_absent(host(2)) && !link.is_waiting());
        assert_eq!(link.gate(host(3), 22, now), Gate::Send);
    }

    #[test]
    fn an_entry_that_is_gone_is_absent_after_a_while() {
        let now = Instant::now();
        let mut link = Link::new(2);
        link.gate(host(1), 22, now);
        link.update(&HashMap::new(), now + Duration::from_secs(1));
        assert!(!link.is_absent(host(1)));
        link.update(&HashMap::new(), now + Duration::from_secs(4));
        assert!(link.is_absent(host(1)));
        link.forget_absent();
        assert_eq!(link.gate(host(1), 22, now), Gate::Send);
    }

    #[test]
    fn who_answered_once_is_not_absent_later() {
        let now = Instant::now();
        let mut link = Link::new(2);
        link.gate(host(1), 22, now);
        link.gate(host(1), 23, now);
        assert_eq!(link.present(host(1)), [23]);
        link.absent(host(1));
        assert_eq!(link.gate(host(1), 24, now), Gate::Send);
    }
}
