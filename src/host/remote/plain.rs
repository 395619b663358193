//! The report of a machine that has only its own commands: `ss`, `ip`, `nft`, `iptables-save`, files of /proc. Pure.
//!
//! It sees the namespace that the log-in is in. What it cannot see (other namespaces, containers, published ports) is in
//! the gaps.

use std::collections::{BTreeMap, HashMap};

use super::frames::Frame;
use super::ip_json::{self, Read};
use super::plain_rules;
use super::plan::Probe;
use crate::host::listing::{self, WHEN_AND_WHERE};
use crate::host::{client, proc_text, support, system};
use crate::model::NetworkState;
use crate::model::host_report::{
    HOST_NAMESPACE, HostAddress, HostReport, Listener, Namespace, OWN_WORD_OF_ROOT, OperatingSystem, Privileges, Source,
};
use crate::model::report::{Gap, Tool};

/// What the `plain` order brought home, by the names of the frames.
#[derive(Clone, Debug, Default)]
pub struct Sections {
    frames: BTreeMap<String, Frame>,
}

/// How a section that is not there or failed is told.
pub(super) enum Missing {
    NoCommand,
    Failed(i32),
}

impl Sections {
    pub fn add(&mut self, frame: Frame) {
        self.frames.insert(frame.name.clone(), frame);
    }

    /// What the section holds.
    pub(super) fn text(&self, name: &str) -> Result<String, Missing> {
        match self.frames.get(name) {
            None => Err(Missing::NoCommand),
            Some(frame) if frame.status == NOT_FOUND => Err(Missing::NoCommand),
            Some(frame) if frame.is_success() => Ok(frame.text()),
            Some(frame) => Err(Missing::Failed(frame.status)),
        }
    }

    fn line(&self, name: &str) -> Option<String> {
        let text = self.text(name).ok()?;
        text.lines().next().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
    }
}

/// Puts the report together. `collected_at` is RFC 3339, UTC; `name` is the machine's, for messages.
///
/// # Errors
/// The cause, when there is no list of sockets: a report without one would say that nothing listens.
pub fn assemble(sections: &Sections, probe: &Probe, name: &str, collected_at: String) -> Result<HostReport, String> {
    let listed = listed(sections, name)?;
    let mut gaps: Vec<Gap> = listed.gaps.into_iter().filter(|gap| gap.what != WHEN_AND_WHERE).collect();
    let network = network(sections, probe, &mut gaps);
    let hostname = sections.line("hostname");
    let namespace = Namespace {
        name: HOST_NAMESPACE.to_owned(),
        inode: sections.line("namespace").and_then(|inode| inode.parse().ok()).unwrap_or_default(),
        addresses: addresses(&network).map(|address| address.address).collect(),
        container: None,
        pids: Vec::new(),
        held_by: Vec::new(),
        network: None,
    };
    gaps.extend(other_namespaces(sections, namespace.inode));
    gaps.push(Gap {
        what: "containers, and the ports that their engines publish".to_owned(),
        cause: "plain commands do not ask the engines".to_owned(),
        settled_by: OWN_WORD_OF_ROOT.to_owned(),
        incomplete: false,
    });
    let kernel = sections.line("kernel");
    let os = sections.text("os-release").ok().and_then(|text| system::os_release(&text));
    let today = collected_at.get(.."2026-11-25".len()).unwrap_or(&collected_at).to_owned();
    Ok(HostReport {
        tool: Tool::this(),
        id: system::host_id(sections.line("machine-id").as_deref(), hostname.as_deref()),
        hostname,
        collected_at: Some(collected_at),
        source: Source::Agentless,
        privileges: Privileges {
            uid: if probe.is_root() { Some(0) } else { probe.uid },
            namespaces: false,
            processes: probe.is_root(),
        },
        addresses: addresses(&network).collect(),
        listeners: listeners(listed.listeners, sections, &network),
        namespaces: vec![Namespace { network: Some(network), ..namespace }],
        os: os.map(|os| support::judge(OperatingSystem { kernel, ..os }, &today)),
        gaps,
        ..listed.rest
    })
}

/// The listing, taken apart.
struct Listed {
    listeners: Vec<Listener>,
    gaps: Vec<Gap>,
    rest: HostReport,
}

fn listed(sections: &Sections, name: &str) -> Result<Listed, String> {
    let mut causes = Vec::new();
    for (section, source) in [("ss", Source::Ss), ("netstat", Source::Netstat)] {
        match sections.text(section) {
            Ok(text) => match listing::parse(source, &text, name) {
                Ok(mut report) => {
                    let listeners = std::mem::take(&mut report.listeners);
                    return Ok(Listed { listeners, gaps: std::mem::take(&mut report.gaps), rest: report });
                }
                Err(error) => causes.push(error.to_string().split("; hint: ").next().unwrap_or_default().to_owned()),
            },
            Err(missing) => causes.push(why(section, &missing)),
        }
    }
    Err(causes.join("; "))
}

/// Users by their names, clients told by the machine's own range of ports.
fn listeners(mut listeners: Vec<Listener>, sections: &Sections, network: &NetworkState) -> Vec<Listener> {
    let text = sections.text("users").unwrap_or_default();
    let users: HashMap<&str, &str> =
        text.lines().filter_map(|line| line.split_once(':')).map(|(name, uid)| (uid.trim(), name)).collect();
    for listener in &mut listeners {
        if let Some(name) = listener.user.as_deref().and_then(|uid| users.get(uid))
            && listener.container.is_none()
        {
            listener.user = Some((*name).to_owned());
        }
    }
    let range = network.sysctls.get("ipv4.ip_local_port_range").and_then(|range| proc_text::port_range(range));
    let range = range.unwrap_or(client::DEFAULT_EPHEMERAL);
    client::mark(&mut listeners, |_| range.clone());
    listeners
}

fn network(sections: &Sections, probe: &Probe, gaps: &mut Vec<Gap>) -> NetworkState {
    let mut read = Reader { sections, gaps };
    let both = |four: Vec<_>, six: Vec<_>| four.into_iter().chain(six).collect();
    NetworkState {
        interfaces: read.entries("addresses", "interfaces and addresses", ip_json::interfaces),
        routes: both(
            read.entries("routes-4", "IPv4 routes", |text| ip_json::routes(text, false)),
            read.entries("routes-6", "IPv6 routes", |text| ip_json::routes(text, true)),
        ),
        // `bpftool` is seldom there, and needs root.
        bpf: Vec::new(),
        translated: Vec::new(),
        policy_rules: {
            let mut rules = read.entries("rules-4", "IPv4 policy rules", |text| ip_json::rules(text, false));
            rules.extend(read.entries("rules-6", "IPv6 policy rules", |text| ip_json::rules(text, true)));
            rules
        },
        neighbours: read.entries("neighbours", "neighbours", ip_json::neighbours),
        sysctls: sysctls(&sections.text("sysctls").unwrap_or_default()),
        firewall: plain_rules::firewall(sections, probe, gaps),
    }
}

struct Reader<'a> {
    sections: &'a Sections,
    gaps: &'a mut Vec<Gap>,
}

impl Reader<'_> {
    /// The entries of one section; what is missing becomes a gap about `what`.
    fn entries<T>(&mut self, name: &str, what: &str, read: impl Fn(&str) -> Result<Read<T>, String>) -> Vec<T> {
        let (entries, cause) = match self.sections.text(name) {
            Ok(text) => match read(&text) {
                Ok(found) if found.left_out == 0 => return found.entries,
                Ok(found) => (found.entries, format!("{} of its lines say something unknown", found.left_out)),
                Err(cause) => (Vec::new(), cause),
            },
            Err(missing) => (Vec::new(), why("ip -j", &missing)),
        };
        self.gaps.push(Gap {
            what: what.to_owned(),
            cause,
            settled_by: OWN_WORD_OF_ROOT.to_owned(),
            incomplete: false,
        });
        entries
    }
}

/// Addresses by which others may know the machine.
fn addresses(network: &NetworkState) -> impl Iterator<Item = HostAddress> + '_ {
    network.interfaces.iter().flat_map(|interface| {
        interface.addresses.iter().filter(|one| !one.address.is_loopback()).map(|one| HostAddress {
            address: one.address,
            prefix: one.prefix,
            interface: interface.name.clone(),
            mac: interface.mac.clone(),
            bridge: interface.kind.as_deref() == Some("bridge"),
        })
    })
}

/// Lines of `PATH:VALUE`, from /proc/sys/net.
fn sysctls(text: &str) -> BTreeMap<String, String> {
    let setting = |line: &str| {
        let (path, value) = line.split_once(':')?;
        Some((path.replace('/', "."), value.trim().replace('\t', " ")))
    };
    text.lines().filter_map(setting).collect()
}

fn other_namespaces(sections: &Sections, own: u64) -> Option<Gap> {
    let text = sections.text("namespaces").ok()?;
    let others = text.lines().filter_map(|line| line.trim().parse::<u64>().ok()).filter(|inode| *inode != own).count();
    (others > 0).then(|| Gap {
        what: format!("the sockets of {others} other network namespaces that were seen"),
        cause: "plain commands show the one that the log-in is in".to_owned(),
        settled_by: OWN_WORD_OF_ROOT.to_owned(),
        incomplete: false,
    })
}

/// Why a command brought nothing.
pub(super) fn why(command: &str, missing: &Missing) -> String {
    match missing {
        Missing::NoCommand => format!("`{command}` is not installed there"),
        Missing::Failed(status) => format!("`{command}` failed with exit code {status}"),
    }
}

/// Exit code of the script's own for a command that is not there, as in every shell.
const NOT_FOUND: i32 = 127;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::remote::plan::Sudo;

    fn sections(given: &[(&str, &str)]) -> Sections {
        let mut sections = Sections::default();
        for (name, body) in given {
            sections.add(Frame { name: (*name).to_owned(), body: body.as_bytes().to_vec(), status: 0 });
        }
        sections
    }

    fn root() -> Probe {
        Probe { uid: Some(0), sudo: Sudo::Needless, ..Probe::default() }
    }

    const SS: &str = "Netid State  Recv-Q Send-Q Local Address:Port Peer Address:PortProcess\n\
        tcp   LISTEN 0      128    0.0.0.0:22        0.0.0.0:*    users:((\"sshd\",pid=70,fd=3)) ino:7 sk:1 cgroup:/system.slice/ssh.service <->\n\
        tcp   LISTEN 0      128    *:80        *:*    users:((\"web\",pid=71,fd=3)) uid:33 ino:8 sk:2 v6only:0 <->\n\
        udp   UNCONN 0      0      0.0.0.0:40000        0.0.0.0:*    users:((\"ask\",pid=72,fd=3)) uid:33 ino:9 sk:3 <->\n";

    const FULL: &[(&str, &str)] = &[
        ("hostname", "web1\n"),
        ("machine-id", "0123456789abcdef0123456789abcdef\n"),
        ("kernel", "6.1.0-31-amd64\n"),
        ("os-release", "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
        ("users", "root:0\nwww-data:33\n"),
        ("namespace", "4026531840\n"),
        ("namespaces", "4026531840\n4026532500\n4026532501\n"),
        ("ss", SS),
        (
            "addresses",
            r#"[{"ifindex":1,"ifname":"lo","flags":["UP"],"addr_info":[{"local":"127.0.0.1","prefixlen":8}]},{"ifindex":2,"ifname":"docker0","flags":["UP"],"address":"02:42:00:00:00:01","linkinfo":{"info_kind":"bridge"},"addr_info":[{"local":"172.17.0.1","prefixlen":16}]},{"ifindex":3,"ifname":"eth0","flags":["UP"],"address":"02:00:00:00:00:02","addr_info":[{"local":"198.18.0.2","prefixlen":24}]}]"#,
        ),
        ("routes-4", r#"[{"type":"1","dst":"default","gateway":"198.18.0.1","dev":"eth0","table":"254"}]"#),
        ("routes-6", "[]"),
        ("rules-4", r#"[{"priority":0,"src":"all","table":"255"}]"#),
        ("rules-6", ""),
        ("neighbours", r#"[{"dst":"198.18.0.1","dev":"eth0","lladdr":"02:00:00:00:00:01","state":["STALE"]}]"#),
        ("sysctls", "ipv4/ip_forward:1\nipv4/ip_local_port_range:50000\t60000\nipv4/conf/eth0/rp_filter:2\n"),
        ("nft", r#"{"nftables":[{"metainfo":{"version":"1.0.6"}},{"table":{"family":"inet","name":"x","handle":1}}]}"#),
        (
            "nft-text",
            "table inet x {\n\tflags dormant\n\n\tset s {\n\t\tflags interval\n\t}\n}\ntable ip y {\n\tchain c {\n\t}\n}\n",
        ),
        ("iptables-nft", "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n"),
        ("iptables-legacy", ""),
        ("ip6tables-nft", ""),
        ("ip6_tables_names", ""),
    ];

    #[test]
    fn a_full_set_of_answers() {
        let mut report = assemble(&sections(FULL), &root(), "ssh://web1", "2026-11-25T00:00:00Z".to_owned()).unwrap();
        report.tool.version = "VERSION".to_owned();
        insta::assert_json_snapshot!(report);
    }

    #[test]
    fn clients_are_told_by_the_machines_own_range() {
        let marked = |given: &[(&str, &str)]| {
            let report = assemble(&sections(given), &root(), "x", String::new()).unwrap();
            report.listeners.iter().filter(|listener| listener.likely_client).count()
        };
        assert_eq!((marked(FULL), marked(&[("ss", SS)])), (0, 1));
    }

    #[test]
    fn no_list_of_sockets_is_no_report() {
        let cause = assemble(&sections(&FULL[..7]), &root(), "x", String::new()).unwrap_err();
        assert_eq!(cause, "`ss` is not installed there; `netstat` is not installed there");
        let mut broken = sections(FULL);
        broken.add(Frame { name: "ss".to_owned(), body: b"Cannot open netlink socket".to_vec(), status: 1 });
        let cause = assemble(&broken, &root(), "x", String::new()).unwrap_err();
        assert!(cause.starts_with("`ss` failed with exit code 1"), "{cause}");
        let netstat = "Proto Recv-Q Send-Q Local Address Foreign Address State PID/Program name\ntcp 0 0 0.0.0.0:22 0.0.0.0:* LISTEN 7/sshd\n";
        let report = assemble(&sections(&[("netstat", netstat)]), &root(), "x", String::new()).unwrap();
        assert_eq!((report.source, report.listeners.len()), (Source::Agentless, 1));
    }

    #[test]
    fn an_ordinary_user_sees_no_rules_and_is_told() {
        let mut given = sections(&FULL[..15]);
        for name in ["nft", "iptables-nft", "iptables-legacy", "ip6tables-nft", "ip6tables-legacy"] {
            given.add(Frame { name: name.to_owned(), body: Vec::new(), status: 1 });
        }
        let probe = Probe { uid: Some(1000), sudo: Sudo::Refused, ..Probe::default() };
        let report = assemble(&given, &probe, "x", String::new()).unwrap();
        assert_eq!(report.namespaces[0].network.as_ref().unwrap().firewall, None);
        assert_eq!((report.privileges.uid, report.privileges.processes), (Some(1000), false));
        let gap = report.gaps.iter().find(|gap| gap.what == "packet filter rules").unwrap();
        assert_eq!(gap.cause, "they are shown to root only");
    }

    #[test]
    fn sections_that_cannot_be_read_are_gaps() {
        let mut given = sections(FULL);
        given.add(Frame { name: "routes-4".to_owned(), body: b"Option \"-j\" is unknown".to_vec(), status: 0 });
        given.add(Frame { name: "neighbours".to_owned(), body: Vec::new(), status: 127 });
        let report = assemble(&given, &root(), "x", String::new()).unwrap();
        let whats: Vec<&str> = report.gaps.iter().map(|gap| gap.what.as_str()).collect();
        assert!(whats.contains(&"IPv4 routes") && whats.contains(&"neighbours"), "{whats:?}");
    }
}
