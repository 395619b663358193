//! A look from another machine: what is asked of it (`postern look`, a job on its input), and both ends of that.
//!
//! The targets are addresses by then, and the guard has looked at them here. Nothing of the job becomes part of a command.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use super::command::catalogue;
use super::interrupt::Interrupt;
use super::looking::{Ends, Looked, Orders, Pace, look_from};
use super::outside::Seen;
use super::place::{Place, Stand};
use super::progress::{ProgressBar, ShowProgress};
use super::sink::Sink;
use super::through::Behind;
use super::{RunError, identity};
use crate::cli::Exit;
use crate::cli::settings::ProbeUse;
use crate::cli::{EngineChoice, TransmitChoice};
use crate::host::remote::{Collector, RemoteSettings, SshDestination};
use crate::model::report::{Gap, Run, Scope, ScopePorts, Status, VantageKind};
use crate::model::{Endpoint, PortRanges, Report};
use crate::net::own_addresses;
use crate::report::json;
use crate::targets::TargetSet;
use crate::targets::item::Item;

/// One line on the input of `postern look`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Job {
    /// Always [`SCHEMA`]: both ends are of one version, or say so.
    schema: String,
    vantage: String,
    /// Addresses and ranges, without those that are excluded.
    targets: Vec<String>,
    tcp: String,
    udp: String,
    parallel: Option<usize>,
    rate: Option<u64>,
    host_rate: Option<u32>,
    engine: String,
    transmit: String,
    recall: Option<f64>,
    shard: String,
    /// `none`, `safe`, `fragile`.
    probes: String,
    #[serde(default)]
    behind: Vec<JobBehind>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JobBehind {
    name: String,
    addresses: Vec<IpAddr>,
    wanted: Vec<String>,
}

/// Looks from `destination`.
///
/// # Errors
/// It cannot be reached, has no postern and takes none, or what it printed is no report.
pub async fn look_from_there(
    name: &str,
    destination: &SshDestination,
    settings: &RemoteSettings,
    orders: &Orders,
    interrupt: &Interrupt,
) -> Result<Looked, RunError> {
    let job = Job::of(name, orders);
    let text = serde_json::to_string(&job).unwrap_or_default();
    let collector = Collector::new(settings.clone()).map_err(RunError::Remote)?;
    let looked = collector.look(destination, &text, &interrupt.flag()).await;
    let printed = looked.map_err(|failure| RunError::RemoteLook {
        name: name.to_owned(),
        hint: failure.hint(destination),
        failure,
    })?;
    let mut report = json::read(name, &printed).map_err(RunError::Scan)?;
    for host in &mut report.hosts {
        host.names = orders.names.get(&host.address).cloned().unwrap_or_default();
    }
    let Report { run, hosts, silent, .. } = report;
    let Some(sweep) = run.sweep else {
        let failure = crate::host::remote::Failure::NoListing("its report has no sweep".to_owned());
        return Err(RunError::RemoteLook { name: name.to_owned(), hint: failure.hint(destination), failure });
    };
    let seen = Seen {
        hosts,
        silent,
        sweep,
        vantages: run.vantages,
        gaps: run.gaps,
        interrupted: run.status == Status::Interrupted,
    };
    Ok(Looked { seen, own: Vec::new(), targets: orders.narrowed.then(|| orders.targets.describe()) })
}

/// `postern look`: reads a job, looks, prints the report. It stops when nobody is left to read it.
pub async fn serve() -> Result<Exit, RunError> {
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|error| RunError::Read { name: "the job on stdin".to_owned(), error })?;
    let job: Job = serde_json::from_str(&line).map_err(|error| RunError::Job(error.to_string()))?;
    if job.schema != SCHEMA {
        return Err(RunError::Job(format!("`{}` is not {SCHEMA}", job.schema)));
    }
    let interrupt = Interrupt::listen().map_err(RunError::Signals)?;
    watch_output(&interrupt);
    let catalogue = catalogue(None)?;
    let sink = Sink::open(&[])?;
    let progress = ProgressBar::new(ShowProgress::Never);
    let started = identity::now();
    let place = Place { name: Some(job.vantage.clone()), kind: VantageKind::Ssh, stand: Stand::Here };
    let orders = job.orders()?;
    let run = Run::begun(
        identity::run_id(started),
        started.to_string(),
        Scope {
            targets: job.targets.clone(),
            excluded: Vec::new(),
            ports: ScopePorts { tcp: job.tcp.clone(), udp: job.udp.clone() },
        },
    );
    // Nobody is asked over ssh from here.
    let remote = RemoteSettings {
        ssh_config: None,
        agentless: true,
        static_binaries: Vec::new(),
        parallel: 1,
        limit: Duration::ZERO,
    };
    let ends = Ends { catalogue: &catalogue, sink: &sink, progress: &progress, interrupt: &interrupt, remote: &remote };
    let (mut report, _) = look_from(&place, orders, ends).await?.into_report(&run);
    report.run.finished_at = identity::now().to_string();
    let mut out = std::io::stdout().lock();
    json::write(&report, &mut out).and_then(|()| out.flush()).map_err(RunError::Stdout)?;
    Ok(Exit::Clean)
}

impl Job {
    fn of(vantage: &str, orders: &Orders) -> Self {
        let Pace { parallel, rate, host_rate, engine, transmit, recall, shard, probes } = orders.pace;
        Self {
            schema: SCHEMA.to_owned(),
            vantage: vantage.to_owned(),
            targets: orders.targets.describe(),
            tcp: orders.tcp.to_string(),
            udp: orders.udp.to_string(),
            parallel,
            rate,
            host_rate,
            engine: engine.word(),
            transmit: transmit.word(),
            recall,
            shard: shard.to_string(),
            probes: PROBES.iter().find(|(_, known)| *known == probes).map_or("none", |(name, _)| name).to_owned(),
            behind: orders
                .behind
                .iter()
                .map(|behind| JobBehind {
                    name: behind.name.clone(),
                    addresses: behind.addresses.clone(),
                    wanted: behind.wanted.iter().map(Endpoint::to_string).collect(),
                })
                .collect(),
        }
    }

    fn orders(&self) -> Result<Orders, RunError> {
        let wrong = |what: &str, value: &str| RunError::Job(format!("`{value}` is no {what}"));
        let mut ranges = Vec::new();
        for target in &self.targets {
            match Item::parse(target) {
                Ok(Item::Range(first, last)) => ranges.push((first, last)),
                _ => return Err(wrong("address", target)),
            }
        }
        let ports = |text: &str| -> Result<PortRanges, RunError> {
            if text.is_empty() {
                return Ok(PortRanges::default());
            }
            text.parse().map_err(|_| wrong("list of ports", text))
        };
        let probes = PROBES.iter().find(|(name, _)| *name == self.probes).map(|(_, probes)| *probes);
        let mut behind = Vec::new();
        for one in &self.behind {
            let wanted: Result<BTreeSet<Endpoint>, RunError> =
                one.wanted.iter().map(|text| text.parse().map_err(|_| wrong("endpoint", text))).collect();
            behind.push(Behind { name: one.name.clone(), addresses: one.addresses.clone(), wanted: wanted? });
        }
        Ok(Orders {
            targets: TargetSet::from_ranges(ranges),
            names: BTreeMap::new(),
            tcp: ports(&self.tcp)?,
            udp: ports(&self.udp)?,
            pace: Pace {
                parallel: self.parallel,
                rate: self.rate,
                host_rate: self.host_rate,
                engine: EngineChoice::from_word(&self.engine).ok_or_else(|| wrong("engine", &self.engine))?,
                transmit: TransmitChoice::from_word(&self.transmit)
                    .ok_or_else(|| wrong("way to transmit", &self.transmit))?,
                recall: self.recall,
                shard: self.shard.parse().map_err(|_| wrong("shard", &self.shard))?,
                probes: probes.ok_or_else(|| wrong("use of probes", &self.probes))?,
            },
            seed: identity::seed(),
            narrowed: false,
            behind,
            machine: own_addresses()?,
        })
    }
}

/// Raises the interrupt when the reader of our output is gone: the connection that asked for this has ended.
fn watch_output(interrupt: &Interrupt) {
    let flag = interrupt.flag();
    let watched = std::thread::Builder::new().name("output".to_owned()).spawn(move || {
        let glance = Timespec { tv_sec: 1, tv_nsec: 0 };
        let stdout = std::io::stdout();
        while !flag.load(Ordering::SeqCst) {
            // Errors and hang-ups are told without being asked for (poll(2)).
            let mut events = [PollFd::new(&stdout, PollFlags::empty())];
            match poll(&mut events, Some(&glance)) {
                Ok(_) if events[0].revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) => {
                    flag.store(true, Ordering::SeqCst);
                }
                Ok(_) => {}
                Err(_) => std::thread::sleep(Duration::from_secs(1)),
            }
        }
    });
    // Without the thread the sweep goes on to its end, which is bounded.
    drop(watched);
}

/// A gap for a vantage that is another machine's.
pub fn unused_definitions() -> Gap {
    Gap {
        what: "the probe definitions of --probes, from vantages over ssh".to_owned(),
        cause: "the other machine asks with its built-in ones".to_owned(),
        settled_by: "a run of postern there".to_owned(),
        incomplete: false,
    }
}

const SCHEMA: &str = "postern.look/1";
const PROBES: [(&str, ProbeUse); 3] =
    [("none", ProbeUse::None), ("safe", ProbeUse::Safe), ("fragile", ProbeUse::Fragile)];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Shard;

    #[test]
    fn a_job_comes_back_as_it_was_given() {
        let endpoint: Endpoint = "172.17.0.2:80/tcp".parse().unwrap();
        let orders = Orders {
            targets: TargetSet::from_ranges([("198.18.0.0".parse().unwrap(), "198.18.0.255".parse().unwrap())]),
            names: BTreeMap::new(),
            tcp: "22,80-90".parse().unwrap(),
            udp: PortRanges::default(),
            pace: Pace {
                parallel: Some(3),
                rate: None,
                host_rate: Some(50),
                engine: EngineChoice::Syn,
                transmit: TransmitChoice::Kernel,
                recall: Some(0.999),
                shard: Shard::new(2, 3).unwrap(),
                probes: ProbeUse::Safe,
            },
            seed: 1,
            narrowed: false,
            behind: vec![Behind {
                name: "web".to_owned(),
                addresses: vec!["198.18.0.7".parse().unwrap()],
                wanted: BTreeSet::from([endpoint]),
            }],
            machine: Vec::new(),
        };
        let text = serde_json::to_string(&Job::of("ssh://web", &orders)).unwrap();
        let back = serde_json::from_str::<Job>(&text).unwrap().orders().unwrap();
        assert_eq!((back.targets, back.tcp, back.udp), (orders.targets, orders.tcp, orders.udp));
        assert_eq!((back.pace.parallel, back.pace.host_rate, back.pace.probes), (Some(3), Some(50), ProbeUse::Safe));
        assert_eq!((back.pace.engine, back.pace.transmit), (EngineChoice::Syn, TransmitChoice::Kernel));
        assert_eq!((back.pace.recall, back.pace.shard), (Some(0.999), Shard::new(2, 3).unwrap()));
        assert!(back.behind[0].wanted.contains(&endpoint));
        assert!(serde_json::from_str::<Job>(&text.replace("\"tcp\"", "\"tpc\"")).is_err());
    }
}
