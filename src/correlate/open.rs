//! Verdicts on what is open: taken by a socket, led on to a container, or by nothing that the host reports.

use super::machine::Presence;
use super::remarks::details;
use super::takes::{ContainerEnd, Taking};
use super::verdict::{Inside, Judgement, Look, NODE_PORTS, Sight, undetermined};
use super::words;
use crate::model::{Confidence, PathAnswer, PathOutcome, Transport, Verdict};

/// Somebody accepted.
pub fn judge(look: Look<'_>, inside: &Inside<'_, '_>) -> Judgement {
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
