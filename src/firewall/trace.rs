//! The way of a packet told step by step: the rules, policies and routing decisions that mattered, and which one decided.

use std::net::IpAddr;

use super::evaluate::{Action, Step};
use super::host_path::Named;
use super::packet::{Packet, Port};
use super::rules::table_name;
use super::ruleset::{Hook, Policy, Reject, Statement};
use super::walk::{Finish, Walked};
use crate::model::host_report::HOST_NAMESPACE;
use crate::model::path::TraceStep;

pub(super) fn trace(through: &Named, walked: &Walked) -> Vec<TraceStep> {
    let mut steps: Vec<TraceStep> = walked.steps.iter().map(|step| told_step(through, *step, &walked.packet)).collect();
    let refused = !matches!(walked.finish, Finish::Local | Finish::Forwarded { .. });
    if let Some(routing) = &walked.routing {
        let step = TraceStep {
            hook: "routing".to_owned(),
            table: String::new(),
            chain: String::new(),
            handle: None,
            number: None,
            rule: routing.reason.clone(),
            action: routing.action.clone(),
            packets: None,
            namespace: namespace_of(through),
            decides: routing.decides,
        };
        steps.insert(routing.after.min(steps.len()), step);
    }
    // The last rule refused it, unless the routing did.
    if refused && walked.routing.as_ref().is_none_or(|routing| !routing.decides) {
        return decide_last(steps);
    }
    if !refused {
        mark_acceptance(&mut steps);
    }
    steps
}

pub(super) fn decide_last(mut steps: Vec<TraceStep>) -> Vec<TraceStep> {
    if let Some(last) = steps.last_mut() {
        last.decides = true;
    }
    steps
}

/// An accepted packet owes it to the last rule or policy of INPUT or FORWARD that let it pass.
fn mark_acceptance(steps: &mut [TraceStep]) {
    let decisive = |step: &TraceStep| step.action == "accept" && ["input", "forward"].contains(&step.hook.as_str());
    if let Some(step) = steps.iter_mut().rev().find(|step| decisive(step)) {
        step.decides = true;
    }
}

pub(super) fn told_step(through: &Named, step: Step, packet: &Packet) -> TraceStep {
    let rules = &through.walk.rules;
    let chain = rules.chain(step.chain);
    let rule = step.rule.and_then(|at| chain.rules.get(at));
    let policy = || match chain.base.as_ref().map(|base| base.policy) {
        Some(Policy::Drop) => "policy drop".to_owned(),
        _ => "policy accept".to_owned(),
    };
    TraceStep {
        hook: hook_name(step.hook).to_owned(),
        table: table_name(rules.table(step.chain)),
        chain: chain.name.clone(),
        handle: rule.and_then(|rule| rule.handle),
        number: rule.map(|rule| rule.number),
        rule: rule.map_or_else(policy, |rule| rule.text.clone()),
        action: action(step, rule.map(|rule| rule.statements.as_slice()), packet),
        packets: rule.and_then(|rule| rule.counter).map(|(packets, _)| packets),
        namespace: namespace_of(through),
        decides: false,
    }
}

fn action(step: Step, statements: Option<&[Statement]>, packet: &Packet) -> String {
    match step.action {
        Action::Accept => "accept".to_owned(),
        Action::Drop => "drop".to_owned(),
        Action::Reject(kind) => format!("reject with {}", refusal(kind, packet.is_ipv6())),
        Action::Jump => {
            let target = statements.into_iter().flatten().find_map(|statement| match statement {
                Statement::Jump(name) | Statement::Goto(name) => Some(name.as_str()),
                _ => None,
            });
            target.map_or_else(|| "jump".to_owned(), |name| format!("jump {name}"))
        }
        Action::Return => "return".to_owned(),
        Action::Translate if matches!(step.hook, Hook::Prerouting | Hook::Output) => {
            let port = match packet.destination_port {
                Port::Known(port) => format!(":{port}"),
                Port::Unknown | Port::Missing => String::new(),
            };
            let address = match packet.destination {
                IpAddr::V4(address) => address.to_string(),
                IpAddr::V6(address) => format!("[{address}]"),
            };
            format!("dnat to {address}{port}")
        }
        Action::Translate => {
            if packet.source_unknown {
                "snat".to_owned()
            } else {
                format!("snat to {}", packet.source)
            }
        }
        Action::Change => "change".to_owned(),
        Action::NoTrack => "notrack".to_owned(),
        Action::Unknown => "unknown".to_owned(),
    }
}

fn namespace_of(through: &Named) -> Option<String> {
    (through.name != HOST_NAMESPACE).then(|| through.name.clone())
}

const fn hook_name(hook: Hook) -> &'static str {
    match hook {
        Hook::Ingress => "ingress",
        Hook::Prerouting => "prerouting",
        Hook::Input => "input",
        Hook::Forward => "forward",
        Hook::Output => "output",
        Hook::Postrouting => "postrouting",
        Hook::Egress => "egress",
    }
}

/// Name of a refusal as nft and iptables write it.
pub(super) fn refusal(kind: Reject, ipv6: bool) -> String {
    let (family, code) = match kind {
        Reject::TcpReset => return "tcp-reset".to_owned(),
        Reject::Icmp(code) => (false, code),
        Reject::Icmp6(code) => (true, code),
        // NFT_REJECT_ICMPX_*: no route, port, host, admin.
        Reject::Icmpx(code) if ipv6 => (true, [0, 4, 3, 1].get(usize::from(code)).copied().unwrap_or(u8::MAX)),
        Reject::Icmpx(code) => (false, [0, 3, 1, 13].get(usize::from(code)).copied().unwrap_or(u8::MAX)),
    };
    let name = match (family, code) {
        (false, 0) => "icmp-net-unreachable",
        (false, 1) => "icmp-host-unreachable",
        (false, 2) => "icmp-proto-unreachable",
        (false, 3) => "icmp-port-unreachable",
        (false, 9) => "icmp-net-prohibited",
        (false, 10) => "icmp-host-prohibited",
        (false, 13) => "icmp-admin-prohibited",
        (true, 0) => "icmp6-no-route",
        (true, 1) => "icmp6-adm-prohibited",
        (true, 3) => "icmp6-addr-unreachable",
        (true, 4) => "icmp6-port-unreachable",
        (false, code) => return format!("icmp type 3 code {code}"),
        (true, code) => return format!("icmpv6 type 1 code {code}"),
    };
    name.to_owned()
}
