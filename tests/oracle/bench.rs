//! A lab with its loader: rules in, outcomes out.

use std::time::Duration;

use postern::firewall::dump::merge;
use postern::firewall::nft;
use postern::firewall::ruleset::Ruleset;
use postern::host::network_here;
use postern::model::network::FirewallDump;

use crate::compare::{Fit, Model, Told};
use crate::lab::{Lab, Seen, Shot};
use crate::rules::{Loader, Rules};

/// One lab; to be used by the thread that made it.
#[derive(Debug)]
pub struct Bench {
    lab: Lab,
    pub loader: Loader,
}

/// A packet, what became of it, and what the model said.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub shot: Shot,
    pub seen: Seen,
    pub told: Told,
    pub fit: Fit,
}

/// How long to wait, once, for a packet that the model believes to be answered and that was not seen.
const SECOND_LOOK: Duration = Duration::from_millis(100);
const TOOLS: Duration = Duration::from_secs(20);

impl Bench {
    pub fn new(cpu: usize) -> Self {
        let lab = Lab::new(cpu);
        Self { lab, loader: Loader::new() }
    }

    /// Loads the rules, sends the packets, asks the model. The error is what a tool that refuses the rules says.
    pub fn play(&mut self, rules: &Rules, shots: &[Shot]) -> Result<Vec<Outcome>, String> {
        self.loader.load(rules)?;
        Ok(self.observe(shots))
    }

    /// The same with what is loaded already.
    pub fn observe(&mut self, shots: &[Shot]) -> Vec<Outcome> {
        let network = network_here(TOOLS).expect("the kernel lists its interfaces");
        let dump = network.firewall.as_ref().expect("nft is there");
        let model = Model::new(&network, ruleset(dump));
        self.loader.forget();
        let seen = self.lab.fire(shots);
        let mut outcomes: Vec<Outcome> = shots
            .iter()
            .zip(seen)
            .map(|(shot, seen)| {
                let told = model.ask(shot);
                Outcome { shot: *shot, seen, fit: told.fit(&seen), told }
            })
            .collect();
        // A busy machine may be late.
        let late = |outcome: &Outcome| matches!(outcome.fit, Fit::Wrong(_)) && outcome.seen == Seen::Nothing;
        if outcomes.iter().any(late) {
            self.loader.forget();
            let again = self.lab.fire_patiently(shots, SECOND_LOOK);
            for (outcome, seen) in outcomes.iter_mut().zip(again) {
                if late(outcome) {
                    outcome.seen = seen;
                    outcome.fit = outcome.told.fit(&seen);
                }
            }
        }
        outcomes
    }
}

/// What the readers make of the dumps.
pub fn ruleset(dump: &FirewallDump) -> Ruleset {
    let nft =
        dump.nft.as_ref().map(|json| nft::read(json, &dump.nft_dormant).unwrap_or_else(|error| panic!("{error}")));
    merge(nft.unwrap_or_default(), dump)
}
