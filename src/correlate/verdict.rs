//! The verdict on one endpoint, from what was seen and what takes it. First match wins, in the order of [`Verdict`].
//!
//! Whatever needs the host's rules (`firewall-bypass`, `contradiction`, `guarded`, `guarded-elsewhere`) is settled by
//! [`super::by_rules`] where the report has them; else it stays [`Verdict::Undetermined`] and says that the ruleset
//! settles it.

use super::lookup::Seen;
use super::machine::{Machine, Presence};
use super::remarks::{describe_publications, how, listener_of, sentence};
use super::takes::Takers;
use super::{loopback, open, path_words, unanswered};
use crate::model::host_report::Listener;
use crate::model::{Confidence, Endpoint, PathAnswer, PortState, Verdict};

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
        loopback::endpoint(look, inside)
    } else if takers.is_loopback_only() {
        loopback::socket(look, inside)
    } else {
        match look.seen.state {
            PortState::Open => open::judge(look, inside),
            PortState::OpenOrFiltered => unanswered::udp_silence(look, inside),
            PortState::Closed => unanswered::closed(look, inside),
            PortState::Filtered | PortState::Unreachable => unanswered::filtered(look, inside),
            PortState::Unknown => unanswered::unknown(look, inside),
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
        judgement
            .reasons
            .extend(inside.loopback.and_then(|answer| loopback::beside_the_binding(look.endpoint.port, answer)));
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

impl Judgement {
    pub fn new(verdict: Verdict, reason: String) -> Self {
        let confidence = Confidence::Certain;
        Self { verdict, reasons: vec![sentence(&reason)], confidence, listener: None, published: None }
    }
}

/// A verdict that needs more than was seen; the reason says what settles it.
pub fn undetermined(reason: String) -> Judgement {
    Judgement { confidence: Confidence::Possible, ..Judgement::new(Verdict::Undetermined, reason) }
}

/// The default of kube-apiserver's `--service-node-port-range`.
pub const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;
