//! The verdict on one endpoint, from what was seen and what takes it. First match wins, in the order of [`Verdict`].
//!
//! Whatever needs the host's rules (`firewall-bypass`, `contradiction`, `guarded`, `guarded-elsewhere`) is settled by
//! [`super::by_rules`] where the report has them; else it stays [`Verdict::Undetermined`] and says that the ruleset
//! settles it.

use super::exhausted::{full_table, table_sentence};
use super::lookup::Seen;
use super::machine::{Machine, Presence};
use super::remarks::{describe_publications, details, full_queue, how, listener_of, offender, presence, sentence};
use super::takes::{ContainerEnd, Takers, Taking};
use super::{path_words, words};
use crate::model::host_report::Listener;
use crate::model::{Confidence, Endpoint, PathAnswer, PathOutcome, PortState, Reason, Transport, Verdict};

/// One endpoint as the sweep saw it.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    pub endpoint: Endpoint,
    pub seen: &'a Seen,
    pub sight: Sight,
}

/// From where it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    Outside,
    /// From the machine itself, over `lo`: packets skip PREROUTING and the rules for other interfaces.
    Own,
}

/// What the joined machine says about the endpoint.
#[derive(Debug)]
pub struct Inside<'m, 'a> {
    pub machine: &'m Machine<'a>,
    pub takers: Takers<'a>,
    /// Nothing at all came back from the address.
    pub silent_host: bool,
    /// Some UDP port of the address replied or was refused, so that not all of its UDP is dropped.
    pub udp_answers: bool,
    /// What the host's own rules do with a packet from the vantage; `None` when the report does not have them.
    pub answer: Option<&'m PathAnswer>,
    /// What the host's own rules do with a packet that a neighbour sends to 127.0.0.1 at the host's link-layer address;
    /// asked for ports that only loopback sockets have.
    pub loopback: Option<&'m PathAnswer>,
    /// What they do with the same packet from an address of no network; asked for open ports.
    pub stranger: Option<&'m PathAnswer>,
    /// Every report of the machine was taken long before or after the sweep.
    pub stale: bool,
    /// Sentences that weaken every conclusion: an assumed identity, an old report.
    pub caveats: &'m [String],
}

/// A verdict with its reasons.
#[derive(Clone, Debug)]
pub struct Judgement {
    pub verdict: Verdict,
    /// One sentence each; the first is the reason of the verdict.
    pub reasons: Vec<String>,
    pub confidence: Confidence,
    /// The socket that the verdict is about.
    pub listener: Option<Listener>,
    /// The container's port, when the port is published for one.
    pub published: Option<u16>,
}

/// Judges one endpoint; `inside` is `None` when no host report was joined to its host.
pub fn judge(look: Look<'_>, inside: Option<&Inside<'_, '_>>) -> Judgement {
    let Some(inside) = inside else { return without_report(look) };
    let takers = &inside.takers;
    let mut judgement = if look.endpoint.address.is_loopback() {
        loopback_endpoint(look, inside)
    } else if takers.is_loopback_only() {
        loopback_socket(look, inside)
    } else {
        match look.seen.state {
            PortState::Open => open(look, inside),
            PortState::OpenOrFiltered => udp_silence(look, inside),
            PortState::Closed => closed(look, inside),
            PortState::Filtered | PortState::Unreachable => filtered(look, inside),
            PortState::Unknown => unknown(look, inside),
        }
    };
    describe_publications(&mut judgement, takers, inside.answer.is_some());
    judgement = super::by_rules::settle(look, inside, judgement);
    if takers.taking.first().is_some_and(|taking| taking.socket.presence != Presence::Steady) {
        judgement.confidence = judgement.confidence.min(Confidence::Likely);
    }
    if matches!(judgement.verdict, Verdict::Exposed | Verdict::FirewallBypass)
        && let (Some(answer), Some(stranger)) = (inside.answer, inside.stranger)
    {
        judgement.reasons.extend(path_words::let_by(answer, stranger));
    }
    if judgement.verdict == Verdict::LocalOnly {
        judgement.reasons.extend(inside.loopback.and_then(|answer| beside_the_binding(look.endpoint.port, answer)));
    }
    let mut published = takers.published.iter().chain(&takers.published_loopback);
    judgement.published = published.next().map(|publication| publication.port.container_port);
    judgement.listener = judgement.listener.or_else(|| listener_of(takers));
    if !inside.caveats.is_empty() {
        judgement.confidence = judgement.confidence.min(Confidence::Likely);
        judgement.reasons.extend(inside.caveats.iter().cloned());
    }
    judgement
}

/// Without the inside view nothing but the state is known.
fn without_report(look: Look<'_>) -> Judgement {
    let Look { endpoint, seen, sight } = look;
    let settles = match (seen.state, sight) {
        (PortState::Open, Sight::Outside) => "a host report settles whether a socket of the host answers, and which",
        (PortState::Open, Sight::Own) => {
            "it was seen over lo only, which is not the outside view: a scan from a neighbour and a host report settle it"
        }
        (PortState::Unknown, _) => "another sweep settles the state, a host report whether something listens",
        _ => "a host report settles whether something listens behind it",
    };
    undetermined(format!("{endpoint} {}, and no host report was joined: {settles}.", how(endpoint, seen)))
}

/// An address that only the machine itself reaches.
fn loopback_endpoint(look: Look<'_>, inside: &Inside<'_, '_>) -> Judgement {
    let Look { endpoint, seen, .. } = look;
    match inside.takers.taking.first() {
        Some(taking) => Judgement::new(
            Verdict::LocalOnly,
            format!(
                "{} takes {endpoint}, an address that only the machine itself reaches.",
                words::socket(taking.socket.listener)
            ),
        ),
        None => undetermined(format!(
            "{endpoint} {} on the machine itself, and no socket in the host report takes it: the machine's ruleset \
             settles what answers.",
            how(endpoint, seen)
        )),
    }
}

/// Nothing takes the endpoint but a socket or a published port that is meant for loopback.
fn loopback_socket(look: Look<'_>, inside: &Inside<'_, '_>) -> Judgement {
    let Look { endpoint, seen, sight } = look;
    let takers = &inside.takers;
    let what = match (takers.loopback.first(), takers.published_loopback.first()) {
        (Some(socket), _) => format!("{} is bound to loopback only", words::socket(socket.listener)),
        (None, Some(publication)) => format!("the port is {}", words::publication(publication)),
        (None, None) => "nothing is bound to more than loopback".to_owned(),
    };
    let changed = takers.loopback.iter().find_map(|socket| presence(*socket));
    match (seen.state, sight) {
        (PortState::Open, Sight::Own) => undetermined(format!(
            "{endpoint} is open over lo although {what}: a translation on the machine answers; a scan from a neighbour \
             settles whether the network reaches it, the ruleset how."
        )),
        (PortState::Open, Sight::Outside) => match changed {
            Some(change) => undetermined(format!(
                "{endpoint} is open and {what}, but {change}: the sockets changed under the sweep, another run settles it."
            )),
            None => {
                let mut judgement =
                    Judgement::new(Verdict::LeakedLocal, format!("{endpoint} is open from outside although {what}."));
                judgement.reasons.push(
                    "Something leads packets past the binding: a translation (DNAT), route_localnet, or a proxy; the \
                     host's ruleset settles which (layer not read)."
                        .to_owned(),
                );
                judgement
            }
        },
        (PortState::Unknown, _) if seen.reason != Reason::NotSwept => undetermined(format!(
            "{what}, and {endpoint} {}: another round settles whether it leaks.",
            how(endpoint, seen)
        )),
        _ => {
            let mut judgement =
                Judgement::new(Verdict::LocalOnly, format!("{what}, and {endpoint} {}.", how(endpoint, seen)));
            if !takers.published_loopback.is_empty() && inside.loopback.is_none() {
                judgement.reasons.push(
                    "A port published to loopback may still answer frames that a neighbour on the link sends to \
                     127.0.0.1 at the host's MAC address (Docker before 28.0); that was not tried."
                        .to_owned(),
                );
            }
            judgement
        }
    }
}

/// Whether a neighbour gets past the binding to loopback with a frame of its own making, by the host's own rules.
fn beside_the_binding(port: u16, answer: &PathAnswer) -> Option<String> {
    let frame = format!("a frame that a neighbour on the link sends to 127.0.0.1:{port} at the host's MAC address");
    match answer.path {
        PathOutcome::Accept => {
            let why = answer.translation().map_or_else(
                || "route_localnet is 1, and no rule drops it".to_owned(),
                |step| {
                    format!(
                        "{} rewrites it ({}) before the kernel looks at 127.0.0.1",
                        path_words::rule(step),
                        step.action
                    )
                },
            );
            Some(format!("By the host's own rules {frame} is answered all the same: {why}; that was not tried."))
        }
        // Without a rule the kernel drops it, which needs no word.
        PathOutcome::Drop | PathOutcome::Reject => path_words::decisive(&answer.trace)
            .filter(|step| !step.table.is_empty())
            .map(|step| format!("By the host's own rules {frame} is stopped: {}.", path_words::rule(step))),
        PathOutcome::Unknown => {
            Some(format!("Whether {frame} is answered the host's rules leave open; that was not tried."))
        }
    }
}

fn open(look: Look<'_>, inside: &Inside<'_, '_>) -> Judgement {
    let endpoint = look.endpoint;
    let takers = &inside.takers;
    if !takers.any_takes() && takers.clients.is_empty() {
        return without_socket(look, inside);
    }
    let taking = takers.taking.first().or_else(|| takers.clients.first());
    let rules_tell = inside.answer.is_some_and(|answer| answer.path != PathOutcome::Unknown);
    if look.sight == Sight::Outside
        && !rules_tell
        && let Some(led) = takers.led_on(endpoint.address).or_else(|| perhaps_led_on(inside))
    {
        return led_past_unknown_rules(look, inside, &led);
    }
    if look.sight == Sight::Own {
        let what = taking.map_or_else(|| "a published port".to_owned(), |taking| words::socket(taking.socket.listener));
        let mut judgement = undetermined(format!(
            "{endpoint} is open and {what} takes it, but it was seen over lo only, which is not the outside view: a scan \
             from a neighbour settles whether the network reaches it."
        ));
        judgement.reasons.extend(details(takers));
        return judgement;
    }
    let mut judgement = match (taking, takers.published.first()) {
        (Some(Taking { socket, doubt: None }), _) => Judgement::new(
            Verdict::Exposed,
            format!("{endpoint} is open and {} takes it.", words::socket(socket.listener)),
        ),
        (Some(Taking { socket, doubt: Some(doubt) }), _) => {
            let reason = format!("{endpoint} is open and {} may take it: {doubt}.", words::socket(socket.listener));
            Judgement { confidence: Confidence::Likely, ..Judgement::new(Verdict::Exposed, reason) }
        }
        (None, Some(publication)) => {
            let mut reason = format!("{endpoint} is open and {}", words::publication(publication));
            if let ContainerEnd::Listens(socket) = &publication.end {
                reason.push_str(&format!(", where {} takes it", words::socket(socket.listener)));
            }
            Judgement { confidence: Confidence::Likely, ..Judgement::new(Verdict::Exposed, reason + ".") }
        }
        // Excluded by the check above; without a socket there is nothing to call exposed.
        (None, None) => return without_socket(look, inside),
    };
    if takers.taking.is_empty() && takers.published.is_empty() {
        judgement.confidence = Confidence::Possible;
        judgement.reasons.push("The socket looks like a client's, and yet it answered.".to_owned());
    }
    if takers.taking.iter().any(|taking| taking.socket.presence != Presence::Steady) {
        judgement.confidence = judgement.confidence.min(Confidence::Likely);
    }
    if look.sight == Sight::Outside && inside.answer.is_none() {
        judgement.reasons.push(RULES_NOT_READ.to_owned());
    }
    judgement.reasons.extend(details(takers));
    judgement
}

/// Of what is open while nobody knows the host's rules.
const RULES_NOT_READ: &str = "The host's rules were not read: a rule that is meant to refuse it may have been got by, or a \
                              translation may lead to another socket; `postern host` as root on that machine settles it.";

/// A socket whose owner the report could not see may be an engine's that holds the port for a container, where the report
/// shows an engine's bridge or could not show one.
fn perhaps_led_on(inside: &Inside<'_, '_>) -> Option<String> {
    let listener = inside.takers.taking.first()?.socket.listener;
    let owned = inside.takers.taking.iter().any(|taking| taking.socket.listener.process.is_some());
    (!owned && inside.machine.may_publish_unseen())
        .then(|| format!("{} takes it, which may hold the port for a container", words::socket(listener)))
}

/// Open and led on to a container. The rules that lead it there may lead it past INPUT: without them nobody knows
/// whether INPUT is believed to refuse it.
fn led_past_unknown_rules(look: Look<'_>, inside: &Inside<'_, '_>, led: &str) -> Judgement {
    let endpoint = look.endpoint;
    let missing = if inside.answer.is_some() {
        "the firewall rules of the report do not decide"
    } else {
        "the host report has no firewall rules"
    };
    let held = inside.takers.taking.first().map(|taking| words::socket(taking.socket.listener));
    let held =
        held.filter(|held| !led.contains(held.as_str())).map_or_else(String::new, |held| format!(", held by {held}"));
    let mut judgement = undetermined(format!(
        "{endpoint} is open and {led}{held}: {missing}, so that it may be exposed as configured or get by a rule that is \
         meant to refuse it; a report with the rules (`postern host` as root on that machine) settles it."
    ));
    judgement.reasons.extend(details(&inside.takers));
    judgement
}

/// Open, and no socket or published port accounts for it.
fn without_socket(look: Look<'_>, inside: &Inside<'_, '_>) -> Judgement {
    let Look { endpoint, sight, .. } = look;
    let Inside { machine, takers, .. } = inside;
    if sight == Sight::Own {
        let mut judgement = undetermined(format!(
            "{endpoint} is open over lo, and no socket in the host report takes it: a scan from a neighbour settles \
             whether the network reaches it, the machine's ruleset what answers."
        ));
        judgement.reasons.push(machine.limits());
        return judgement;
    }
    if let Some(blind) = machine.blind_to(endpoint.address, endpoint.transport) {
        let mut judgement = undetermined(format!(
            "{endpoint} is open, and the host report that shows no socket for it could not have shown one: `postern \
             host` on that machine settles it."
        ));
        judgement.reasons.push(blind);
        return judgement;
    }
    if inside.stale && inside.answer.and_then(PathAnswer::translation).is_none() {
        // What became of the sockets since is not known: an accusation would be a guess.
        let mut judgement = undetermined(format!(
            "{endpoint} is open, and the host report shows no socket for it; a listener that started since the report \
             was taken would look like this: a report of today settles it."
        ));
        judgement.reasons.push(machine.limits());
        return judgement;
    }
    let mut judgement = Judgement::new(
        Verdict::Unreported,
        format!("{endpoint} is open, and no socket that the host reports could take it."),
    );
    let others = &takers.elsewhere;
    for socket in others {
        judgement.reasons.push(format!(
            "{} has the same port; it would get these packets only after a translation, which the host's ruleset settles.",
            words::socket(socket.listener)
        ));
    }
    if endpoint.transport == Transport::Tcp && NODE_PORTS.contains(&endpoint.port) {
        judgement.reasons.push(
            "The port lies in the range of Kubernetes NodePorts (30000-32767), which have no listening socket: `kubectl \
             get services -A` names it if it is one."
                .to_owned(),
        );
    }
    judgement.reasons.push(machine.limits());
    judgement.confidence = match (machine.can_enter_namespaces(), others.is_empty()) {
        (true, true) => Confidence::Certain,
        (false, true) => Confidence::Likely,
        (_, false) => Confidence::Possible,
    };
    judgement
}

/// UDP gave no answer: a silent service, or a filter.
fn udp_silence(look: Look<'_>, inside: &Inside<'_, '_>) -> Judgement {
    let Look { endpoint, sight, .. } = look;
    let takers = &inside.takers;
    let taking = match takers.taking.first() {
        Some(taking) => words::socket(taking.socket.listener),
        None => match takers.published.first() {
            Some(publication) if takers.any_takes() => format!("a port {}", words::publication(publication)),
            _ => {
                return undetermined(format!(
                    "{endpoint} gave no answer, and no socket that the host reports takes it: the host's ruleset settles \
                     whether packets are dropped or led elsewhere."
                ));
            }
        },
    };
    if let Some(change) = takers.taking.first().and_then(|taking| presence(taking.socket)) {
        return undetermined(format!(
            "{endpoint} gave no answer and {taking} takes it, but {change}: another run settles it."
        ));
    }
    if let Some(table) = full_table(inside.machine) {
        return undetermined(format!(
            "{endpoint} gave no answer and {taking} takes it, but {}: another sweep once it has room settles it.",
            table_sentence(table)
        ));
    }
    let sure = takers.taking.first().is_none_or(|taking| taking.doubt.is_none());
    if sight == Sight::Outside && inside.udp_answers && !inside.silent_host && sure {
        let mut judgement = Judgement::new(
            Verdict::Exposed,
            format!("{endpoint} gave no answer and {taking} takes it: the socket settles open|filtered."),
        );
        judgement.confidence = Confidence::Likely;
        judgement.reasons.push(
            "Other UDP ports of the address answered or were refused, so that its UDP is not dropped as a whole; the \
             host's ruleset settles whether this port is (layer not read)."
                .to_owned(),
        );
        judgement.reasons.extend(details(takers));
        return judgement;
    }
    let mut judgement = undetermined(format!(
        "{endpoint} gave no answer although {taking} takes it: a service that is silent to a request it does not know, \
         or a filter; the host's ruleset settles which."
    ));
    if sight == Sight::Outside && !inside.udp_answers {
        judgement.reasons.push(
            "No UDP port of the address answered or was refused, so that the silence may be a filter's for all of them."
                .to_owned(),
        );
    }
    judgement.reasons.extend(details(takers));
    judgement
}

fn closed(look: Look<'_>, inside: &Inside<'_, '_>) -> Judgement {
    let Look { endpoint, seen, sight } = look;
    let takers = &inside.takers;
    let seen_words = how(endpoint, seen);
    let Some(taking) = takers.taking.first() else {
        if sight == Sight::Own {
            return undetermined(format!(
                "{endpoint} {seen_words} over lo, which is not the outside view: packets from outside may be translated \
                 before they meet a socket; a scan from a neighbour settles it."
            ));
        }
        if let Some(publication) = takers.published.first() {
            return undetermined(format!(
                "{endpoint} {seen_words} although {}: the host's ruleset settles whether a rule refuses it or nobody \
                 answers.",
                words::publication(publication)
            ));
        }
        return Judgement::new(
            Verdict::Closed,
            format!("{endpoint} {seen_words}, and no socket that the host reports takes it."),
        );
    };
    let socket = words::socket(taking.socket.listener);
    let mut judgement = match (presence(taking.socket), &taking.doubt) {
        (Some(change), _) => undetermined(format!(
            "{endpoint} {seen_words} and {socket} takes it, but {change}: it may not have been there when the port was \
             asked; another run settles it."
        )),
        (None, Some(doubt)) => undetermined(format!("{endpoint} {seen_words} and {socket} may take it: {doubt}.")),
        (None, None) => undetermined(format!(
            "{endpoint} {seen_words} although {socket} takes it: a rule that answers in the host's name would look like \
             this; the host's ruleset settles it."
        )),
    };
    judgement.reasons.extend(details(takers));
    judgement
}

fn filtered(look: Look<'_>, inside: &Inside<'_, '_>) -> Judgement {
    let Look { endpoint, seen, .. } = look;
    let takers = &inside.takers;
    let seen_words = how(endpoint, seen);
    let taking = takers.taking.first();
    let what = match (taking, takers.published.first()) {
        (Some(Taking { socket, doubt: None }), _) => format!("{} takes it", words::socket(socket.listener)),
        (Some(Taking { socket, doubt: Some(doubt) }), _) => {
            format!("{} may take it ({doubt})", words::socket(socket.listener))
        }
        (None, Some(publication)) => format!("the port is {}", words::publication(publication)),
        (None, None) => {
            return undetermined(format!(
                "{endpoint} {seen_words}, and no socket that the host reports takes it: the host's ruleset settles what \
                 a packet would meet."
            ));
        }
    };
    let full = full_queue(takers).filter(|_| seen.state == PortState::Filtered && seen.reason == Reason::NoAnswer);
    let mut judgement = if let Some((listener, queue)) = full {
        undetermined(format!(
            "{endpoint} {seen_words}, which needs no filter: the accept queue of {} is full ({} waiting, backlog {}), and \
             the kernel drops what comes; another round once it accepts again settles the rest.",
            words::socket(listener),
            queue.length,
            queue.backlog
        ))
    } else if let Some(table) =
        full_table(inside.machine).filter(|_| seen.state == PortState::Filtered && seen.reason == Reason::NoAnswer)
    {
        undetermined(format!(
            "{endpoint} {seen_words} although {what}, which needs no filter: {}; another sweep once it has room settles \
             the rest.",
            table_sentence(table)
        ))
    } else if inside.silent_host {
        undetermined(format!(
            "{what}, but nothing at {} gave any answer: another sweep settles whether the machine could be reached at \
             all, its ruleset whether it filters {endpoint}.",
            endpoint.address
        ))
    } else if seen.state == PortState::Unreachable {
        undetermined(format!(
            "{what}, and {endpoint} {seen_words}: another sweep settles whether the machine is there."
        ))
    } else {
        undetermined(format!(
            "{endpoint} {seen_words} although {what}: the host's ruleset settles whether its own firewall or something \
             between stops it."
        ))
    };
    judgement.reasons.extend(offender(look, inside.machine));
    if let Some(change) = taking.and_then(|taking| presence(taking.socket)) {
        judgement.reasons.push(sentence(&change));
    }
    judgement.reasons.extend(details(takers));
    judgement
}

fn unknown(look: Look<'_>, inside: &Inside<'_, '_>) -> Judgement {
    let Look { endpoint, seen, .. } = look;
    let takers = &inside.takers;
    let seen_words = how(endpoint, seen);
    let what = match (takers.taking.first(), takers.published.first()) {
        (Some(taking), _) => format!("{} takes it", words::socket(taking.socket.listener)),
        (None, Some(publication)) => format!("the port is {}", words::publication(publication)),
        (None, None) => "no socket that the host reports takes it".to_owned(),
    };
    let mut judgement = if seen.reason == Reason::NotSwept {
        undetermined(format!(
            "{endpoint} was not asked and {what}: a gap in the coverage, not a closed port; a sweep of it settles it."
        ))
    } else {
        undetermined(format!("{endpoint} {seen_words} and {what}: another round settles it."))
    };
    judgement.reasons.extend(details(takers));
    judgement
}

impl Judgement {
    fn new(verdict: Verdict, reason: String) -> Self {
        let confidence = Confidence::Certain;
        Self { verdict, reasons: vec![sentence(&reason)], confidence, listener: None, published: None }
    }
}

fn undetermined(reason: String) -> Judgement {
    Judgement { confidence: Confidence::Possible, ..Judgement::new(Verdict::Undetermined, reason) }
}

/// The default of kube-apiserver's `--service-node-port-range`.
pub const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;
