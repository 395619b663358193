//! Holds sweeps against the truth.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use postern::model::report::PortGroup;
use postern::model::{Endpoint, PortRanges, PortState, Reason};

use super::drive::Run;
use super::scenario::Scenario;

/// Share of the open ports that was found, on hosts that were heard of and did not fall silent: what recall speaks of.
pub fn recall(run: &Run) -> f64 {
    let fell_silent = |group: &&PortGroup| group.reason == Reason::FellSilent;
    let fallen: BTreeSet<IpAddr> = run.result.groups.iter().filter(fell_silent).map(|group| group.address).collect();
    let counts =
        |endpoint: &&Endpoint| run.result.living.contains(&endpoint.address) && !fallen.contains(&endpoint.address);
    let heard = run.truth.iter().filter(counts).count();
    let found = found(run).intersection(&run.truth).filter(counts).count();
    if heard == 0 { 1.0 } else { found as f64 / heard as f64 }
}

/// Endpoints reported open, of ordinary hosts.
pub fn found(run: &Run) -> BTreeSet<Endpoint> {
    let plain = run.result.open().map(|observation| observation.endpoint);
    plain.filter(|endpoint| !run.network.accepts_everything(endpoint.address)).collect()
}

/// How many of `runs` have a bound that the truth keeps to.
pub fn held(runs: &[Run], bound: impl Fn(&Run) -> f64) -> usize {
    runs.iter().filter(|run| bound(run) <= recall(run) + 1e-9).count()
}

/// Whether a bound that holds in so many of all runs is one of 95 %.
pub fn is_bound(held: usize, all: usize) -> bool {
    held as f64 >= 0.95 * all as f64
}

/// The lower bound that a run states; 0 without a statement.
pub fn stated(run: &Run) -> f64 {
    run.result.stats.recall.map_or(0.0, |recall| recall.lower)
}

/// What every run must come to, whatever the network: nothing is invented, nothing vanishes.
pub fn sound(run: &Run) {
    let seed = run.seed;
    assert_eq!(run.strays, 0, "seed {seed}: probes of other shards");
    for observation in &run.result.observations {
        let endpoint = observation.endpoint;
        let is_true = run.truth.contains(&endpoint) || run.network.accepts_everything(endpoint.address);
        assert!(is_true, "seed {seed}: {endpoint} is not open");
    }
    let found = found(run);
    let mut groups: BTreeMap<IpAddr, Vec<(PortState, PortRanges)>> = BTreeMap::new();
    for group in &run.result.groups {
        groups.entry(group.address).or_default().push((group.state, group.ports.parse().unwrap()));
    }
    for endpoint in run.truth.difference(&found) {
        if !run.result.living.contains(&endpoint.address) {
            continue;
        }
        let of_host = groups.get(&endpoint.address).map(Vec::as_slice).unwrap_or_default();
        let told: Vec<PortState> =
            of_host.iter().filter(|(_, ports)| ports.contains(endpoint.port)).map(|(state, _)| *state).collect();
        // Missing, and declared as silent or unproven: never called closed, never left out.
        let is_declared = matches!(told[..], [PortState::Filtered | PortState::Unknown]);
        assert!(is_declared, "seed {seed}: {endpoint} was missed and is told as {told:?}");
    }
    // Every asked port of a living host is told exactly once.
    for address in &run.result.living {
        let open =
            run.result.observations.iter().filter(|observation| observation.endpoint.address == *address).count();
        let folded: usize = groups.get(address).map_or(0, |groups| groups.iter().map(|(_, ports)| ports.len()).sum());
        assert_eq!(open + folded, run.asked[address], "seed {seed}: ports of {address}");
        assert!(run.network.is_living(*address), "seed {seed}: {address} does not exist");
    }
    for observation in &run.result.observations {
        let plain =
            observation.reason == Reason::SynAck && !run.network.accepts_everything(observation.endpoint.address);
        if plain {
            let evidence = &observation.evidence;
            let expected = if run.network.is_forwarded(&observation.endpoint) { 63 } else { 64 };
            assert_eq!(evidence.ttl, Some(expected), "seed {seed}");
            assert_eq!(evidence.options.as_deref(), Some("mss 1460,sack,ts,nop,ws 7"));
        }
    }
}

/// What all runs of a scenario together must come to: says what is not so.
pub fn as_expected(name: &str, scenario: &Scenario, runs: &[Run]) -> Vec<String> {
    let mean = |of: &dyn Fn(&Run) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
    let share = mean(&|run| found(run).intersection(&run.truth).count() as f64 / (run.truth.len() as f64).max(1.0));
    let each = mean(&|run| run.result.stats.probes_sent as f64 / run.asked.values().sum::<usize>() as f64);
    let seconds = mean(&|run| run.seconds);
    let held = held(runs, stated);
    let lower = mean(&stated);
    println!(
        "{name}: {} runs, {share:.4} found, {each:.2} probes each, {seconds:.2} s, {:.1} rounds, lower bound {lower:.4} holds in {held}",
        runs.len(),
        mean(&|run| f64::from(run.result.stats.rounds)),
    );
    let mut wrong = Vec::new();
    if !is_bound(held, runs.len()) {
        wrong.push(format!("{name}: the lower bound holds in {held} of {} runs", runs.len()));
    }
    if share < scenario.expect.found {
        wrong.push(format!("{name}: {share:.4} found, {} expected", scenario.expect.found));
    }
    if each > scenario.expect.probes_each {
        wrong.push(format!("{name}: {each:.2} probes each, {} at most", scenario.expect.probes_each));
    }
    if seconds > scenario.expect.seconds {
        wrong.push(format!("{name}: {seconds:.2} s, {} at most", scenario.expect.seconds));
    }
    for run in runs {
        let declared = run.result.gaps.iter().any(|gap| gap.incomplete);
        if scenario.expect.declared && !declared {
            wrong.push(format!("{name}: seed {} claims to be complete", run.seed));
        }
        // A run that missed something never claims certainty.
        if recall(run) < 1.0 && !declared && stated(run) >= 1.0 {
            wrong.push(format!("{name}: seed {} missed something and is sure of all", run.seed));
        }
    }
    wrong
}
