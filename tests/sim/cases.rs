//! The tests.

use std::collections::BTreeSet;
use std::net::IpAddr;

use postern::model::{Endpoint, PortRanges, PortState, Reason};

use super::checks;
use super::drive::{Run, run};
use super::network::Dice;
use super::scenario::{self, Others, OwnDrops, Scenario, Step, Sweep};

fn runs(scenario: &Scenario) -> Vec<Run> {
    let workers = std::thread::available_parallelism().map_or(1, |workers| workers.get() as u64);
    std::thread::scope(|scope| {
        let share = |worker| {
            move || (0..scenario.runs).filter(|seed| seed % workers == worker).map(|seed| run(scenario, seed)).collect()
        };
        let workers: Vec<_> = (0..workers).map(|worker| scope.spawn(share(worker))).collect();
        workers
            .into_iter()
            .flat_map(|worker: std::thread::ScopedJoinHandle<'_, Vec<Run>>| worker.join().unwrap())
            .collect()
    })
}

#[test]
fn every_scenario_is_as_expected() {
    let mut all = 0;
    let mut wrong = Vec::new();
    for (name, scenario) in scenario::all() {
        assert!(!scenario.about.is_empty());
        let runs = runs(&scenario);
        runs.iter().for_each(checks::sound);
        wrong.extend(checks::as_expected(&name, &scenario, &runs));
        all += runs.len();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(all >= 2000, "only {all} runs");
}

#[test]
fn a_wrong_estimator_fails() {
    // Stops early, so that something is missing as a rule.
    let scenario = Scenario { runs: 200, ..scenario::named("stops-at-recall") };
    let runs = runs(&scenario);
    let all = runs.len();
    assert!(checks::is_bound(checks::held(&runs, checks::stated), all), "the right one passes the same check");
    let estimate = |run: &Run| run.result.stats.recall.map_or(0.0, |recall| recall.estimate);
    let held = checks::held(&runs, estimate);
    assert!(!checks::is_bound(held, all), "the mean taken for a bound holds in {held} of {all} runs");
    let held = checks::held(&runs, |_| 1.0);
    assert!(!checks::is_bound(held, all), "certainty holds in {held} of {all} runs");
}

#[test]
fn a_run_is_the_same_for_the_same_seed() {
    let scenario = scenario::named("bursts");
    let told = |run: &Run| {
        let open: Vec<_> = run.result.observations.iter().map(|seen| (seen.endpoint, seen.evidence.rtt_us)).collect();
        (open, run.result.stats.clone(), run.seconds)
    };
    assert_eq!(told(&run(&scenario, 5)), told(&run(&scenario, 5)));
    assert_ne!(told(&run(&scenario, 5)), told(&run(&scenario, 6)));
}

#[test]
fn syn_proxies_and_tarpits_are_recognised_and_nobody_else() {
    for seed in 0..20 {
        let run = run(&scenario::named("syn-proxies"), seed);
        let flagged: BTreeSet<IpAddr> = run
            .result
            .improbable
            .iter()
            .filter(|(_, improbable)| improbable.accepts_everything())
            .map(|(&address, _)| address)
            .collect();
        let true_ones: BTreeSet<IpAddr> = run
            .network
            .addresses()
            .iter()
            .copied()
            .filter(|&address| run.network.accepts_everything(address))
            .collect();
        assert_eq!(flagged, true_ones, "seed {seed}");
        assert!(run.result.improbable.values().all(|improbable| improbable.options.as_deref() == Some("")));
    }
}

#[test]
fn a_lost_control_probe_is_asked_again() {
    let mut lossy = scenario::named("syn-proxies");
    lossy.path.loss = 0.2;
    let (mut flagged, mut all) = (0, 0);
    for seed in 0..20 {
        let run = run(&lossy, seed);
        let wrong = run.result.improbable.iter().filter(|(_, improbable)| improbable.accepts_everything());
        let wrong = wrong.filter(|(address, _)| !run.network.accepts_everything(**address)).count();
        assert_eq!(wrong, 0, "seed {seed}");
        flagged += run.result.improbable.values().filter(|improbable| improbable.accepts_everything()).count();
        all += run.network.addresses().iter().filter(|address| run.network.accepts_everything(**address)).count();
    }
    // Of three probes at a loss of 36 %, two come through in 70 of a hundred cases.
    assert!(flagged * 100 >= all * 90, "{flagged} of {all}");
}

#[test]
fn a_forwarded_port_is_a_hop_behind_the_others() {
    // Where the other ports drop, the open ones alone tell how far away the host is.
    for others in [Others::Refuse, Others::Drop] {
        let mut scenario = scenario::named("forwarded");
        scenario.targets.others = others;
        let run = run(&scenario, 1);
        for observation in &run.result.observations {
            let expected = run.network.is_forwarded(&observation.endpoint).then_some(1);
            assert_eq!(observation.evidence.behind, expected, "{}", observation.endpoint);
        }
        assert!(run.result.observations.iter().any(|observation| observation.evidence.behind.is_some()));
    }
}

#[test]
fn the_rate_to_one_host_holds() {
    let run = run(&scenario::named("host-rate"), 3);
    // 500 a second: 50 in a tenth, ten more that a pause lets through at once, and a canary now and then.
    assert!(run.host_burst <= 65, "{} probes to one host within 0.1 s", run.host_burst);
}

/// Most ports of the second round have answered: its canaries are not due all at once.
#[test]
fn canaries_count_against_the_rate_to_their_host() {
    let mut scenario = scenario::named("single-host");
    scenario.targets.ports = "1-400".to_owned();
    scenario.targets.others = Others::Refuse;
    scenario.path.loss = 0.02;
    scenario.sweep.host_rate = Some(100);
    let run = run(&scenario, 3);
    assert!(run.host_burst <= 16, "{} probes to one host within 0.1 s", run.host_burst);
    assert_eq!(checks::found(&run), run.truth);
}

/// All ports that controls are taken from are asked anyway, or nearly all.
#[test]
fn a_sweep_of_all_improbable_ports_ends() {
    for ports in ["20000-59999", "20000-59997"] {
        let mut scenario = scenario::named("single-host");
        scenario.targets.ports = ports.to_owned();
        scenario.targets.others = Others::Refuse;
        let run = run(&scenario, 1);
        checks::sound(&run);
        assert_eq!(checks::found(&run), run.truth);
    }
}

/// A network of so many addresses, of which some live and have one open port each.
fn sparse(addresses: u32, living: u32, ports: &str, loss: f64) -> Scenario {
    let mut scenario = scenario::named("single-host");
    (scenario.targets.addresses, scenario.targets.living, scenario.targets.open) = (addresses, living, 1);
    (scenario.targets.ports, scenario.path.loss) = (ports.to_owned(), loss);
    scenario
}

/// An outage in the first round of a network whose silent endpoints are asked again only for a reason.
#[test]
fn living_hosts_that_a_large_sweep_missed_are_found_or_declared() {
    let mut scenario = sparse(20_000, 400, "1-60", 0.0);
    let clean = run(&scenario, 1);
    assert_eq!((clean.result.gaps.len(), clean.result.stats.rounds), (0, 2), "{:?}", clean.result.gaps);
    assert!(clean.result.stats.probes_sent < 1_300_000, "{:?}", clean.result.stats);
    scenario.path.steps = vec![Step { at_ms: 500, loss: 1.0 }, Step { at_ms: 800, loss: 0.0 }];
    let outage = run(&scenario, 1);
    assert_eq!(checks::found(&outage), outage.truth);
    // More addresses than are listed.
    scenario.targets.addresses = 1_200_000;
    scenario.targets.ports = "1".to_owned();
    let large = run(&scenario, 1);
    let missed = large.truth.len() - checks::found(&large).len();
    assert!(missed > 50, "{missed} missed");
    let declared = large.result.gaps.iter().find(|gap| gap.what.contains("living hosts are expected")).unwrap();
    assert!(declared.incomplete, "{declared:?}");
}

/// Few hosts in a network whose silent endpoints are too many to be asked again without a reason, and a loss: they are asked
/// again as long as some are expected, or that is said.
#[test]
fn a_loss_has_silent_hosts_of_a_large_sweep_asked_again() {
    let scenario = sparse(4096, 60, "1-300", 0.2);
    for seed in 1..=2 {
        let run = run(&scenario, seed);
        let missed = run.truth.len() - checks::found(&run).len();
        let is_declared = run.result.gaps.iter().any(|gap| gap.incomplete);
        assert!(missed <= 1 || is_declared, "seed {seed}: {missed} missed, {:?}", run.result.stats);
        let truth = checks::found(&run).len() as f64 / run.truth.len() as f64;
        assert!(checks::stated(&run) <= truth, "seed {seed}: {truth} found, {:?}", run.result.stats);
        assert!(run.result.stats.rounds >= 4, "seed {seed}: {:?}", run.result.stats);
    }
}

/// What a host that bans scanners did not say is not told as filtered.
#[test]
fn what_a_banning_host_has_is_unknown() {
    let mut scenario = scenario::named("some-asked-once");
    scenario.path.loss = 0.0;
    let run = run(&scenario, 2);
    let missing: BTreeSet<Endpoint> = run.truth.difference(&checks::found(&run)).copied().collect();
    let of_heard = missing.iter().filter(|endpoint| run.result.living.contains(&endpoint.address));
    assert!(of_heard.clone().count() > 5, "{missing:?}");
    for endpoint in of_heard {
        let group = run.result.groups.iter().find(|group| {
            group.address == endpoint.address && group.ports.parse::<PortRanges>().unwrap().contains(endpoint.port)
        });
        let told = group.map(|group| (group.state, group.reason));
        assert_eq!(told, Some((PortState::Unknown, Reason::FellSilent)), "{endpoint}");
    }
    // Those that were heard before they banned.
    let guarded = 8 + run.result.living.len() - 40;
    let gap = run.result.gaps.iter().find(|gap| gap.what.starts_with(&format!("{guarded} hosts (")));
    assert!(gap.is_some_and(|gap| gap.incomplete), "{:?}", run.result.gaps);
}

/// Many hosts, each with few canaries: that one of them loses all of these is no sign of anything.
#[test]
fn no_host_of_a_lossy_network_is_said_to_have_fallen_silent() {
    let mut scenario = scenario::named("two-percent");
    (scenario.targets.addresses, scenario.targets.living, scenario.targets.open) = (1024, 1024, 4);
    (scenario.targets.ports, scenario.path.loss) = ("1-40".to_owned(), 0.05);
    for seed in 0..6 {
        let run = run(&scenario, seed);
        let fell = run.result.groups.iter().filter(|group| group.reason == Reason::FellSilent).count();
        assert_eq!(fell, 0, "seed {seed}: {:?}", run.result.gaps);
    }
}

/// A loss, and more silent hosts than are asked again, while all ports of the others have answered.
#[test]
fn recall_speaks_of_silent_hosts_where_all_others_answered() {
    let mut scenario = sparse(1_200_000, 2000, "1", 0.2);
    scenario.sweep.recall = Some(0.99);
    let run = run(&scenario, 1);
    let truth = checks::found(&run).len() as f64 / run.truth.len() as f64;
    assert!(truth < 0.8, "{truth} found");
    let recall = run.result.stats.recall.unwrap();
    assert!(recall.lower <= truth && (recall.estimate - truth).abs() < 0.05, "{truth}: {recall:?}");
    assert!(
        run.result.gaps.iter().any(|gap| gap.what.contains("recall of 0.99 is not assured")),
        "{:?}",
        run.result.gaps
    );
}

/// One host that bans: it is told from one that filters, if it was heard at all.
#[test]
fn a_lone_host_that_bans_is_noticed() {
    for run in runs(&scenario::named("lone-ban")) {
        if run.result.living.is_empty() || checks::found(&run) == run.truth {
            continue;
        }
        let fell = run.result.groups.iter().any(|group| group.reason == Reason::FellSilent);
        assert!(fell, "seed {}: {:?} {:?}", run.seed, run.result.gaps, run.result.stats);
    }
}

/// A quarter of the hosts loses much, and the others nothing: whom nothing was heard of is of the first kind.
#[test]
fn hosts_behind_a_lossy_way_are_found_or_declared() {
    let mut scenario = scenario::named("one-far-host");
    (scenario.targets.addresses, scenario.targets.living, scenario.targets.open) = (256, 256, 1);
    (scenario.targets.ports, scenario.targets.others) = ("1-31".to_owned(), Others::Drop);
    (scenario.path.loss, scenario.hosts.far, scenario.hosts.far_loss) = (0.0, 64, 0.37);
    scenario.runs = 16;
    let mut missed = 0;
    for run in runs(&scenario) {
        let lost = run.truth.len() - checks::found(&run).len();
        missed += lost;
        let is_declared = run.result.gaps.iter().any(|gap| gap.incomplete);
        assert!(lost == 0 || is_declared, "seed {}: {lost} missed, {:?}", run.seed, run.result.stats);
        let fell = run.result.groups.iter().filter(|group| group.reason == Reason::FellSilent).count();
        assert!(fell <= 1, "seed {}: {fell} fell silent: {:?}", run.seed, run.result.gaps);
        let truth = 1.0 - lost as f64 / run.truth.len() as f64;
        assert!(checks::stated(&run) <= truth, "seed {}: {truth} found, {:?}", run.seed, run.result.stats);
    }
    assert!(missed <= 8, "{missed} of 1024 missed");
}

/// One host among many bans scanners: each is looked at.
#[test]
fn one_banning_host_among_many_is_noticed() {
    let mut scenario = scenario::named("some-asked-once");
    (scenario.targets.addresses, scenario.targets.living) = (3000, 2900);
    (scenario.hosts.once, scenario.hosts.banning, scenario.hosts.ban_after) = (0, 3, 150);
    (scenario.targets.ports, scenario.path.loss) = ("1-300".to_owned(), 0.0);
    let run = run(&scenario, 5);
    let gap = run.result.gaps.iter().find(|gap| gap.what.starts_with("3 hosts ("));
    assert!(gap.is_some_and(|gap| gap.incomplete), "{:?}", run.result.gaps);
    assert!(run.result.stats.rounds <= 5, "it is no reason to ask all others again and again: {:?}", run.result.stats);
}

#[test]
fn neighbours_are_asked_for_slowly_and_absent_ones_get_no_probe() {
    let run = run(&scenario::named("on-link-absent"), 1);
    // 2,000 a second, and what a pause lets through at once.
    assert!(run.question_burst <= 240, "{} questions within 0.1 s", run.question_burst);
    assert_eq!(run.in_vain, 0, "probes to nobody");
    assert_eq!(run.result.stats.rounds, 1, "who is found late is asked in the same round");
    assert!(run.result.macs.keys().eq(&run.result.living), "where each of them is");
    assert_eq!(checks::found(&run), run.truth);
}

/// Hosts that were lost among the absent ones are found, or the report says that they may be there.
#[test]
fn neighbours_whose_answers_were_lost_are_found_or_declared() {
    let declares = |run: &Run| {
        run.result.gaps.iter().any(|gap| gap.incomplete && gap.what.contains("hosts on the link are expected"))
    };
    for name in ["on-link-lossy", "on-link-outage"] {
        let scenario = scenario::named(name);
        for run in runs(&scenario) {
            let (found, living) = (run.result.living.len(), scenario.targets.living as usize);
            println!("{name}: {found} of {living} in {:.1} s: {:?}", run.seconds, run.result.gaps);
            assert!(found * 100 >= living * 99, "{name}, seed {}: {found} of {living}", run.seed);
            assert!(found + 1 >= living || declares(&run), "{name}, seed {}: {found} of {living}", run.seed);
        }
    }
    // Too much is lost for any number of passes.
    let mut hopeless = Scenario { runs: 4, ..scenario::named("on-link-lossy") };
    (hopeless.targets.addresses, hopeless.targets.living, hopeless.path.loss) = (300, 250, 0.85);
    for run in runs(&hopeless) {
        println!("{} of 250 in {:.1} s: {:?}", run.result.living.len(), run.seconds, run.result.gaps);
        assert!(run.result.living.len() < 250 && declares(&run), "seed {}: {:?}", run.seed, run.result.gaps);
    }
}

/// A link that does not carry looks like one that nobody is on.
#[test]
fn a_link_that_carries_nothing_is_asked_twice_and_that_is_said() {
    let mut scenario = scenario::named("on-link");
    // Past all questions of the first pass.
    scenario.path.steps = vec![Step { at_ms: 0, loss: 1.0 }, Step { at_ms: 2200, loss: 0.0 }];
    let late = run(&scenario, 1);
    assert_eq!(checks::found(&late), late.truth);
    assert!(late.result.gaps.is_empty(), "{:?}", late.result.gaps);
    scenario.path.steps.pop();
    let never = run(&scenario, 1);
    let gap = never.result.gaps.iter().find(|gap| gap.what.starts_with("nobody answered for any of"));
    assert!(gap.is_some(), "{:?}", never.result.gaps);
    assert!(never.seconds < 8.0, "{} s", never.seconds);
}

/// An absent neighbour is one that was asked for.
#[test]
fn questions_that_could_not_be_sent_are_asked_later_or_declared() {
    let declares = |run: &Run| run.result.gaps.iter().any(|gap| gap.incomplete && gap.cause.contains("could not send"));
    let mut scenario = scenario::named("on-link");
    scenario.path.loss = 0.0;
    let clean = run(&scenario, 1);
    assert!(clean.seconds < 3.0 && clean.result.gaps.is_empty(), "{} s: {:?}", clean.seconds, clean.result.gaps);
    // Until the second pass.
    scenario.path.no_questions_until_ms = 2500;
    let late = run(&scenario, 1);
    assert_eq!(checks::found(&late), late.truth);
    assert!(late.result.gaps.is_empty(), "{:?}", late.result.gaps);
    // From the start to the end.
    scenario.path.no_questions_until_ms = 3_600_000;
    let never = run(&scenario, 1);
    assert!(never.result.living.is_empty() && declares(&never), "{:?}", never.result.gaps);
    assert!(never.seconds < 15.0, "{} s", never.seconds);
}

#[test]
fn an_interrupted_sweep_states_no_more_than_it_knows() {
    let mut interrupted = Scenario { runs: 20, ..scenario::named("two-percent") };
    // Enough of each to measure: the first round takes 380 ms.
    (interrupted.targets.ports, interrupted.targets.open) = ("1-600".to_owned(), 50);
    interrupted.sweep.rate = Some(50_000);
    for stop in [180, 360, 420, 600] {
        interrupted.sweep.stop_ms = Some(stop);
        let runs = runs(&interrupted);
        runs.iter().for_each(checks::sound);
        assert!(runs.iter().all(|run| run.result.interrupted));
        let held = checks::held(&runs, checks::stated);
        assert!(checks::is_bound(held, runs.len()), "stopped after {stop} ms, the bound holds in {held} of 20 runs");
    }
}

#[test]
fn what_the_own_kernel_dropped_is_asked_again_or_declared() {
    let clean = scenario::named("clean");
    let drops = |at_ms| OwnDrops { at_ms, packets: 7 };
    let undropped = run(&clean, 1);
    assert_eq!((undropped.result.stats.rounds, undropped.result.stats.dropped_replies), (2, 0));
    // In the second round, which would have been the last.
    let once = run(&Scenario { own_drops: vec![drops(80)], ..clean.clone() }, 1);
    assert_eq!((once.result.stats.rounds, once.result.stats.dropped_replies), (3, 7));
    assert!(once.result.gaps.is_empty(), "{:?}", once.result.gaps);
    // In every one: it slows down, from 5,000 probes a second.
    let sweep = Sweep { rounds: Some(3), rate: Some(5000), ..clean.sweep.clone() };
    let own_drops = (0..5000).map(|number| drops(number * 20)).collect();
    let always = run(&Scenario { own_drops, sweep, ..clean }, 1);
    let declared = always.result.gaps.iter().any(|gap| gap.incomplete && gap.cause.contains("its kernel dropped them"));
    assert!(declared, "{:?}", always.result.gaps);
    assert!(always.seconds > 10.0, "{} s", always.seconds);
    assert_eq!(checks::found(&always), always.truth);
}

#[test]
fn icmp_errors_name_their_reason_and_offender() {
    let run = run(&scenario::named("rate-limited-icmp"), 2);
    let rejected: Vec<_> = run.result.groups.iter().filter(|group| group.offender.is_some()).collect();
    assert!(!rejected.is_empty());
    for group in rejected {
        assert_eq!(group.reason, Reason::IcmpPortUnreachable);
        assert_eq!(group.offender, Some(group.address));
    }
}

#[test]
fn half_open_state_is_no_silence() {
    for seed in 0..10 {
        let run = run(&scenario::named("half-open"), seed);
        assert_eq!(checks::found(&run), run.truth, "seed {seed}");
    }
}

#[test]
fn the_bound_holds_whatever_the_loss_does_meanwhile() {
    let all = 200;
    let held = (0..all).filter(|&seed| {
        let run = run(&restless(seed), seed);
        checks::sound(&run);
        checks::stated(&run) <= checks::recall(&run) + 1e-9
    });
    let held = held.count();
    assert!(checks::is_bound(held, all as usize), "the lower bound holds in {held} of {all} runs");
}

/// A network whose loss changes at random times to random values, rounds long and short.
fn restless(seed: u64) -> Scenario {
    let mut dice = Dice(seed ^ 0x0052_e571_e550);
    let mut scenario = Scenario { runs: 1, ..scenario::named("loss-steps") };
    scenario.targets.open = 2 + dice.below(12) as usize;
    scenario.targets.shard = dice.chance(0.3).then(|| "1/3".to_owned());
    scenario.sweep.rate = Some([2_000, 5_000, 20_000, 100_000][dice.below(4) as usize]);
    let mut at_ms = 0;
    scenario.path.steps = std::iter::repeat_with(|| {
        at_ms += dice.below(300);
        let loss = [0.0, 0.02, 0.1, 0.3, 0.6, 1.0][dice.below(6) as usize];
        Step { at_ms, loss }
    })
    .take(40)
    .collect();
    scenario
}

#[test]
fn what_only_ever_challenges_is_unknown_and_not_filtered() {
    let mut scenario = scenario::named("half-open");
    (scenario.hosts.half_open, scenario.hosts.always_half_open) = (1.0, true);
    scenario.targets.others = Others::Refuse;
    let run = run(&scenario, 4);
    checks::sound(&run);
    let challenging = run.result.groups.iter().filter(|group| group.reason == Reason::ChallengeAck);
    let mut told = BTreeSet::new();
    for group in challenging {
        assert_eq!(group.state, PortState::Unknown);
        let ports: PortRanges = group.ports.parse().unwrap();
        told.extend(ports.iter().map(|port| Endpoint::tcp(group.address, port)));
    }
    let missing: BTreeSet<Endpoint> = run.truth.difference(&checks::found(&run)).copied().collect();
    assert!(!missing.is_empty());
    assert_eq!(told, missing);
}

/// Refusals of a whole network are not remembered without end, and no open port is lost by that.
#[test]
fn hosts_without_room_are_counted_and_what_is_open_is_told() {
    let mut scenario = scenario::named("refusing");
    scenario.targets.ports = "1-20".to_owned();
    scenario.targets.open = 1;
    scenario.sweep.most_hosts = Some(5);
    let run = run(&scenario, 1);
    checks::sound(&run);
    assert_eq!(checks::found(&run), run.truth);
    let gap = run.result.gaps.iter().find(|gap| gap.what.contains("counted but not listed")).unwrap();
    assert!(gap.incomplete && gap.cause.contains("more than 5 hosts"), "{gap:?}");
    // Nothing is open anywhere.
    scenario.targets.open = 0;
    let run = super::drive::run(&scenario, 1);
    assert_eq!(run.result.living.len(), 5);
    assert!(run.result.stats.replies > 100, "{:?}", run.result.stats);
}
