//! `postern probes`: the definitions, looked at and tried.
#![expect(clippy::disallowed_methods, reason = "reads the definition that the operator names")]

use std::sync::Arc;

use super::RunError;
use super::command::{catalogue, print_line};
use super::probe_test::{self, ProbeTest};
use crate::cli::args::ProbesCommand;
use crate::cli::{Exit, Format};
use crate::model::{PortRanges, Transport};
use crate::probe::{Catalogue, Definition, Fragile, replay};
use crate::targets::guard;

/// Runs one of the subcommands.
pub async fn run(command: ProbesCommand) -> Result<Exit, RunError> {
    match command {
        ProbesCommand::List { output } => list(&*catalogue(None)?, output.format),
        ProbesCommand::Show { name } => {
            let source = Catalogue::builtin_text(&name).ok_or_else(|| RunError::NoSuchProbe { name: name.clone() })?;
            print_line(source.trim_end())?;
            Ok(Exit::Clean)
        }
        ProbesCommand::Check { file } => {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(&file).map_err(|error| RunError::Read { name: name.clone(), error })?;
            let definition = Arc::new(Definition::parse(&name, &text)?);
            replay::check(&definition)?;
            let missing = definition.missing();
            if !missing.is_empty() {
                return Err(RunError::IncompleteDefinition { file: name, missing: missing.join("; ") });
            }
            let examples = definition.examples.len() + definition.lookalikes.len();
            print_line(&format!("{name}: complete, {examples} examples hold"))?;
            Ok(Exit::Clean)
        }
        ProbesCommand::Test { name, endpoint, allow_public, probe_fragile } => {
            let public = if allow_public { guard::PublicTargets::Allow } else { guard::PublicTargets::Refuse };
            let fragile = if probe_fragile { Fragile::Probe } else { Fragile::Skip };
            probe_test::test(ProbeTest { name, endpoint, public, fragile }).await
        }
    }
}

fn list(catalogue: &Catalogue, format: Format) -> Result<Exit, RunError> {
    let facts = catalogue.facts();
    if format == Format::Json {
        let list: Vec<serde_json::Value> = facts
            .iter()
            .map(|(name, facts)| {
                serde_json::json!({
                    "name": name, "title": facts.title, "tcp": facts.tcp_ports, "udp": facts.udp_ports,
                    "references": facts.references,
                })
            })
            .collect();
        print_line(&serde_json::to_string_pretty(&list).unwrap_or_default())?;
        return Ok(Exit::Clean);
    }
    for (name, facts) in &facts {
        let ports = |ports: &[u16], transport: Transport| {
            let set = PortRanges::from_ports(ports.iter().copied());
            if set.is_empty() { String::new() } else { format!("{set}/{transport} ") }
        };
        let all = ports(&facts.tcp_ports, Transport::Tcp) + &ports(&facts.udp_ports, Transport::Udp);
        print_line(&format!("{name:<26} {:<36} {}", facts.title, all.trim_end()))?;
    }
    Ok(Exit::Clean)
}
