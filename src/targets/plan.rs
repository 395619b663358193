//! What a sweep would send, for `--plan`. Pure.

use std::fmt;
use std::time::Duration;

/// The size of a sweep before it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Ranges as described by the target set, and the excluded ones.
    pub targets: Vec<String>,
    pub excluded: Vec<String>,
    pub addresses: u128,
    /// Which part of the whole this is; empty for all of it.
    pub shard: String,
    pub tcp: PlannedSweep,
    pub udp: PlannedSweep,
    pub engine: PlannedEngine,
    /// Open ports are asked what they are.
    pub probes: bool,
    /// Probes per second in all, if limited.
    pub rate: Option<u64>,
    /// Probes per second to one host, if limited.
    pub host_rate: Option<u32>,
    /// What a run writes, and where.
    pub results: Vec<String>,
}

/// One transport of a sweep.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlannedSweep {
    /// Ports as ranges; empty when the transport is not swept.
    pub ports: String,
    pub endpoints: u64,
    /// Rounds at most. The first asks everything, each later one what stayed silent.
    pub rounds: u32,
    /// Probes per second to one host that the engine keeps to by itself.
    pub own_host_rate: Option<u32>,
}

/// Who sweeps TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlannedEngine {
    Connect {
        /// `auto` would rather be raw.
        without_privilege: bool,
    },
    Syn,
    /// Asked for, and not allowed here.
    NoSyn,
}

impl Plan {
    /// SYNs at least (every port answers) and at most (every host lives, and every port of it is silent in all rounds).
    pub fn syns(&self) -> (u64, u64) {
        let each_round = match self.engine {
            // The kernel repeats a SYN that stays unanswered for a second (tcp(7), tcp_syn_retries).
            PlannedEngine::Connect { .. } => 2,
            PlannedEngine::Syn => 1,
            PlannedEngine::NoSyn => return (0, 0),
        };
        (self.tcp.endpoints, self.tcp.endpoints.saturating_mul(each_round).saturating_mul(self.tcp.rounds.into()))
    }

    /// The least time for every endpoint once, by the limits and by what the engines reach.
    pub fn least_time(&self) -> Duration {
        let reached = match self.engine {
            PlannedEngine::Connect { .. } => CONNECT_RATE,
            PlannedEngine::Syn | PlannedEngine::NoSyn => SYN_RATE,
        };
        let (tcp, udp) = (self.seconds(&self.tcp, reached), self.seconds(&self.udp, CONNECT_RATE));
        Duration::from_secs(tcp.saturating_add(udp).max(1))
    }

    fn seconds(&self, sweep: &PlannedSweep, reached: u64) -> u64 {
        let by_rate = sweep.endpoints / self.rate.unwrap_or(reached).max(1);
        let per_host = u128::from(sweep.endpoints) / self.addresses.max(1);
        let limit = [self.host_rate, sweep.own_host_rate].into_iter().flatten().min();
        let by_host = limit.map_or(0, |rate| per_host / u128::from(rate.max(1)));
        by_rate.max(u64::try_from(by_host).unwrap_or(u64::MAX))
    }

    fn write_tcp(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = self.syns();
        let rounds = self.tcp.rounds;
        let engine = match self.engine {
            PlannedEngine::Connect { without_privilege: true } => "connect, as raw packets take root or CAP_NET_RAW",
            PlannedEngine::Connect { without_privilege: false } => "connect",
            PlannedEngine::Syn => "syn",
            PlannedEngine::NoSyn => {
                return writeln!(f, "engine     syn, which takes root or CAP_NET_RAW: nothing would be sent");
            }
        };
        writeln!(f, "engine     {engine}: 2 rounds, up to {rounds} where answers are lost")?;
        writeln!(f, "TCP SYNs   {least} at least, where every port answers")?;
        writeln!(
            f,
            "           about {} where every host lives and every port drops, {most} at most (estimates)",
            least.saturating_mul(2)
        )?;
        match self.engine {
            PlannedEngine::Connect { .. } => writeln!(
                f,
                "           the kernel repeats one that stays unanswered for a second; open ports get a reset beside"
            ),
            _ => writeln!(
                f,
                "           none to addresses on the link that nobody has: up to 3 ARP or neighbour questions each\n\
                 \x20          beside (estimate): 1 in 256 to ports known to answer, up to 2048 in a later round; 3 to unused\n\
                 \x20          ports of each host with open ones"
            ),
        }
    }
}

/// What the engines reach on two cores with nothing in their way, for the estimate only.
const CONNECT_RATE: u64 = 150_000;
const SYN_RATE: u64 = 500_000;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
        let limit = |rate: Option<u64>| rate.map_or_else(|| "max".to_owned(), |rate| rate.to_string());
        let addresses = if self.addresses == 1 { "address" } else { "addresses" };
        writeln!(f, "targets    {} ({} {addresses})", self.targets.join(" "), self.addresses)?;
        if !self.excluded.is_empty() {
            writeln!(f, "excluded   {}", self.excluded.join(" "))?;
        }
        writeln!(f, "TCP ports  {}", or_none(&self.tcp.ports))?;
        writeln!(f, "UDP ports  {}", or_none(&self.udp.ports))?;
        let shard = if self.shard.is_empty() { String::new() } else { format!(" (part {})", self.shard) };
        writeln!(f, "endpoints  {} TCP, {} UDP{shard}", self.tcp.endpoints, self.udp.endpoints)?;
        if self.tcp.endpoints > 0 {
            self.write_tcp(f)?;
        }
        if self.udp.endpoints > 0 {
            let (least, rounds) = (self.udp.endpoints, self.udp.rounds);
            let most = least.saturating_mul(rounds.into());
            writeln!(f, "UDP        {least} datagrams at least, {most} at most, in {rounds} rounds")?;
        }
        if self.probes {
            writeln!(f, "probes     of each open port, beside")?;
        }
        writeln!(f, "rate       {} a second, {} to one host", limit(self.rate), limit(self.host_rate.map(u64::from)))?;
        writeln!(f, "time       {} s at least, for every endpoint once (estimate)", self.least_time().as_secs())?;
        writeln!(f, "results    {}", self.results.join(", "))?;
        write!(f, "nothing was sent")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(engine: PlannedEngine) -> Plan {
        Plan {
            targets: vec!["198.18.0.0/24".to_owned()],
            excluded: vec!["198.18.0.1".to_owned()],
            addresses: 255,
            shard: String::new(),
            tcp: PlannedSweep { ports: "1-1000".to_owned(), endpoints: 255_000, rounds: 6, own_host_rate: None },
            udp: PlannedSweep::default(),
            engine,
            probes: true,
            rate: Some(1000),
            host_rate: Some(5000),
            results: vec!["table to stdout".to_owned()],
        }
    }

    #[test]
    fn says_all_that_a_sweep_would_do() {
        let text = plan(PlannedEngine::Connect { without_privilege: true }).to_string();
        for part in [
            "198.18.0.0/24 (255 addresses)",
            "excluded   198.18.0.1",
            "UDP ports  none",
            "connect, as raw packets take root or CAP_NET_RAW: 2 rounds, up to 6",
            "255000 at least",
            "3060000 at most",
            "255 s",
            "table to stdout",
            "nothing was sent",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        assert!(!text.contains("datagrams"), "{text}");
    }

    #[test]
    fn each_engine_counts_its_own_packets() {
        let syn = Plan { tcp: PlannedSweep { rounds: 13, ..plan(PlannedEngine::Syn).tcp }, ..plan(PlannedEngine::Syn) };
        assert_eq!(syn.syns(), (255_000, 255_000 * 13));
        assert!(syn.to_string().contains("neighbour questions"));
        assert_eq!(plan(PlannedEngine::NoSyn).syns(), (0, 0));
        assert!(plan(PlannedEngine::NoSyn).to_string().contains("nothing would be sent"));
    }

    #[test]
    fn the_rate_to_one_host_may_be_what_takes_the_time() {
        let one = |own_host_rate| Plan {
            addresses: 1,
            tcp: PlannedSweep { endpoints: 65_535, own_host_rate, ..PlannedSweep::default() },
            rate: None,
            host_rate: Some(100),
            ..plan(PlannedEngine::Syn)
        };
        assert_eq!(one(None).least_time().as_secs(), 655);
        assert_eq!(one(Some(20)).least_time().as_secs(), 3276);
    }
}
