//! What a break-in behind an endpoint would be worth: the rights of the container and of the process that answer.
//!
//! Cannot know: what data is behind it, nor flaws of the service. Without an engine's word or root's view nothing is
//! assumed.

use super::machine::Machine;
use crate::model::host_report::{Container, Listener};

/// The rights that whoever breaks in would have.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stakes {
    /// 0: nothing known; larger is worse.
    pub weight: u8,
    /// One sentence each.
    pub sentences: Vec<String>,
}

/// Of the process that `listener` names, and of its container.
pub fn of(machine: &Machine<'_>, listener: Option<&Listener>) -> Stakes {
    let mut stakes = Stakes::default();
    let Some(listener) = listener else { return stakes };
    let Some(name) = &listener.container else {
        if matches!(listener.user.as_deref(), Some("root" | "0")) && listener.process.is_some() {
            stakes.weight = ROOT;
            stakes.sentences.push(format!(
                "{} runs as root on the host itself: a break-in there is the machine's.",
                listener.process.as_deref().unwrap_or_default()
            ));
        }
        return stakes;
    };
    let found = machine
        .reports()
        .flat_map(|report| &report.containers)
        .find(|container| container.name.as_ref() == Some(name) || container.id.starts_with(name.as_str()));
    if let Some(container) = found {
        weigh(container, name, &mut stakes);
    }
    stakes
}

fn weigh(container: &Container, name: &str, stakes: &mut Stakes) {
    let mut add = |weight: u8, sentence: String| {
        stakes.weight = stakes.weight.max(weight);
        stakes.sentences.push(sentence);
    };
    if container.privileged == Some(true) {
        add(PRIVILEGED, format!("Container {name} is privileged: a break-in there is the machine's."));
    }
    if let [socket, ..] = &container.engine_sockets[..] {
        add(PRIVILEGED, format!("{socket} is mounted into container {name}: whoever is inside commands the engine."));
    }
    if container.privileged != Some(true) && !container.added_capabilities.is_empty() {
        add(CAPABLE, format!("Container {name} has added capabilities: {}.", container.added_capabilities.join(", ")));
    }
    if container.host_network {
        add(HOST_NETWORK, format!("Container {name} shares the host's network: it reaches what listens on loopback."));
    }
    if container.seccomp.as_deref() == Some("unconfined") || container.security_label.as_deref() == Some("unconfined") {
        add(UNCONFINED, format!("Container {name} runs unconfined (seccomp or AppArmor)."));
    }
}

const PRIVILEGED: u8 = 5;
const ROOT: u8 = 4;
const CAPABLE: u8 = 3;
const HOST_NETWORK: u8 = 2;
const UNCONFINED: u8 = 1;
