//! `postern probes`: the definitions, looked at and tried.
#![expect(clippy::disallowed_methods, reason = "reads the definition that the operator names")]

use std::sync::Arc;

use super::RunError;
use super::command::{catalogue, print_line};
use super::probe_test::{self, ProbeTest};
use super::sink::Sink;
use crate::cli::Exit;
use crate::cli::args::ProbesCommand;
use crate::cli::settings::outputs_of;
use crate::probe::{Definition, Fragile, replay};
use crate::targets::guard;

/// Runs one of the subcommands.
pub async fn run(command: ProbesCommand) -> Result<Exit, RunError> {
    match command {
        ProbesCommand::List { outputs, definitions } => {
            let facts = catalogue(definitions.directory.as_deref())?.facts();
            Sink::open(&outputs_of(outputs)?)?.finish_probes(&facts)?;
            Ok(Exit::Clean)
        }
        ProbesCommand::Show { name, definitions } => {
            let catalogue = catalogue(definitions.directory.as_deref())?;
            let text = catalogue.text(&name).ok_or_else(|| RunError::NoSuchProbe { name: name.clone() })?;
            print_line(text.trim_end())?;
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
        ProbesCommand::Test { name, endpoint, allow_public, probe_fragile, definitions } => {
            let public = if allow_public { guard::PublicTargets::Allow } else { guard::PublicTargets::Refuse };
            let fragile = if probe_fragile { Fragile::Probe } else { Fragile::Skip };
            let catalogue = catalogue(definitions.directory.as_deref())?;
            probe_test::test(ProbeTest { name, catalogue, endpoint, public, fragile }).await
        }
    }
}
