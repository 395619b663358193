//! Detects addresses that accept on improbable ports too, so that an open port says nothing about a service.
//!
//! Cannot know: what stands in front of the host, nor a real host with very many services that no probe recognises and
//! no report lists.

use super::HostCase;
use crate::correlate::triage::host_answers;
use crate::model::{Confidence, Finding, Severity};

pub const NAME: &str = "answers-everything";

pub fn check(host: &HostCase<'_>) -> Vec<Finding> {
    let finding = |flood: &crate::correlate::everything::Flood| {
        let mut why = vec![format!(
            "{} of {} asked TCP ports of {} are open without a recognised service or a socket that the host reports.",
            flood.improbable, flood.asked, flood.address
        )];
        if flood.reset > 0 {
            why.push(format!("{} of them reset the connection as soon as it was made.", flood.reset));
        }
        if let Some(controls) = &flood.controls {
            let ports: Vec<String> = controls.ports.iter().map(u16::to_string).collect();
            let options = controls.options.as_deref().filter(|options| !options.is_empty()).unwrap_or("none");
            why.push(format!(
                "Ports that nobody uses ({}) accept, too: {} of {}, with window {} and TCP options {options}.",
                ports.join(", "),
                controls.open,
                ports.len(),
                controls.window.unwrap_or_default()
            ));
        }
        why.push("A SYN proxy, tarpit or middlebox answers like this: these open ports are no services.".to_owned());
        Finding {
            rule: NAME.to_owned(),
            severity: Severity::Low,
            confidence: if flood.controls.is_some() || flood.reset * 2 > flood.improbable {
                Confidence::Certain
            } else {
                Confidence::Likely
            },
            endpoint: flood.address.to_string(),
            via: None,
            title: "The host accepts on every port".to_owned(),
            why,
            triage: host_answers(flood.address),
            references: Vec::new(),
        }
    };
    host.floods.iter().map(finding).collect()
}
