//! Verdicts on what did not answer, refused, or was not asked: what is never guessed.

use super::exhausted::{full_table, table_sentence};
use super::remarks::{details, full_queue, how, offender, presence, sentence};
use super::takes::Taking;
use super::verdict::{Inside, Judgement, Look, Sight, undetermined};
use super::words;
use crate::model::{Confidence, PortState, Reason, Verdict};

/// UDP gave no answer: a silent service, or a filter.
pub fn udp_silence(look: Look<'_>, inside: &Inside<'_, '_>) -> Judgement {
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

/// Refused: by the host itself, or in its name.
pub fn closed(look: Look<'_>, inside: &Inside<'_, '_>) -> Judgement {
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

/// Silence or an error on the way, or a host that could not be found.
pub fn filtered(look: Look<'_>, inside: &Inside<'_, '_>) -> Judgement {
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

/// The state itself is not known.
pub fn unknown(look: Look<'_>, inside: &Inside<'_, '_>) -> Judgement {
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
