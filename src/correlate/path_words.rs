//! The evaluated path in sentences: which rule was believed in, which one leads past it, which one lets the packet in.

use super::words;
use crate::model::host_report::{HOST_NAMESPACE, Listener};
use crate::model::path::{Delivered, TraceStep};
use crate::model::{PathAnswer, PathOutcome};

/// Why the rule that was believed in never saw the packet, and what let it pass: two sentences.
pub fn why_never_asked(answer: &PathAnswer) -> Vec<String> {
    let mut sentences = Vec::new();
    let forwarded = answer.trace.iter().any(|step| step.hook == "forward");
    if let Some(step) = answer.translation() {
        let believed = if forwarded {
            "it is forwarded, and INPUT, where that rule is, is never asked"
        } else {
            "INPUT is asked about the translated port only"
        };
        sentences.push(format!("{} rewrites it ({}) before INPUT: {believed}.", place_of(step), step.action));
    }
    sentences.extend(accepted(answer));
    sentences
}

/// The path in a sentence or two: what translates, what lets it in and where it ends.
pub fn path_sentences(answer: &PathAnswer) -> Vec<String> {
    let mut sentences = Vec::new();
    if let Some(step) = answer.translation() {
        sentences.push(format!("{} rewrites it ({}).", rule(step), step.action));
    }
    if answer.path == PathOutcome::Accept {
        sentences.extend(accepted(answer).or_else(|| Some("No rule of the host stops it.".to_owned())));
    }
    sentences
}

/// What lets it in, and where it ends.
fn accepted(answer: &PathAnswer) -> Option<String> {
    let step = decisive(&answer.trace);
    if step.is_none() && answer.delivered.is_none() {
        return None;
    }
    let accepts = step.map(|step| format!("{} accepts it: {}", step.hook.to_uppercase(), rule(step)));
    let ends = answer.delivered.as_ref().map(|delivered| format!("it ends at {}", place(delivered)));
    match (accepts, ends) {
        (Some(accepts), Some(ends)) => Some(format!("{accepts}; {ends}.")),
        (Some(one), None) => Some(format!("{one}.")),
        (None, Some(ends)) => Some(format!("No rule of the host stops it; {ends}.")),
        (None, None) => None,
    }
}

/// Rules that let this source by and stop others: `stranger` is the same packet from an address of no network.
pub fn let_by(answer: &PathAnswer, stranger: &PathAnswer) -> Option<String> {
    let step = decisive(&stranger.trace).filter(|step| !step.table.is_empty())?;
    (answer.path == PathOutcome::Accept && stranger.path.is_refusal()).then(|| {
        format!(
            "The rules let {} by as a source: a packet from {} is stopped by {}.",
            answer.from,
            stranger.from,
            rule(step)
        )
    })
}

/// The Kubernetes service that the rules on the way name, and how it is published: the middle of a sentence.
pub fn kubernetes_service(answer: &PathAnswer) -> Option<String> {
    let kinds: Vec<&str> = answer.trace.iter().filter_map(kubernetes_kind).collect();
    // The more telling ones first: every way in passes a chain for services.
    let kind = ["NodePort", "HostPort", "service"].into_iter().find(|kind| kinds.contains(kind))?;
    let steps = || answer.trace.iter().filter(|step| kubernetes_kind(step).is_some());
    let by_comment = steps().filter_map(|step| comment(&step.rule)).find_map(|comment| {
        // `namespace/name:port`; other comments are sentences.
        comment.split_whitespace().next().filter(|word| word.contains('/')).map(str::to_owned)
    });
    let name = by_comment.or_else(|| steps().find_map(|step| service_of_chain(&step.chain)));
    Some(name.map_or_else(|| format!("a Kubernetes {kind}"), |name| format!("the Kubernetes {kind} {name}")))
}

/// What the chains of kube-proxy (both modes) and of CNI's portmap plugin are for.
fn kubernetes_kind(step: &TraceStep) -> Option<&'static str> {
    if step.chain.starts_with("KUBE-NODEPORTS") || step.rule.contains("nodeports") {
        Some("NodePort")
    } else if step.chain.contains("HOSTPORT") || step.chain.starts_with("CNI-DN-") {
        Some("HostPort")
    } else if step.chain.starts_with("KUBE-") || step.table.ends_with(" kube-proxy") {
        Some("service")
    } else {
        None
    }
}

/// kube-proxy's chains in its nft mode have the service in their names: `external-HASH-namespace/name/tcp/port`.
fn service_of_chain(chain: &str) -> Option<String> {
    let (kind, rest) = chain.split_once('-')?;
    if !["endpoint", "external", "firewall", "service"].contains(&kind) {
        return None;
    }
    let (_, rest) = rest.split_once('-')?;
    let mut parts = rest.split("__").next()?.split('/');
    let (namespace, name, _transport, port) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    Some(if port.is_empty() { format!("{namespace}/{name}") } else { format!("{namespace}/{name}:{port}") })
}

/// The comment of a rule, as iptables-save (`--comment "default/web:http"`) and nft (`comment "…"`) print it.
fn comment(rule: &str) -> Option<String> {
    let (_, rest) = rule.split_once("--comment ").or_else(|| rule.split_once("comment "))?;
    let text = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => rest.split_whitespace().next()?,
    };
    (!text.is_empty()).then(|| text.to_owned())
}

/// The step that decided.
pub fn decisive(trace: &[TraceStep]) -> Option<&TraceStep> {
    trace.iter().rev().find(|step| step.decides)
}

/// `table ip nat, chain DOCKER, handle 12: ` and the rule's text.
pub fn rule(step: &TraceStep) -> String {
    if step.table.is_empty() {
        return format!("the routing decision ({})", step.rule);
    }
    format!("{}: `{}`{}", bare_place(step), step.rule, inside(step))
}

/// The same without the text, where the rule has a handle to be found by.
fn place_of(step: &TraceStep) -> String {
    if step.table.is_empty() || step.handle.is_none() {
        return rule(step);
    }
    format!("{}{}", bare_place(step), inside(step))
}

fn bare_place(step: &TraceStep) -> String {
    let number = match (step.handle, step.number) {
        (Some(handle), _) => format!(", handle {handle}"),
        (None, Some(number)) => format!(", rule {number}"),
        (None, None) => String::new(),
    };
    format!("table {}, chain {}{number}", step.table, step.chain)
}

fn inside(step: &TraceStep) -> String {
    step.namespace.as_ref().map_or_else(String::new, |namespace| format!(" in namespace {namespace}"))
}

/// `172.17.0.2:80`.
pub fn target(delivered: &Delivered) -> String {
    match delivered.port {
        Some(port) => std::net::SocketAddr::new(delivered.address, port).to_string(),
        None => delivered.address.to_string(),
    }
}

/// The same with its namespace.
pub fn place(delivered: &Delivered) -> String {
    match delivered.namespace.as_deref() {
        Some(HOST_NAMESPACE) => format!("{} on the host", target(delivered)),
        Some(namespace) => format!("{} in namespace {namespace}", target(delivered)),
        None => format!("{}, beyond this host", target(delivered)),
    }
}

/// Who gets it where it ends, as the middle of a sentence.
pub fn receiver(delivered: &Delivered, listener: Option<&Listener>) -> String {
    match (listener, delivered.namespace.as_deref()) {
        (Some(listener), _) => words::socket(listener),
        (None, Some(HOST_NAMESPACE)) => {
            format!("{}, where no socket that the report shows takes it", target(delivered))
        }
        (None, Some(namespace)) => {
            format!("{} in namespace {namespace}, where no socket that the report shows takes it", target(delivered))
        }
        (None, None) => format!("{}, beyond this host's namespaces", target(delivered)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_name_services() {
        for (chain, name) in [
            ("external-CCCC3333-shop/cart/tcp/http", Some("shop/cart:http")),
            ("endpoint-AAAA1111-shop/cart/tcp/http__10.244.0.5/8080", Some("shop/cart:http")),
            ("service-DDDD4444-shop/plain/udp/", Some("shop/plain")),
            ("mark-for-masquerade", None),
            ("service-endpoints-check", None),
        ] {
            assert_eq!(service_of_chain(chain).as_deref(), name, "{chain}");
        }
    }

    #[test]
    fn comments_name_services() {
        for (rule, name) in [
            ("-p tcp -m comment --comment \"default/web:http\" -j KUBE-EXT-A", Some("default/web:http")),
            ("-p tcp -m comment --comment default/web -m tcp", Some("default/web")),
            ("tcp dport 30080 comment \"ns/svc\" goto x", Some("ns/svc")),
            ("tcp dport 30080 accept", None),
            ("-m comment --comment \"\"", None),
        ] {
            assert_eq!(comment(rule).as_deref(), name, "{rule}");
        }
    }
}
