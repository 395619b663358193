//! The verdicts that the host's own rules settle: what they do with this very packet, held against what was seen.
//!
//! The evaluated path is the host's alone. Boxes between the vantage and the host, eBPF and hardware are not in it: where
//! the path and the network disagree, that is what is said.

use super::machine::Machine;
use super::path_words::{
    decisive, kubernetes_service, path_sentences, receiver as words_of_receiver, rule, why_never_asked,
};
use super::takes::{Takers, Taking, fit, is_loopback_only};
use super::verdict::{Inside, Judgement, Look, Sight};
use super::{layers, stopped, words};
use crate::model::host_report::Listener;
use crate::model::path::Delivered;
use crate::model::{Confidence, PathAnswer, PathOutcome, PortState, Reason, Verdict};

/// Judges anew what `before` left to the rules. Without an answer, or seen from the machine itself, nothing changes.
pub fn settle(look: Look<'_>, inside: &Inside<'_, '_>, before: Judgement) -> Judgement {
    let Some(answer) = inside.answer.filter(|_| look.sight == Sight::Outside) else { return before };
    if look.endpoint.address.is_loopback() || look.seen.reason == Reason::NotSwept {
        return before;
    }
    let mut judgement = match look.seen.state {
        PortState::Open => open(look, inside, answer, before),
        PortState::Filtered | PortState::Closed => stopped::stopped(look, inside, answer, before),
        PortState::OpenOrFiltered => stopped::udp_silence(look, inside, answer, before),
        PortState::Unreachable | PortState::Unknown => return before,
    };
    if answer.path == PathOutcome::Unknown && !answer.unknown.is_empty() {
        let shown: Vec<&str> = answer.unknown.iter().take(SHOWN).map(String::as_str).collect();
        judgement.reasons.push(format!("The host's rules leave it open; it depends on: {}.", shown.join("; ")));
    }
    judgement
}

fn open(look: Look<'_>, inside: &Inside<'_, '_>, answer: &PathAnswer, before: Judgement) -> Judgement {
    let endpoint = look.endpoint;
    match before.verdict {
        Verdict::LeakedLocal => {
            let mut judgement = before;
            judgement.reasons.truncate(1);
            judgement.reasons.extend(leak_sentences(answer));
            return judgement;
        }
        Verdict::AnswersEverything => return before,
        _ => {}
    }
    if answer.is_bypass() {
        let believed = decisive(&answer.intent_trace);
        let mut judgement = renewed(
            before,
            Verdict::FirewallBypass,
            format!(
                "{endpoint} is open although the host's INPUT rules {} it ({}).",
                if answer.intent == PathOutcome::Drop { "drop" } else { "reject" },
                believed.map_or_else(|| "by policy".to_owned(), rule)
            ),
        );
        judgement.reasons.splice(1..1, why_never_asked(answer));
        if judgement.listener.is_none() && !inside.takers.any_takes() {
            // No socket has the port; one behind the translation answers.
            let delivered = answer.delivered.as_ref();
            judgement.listener = delivered.and_then(|delivered| receiver(inside.machine, delivered, look)).cloned();
        }
        return judgement;
    }
    if answer.path.is_refusal() {
        return refused_and_open(look, inside, answer, before);
    }
    if answer.path != PathOutcome::Accept {
        return before;
    }
    accepted(look, inside, answer, before)
}

/// Open, and the evaluated path lets it in where INPUT would, too.
fn accepted(look: Look<'_>, inside: &Inside<'_, '_>, answer: &PathAnswer, before: Judgement) -> Judgement {
    let endpoint = look.endpoint;
    let elsewhere =
        |delivered: &&Delivered| delivered.address != endpoint.address || delivered.port != Some(endpoint.port);
    // Of several places any will do: whoever is drawn answers for the same service.
    let behind =
        answer.places().next().filter(|_| answer.translation().is_some() && answer.places().all(|at| elsewhere(&at)));
    let behind = behind.map(|delivered| (delivered, receiver(inside.machine, delivered, look)));
    match (before.verdict, behind) {
        (Verdict::Unreported | Verdict::Undetermined, Some((_, Some(listener))))
            if is_loopback_only(listener) && !inside.takers.any_takes() =>
        {
            let what = format!(
                "{endpoint} is open from outside, and a rule leads it to {}, which is bound to loopback only.",
                words::socket(listener)
            );
            let mut judgement = renewed(before, Verdict::LeakedLocal, what);
            judgement.reasons.truncate(1);
            judgement.reasons.extend(leak_sentences(answer));
            judgement.listener = Some(listener.clone());
            judgement
        }
        (Verdict::Unreported, Some((delivered, listener))) => {
            let mut judgement = before;
            let by = kubernetes_service(answer)
                .map_or_else(|| "a rule leads it to".to_owned(), |service| format!("it is {service}, led to"));
            let others = match answer.either.len() {
                0 | 1 => String::new(),
                count => format!(", or to another of {count} places"),
            };
            let whole = format!(
                "{endpoint} is open without a socket of its own: {by} {}{others}.",
                words_of_receiver(delivered, listener)
            );
            // What is explained needs no guesses.
            judgement.reasons = vec![whole];
            judgement.reasons.extend(path_sentences(answer));
            judgement.confidence = Confidence::Certain;
            judgement.listener = listener.cloned();
            judgement
        }
        (Verdict::Unreported, None) => with_layers(look, inside, answer, before),
        (Verdict::Undetermined, _) if inside.takers.any_takes() => {
            let what = format!("{endpoint} is open, and the host's rules let it pass.");
            let mut judgement = renewed(before, Verdict::Exposed, what);
            judgement.reasons.splice(1..1, path_sentences(answer));
            judgement
        }
        (Verdict::Exposed, behind) => {
            let mut judgement = before;
            judgement.reasons.splice(1..1, path_sentences(answer));
            if let Some((_, Some(listener))) = behind
                && inside.takers.published.is_empty()
                && !inside.takers.taking.iter().any(|taking| taking.socket.listener == listener)
            {
                // The socket that has the port never gets the packet.
                judgement.reasons[0] =
                    format!("{endpoint} is open: {} takes it after a translation.", words::socket(listener));
                judgement.listener = Some(listener.clone());
            }
            judgement
        }
        _ => before,
    }
}

/// No rule and no socket: what the report names of programs that come before both.
fn with_layers(look: Look<'_>, inside: &Inside<'_, '_>, answer: &PathAnswer, before: Judgement) -> Judgement {
    let mut programs = layers::before_the_rules(inside.machine, answer.iif.as_deref());
    programs.extend(layers::socket_lookups(inside.machine));
    let mut judgement = before;
    judgement.reasons.retain(|known| !known.contains("layers not read"));
    if programs.is_empty() {
        judgement.reasons.push(
            "No rule of the host translates it, and no BPF program is attached where it comes in: a box in front of the \
             host may answer in its name; compare it with another vantage."
                .to_owned(),
        );
    } else {
        judgement.reasons[0] = format!(
            "{} is open, and neither a socket nor a rule of the host takes it: what is attached before them may \
             ({}; layer not read).",
            look.endpoint,
            programs.join(", ")
        );
    }
    judgement
}

/// The rules refuse it and the network lets it in: both sides, and what may stand between.
fn refused_and_open(look: Look<'_>, inside: &Inside<'_, '_>, answer: &PathAnswer, before: Judgement) -> Judgement {
    let endpoint = look.endpoint;
    let action = if answer.path == PathOutcome::Drop { "drop" } else { "reject" };
    let refusing = decisive(&answer.trace).map_or_else(|| "by their policy".to_owned(), rule);
    if inside.stale && !inside.takers.any_takes() {
        let mut judgement = before;
        judgement.verdict = Verdict::Undetermined;
        judgement.reasons = vec![format!(
            "{endpoint} is open, and neither a socket nor a rule of the host report accounts for it (its rules {action} \
             it: {refusing}): a report of today settles whether they still do."
        )];
        judgement.confidence = Confidence::Possible;
        return judgement;
    }
    let mut judgement = renewed(
        before,
        Verdict::Contradiction,
        format!("{endpoint} is open, and the host's own rules {action} it: {refusing}."),
    );
    let programs = layers::before_the_rules(inside.machine, answer.iif.as_deref());
    let between = if programs.is_empty() {
        "What answers does so before or beside these rules: an XDP or tc program, hardware, a box in front of the host; \
         or the rules changed since the report was taken."
            .to_owned()
    } else {
        format!(
            "What is attached before these rules may answer or redirect it: {} (layer not read); or the rules changed \
             since the report was taken.",
            programs.join(", ")
        )
    };
    judgement.reasons.insert(1, between);
    if !inside.takers.any_takes() {
        judgement.reasons.insert(2, "No socket that the host reports could take it: another one answers.".to_owned());
    }
    judgement.confidence = judgement.confidence.min(Confidence::Likely);
    judgement
}

/// How a packet from outside comes to a loopback socket.
fn leak_sentences(answer: &PathAnswer) -> Vec<String> {
    let mut sentences = path_sentences(answer);
    if answer.path.is_refusal() {
        sentences.push(format!(
            "The host's rules stop it as far as they are read ({}): something before or beside them leads it in.",
            decisive(&answer.trace).map_or_else(|| "by their policy".to_owned(), rule)
        ));
    }
    let to_loopback = answer
        .delivered
        .as_ref()
        .is_some_and(|delivered| delivered.address.is_loopback() && delivered.address.is_ipv4());
    if to_loopback {
        let interface = answer.iif.as_deref().unwrap_or("the interface");
        sentences.push(format!("route_localnet is 1 for {interface}: without it the kernel would drop such a packet."));
    }
    sentences
}

/// Another verdict in place of what was said without the rules.
pub fn renewed(before: Judgement, verdict: Verdict, reason: String) -> Judgement {
    let mut reasons = before.reasons;
    // The first sentence was the reason of the verdict that it was; what follows is about sockets and stays.
    if reasons.is_empty() {
        reasons.push(reason)
    } else {
        reasons[0] = reason
    }
    let settled = ["layer not read", "layers not read", "ruleset settles"];
    reasons.retain(|known| !settled.iter().any(|words| known.contains(words)));
    Judgement { verdict, reasons, confidence: Confidence::Certain, ..before }
}

/// What listens, as the middle of a sentence.
pub fn listens(takers: &Takers<'_>) -> Option<String> {
    match (takers.taking.first(), takers.published.first()) {
        (Some(Taking { socket, doubt: None }), _) => Some(format!("{} takes it", words::socket(socket.listener))),
        (Some(Taking { socket, doubt: Some(doubt) }), _) => {
            Some(format!("{} may take it ({doubt})", words::socket(socket.listener)))
        }
        (None, Some(publication)) => Some(format!("the port is {}", words::publication(publication))),
        (None, None) => None,
    }
}

/// The socket that takes the packet where it is delivered.
pub fn receiver<'a>(machine: &Machine<'a>, delivered: &Delivered, look: Look<'_>) -> Option<&'a Listener> {
    let namespace = delivered.namespace.as_deref()?;
    let port = delivered.port?;
    let sockets = machine.sockets.iter().map(|socket| socket.listener);
    let mut taking = sockets.filter(|listener| {
        listener.namespace == namespace
            && (listener.transport, listener.port) == (look.endpoint.transport, port)
            && fit(listener, delivered.address, None).is_some()
    });
    taking.next()
}

/// Unknown conditions that a reason names.
const SHOWN: usize = 3;
