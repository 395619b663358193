//! The verdicts that the host's own rules settle: what they do with this very packet, held against what was seen.
//!
//! The evaluated path is the host's alone. Boxes between the vantage and the host, eBPF and hardware are not in it: where
//! the path and the network disagree, that is what is said.

use super::lookup::Seen;
use super::machine::Machine;
use super::remarks::{how, sentence};
use super::takes::{Takers, Taking, fit};
use super::verdict::{Inside, Judgement, Look, Sight};
use super::words;
use crate::model::host_report::{HOST_NAMESPACE, Listener};
use crate::model::path::{Delivered, TraceStep};
use crate::model::{Confidence, PathAnswer, PathOutcome, PortState, Reason, Verdict};

/// Judges anew what `before` left to the rules. Without an answer, or seen from the machine itself, nothing changes.
pub fn settle(look: Look<'_>, inside: &Inside<'_, '_>, before: Judgement) -> Judgement {
    let Some(answer) = inside.answer.filter(|_| look.sight == Sight::Outside) else { return before };
    if look.endpoint.address.is_loopback() || look.seen.reason == Reason::NotSwept {
        return before;
    }
    let mut judgement = match look.seen.state {
        PortState::Open => open(look, inside, answer, before),
        PortState::Filtered | PortState::Closed => stopped(look, inside, answer, before),
        PortState::OpenOrFiltered => udp_silence(look, inside, answer, before),
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
            judgement.reasons.extend(path_sentences(answer));
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
        return judgement;
    }
    if answer.path.is_refusal() {
        let mut judgement = renewed(
            before,
            Verdict::Contradiction,
            format!(
                "{endpoint} is open, and the host's own rules {} it: {}.",
                if answer.path == PathOutcome::Drop { "drop" } else { "reject" },
                decisive(&answer.trace).map_or_else(|| "by their policy".to_owned(), rule)
            ),
        );
        judgement.reasons.insert(
            1,
            "What answers does so before or beside these rules: an XDP or tc program, hardware, a box in front of the \
             host; or the rules changed since the report was taken."
                .to_owned(),
        );
        judgement.confidence = judgement.confidence.min(Confidence::Likely);
        return judgement;
    }
    if answer.path != PathOutcome::Accept {
        return before;
    }
    let translated = answer.trace.iter().any(|step| step.action.starts_with("dnat"));
    let behind = answer.delivered.as_ref().map(|delivered| (delivered, receiver(inside.machine, delivered, look)));
    match (before.verdict, behind) {
        (Verdict::Unreported, Some((_, Some(listener)))) if translated => {
            let what = format!("{endpoint} is open: {} takes it after a translation.", words::socket(listener));
            let mut judgement = renewed(before, Verdict::Exposed, what);
            judgement.reasons.truncate(1);
            judgement.reasons.extend(path_sentences(answer));
            judgement.listener = Some(listener.clone());
            judgement
        }
        (Verdict::Unreported, Some((delivered, None))) if translated => {
            let mut judgement = before;
            let place = match delivered.namespace.as_deref() {
                Some(HOST_NAMESPACE) => "where no socket that the report shows takes it".to_owned(),
                Some(namespace) => format!("in namespace {namespace}, where no socket that the report shows takes it"),
                None => "beyond this host's namespaces".to_owned(),
            };
            let whole =
                format!("{endpoint} is open and has no socket here: rules lead it to {}, {place}.", target(delivered));
            judgement.reasons[0] = whole;
            judgement.reasons.splice(1..1, path_sentences(answer));
            judgement
        }
        (Verdict::Undetermined, _) if inside.takers.any_takes() => {
            let what = format!("{endpoint} is open, and the host's rules let it pass.");
            let mut judgement = renewed(before, Verdict::Exposed, what);
            judgement.reasons.splice(1..1, path_sentences(answer));
            judgement
        }
        (Verdict::Exposed, _) => {
            let mut judgement = before;
            judgement.reasons.splice(1..1, path_sentences(answer));
            judgement
        }
        _ => before,
    }
}

/// Refused or silent, and something listens: who stops it?
fn stopped(look: Look<'_>, inside: &Inside<'_, '_>, answer: &PathAnswer, before: Judgement) -> Judgement {
    let Look { endpoint, seen, .. } = look;
    let Some(what) = listens(&inside.takers) else { return before };
    if before.verdict != Verdict::Undetermined {
        return before;
    }
    let seen_words = how(endpoint, seen);
    match answer.path {
        PathOutcome::Drop | PathOutcome::Reject if fits(seen, answer) => {
            let mut judgement = renewed(
                before,
                Verdict::Guarded,
                format!("{endpoint} {seen_words} although {what}: only the host's firewall protects it."),
            );
            judgement.reasons.insert(
                1,
                sentence(&format!(
                    "It is stopped by {}",
                    decisive(&answer.trace).map_or_else(|| "a policy".to_owned(), rule)
                )),
            );
            if inside.silent_host {
                judgement.confidence = judgement.confidence.min(Confidence::Likely);
            }
            judgement
        }
        PathOutcome::Accept if seen.state == PortState::Filtered => {
            if let Some((listener, queue)) = full_queue(&inside.takers) {
                let mut judgement = before;
                judgement.reasons[0] = format!(
                    "{endpoint} {seen_words}, and it is no filter: the accept queue of {} is full ({} waiting, backlog {}).",
                    words::socket(listener),
                    queue.length,
                    queue.backlog
                );
                return judgement;
            }
            if inside.silent_host {
                return before;
            }
            let mut judgement = renewed(
                before,
                Verdict::GuardedElsewhere,
                format!(
                    "{endpoint} {seen_words} although {what} and the host's own rules let it pass: something between the \
                     vantage and the host stops it."
                ),
            );
            judgement.confidence = judgement.confidence.min(Confidence::Likely);
            judgement.reasons.splice(1..1, path_sentences(answer));
            judgement
        }
        _ => before,
    }
}

fn udp_silence(look: Look<'_>, inside: &Inside<'_, '_>, answer: &PathAnswer, before: Judgement) -> Judgement {
    let endpoint = look.endpoint;
    let Some(what) = listens(&inside.takers) else { return before };
    match answer.path {
        PathOutcome::Drop | PathOutcome::Reject => {
            let mut judgement = renewed(
                before,
                Verdict::Guarded,
                format!("{endpoint} gave no answer although {what}: only the host's firewall protects it."),
            );
            judgement.reasons.insert(
                1,
                sentence(&format!(
                    "It is stopped by {}",
                    decisive(&answer.trace).map_or_else(|| "a policy".to_owned(), rule)
                )),
            );
            judgement
        }
        PathOutcome::Accept if !inside.silent_host => {
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

fn renewed(before: Judgement, verdict: Verdict, reason: String) -> Judgement {
    let mut reasons = before.reasons;
    // The first sentence was the reason of the verdict that it was; what follows is about sockets and stays.
    if reasons.is_empty() {
        reasons.push(reason)
    } else {
        reasons[0] = reason
    }
    reasons.retain(|known| !known.contains("layer not read") && !known.contains("ruleset settles"));
    Judgement { verdict, reasons, confidence: Confidence::Certain, ..before }
}

/// What listens, as the middle of a sentence.
fn listens(takers: &Takers<'_>) -> Option<String> {
    match (takers.taking.first(), takers.published.first()) {
        (Some(Taking { socket, doubt: None }), _) => Some(format!("{} takes it", words::socket(socket.listener))),
        (Some(Taking { socket, doubt: Some(doubt) }), _) => {
            Some(format!("{} may take it ({doubt})", words::socket(socket.listener)))
        }
        (None, Some(publication)) => Some(format!("the port is {}", words::publication(publication))),
        (None, None) => None,
    }
}

fn full_queue<'a>(takers: &Takers<'a>) -> Option<(&'a Listener, crate::model::host_report::AcceptQueue)> {
    takers.taking.iter().find_map(|taking| {
        let listener = taking.socket.listener;
        listener.accept_queue.filter(|queue| queue.is_full()).map(|queue| (listener, queue))
    })
}

/// The socket that takes the packet where it is delivered.
fn receiver<'a>(machine: &Machine<'a>, delivered: &Delivered, look: Look<'_>) -> Option<&'a Listener> {
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

/// Why the rule that was believed in never saw the packet, and what let it pass.
fn why_never_asked(answer: &PathAnswer) -> Vec<String> {
    let mut sentences = Vec::new();
    let translation = answer.trace.iter().find(|step| step.action.starts_with("dnat"));
    let forwarded = answer.trace.iter().any(|step| step.hook == "forward");
    if let Some(step) = translation {
        let believed = if forwarded {
            "INPUT, where that rule is, is never asked: the packet is forwarded"
        } else {
            "INPUT is asked for the translated port only"
        };
        sentences.push(format!("{} rewrites it ({}) before INPUT. {believed}.", rule(step), step.action));
    }
    if let Some(step) = decisive(&answer.trace) {
        let hook = step.hook.to_uppercase();
        sentences.push(format!("{hook} accepts it: {}.", rule(step)));
    }
    if let Some(delivered) = &answer.delivered {
        sentences.push(format!("It ends at {}.", place(delivered)));
    }
    sentences
}

/// The path in a sentence or two.
fn path_sentences(answer: &PathAnswer) -> Vec<String> {
    let mut sentences = Vec::new();
    if let Some(step) = answer.trace.iter().find(|step| step.action.starts_with("dnat")) {
        sentences.push(format!("{} rewrites it ({}).", rule(step), step.action));
    }
    if answer.path == PathOutcome::Accept {
        match decisive(&answer.trace) {
            Some(step) => sentences.push(format!("The host's rules let it pass: {}.", rule(step))),
            None => sentences.push("No rule of the host stops it.".to_owned()),
        }
    }
    sentences
}

fn decisive(trace: &[TraceStep]) -> Option<&TraceStep> {
    trace.iter().rev().find(|step| step.decides)
}

/// `table ip nat, chain DOCKER, handle 12`, with the rule's text.
fn rule(step: &TraceStep) -> String {
    if step.table.is_empty() {
        return format!("the routing decision ({})", step.rule);
    }
    let place = match (step.handle, step.number) {
        (Some(handle), _) => format!(", handle {handle}"),
        (None, Some(number)) => format!(", rule {number}"),
        (None, None) => String::new(),
    };
    let inside = step.namespace.as_ref().map_or_else(String::new, |namespace| format!(" in namespace {namespace}"));
    format!("table {}, chain {}{place}: `{}`{inside}", step.table, step.chain, step.rule)
}

fn target(delivered: &Delivered) -> String {
    match delivered.port {
        Some(port) => std::net::SocketAddr::new(delivered.address, port).to_string(),
        None => delivered.address.to_string(),
    }
}

fn place(delivered: &Delivered) -> String {
    match delivered.namespace.as_deref() {
        Some(HOST_NAMESPACE) => format!("{} on the host", target(delivered)),
        Some(namespace) => format!("{} in namespace {namespace}", target(delivered)),
        None => format!("{}, beyond this host", target(delivered)),
    }
}

/// The path as lines of a report: a step a line.
pub fn lines(answer: &PathAnswer) -> Vec<String> {
    let step = |step: &TraceStep| {
        let namespace = step.namespace.as_ref().map_or_else(String::new, |namespace| format!("[{namespace}] "));
        if step.table.is_empty() {
            format!("{namespace}{}: {} -> {}", step.hook, step.rule, step.action)
        } else {
            format!("{namespace}{}: {} -> {}", step.hook, rule(step), step.action)
        }
    };
    answer.trace.iter().map(step).collect()
}

/// Unknown conditions that a reason names.
const SHOWN: usize = 3;
