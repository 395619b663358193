//! From which places a run looks, and what is asked from each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::RunError;
use super::looking::{Looked, Orders};
use super::place::{self, Place, Stand};
use crate::cli::{ScanSettings, VantageChoice};
use crate::model::Report;
use crate::model::report::{Gap, Run, SCHEMA, Status, Tool, VantageKind};
use crate::net::{OwnAddress, own_addresses};
use crate::targets::TargetSet;

/// The places of a run, before they are opened.
#[derive(Debug)]
pub struct Vantages {
    /// Empty: where the routes lead.
    choices: Vec<VantageChoice>,
    /// The operator named them, so that one which cannot be had makes the run incomplete.
    asked_for: bool,
    /// The operator has probe definitions of his own.
    own_definitions: bool,
}

impl Vantages {
    /// `itself`: this machine is to be audited, and nothing else.
    pub fn of(scan: &ScanSettings, itself: bool) -> Self {
        let choices = match (&scan.vantages[..], itself) {
            ([], true) if rustix::process::geteuid().is_root() => vec![VantageChoice::Neighbour],
            (given, _) => given.to_vec(),
        };
        Self { choices, asked_for: !scan.vantages.is_empty(), own_definitions: scan.probes_dir.is_some() }
    }

    /// What a run would look from, a line each.
    pub fn plan(&self) -> Vec<String> {
        let changes = |choice: &VantageChoice| match choice {
            VantageChoice::Neighbour => {
                ": one more interface on this host with a free /30 and /126, and a namespace at its other end, both gone \
                 when the run ends"
            }
            VantageChoice::Ssh(_) => ": runs postern there",
            _ => "",
        };
        self.choices.iter().map(|choice| format!("vantage: {choice}{}", changes(choice))).collect()
    }

    /// Whether the names mean something, as far as that can be told without changing anything or asking anybody.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn check(&self, own: &[OwnAddress]) -> Result<(), RunError> {
        let harmless = |choice: &VantageChoice| matches!(choice, VantageChoice::Interface(_) | VantageChoice::Netns(_));
        if self.choices.iter().all(harmless) {
            self.open(own).await?;
        }
        Ok(())
    }

    /// Goes to all places. Those that cannot be had are gaps as long as one is left.
    ///
    /// # Errors
    /// None can be had.
    pub async fn open(&self, own: &[OwnAddress]) -> Result<(Vec<Place>, Vec<Gap>), RunError> {
        if self.choices.is_empty() {
            return Ok((vec![Place::by_route()], Vec::new()));
        }
        let mut places = Vec::new();
        let mut gaps = Vec::new();
        let mut causes = Vec::new();
        let mut unknown = true;
        for choice in &self.choices {
            match Place::open(choice, own).await {
                Ok(place) => places.push(place),
                Err(error) => {
                    // What ends the run is told at its end.
                    if self.choices.len() > 1 || !self.asked_for {
                        tracing::warn!("{error}");
                    }
                    unknown &= error.is_unknown();
                    gaps.push(place::missing(choice, &error, self.asked_for));
                    causes.push(error.to_string());
                }
            }
        }
        if self.own_definitions && places.iter().any(|place| place.kind == VantageKind::Ssh) {
            gaps.push(super::remote_look::unused_definitions());
        }
        if places.is_empty() && self.asked_for {
            let causes = causes.join("; ");
            return Err(if unknown { RunError::UnknownVantage(causes) } else { RunError::NoVantage(causes) });
        }
        if places.is_empty() {
            places.push(Place::by_route());
        }
        Ok((places, gaps))
    }
}

impl Place {
    /// What can be asked from here: a neighbour and the loopback see this machine only. What is left out is a gap.
    ///
    /// `alone`: nothing else looks at what is left out.
    pub fn narrow(&self, mut orders: Orders, alone: bool) -> (Orders, Option<Gap>) {
        if let Stand::Inside(namespace) = &self.stand {
            // What cannot be known is asked.
            let own = namespace.inside(own_addresses).map(Result::ok).ok().flatten();
            return match own {
                Some(own) => self.narrow_to_families(orders, &own, alone),
                None => (orders, None),
            };
        }
        let own: Vec<IpAddr> = match (&self.stand, self.kind) {
            (Stand::Neighbour(_), _) => place::neighbours_targets(&orders.machine).collect(),
            (_, VantageKind::Own) => orders.machine.iter().map(|own| own.address).collect(),
            _ => return (orders, None),
        };
        let loopback = [("127.0.0.0", "127.255.255.255"), ("::1", "::1")];
        let loopback = loopback.into_iter().filter(|_| self.kind == VantageKind::Own);
        let reached = TargetSet::from_ranges(
            own.into_iter()
                .map(|address| (address, address))
                .chain(loopback.filter_map(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)))),
        );
        let rest = orders.targets.without(&reached);
        orders.targets = orders.targets.without(&rest);
        orders.narrowed = !rest.is_empty();
        let gap = (!rest.is_empty()).then(|| Gap {
            what: format!("{} from {}", rest.describe().join(", "), self.label()),
            cause: "it sees the addresses of this host only".to_owned(),
            settled_by: "a vantage from which those addresses are reached".to_owned(),
            incomplete: true,
        });
        (orders, gap)
    }

    /// Leaves out the targets of a family in which the namespace has no address: it reaches none of them, and silence would
    /// look like a filter.
    fn narrow_to_families(&self, mut orders: Orders, own: &[OwnAddress], alone: bool) -> (Orders, Option<Gap>) {
        let lacks = |ipv4: bool| !own.iter().any(|one| one.address.is_ipv4() == ipv4 && !one.address.is_loopback());
        let families = [
            (true, IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::BROADCAST)),
            (false, IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::from_bits(u128::MAX))),
        ];
        let unreached: Vec<(bool, IpAddr, IpAddr)> = families.into_iter().filter(|(ipv4, ..)| lacks(*ipv4)).collect();
        let reached =
            orders.targets.without(&TargetSet::from_ranges(unreached.iter().map(|(_, first, last)| (*first, *last))));
        let rest = orders.targets.without(&reached);
        if rest.is_empty() {
            return (orders, None);
        }
        orders.targets = reached;
        orders.narrowed = true;
        let names: Vec<&str> = unreached.iter().map(|(ipv4, ..)| if *ipv4 { "IPv4" } else { "IPv6" }).collect();
        let gap = Gap {
            what: format!("{} from {}", rest.describe().join(", "), self.label()),
            cause: format!("it has no {} address", names.join(" and no ")),
            settled_by: "a vantage from which those addresses are reached".to_owned(),
            incomplete: alone,
        };
        (orders, Some(gap))
    }

    /// A gap for a look that failed.
    pub fn lost(&self, error: &RunError) -> Gap {
        Gap {
            what: format!("the view from {}", self.label()),
            cause: error.to_string(),
            settled_by: "another run".to_owned(),
            incomplete: true,
        }
    }

    fn label(&self) -> &str {
        self.name.as_deref().unwrap_or("here")
    }
}

impl Looked {
    /// A report of this look alone, and the addresses that were its own.
    pub fn into_report(self, run: &Run) -> (Report, Vec<IpAddr>) {
        let Self { seen, own, targets } = self;
        let mut run = run.clone();
        run.scope.targets = targets.unwrap_or(run.scope.targets);
        run.status = if seen.interrupted { Status::Interrupted } else { run.status };
        run.sweep = Some(seen.sweep);
        run.vantages = seen.vantages;
        run.gaps.extend(seen.gaps);
        let report = Report {
            schema: SCHEMA.to_owned(),
            tool: Tool::this(),
            run,
            hosts: seen.hosts,
            silent: seen.silent,
            findings: Vec::new(),
        };
        (report, own)
    }
}
