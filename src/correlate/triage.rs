//! The six triage answers of a finding: from the service's definition, made concrete by what the host report knows.

use std::net::IpAddr;

use crate::model::report::EndpointEntry;
use crate::model::{Access, PathAnswer, ServiceFacts, Transport, Triage, Verdict};

/// What the answers are made of.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub entry: &'a EndpointEntry,
    pub facts: Option<&'a ServiceFacts>,
    /// The container's port, when the port is published for one.
    pub published: Option<u16>,
    /// What the host's own rules do with it.
    pub answer: Option<&'a PathAnswer>,
    pub door: Door,
}

/// Where a rule must stand to see the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// A socket of the host takes it: INPUT sees it.
    Input,
    /// It is published for a container: forwarded, after translation.
    Forward,
    /// Nobody knows how it gets in: before any translation.
    Unknown,
    /// The rules refuse it already: what lets it in comes before or beside them.
    Beside,
}

/// Answers the six questions for an endpoint; none stays empty.
pub fn answers(subject: Subject<'_>) -> Triage {
    let known = subject.facts.map(|facts| &facts.triage);
    let fact =
        |field: fn(&Triage) -> &String| known.map(field).map_or_else(String::new, |text| filled(text, subject.entry));
    Triage {
        disable: join(fact(|triage| &triage.disable), disable(subject)),
        bind: join(fact(|triage| &triage.bind), bind(subject)),
        authenticate: or(fact(|triage| &triage.authenticate), || authenticate(subject.entry)),
        restrict: or(fact(|triage| &triage.restrict), || {
            "Not known for this service: look for an allow-list of clients in its configuration.".to_owned()
        }),
        known_flaws: or(fact(|triage| &triage.known_flaws), || "None recorded for this service.".to_owned()),
        firewall: match (fact(|triage| &triage.firewall), firewall(subject.entry, subject.door)) {
            (text, rule) if text.is_empty() => rule,
            (text, rule) if subject.door == Door::Input => format!("{text} Here: {rule}"),
            // Where INPUT does not see the packets, that comes first.
            (text, rule) => format!("{rule} {text}"),
        },
    }
}

/// The answers for a finding about a whole address.
pub fn host_answers(address: IpAddr) -> Triage {
    Triage {
        disable: "Find the SYN proxy, tarpit or load balancer in front of the host, and scan from behind it."
            .to_owned(),
        bind: "Does not apply: no service was told apart.".to_owned(),
        authenticate: "Does not apply: no service was told apart.".to_owned(),
        restrict: "Let the scanner's address past the box that answers, then scan again.".to_owned(),
        known_flaws: "The answers hide which services are real.".to_owned(),
        firewall: format!(
            "Decide by the host's own list of sockets which ports of {address} need a rule (`postern host` there)."
        ),
    }
}

/// Replaces `{address}`, `{port}` and `{transport}`; every other brace stays.
fn filled(text: &str, entry: &EndpointEntry) -> String {
    text.replace("{address}", &entry.address.to_string())
        .replace("{port}", &entry.port.to_string())
        .replace("{transport}", entry.transport.as_str())
}

fn join(fact: String, here: Option<String>) -> String {
    match (fact.is_empty(), here) {
        (true, Some(here)) => here,
        (true, None) => "Not known: no host report names the program that answers.".to_owned(),
        (false, Some(here)) => format!("{fact} Here: {here}"),
        (false, None) => fact,
    }
}

fn or(fact: String, generic: impl FnOnce() -> String) -> String {
    if fact.is_empty() { generic() } else { fact }
}

fn disable(subject: Subject<'_>) -> Option<String> {
    let listener = subject.entry.listener.as_ref()?;
    if let Some(container) = &listener.container {
        return Some(if subject.published.is_some() {
            format!("start container {container} again without this published port, or stop it.")
        } else {
            format!("stop container {container}.")
        });
    }
    if let Some(unit) = &listener.unit {
        let socket = unit.strip_suffix(".service").filter(|_| listener.socket_activated);
        return Some(match socket {
            Some(name) => format!("`systemctl disable --now {name}.socket {unit}`."),
            None => format!("`systemctl disable --now {unit}`."),
        });
    }
    let process = listener.process.as_ref()?;
    let pid = listener.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
    Some(format!("stop {process}{pid} and what starts it."))
}

fn bind(subject: Subject<'_>) -> Option<String> {
    let entry = subject.entry;
    if entry.via.is_some() {
        return Some(behind(subject));
    }
    if entry.verdict == Some(Verdict::LeakedLocal) {
        return Some(leaking(subject));
    }
    let loopback = if entry.address.is_ipv4() { "127.0.0.1" } else { "[::1]" };
    if let Some(inner) = subject.published {
        return Some(format!("publish it to loopback only: `-p {loopback}:{}:{inner}`.", entry.port));
    }
    let listener = entry.listener.as_ref()?;
    if listener.socket_activated {
        let unit = listener.unit.as_deref().unwrap_or("the .socket unit");
        let option = match entry.transport {
            Transport::Tcp => "ListenStream",
            Transport::Udp => "ListenDatagram",
        };
        return Some(format!("`{option}={loopback}:{}` in the socket unit of {unit}.", entry.port));
    }
    let process = listener.process.as_deref()?;
    // A definition that knows the exact option says more than this.
    subject
        .facts
        .is_none_or(|facts| facts.triage.bind.is_empty())
        .then(|| format!("set the listen address of {process} to {loopback} in its configuration."))
}

/// What is reached through the host is not bound to what the network sees of it.
fn behind(subject: Subject<'_>) -> String {
    if subject.entry.address.is_loopback() {
        return "it is bound to loopback only already, and a neighbour's packets to loopback are let in: the rule or the \
                setting that does so is what to change."
            .to_owned();
    }
    "no binding of the published port helps here: packets are sent to the container's own address, and the host forwards \
     them."
        .to_owned()
}

/// It is bound as it should be: what leads past the binding has to go.
fn leaking(subject: Subject<'_>) -> String {
    let what = if subject.published.is_some() { "published on" } else { "bound to" };
    let mut text = format!("it is {what} loopback only already");
    let Some(answer) = subject.answer else {
        return text + "; what leads past that is not known without the host's rules.";
    };
    let mut lines: Vec<String> = answer.without_translation().into_iter().collect();
    let local = answer.delivered.as_ref().is_some_and(|at| at.address.is_loopback() && at.address.is_ipv4());
    if let Some(interface) = answer.iif.as_ref().filter(|_| local) {
        lines.push(format!(
            "`sysctl -w net.ipv4.conf.{interface}.route_localnet=0 net.ipv4.conf.all.route_localnet=0`, without which no \
             packet of the network gets to 127.0.0.0/8"
        ));
    }
    if !lines.is_empty() {
        text.push_str(&format!("; take away what leads past that: {}", lines.join("; or ")));
    }
    text + "."
}

fn authenticate(entry: &EndpointEntry) -> String {
    match entry.service.as_ref().map(|service| service.access) {
        Some(Access::AuthenticationRequired | Access::ClientCertificateRequired) => "It does already.".to_owned(),
        Some(Access::Forbidden) => "It refuses this request, but admits anonymous clients.".to_owned(),
        Some(Access::Unauthenticated) => "It does not now; see the service's manual for how to turn it on.".to_owned(),
        Some(Access::Unknown) | None => "Not known: no probe could tell.".to_owned(),
    }
}

/// A rule for this very endpoint, to be narrowed to the clients that may not reach it.
fn firewall(entry: &EndpointEntry, door: Door) -> String {
    let family = if entry.address.is_ipv4() { "ip" } else { "ip6" };
    let (address, transport, port) = (entry.address, entry.transport, entry.port);
    let rule = format!("{family} daddr {address} {transport} dport {port} drop");
    match door {
        Door::Input => format!(
            "`nft add table inet postern; nft add chain inet postern input '{{ type filter hook input priority -10; }}'; \
             nft add rule inet postern input {rule}` (add `{family} saddr != CLIENTS` to let some in)."
        ),
        // docker-proxy takes IPv6 to a container that has IPv4 only, and that path enters INPUT.
        Door::Forward if entry.address.is_ipv6() && door_is_shared(entry) => {
            format!("{} Where the container has an IPv6 address: {}", firewall(entry, Door::Input), forward_rule(entry))
        }
        Door::Forward => forward_rule(entry),
        // No rule of the host's would be asked either.
        Door::Beside => "The host's rules refuse it already, and another rule changes nothing. Find what comes before them: \
                         `bpftool net show`, `tc filter show dev IF ingress` for each interface, the box in front; and stop \
                         it on the way until then."
            .to_owned(),
        Door::Unknown => format!(
            "INPUT may never see these packets, so drop them before any translation: `nft add table inet postern; nft \
             add chain inet postern early '{{ type filter hook prerouting priority -300; }}'; nft add rule inet postern \
             early {rule}` (eBPF programs at XDP or tc come before even that)."
        ),
    }
}

fn door_is_shared(entry: &EndpointEntry) -> bool {
    entry.listener.as_ref().is_some_and(|listener| listener.process.as_deref() == Some("docker-proxy"))
}

fn forward_rule(entry: &EndpointEntry) -> String {
    let tool = if entry.address.is_ipv4() { "iptables" } else { "ip6tables" };
    format!(
        "INPUT rules do not stop a published port: `{tool} -I DOCKER-USER -p {} -m conntrack --ctdir ORIGINAL \
         --ctorigdstport {} -j DROP` (in DOCKER-USER --dport is already the container's port).",
        entry.transport, entry.port
    )
}
