//! A short notation for reports and host reports, so that a scenario fits on a screen.

use std::collections::BTreeMap;
use std::net::IpAddr;

use postern::correlate::InsideView;
use postern::firewall::HostPath;
use postern::model::host_report::{
    self, AcceptQueue, HostAddress, Listener, Namespace, Privileges, PublishedPort, Source,
};
use postern::model::network::{FirewallDump, IptablesBackend, IptablesDump};
use postern::model::report::{
    self, EndpointEntry, Gap, Host, PortGroup, Run, Scope, ScopePorts, Status, Tool, Vantage, VantageKind,
};
use postern::model::service::ProbeEvidence;
use postern::model::{
    Access, Endpoint, Evidence, HostReport, NetworkState, PathModel, PortState, Reason, Report, Service, ServiceFacts,
    Severity, Transport, Triage,
};
use serde::Deserialize;

use crate::network::{network, no_rules};

/// What the sweep saw.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scan {
    pub targets: Vec<String>,
    #[serde(default)]
    pub tcp: String,
    #[serde(default)]
    pub udp: String,
    #[serde(default)]
    pub silent: Vec<String>,
    /// The scan went over lo.
    #[serde(default)]
    pub over_lo: bool,
    #[serde(default)]
    pub own_addresses: Vec<IpAddr>,
    #[serde(default)]
    pub host: Vec<ScanHost>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanHost {
    pub address: IpAddr,
    /// `80/tcp open accepted`, `80/tcp filtered icmp-host-prohibited from=198.18.0.1`,
    /// `2379/tcp open accepted service=etcd access=unauthenticated severity=critical`, `ttl=63 behind=1`,
    /// `options=mss_1460,sack,ts,nop,ws_7`.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// `tcp closed refused 1-21,23`.
    #[serde(default)]
    pub others: Vec<String>,
}

/// What a host said.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inside {
    #[serde(default = "unknown")]
    pub id: String,
    pub source: Source,
    /// The operator's word.
    pub address: Option<IpAddr>,
    pub collected_at: Option<String>,
    /// Taken with the right to enter network namespaces.
    #[serde(default)]
    pub enters_namespaces: bool,
    /// `198.18.0.7/16 eth0`, `172.17.0.1/16 docker0 bridge`.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// `container:web 172.17.0.2 container=web`; `unread`: without its rules, where the host's are given.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// `tcp 0.0.0.0:22 process=sshd pid=700 unit=ssh.service`; `[::]:22`, `v6only=`, `device=`, `ns=`, `user=`,
    /// `container=`, `queue=LENGTH/BACKLOG`, `client`, `activated`.
    pub listeners: Vec<String>,
    /// The same after the sweep.
    pub after: Option<Vec<String>>,
    /// `tcp 0.0.0.0:8080 -> 172.17.0.2:80 web`.
    #[serde(default)]
    pub published: Vec<String>,
    #[serde(default)]
    pub gaps: Vec<String>,
    /// The host's rules, as iptables-save prints them (IPv4); without it the report has none.
    pub rules: Option<String>,
    /// Backends beside it that hold nothing; what is missing here nobody looked at.
    #[serde(default = "others_empty")]
    pub empty: Vec<String>,
    /// `ipv4.conf.all.route_localnet=1`.
    #[serde(default)]
    pub sysctls: Vec<String>,
    /// `tc-ingress:u32 eth0`.
    #[serde(default)]
    pub attached: Vec<String>,
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn others_empty() -> Vec<String> {
    ["nft", "ip6tables-legacy"].map(str::to_owned).to_vec()
}

impl Scan {
    pub fn report(&self) -> Report {
        let (name, kind) = if self.over_lo { ("self", VantageKind::Own) } else { ("eth0", VantageKind::Interface) };
        // What the rules are asked about; nobody's address in any scenario.
        let source = if self.over_lo { Vec::new() } else { vec![[198, 18, 255, 1].into()] };
        let vantage =
            Vantage { name: name.to_owned(), kind, interface: Some("eth0".to_owned()), source, ..Vantage::default() };
        Report {
            schema: report::SCHEMA.to_owned(),
            tool: Tool { name: "postern".to_owned(), version: "0.0.0".to_owned() },
            run: Run {
                id: "r1".to_owned(),
                started_at: "2026-01-02T10:00:00Z".to_owned(),
                finished_at: "2026-01-02T10:01:00Z".to_owned(),
                status: Status::Complete,
                scope: Scope {
                    targets: self.targets.clone(),
                    excluded: Vec::new(),
                    ports: ScopePorts { tcp: self.tcp.clone(), udp: self.udp.clone() },
                },
                vantages: vec![vantage],
                sweep: None,
                gaps: Vec::new(),
                host_reports: Vec::new(),
            },
            hosts: self.host.iter().map(|host| host.host(name)).collect(),
            silent: self.silent.clone(),
            findings: Vec::new(),
        }
    }
}

impl ScanHost {
    fn host(&self, vantage: &str) -> Host {
        let mut endpoints: Vec<EndpointEntry> =
            self.endpoints.iter().map(|text| entry(self.address, text, vantage)).collect();
        endpoints.sort_by_key(|entry| (entry.address, entry.transport, entry.port));
        Host {
            endpoints,
            other_ports: self.others.iter().map(|text| group(self.address, text)).collect(),
            ..Host::at(self.address)
        }
    }
}

impl Inside {
    pub fn view(&self) -> InsideView {
        let after = self.after.as_ref().map(|listeners| self.report(listeners));
        InsideView { before: self.report(&self.listeners), after, address: self.address }
    }

    /// The namespaces, with routes and rules where the host's are given.
    fn namespaces(&self) -> Vec<Namespace> {
        let mut namespaces: Vec<Namespace> = self.namespaces.iter().map(|text| namespace(text)).collect();
        let Some(rules) = &self.rules else { return namespaces };
        for (inner, text) in namespaces.iter_mut().zip(&self.namespaces) {
            let addresses: Vec<HostAddress> =
                inner.addresses.iter().map(|address| host_address(&format!("{address}/16 eth0"))).collect();
            let firewall = (!Words::new(text).has("unread")).then(no_rules);
            inner.network = Some(NetworkState { firewall, ..network(&addresses, &[]) });
        }
        let addresses: Vec<HostAddress> = self.addresses.iter().map(|text| host_address(text)).collect();
        let mut own = namespace(host_report::HOST_NAMESPACE);
        let mut network = network(&addresses, &self.sysctls);
        for text in &self.attached {
            let words = Words::new(text);
            let interface = network.interfaces.iter_mut().find(|interface| interface.name == words.at(1)).unwrap();
            interface.bpf.push(words.at(0).to_owned());
        }
        network.firewall = Some(FirewallDump {
            iptables: vec![IptablesDump { ipv6: false, backend: IptablesBackend::Legacy, text: rules.clone() }],
            empty: self.empty.clone(),
            ..FirewallDump::default()
        });
        own.network = Some(network);
        namespaces.push(own);
        namespaces
    }

    fn report(&self, listeners: &[String]) -> HostReport {
        HostReport {
            schema: host_report::SCHEMA.to_owned(),
            tool: Tool { name: "postern".to_owned(), version: "0.0.0".to_owned() },
            id: self.id.clone(),
            hostname: (self.id != "unknown").then(|| self.id.clone()),
            collected_at: self.collected_at.clone(),
            source: self.source,
            privileges: Privileges {
                uid: self.enters_namespaces.then_some(0),
                namespaces: self.enters_namespaces,
                processes: self.enters_namespaces,
            },
            addresses: self.addresses.iter().map(|text| host_address(text)).collect(),
            namespaces: self.namespaces(),
            listeners: listeners.iter().map(|text| listener(text)).collect(),
            owners: Vec::new(),
            raw_sockets: Vec::new(),
            containers: Vec::new(),
            published: self.published.iter().map(|text| published(text)).collect(),
            os: None,
            gaps: self.gaps.iter().map(|what| gap(what)).collect(),
        }
    }
}

fn entry(address: IpAddr, text: &str, vantage: &str) -> EndpointEntry {
    let words = Words::new(text);
    let (port, transport) = words.at(0).split_once('/').unwrap();
    let service = words.key("service").map(|name| Service {
        name: name.to_owned(),
        product: None,
        version: None,
        tls: None,
        access: words.key("access").map_or(Access::Unknown, from_name),
        severity: words.key("severity").map_or(Severity::Info, |text| text.parse().unwrap()),
        summary: format!("Reaching {name} means something."),
        details: BTreeMap::new(),
        evidence: vec![ProbeEvidence { request: "GET /guarded".to_owned(), status: "200".to_owned(), detail: None }],
    });
    let endpoint = Endpoint::new(address, from_name(transport), port.parse().unwrap());
    EndpointEntry {
        evidence: Evidence {
            offender: words.key("from").map(|text| text.parse().unwrap()),
            ttl: words.key("ttl").map(|text| text.parse().unwrap()),
            behind: words.key("behind").map(|text| text.parse().unwrap()),
            options: words.key("options").map(|text| text.replace('_', " ").into()),
            ..Evidence::default()
        },
        seen_from: vec![vantage.to_owned()],
        service: service.map(Box::new),
        ..EndpointEntry::at(endpoint, from_name(words.at(1)), from_name(words.at(2)))
    }
}

fn group(address: IpAddr, text: &str) -> PortGroup {
    let words = Words::new(text);
    PortGroup {
        address,
        transport: from_name(words.at(0)),
        state: from_name(words.at(1)),
        reason: from_name(words.at(2)),
        offender: words.key("from").map(|text| text.parse().unwrap()),
        ports: words.at(3).to_owned(),
        seen_from: Vec::new(),
    }
}

fn host_address(text: &str) -> HostAddress {
    let words = Words::new(text);
    let (address, prefix) = words.at(0).split_once('/').unwrap();
    HostAddress {
        address: address.parse().unwrap(),
        prefix: prefix.parse().unwrap(),
        interface: words.at(1).to_owned(),
        mac: None,
        bridge: words.has("bridge"),
    }
}

fn namespace(text: &str) -> Namespace {
    let words = Words::new(text);
    let addresses = words.all.iter().skip(1).filter_map(|word| word.parse().ok()).collect();
    Namespace {
        name: words.at(0).to_owned(),
        inode: 1,
        addresses,
        container: words.key("container").map(str::to_owned),
        pids: Vec::new(),
        held_by: Vec::new(),
        network: None,
    }
}

pub fn listener(text: &str) -> Listener {
    let words = Words::new(text);
    let socket: std::net::SocketAddr = words.at(1).parse().unwrap();
    let key = |name| words.key(name).map(str::to_owned);
    Listener {
        v6only: words.key("v6only").map(|text| text.parse().unwrap()),
        device: key("device"),
        namespace: key("ns").unwrap_or_else(|| host_report::HOST_NAMESPACE.to_owned()),
        pid: words.key("pid").map(|text| text.parse().unwrap()),
        process: key("process"),
        user: key("user"),
        unit: key("unit"),
        container: key("container"),
        socket_activated: words.has("activated"),
        likely_client: words.has("client"),
        accept_queue: words.key("queue").and_then(|text| text.split_once('/')).map(|(length, backlog)| AcceptQueue {
            length: length.parse().unwrap(),
            backlog: backlog.parse().unwrap(),
        }),
        ..Listener::at(from_name(words.at(0)), socket.ip(), socket.port())
    }
}

fn published(text: &str) -> PublishedPort {
    let words = Words::new(text);
    let host: std::net::SocketAddr = words.at(1).parse().unwrap();
    let container: std::net::SocketAddr = words.at(3).parse().unwrap();
    PublishedPort {
        transport: from_name(words.at(0)),
        host_address: host.ip(),
        host_port: host.port(),
        container_address: Some(container.ip()).filter(|address| !address.is_unspecified()),
        container_port: container.port(),
        container: Some(words.at(4).to_owned()),
        source: "engine".to_owned(),
    }
}

fn gap(what: &str) -> Gap {
    Gap { what: what.to_owned(), cause: "not root".to_owned(), settled_by: "root".to_owned(), incomplete: false }
}

/// The rules of a report, ready to be asked, where it has them.
pub fn paths(report: &HostReport) -> Option<Box<dyn PathModel>> {
    let own = report.namespaces.iter().find(|namespace| namespace.name == host_report::HOST_NAMESPACE)?;
    own.network.as_ref()?.firewall.as_ref()?;
    Some(Box::new(HostPath::new(report)?))
}

pub fn facts() -> BTreeMap<String, ServiceFacts> {
    let etcd = ServiceFacts {
        title: "etcd client API".to_owned(),
        triage: Triage {
            bind: "`--listen-client-urls=http://127.0.0.1:{port}`".to_owned(),
            firewall: "Let only the API servers reach {address}:{port}/{transport}.".to_owned(),
            ..Triage::default()
        },
        references: vec!["https://etcd.io/docs/latest/op-guide/security/".to_owned()],
        processes: vec!["etcd".to_owned()],
        tcp_ports: vec![2379],
        udp_ports: Vec::new(),
        worst: Some(Severity::Critical),
    };
    BTreeMap::from([("etcd".to_owned(), etcd)])
}

/// A name as the report prints it.
fn from_name<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).unwrap_or_else(|error| panic!("{name}: {error}"))
}

struct Words<'a> {
    all: Vec<&'a str>,
}

impl<'a> Words<'a> {
    fn new(text: &'a str) -> Self {
        Self { all: text.split_whitespace().collect() }
    }

    fn at(&self, position: usize) -> &'a str {
        self.all.get(position).unwrap_or_else(|| panic!("no word {position} in {:?}", self.all))
    }

    fn has(&self, word: &str) -> bool {
        self.all.contains(&word)
    }

    fn key(&self, name: &str) -> Option<&'a str> {
        self.all.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }
}

/// Kept here so that the notation and the model cannot drift apart unnoticed.
#[test]
fn the_notation_reads_what_it_says() {
    let read = listener("udp [::]:5353 process=avahi-daemon pid=9 v6only=true device=eth0 ns=web client");
    assert_eq!((read.transport, read.port, read.v6only), (Transport::Udp, 5353, Some(true)));
    assert_eq!((read.device.as_deref(), read.namespace.as_str(), read.likely_client), (Some("eth0"), "web", true));
    let seen = entry("198.18.0.7".parse().unwrap(), "80/tcp filtered icmp-host-prohibited from=198.18.0.1", "eth0");
    assert_eq!((seen.state, seen.reason), (PortState::Filtered, Reason::IcmpHostProhibited));
    assert_eq!(seen.evidence.offender, Some("198.18.0.1".parse().unwrap()));
}
