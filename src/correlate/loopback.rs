//! Verdicts on what is bound to loopback, or published there only.

use super::remarks::{how, presence};
use super::verdict::{Inside, Judgement, Look, Sight, undetermined};
use super::{path_words, words};
use crate::model::{PathAnswer, PathOutcome, PortState, Reason, Verdict};

/// An address that only the machine itself reaches.
pub fn endpoint(look: Look<'_>, inside: &Inside<'_, '_>) -> Judgement {
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
pub fn socket(look: Look<'_>, inside: &Inside<'_, '_>) -> Judgement {
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
pub fn beside_the_binding(port: u16, answer: &PathAnswer) -> Option<String> {
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
