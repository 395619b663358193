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
    /// Ports as ranges; empty when the transport is not swept.
    pub tcp_ports: String,
    pub udp_ports: String,
    pub tcp_endpoints: u64,
    pub udp_endpoints: u64,
    /// Probes per second in all, if limited.
    pub rate: Option<u64>,
    /// Probes per second to one host, if limited.
    pub host_rate: Option<u32>,
}

impl Plan {
    /// SYNs and datagrams at least (every endpoint once) and at most (nothing answers and every host lives: asked again
    /// each round, and the kernel repeats a SYN that stays unanswered for a second).
    pub const fn packets(&self) -> (u64, u64) {
        let least = self.tcp_endpoints.saturating_add(self.udp_endpoints);
        (
            least,
            self.tcp_endpoints
                .saturating_mul(2 * MAX_ROUNDS)
                .saturating_add(self.udp_endpoints.saturating_mul(MAX_ROUNDS)),
        )
    }

    /// The least time that the limits allow for every endpoint once.
    pub fn least_time(&self) -> Duration {
        let probes = self.tcp_endpoints.saturating_add(self.udp_endpoints);
        let by_rate = probes / self.rate.unwrap_or(UNLIMITED_RATE).max(1);
        let per_host = u128::from(probes) / self.addresses.max(1);
        let by_host = self.host_rate.map_or(0, |rate| per_host / u128::from(rate.max(1)));
        Duration::from_secs(by_rate.max(u64::try_from(by_host).unwrap_or(u64::MAX)))
    }
}

/// Rounds that a sweep makes at most.
const MAX_ROUNDS: u64 = 6;

/// What the connect sweep reaches on two cores, for the estimate only.
const UNLIMITED_RATE: u64 = 80_000;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
        let limit = |rate: Option<u64>| rate.map_or_else(|| "max".to_owned(), |rate| rate.to_string());
        let (least, most) = self.packets();
        writeln!(f, "targets    {} ({} addresses)", self.targets.join(" "), self.addresses)?;
        if !self.excluded.is_empty() {
            writeln!(f, "excluded   {}", self.excluded.join(" "))?;
        }
        writeln!(f, "TCP ports  {}", or_none(&self.tcp_ports))?;
        writeln!(f, "UDP ports  {}", or_none(&self.udp_ports))?;
        writeln!(f, "endpoints  {} TCP, {} UDP", self.tcp_endpoints, self.udp_endpoints)?;
        writeln!(f, "packets    {least} at least, {most} at most, probes of open ports beside")?;
        writeln!(f, "rate       {} a second, {} to one host", limit(self.rate), limit(self.host_rate.map(u64::from)))?;
        writeln!(f, "time       {} s at least where every port answers", self.least_time().as_secs().max(1))?;
        write!(f, "nothing was sent")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            targets: vec!["198.18.0.0/24".to_owned()],
            excluded: vec!["198.18.0.1".to_owned()],
            addresses: 255,
            tcp_ports: "1-1000".to_owned(),
            udp_ports: String::new(),
            tcp_endpoints: 255_000,
            udp_endpoints: 0,
            rate: Some(1000),
            host_rate: Some(5000),
        }
    }

    #[test]
    fn says_all_that_a_sweep_would_do() {
        let text = plan().to_string();
        for part in
            ["198.18.0.0/24 (255 addresses)", "excluded   198.18.0.1", "UDP ports  none", "255 s", "nothing was sent"]
        {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn the_host_rate_may_be_what_takes_the_time() {
        let one = Plan { addresses: 1, tcp_endpoints: 65_535, rate: None, host_rate: Some(100), ..plan() };
        assert_eq!(one.least_time().as_secs(), 655);
    }
}
