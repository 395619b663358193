//! Refused or silent endpoints that something listens on: who stops the packet, by the host's own rules.

use super::by_rules::{listens, receiver, renewed};
use super::exhausted::full_table;
use super::layers;
use super::lookup::Seen;
use super::machine::{Machine, Presence};
use super::path_words::{decisive, path_sentences, place, rule};
use super::remarks::{full_queue, how, sentence};
use super::verdict::{Inside, Judgement, Look};
use crate::model::{Confidence, PathAnswer, PathOutcome, PortState, Reason, Verdict};

/// Filtered or closed although something takes it.
pub fn stopped(look: Look<'_>, inside: &Inside<'_, '_>, answer: &PathAnswer, before: Judgement) -> Judgement {
    let Look { endpoint, seen, .. } = look;
    let Some(what) = listens(&inside.takers) else { return before };
    if before.verdict != Verdict::Undetermined {
        return before;
    }
    let seen_words = how(endpoint, seen);
    match answer.path {
        PathOutcome::Drop | PathOutcome::Reject if rejected_by_host(look, inside.machine) == Some(false) => {
            let mut judgement = renewed(
                before,
                Verdict::GuardedElsewhere,
                format!("{endpoint} {seen_words} although {what}: something on the way stops it."),
            );
            judgement.reasons.insert(1, format!("The host's own rules would stop it, too: {}.", refusing(answer)));
            judgement
        }
        PathOutcome::Drop | PathOutcome::Reject if fits(seen, answer) => {
            let mut judgement = renewed(
                before,
                Verdict::Guarded,
                format!("{endpoint} {seen_words} although {what}: only the host's firewall protects it."),
            );
            judgement.reasons.insert(1, sentence(&format!("It is stopped by {}", refusing(answer))));
            if answer.path == PathOutcome::Reject && seen.reason == Reason::NoAnswer {
                // icmp(7): a host sends one a second to one destination, six at once.
                judgement.reasons.insert(
                    2,
                    "The rule rejects, and it was silent: the kernel sends few ICMP errors (icmp_ratelimit), so that a \
                     reject looks like a drop once many ports are asked."
                        .to_owned(),
                );
            }
            if inside.silent_host {
                judgement.confidence = judgement.confidence.min(Confidence::Likely);
            }
            judgement
        }
        PathOutcome::Drop | PathOutcome::Reject => {
            let mut judgement = renewed(
                before,
                Verdict::Undetermined,
                format!(
                    "{endpoint} {seen_words} although {what}, and the host's rules would not answer like that ({}): \
                     another box answers in its name, or the rules changed since the report; a fresh report settles it.",
                    refusing(answer)
                ),
            );
            judgement.confidence = Confidence::Possible;
            judgement
        }
        PathOutcome::Accept if seen.state == PortState::Closed => nobody_behind(look, inside, answer, before),
        PathOutcome::Accept => passed(look, inside, answer, before, &what),
        PathOutcome::Unknown => before,
    }
}

/// Closed, and the rules lead it to where nobody listens: the reset is that kernel's.
fn nobody_behind(look: Look<'_>, inside: &Inside<'_, '_>, answer: &PathAnswer, before: Judgement) -> Judgement {
    let delivered = answer.delivered.as_ref().filter(|_| answer.translation().is_some());
    let Some(delivered) = delivered else { return before };
    let seen = delivered.namespace.is_some() && inside.machine.can_enter_namespaces();
    if !seen || receiver(inside.machine, delivered, look).is_some() {
        return before;
    }
    let what = format!(
        "{} {}: rules lead it to {}, where nobody listens.",
        look.endpoint,
        how(look.endpoint, look.seen),
        place(delivered)
    );
    renewed(before, Verdict::Closed, what)
}

/// Filtered although the host's rules let it pass.
fn passed(look: Look<'_>, inside: &Inside<'_, '_>, answer: &PathAnswer, before: Judgement, what: &str) -> Judgement {
    let Look { endpoint, seen, .. } = look;
    let no_room = seen.reason == Reason::NoAnswer && full_table(inside.machine).is_some();
    if inside.silent_host || no_room || full_queue(&inside.takers).is_some() {
        return before;
    }
    let seen_words = how(endpoint, seen);
    let programs = layers::before_the_rules(inside.machine, answer.iif.as_deref());
    if rejected_by_host(look, inside.machine) == Some(true) {
        let mut judgement = before;
        judgement.reasons[0] = format!(
            "{endpoint} {seen_words} by the host itself although {what} and the rules of its report let it pass: they \
             changed since, or a layer not read refuses it; a fresh report settles which."
        );
        return judgement;
    }
    let mut judgement = renewed(
        before,
        Verdict::GuardedElsewhere,
        format!(
            "{endpoint} {seen_words} although {what} and the host's own rules let it pass: something between the vantage \
             and the host stops it."
        ),
    );
    judgement.confidence = judgement.confidence.min(Confidence::Likely);
    judgement.reasons.splice(1..1, path_sentences(answer));
    if !programs.is_empty() {
        judgement.confidence = Confidence::Possible;
        judgement.reasons.push(format!(
            "What is attached to the host's interface before its rules may stop it as well: {} (layer not read).",
            programs.join(", ")
        ));
    }
    judgement
}

/// UDP without an answer: the socket and the rules settle what `open|filtered` leaves open.
pub fn udp_silence(look: Look<'_>, inside: &Inside<'_, '_>, answer: &PathAnswer, before: Judgement) -> Judgement {
    let endpoint = look.endpoint;
    let Some(what) = listens(&inside.takers) else { return before };
    let changed = inside.takers.taking.first().is_some_and(|taking| taking.socket.presence != Presence::Steady);
    match answer.path {
        PathOutcome::Drop | PathOutcome::Reject => {
            let mut judgement = renewed(
                before,
                Verdict::Guarded,
                format!("{endpoint} gave no answer although {what}: only the host's firewall protects it."),
            );
            judgement.reasons.insert(1, sentence(&format!("It is stopped by {}", refusing(answer))));
            judgement
        }
        PathOutcome::Accept if !inside.silent_host && !changed && full_table(inside.machine).is_none() => {
            let mut judgement = renewed(
                before,
                Verdict::Exposed,
                format!(
                    "{endpoint} gave no answer, {what} and the host's rules let it pass: they settle open|filtered."
                ),
            );
            judgement.confidence = Confidence::Likely;
            judgement.reasons.splice(1..1, path_sentences(answer));
            judgement
        }
        _ => before,
    }
}

/// Whether what was seen is what the rules do: silence or the ICMP error of a reject, a reset of `tcp-reset`.
fn fits(seen: &Seen, answer: &PathAnswer) -> bool {
    match seen.state {
        PortState::Closed => answer.refusal.as_deref() == Some("tcp-reset"),
        _ => true,
    }
}

fn refusing(answer: &PathAnswer) -> String {
    decisive(&answer.trace).map_or_else(|| "a policy".to_owned(), rule)
}

/// Whether the ICMP error that refused it came from the host itself; `None` without one.
fn rejected_by_host(look: Look<'_>, machine: &Machine<'_>) -> Option<bool> {
    let offender = look.seen.evidence.offender.filter(|_| look.seen.state == PortState::Filtered)?;
    Some(offender == look.endpoint.address || machine.addresses.iter().any(|own| own.address == offender))
}
