//! `postern explain`: a packet's path as a person reads it, hook by hook, the deciding rule in bold.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::layout::{BOLD, TableStyle};
use super::{escape, gaps};
use crate::model::path::{Delivered, TraceStep};
use crate::model::{PathAnswer, PathOutcome};

/// Writes an answer.
pub fn write(answer: &PathAnswer, style: TableStyle, to: &mut impl Write) -> io::Result<()> {
    let by = answer.iif.as_ref().map_or_else(String::new, |iif| format!(", coming in by {}", escape::text(iif, 40)));
    writeln!(to, "{}", style.paint(BOLD, &format!("{} from {}{by}", answer.to, answer.from)))?;
    steps(&answer.trace, style, to)?;
    writeln!(to, "  {:<11} {}{}", "path", outcome(answer.path, style), end(answer))?;
    writeln!(to, "  {:<11} {} (INPUT, as if nothing were translated)", "intent", outcome(answer.intent, style))?;
    if !answer.intent_trace.is_empty() && answer.intent != answer.path {
        steps(&answer.intent_trace, style, to)?;
    }
    for what in &answer.unknown {
        style.write_wrapped("  depends on  ", &escape::text(what, 400), to)?;
    }
    if answer.is_bypass() {
        writeln!(to)?;
        style.write_wrapped("", &believed(answer), to)?;
    }
    for line in &answer.fix {
        style.write_wrapped("  fix         ", &escape::text(line, 600), to)?;
    }
    if !answer.gaps.is_empty() {
        writeln!(to)?;
        gaps::write(&answer.gaps, style, to)?;
    }
    Ok(())
}

fn steps(trace: &[TraceStep], style: TableStyle, to: &mut impl Write) -> io::Result<()> {
    for step in trace {
        let lead = format!("  {:<11} ", step.hook);
        let text = format!("{}{}", place(step), escape::text(&step.rule, 600));
        let packets = step.packets.map_or_else(String::new, |packets| format!(" [{packets} packets]"));
        let line = format!("{text} -> {}{packets}", escape::text(&step.action, 120));
        if step.decides {
            // Wrapped text keeps its style only within a line: each line of it is painted.
            let mut lines = Vec::new();
            style.write_wrapped(&lead, &line, &mut lines)?;
            for line in String::from_utf8_lossy(&lines).lines() {
                writeln!(to, "{}", style.paint(BOLD, line))?;
            }
        } else {
            style.write_wrapped(&lead, &line, to)?;
        }
    }
    Ok(())
}

/// `ip nat DOCKER handle 12: `.
fn place(step: &TraceStep) -> String {
    let namespace = step.namespace.as_ref().map_or_else(String::new, |name| format!("[{}] ", escape::text(name, 80)));
    if step.table.is_empty() {
        return namespace;
    }
    let number = match (step.handle, step.number) {
        (Some(handle), _) => format!(" handle {handle}"),
        (None, Some(number)) => format!(" rule {number}"),
        (None, None) => String::new(),
    };
    format!("{namespace}{} {}{number}: ", escape::text(&step.table, 80), escape::text(&step.chain, 80))
}

fn outcome(outcome: PathOutcome, style: TableStyle) -> String {
    let color = match outcome {
        PathOutcome::Accept => AnsiColor::Green,
        PathOutcome::Drop | PathOutcome::Reject => AnsiColor::Red,
        PathOutcome::Unknown => AnsiColor::Yellow,
    };
    style.paint(Style::new().fg_color(Some(color.into())).bold(), outcome.as_str())
}

/// Where it ends, or how it is refused.
fn end(answer: &PathAnswer) -> String {
    if let Some(refusal) = &answer.refusal {
        return format!(" with {refusal}");
    }
    let places: Vec<String> = answer.places().map(delivery).collect();
    if places.is_empty() { String::new() } else { format!(", to {}", places.join("; or to ")) }
}

fn delivery(delivered: &Delivered) -> String {
    let address = match delivered.port {
        Some(port) => std::net::SocketAddr::new(delivered.address, port).to_string(),
        None => delivered.address.to_string(),
    };
    match &delivered.namespace {
        Some(namespace) => format!("{address} in namespace {}", escape::text(namespace, 80)),
        None => format!("{address}, beyond this host's namespaces"),
    }
}

/// What the administrator believes, and why it is not so.
fn believed(answer: &PathAnswer) -> String {
    let rule = answer.intent_trace.iter().rev().find(|step| step.decides);
    let rule = rule.map_or_else(
        || "INPUT's policy".to_owned(),
        |step| format!("{}{}", place(step), escape::text(&step.rule, 400)),
    );
    let translation = answer.trace.iter().find(|step| step.action.starts_with("dnat"));
    let why = match translation {
        Some(step) => format!(
            "it is never asked: {}{} comes first ({}), and the packet is {}",
            place(step),
            escape::text(&step.rule, 400),
            escape::text(&step.action, 120),
            if answer.trace.iter().any(|step| step.hook == "forward") {
                "forwarded, not put in"
            } else {
                "put in under its new destination"
            }
        ),
        None => "the packet is forwarded, and INPUT is for what this host takes itself".to_owned(),
    };
    format!("The firewall misses this packet. The rule to stop it would be {rule}; {why}.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::path::Delivered;

    fn step(hook: &str, table: &str, chain: &str, rule: &str, action: &str, decides: bool) -> TraceStep {
        TraceStep {
            hook: hook.to_owned(),
            table: table.to_owned(),
            chain: chain.to_owned(),
            handle: Some(7),
            number: Some(1),
            rule: rule.to_owned(),
            action: action.to_owned(),
            packets: Some(3),
            namespace: None,
            decides,
        }
    }

    #[test]
    fn a_bypass_names_both_rules_and_the_line() {
        let answer = PathAnswer {
            to: "198.18.0.7:8080/tcp".to_owned(),
            from: [198, 18, 0, 1].into(),
            iif: Some("eth0".to_owned()),
            intent: PathOutcome::Drop,
            path: PathOutcome::Accept,
            refusal: None,
            delivered: Some(Delivered {
                namespace: Some("container:web".to_owned()),
                address: [172, 17, 0, 2].into(),
                port: Some(80),
            }),
            either: Vec::new(),
            trace: vec![
                step("prerouting", "ip nat", "DOCKER", "tcp dport 8080 dnat", "dnat to 172.17.0.2:80", false),
                step("forward", "ip filter", "DOCKER", "tcp dport 80 accept", "accept", true),
            ],
            intent_trace: vec![step("input", "inet guard", "in", "policy drop", "drop", true)],
            unknown: Vec::new(),
            gaps: Vec::new(),
            fix: vec!["`iptables -I DOCKER-USER …`".to_owned()],
        };
        let mut written = Vec::new();
        write(&answer, TableStyle { color: false, width: 100 }, &mut written).unwrap();
        insta::assert_snapshot!(String::from_utf8(written).unwrap());
        let mut colored = Vec::new();
        write(&answer, TableStyle { color: true, width: 100 }, &mut colored).unwrap();
        assert!(String::from_utf8(colored).unwrap().contains("\u{1b}[1m  forward"));
    }
}
