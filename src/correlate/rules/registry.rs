//! The table of rules, what they are given, and the order of what they find.

use std::cmp::Reverse;
use std::net::IpAddr;

use super::{
    anonymous_admitted, answers_everything, certificate_expired, contradiction, family_gap, firewall_bypass, guarded,
    leaked_local, reachable_service, unauthenticated_service, unreported, vantage_gap,
};
use crate::correlate::everything::{Flood, UNKNOWN_SERVICE};
use crate::correlate::stakes::Stakes;
use crate::correlate::triage::{self, Door, Subject};
use crate::correlate::verdict::Sight;
use crate::model::report::{EndpointEntry, Host, Vantage};
use crate::model::{Confidence, Finding, PathAnswer, PortState, ServiceFacts, Severity, Verdict};

/// A rule: its name, as in findings, and its check of one host.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub name: &'static str,
    pub check: fn(&HostCase<'_>) -> Vec<Finding>,
}

/// A rule about what several vantages of one run saw of one endpoint: its name, as in findings, and its check.
#[derive(Clone, Copy, Debug)]
pub struct VantageRule {
    pub name: &'static str,
    pub check: fn(&Case<'_>, &[Vantage]) -> Option<Finding>,
}

/// Every rule about one look, sorted by name.
pub const ALL: &[Rule] = &[
    Rule { name: anonymous_admitted::NAME, check: anonymous_admitted::check },
    Rule { name: answers_everything::NAME, check: answers_everything::check },
    Rule { name: certificate_expired::NAME, check: certificate_expired::check },
    Rule { name: contradiction::NAME, check: contradiction::check },
    Rule { name: family_gap::NAME, check: family_gap::check },
    Rule { name: firewall_bypass::NAME, check: firewall_bypass::check },
    Rule { name: guarded::NAME, check: guarded::check },
    Rule { name: leaked_local::NAME, check: leaked_local::check },
    Rule { name: reachable_service::NAME, check: reachable_service::check },
    Rule { name: unauthenticated_service::NAME, check: unauthenticated_service::check },
    Rule { name: unreported::NAME, check: unreported::check },
];

/// Every rule about several looks.
pub const OF_VANTAGES: &[VantageRule] = &[VantageRule { name: vantage_gap::NAME, check: vantage_gap::check }];

/// One host with all that the rules may look at.
#[derive(Debug)]
pub struct HostCase<'a> {
    pub host: &'a Host,
    pub cases: Vec<Case<'a>>,
    pub floods: &'a [Flood],
}

/// One endpoint with all that the rules may look at.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    pub entry: &'a EndpointEntry,
    pub facts: Option<&'a ServiceFacts>,
    /// Of the one service whose usual port it is, where no probe got an answer and no owner is known to be another.
    pub usual: Option<&'a ServiceFacts>,
    pub sight: Sight,
    /// Of the verdict; certain where none was made.
    pub confidence: Confidence,
    /// The container's port, when the port is published for one.
    pub published: Option<u16>,
    /// What the host's own rules do with it.
    pub answer: Option<&'a PathAnswer>,
    pub stakes: Option<&'a Stakes>,
}

impl<'a> Case<'a> {
    pub fn is_open(&self) -> bool {
        self.entry.state == PortState::Open
    }

    /// Open to others, as far as was seen: not an address that only the machine itself reaches.
    pub fn is_reachable(&self) -> bool {
        let by_network = !self.entry.address.is_loopback() || self.entry.via.is_some();
        self.is_open() && by_network && self.entry.verdict != Some(Verdict::LocalOnly)
    }

    /// Name for people of what answers; the port where nothing was recognised.
    pub fn title(&self) -> String {
        let service = self.entry.service.as_ref().filter(|service| service.name != UNKNOWN_SERVICE);
        match (self.facts.map(|facts| facts.title.as_str()), service) {
            (Some(title), _) if !title.is_empty() => title.to_owned(),
            (_, Some(service)) => service.product.clone().unwrap_or_else(|| service.name.clone()),
            (_, None) => format!("Port {}/{}", self.entry.port, self.entry.transport),
        }
    }

    /// How bad reaching the service is, by its definition.
    pub fn service_severity(&self) -> Severity {
        self.entry.service.as_ref().map_or(Severity::Info, |service| service.severity)
    }

    /// How sure it is that the network reaches it.
    pub const fn reach_confidence(&self) -> Confidence {
        match self.sight {
            Sight::Outside => Confidence::Certain,
            Sight::Own => Confidence::Possible,
        }
    }

    /// What each finding adds about from where it was seen.
    pub fn sight_sentence(&self) -> Option<String> {
        (self.sight == Sight::Own).then(|| {
            "It was seen from the machine itself, over lo: a scan from a neighbour settles whether the network reaches it."
                .to_owned()
        })
    }

    /// A finding about the endpoint. The reasons are those of the rule, then those of the verdict.
    pub fn finding(&self, rule: &str, severity: Severity, confidence: Confidence, title: String) -> Finding {
        let mut why: Vec<String> = self.entry.also.clone();
        if why.is_empty() {
            // A plain scan judges nothing; where it was seen from is what there is.
            why.push(format!("{} is open, seen from {}.", self.entry.endpoint(), self.entry.seen_from.join(", ")));
        }
        why.extend(self.stakes.into_iter().flat_map(|stakes| stakes.sentences.iter().cloned()));
        why.extend(self.sight_sentence());
        let mut triage = triage::answers(self.subject());
        if let Some(answer) = self.answer.filter(|answer| !answer.fix.is_empty()) {
            // The rules of this very host say where the line belongs.
            triage.firewall = format!("{}.", answer.fix.join("; or "));
        }
        Finding {
            rule: rule.to_owned(),
            severity,
            confidence,
            endpoint: self.entry.endpoint().to_string(),
            via: self.entry.via.clone(),
            title,
            why,
            triage,
            references: self.facts.or(self.usual).map_or_else(Vec::new, |facts| facts.references.clone()),
        }
    }

    fn subject(&self) -> Subject<'a> {
        let door = match self.entry.verdict {
            Some(Verdict::Contradiction) => Door::Beside,
            Some(Verdict::Unreported | Verdict::LeakedLocal) => Door::Unknown,
            _ if self.published.is_some() => Door::Forward,
            _ => Door::Input,
        };
        Subject {
            entry: self.entry,
            facts: self.facts.or(self.usual),
            published: self.published,
            answer: self.answer,
            door,
        }
    }
}

/// Runs every rule over the hosts and ranks what they find: severity first, then bypasses and leaks, how far it reaches,
/// and what a break-in behind it would be worth.
pub fn findings(hosts: &[HostCase<'_>]) -> Vec<Finding> {
    let mut ranked: Vec<(Rank, Finding)> = Vec::new();
    for host in hosts {
        for rule in ALL {
            ranked.extend((rule.check)(host).into_iter().map(|finding| (rank(host, &finding), finding)));
        }
    }
    // The sort is stable: what ranks alike keeps the order of hosts, rules and endpoints.
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, finding)| finding).collect()
}

/// Smaller comes first.
type Rank = (Reverse<Severity>, Reverse<bool>, Reverse<Reach>, Reverse<u8>, Reverse<Confidence>);

/// From how far an endpoint is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Own,
    Link,
    Private,
    Public,
}

fn rank(host: &HostCase<'_>, finding: &Finding) -> Rank {
    let case = host.cases.iter().find(|case| finding.is_about(case.entry));
    // What was reached through the host is reached as far as the host is.
    let apart = case.filter(|case| case.entry.via.is_none());
    let address = apart.map_or(host.host.address, |case| case.entry.address);
    let reach = match case.map(|case| case.sight) {
        Some(Sight::Own) => Reach::Own,
        _ => reach(address),
    };
    // What gets by a firewall that somebody trusts comes before what is open as configured.
    let trusted = gets_by(&finding.rule);
    let stakes = case.and_then(|case| case.stakes).map_or(0, |stakes| stakes.weight);
    (Reverse(finding.severity), Reverse(trusted), Reverse(reach), Reverse(stakes), Reverse(finding.confidence))
}

/// What the rule finds gets by something that somebody trusts in.
pub fn gets_by(rule: &str) -> bool {
    [firewall_bypass::NAME, leaked_local::NAME].contains(&rule)
}

fn reach(address: IpAddr) -> Reach {
    if address.is_loopback() {
        return Reach::Own;
    }
    if crate::correlate::address::is_link_local(address) {
        return Reach::Link;
    }
    let private = match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            // RFC 1918, the shared space of RFC 6598 and the benchmark networks of RFC 2544.
            address.is_private() || (first == 100 && second & 0xc0 == 64) || (first == 198 && second & 0xfe == 18)
        }
        // RFC 4193 and the documentation prefix of RFC 3849.
        IpAddr::V6(address) => address.is_unique_local() || address.segments()[..2] == [0x2001, 0x0db8],
    };
    if private { Reach::Private } else { Reach::Public }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_sorted_and_unique() {
        let names: Vec<&str> = ALL.iter().map(|rule| rule.name).collect();
        assert!(names.is_sorted_by(|one, other| one < other), "{names:?}");
        assert!(OF_VANTAGES.iter().all(|rule| !names.contains(&rule.name)));
    }

    #[test]
    fn public_addresses_reach_farther() {
        let reach = |text: &str| reach(text.parse().unwrap());
        assert!(reach("9.9.9.9") > reach("192.168.0.1"));
        assert!(reach("2620:fe::fe") > reach("fd00::1"));
        assert_eq!(reach("198.18.0.1"), reach("10.0.0.1"));
        assert!(reach("10.0.0.1") > reach("fe80::1") && reach("fe80::1") > reach("127.0.0.1"));
    }
}
