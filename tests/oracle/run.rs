//! The run over many seeds, in a tier that the environment picks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::bench::{Bench, Outcome};
use crate::compare::{Fit, words};
use crate::generate::{Case, case};
use crate::lab::Seen;
use crate::regression::{Regression, Remembered};
use crate::shrink::shrink;

/// What a run is asked for.
#[derive(Clone, Copy, Debug)]
struct Tier {
    seeds: u64,
    /// It ends earlier when this is over.
    most: Duration,
    /// Each feature in so many rulesets at least; 0 where the run is too short for it.
    each_feature: u64,
}

/// `tests/run --all` asks for the long one.
fn tier() -> Tier {
    if std::env::var("POSTERN_ORACLE").is_ok_and(|tier| tier == "long") {
        Tier { seeds: 6000, most: Duration::from_secs(3600), each_feature: 100 }
    } else {
        Tier { seeds: 1000, most: Duration::from_secs(40), each_feature: 0 }
    }
}

/// Sums over a run.
#[derive(Debug, Default)]
struct Account {
    rulesets: u64,
    packets: u64,
    definite: u64,
    refused: u64,
    rewritten: u64,
    features: BTreeMap<&'static str, u64>,
    seen: BTreeMap<String, u64>,
    /// What an answer depended on, with how many answers.
    open: BTreeMap<String, u64>,
    wrong: Vec<Difference>,
}

/// A case on which model and kernel differ.
#[derive(Debug)]
struct Difference {
    seed: u64,
    text: String,
}

pub const PROGRAMS: &[&str] =
    &["ipset", "iptables-nft-restore", "ip6tables-nft-restore", "iptables-legacy-restore", "ip6tables-legacy-restore"];

/// The kernel agrees with every definite answer.
#[test]
fn the_kernel_agrees() {
    if crate::missing("the oracle", PROGRAMS) {
        return;
    }
    let tier = tier();
    let first = std::env::var("POSTERN_ORACLE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let seeds = std::env::var("POSTERN_ORACLE_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(tier.seeds);
    let start = Instant::now();
    let next = AtomicU64::new(first);
    let stop = AtomicBool::new(false);
    let accounts: Vec<Account> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cpus())
            .map(|cpu| {
                let (next, stop) = (&next, &stop);
                scope.spawn(move || {
                    let mut bench = Bench::new(cpu);
                    let mut account = Account::default();
                    while !stop.load(Ordering::Relaxed) && start.elapsed() < tier.most {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= first + seeds {
                            break;
                        }
                        account.play(&mut bench, &case(seed));
                        if account.wrong.len() >= ENOUGH {
                            stop.store(true, Ordering::Relaxed);
                        }
                    }
                    account
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let account = accounts.into_iter().fold(Account::default(), Account::with);
    account.print(start.elapsed());
    assert!(
        account.wrong.is_empty(),
        "{} packets met another fate than the model says:\n{}",
        account.wrong.len(),
        account.wrong.iter().map(|wrong| format!("seed {}: {}\n", wrong.seed, wrong.text)).collect::<String>()
    );
    let share = |part: u64| part as f64 / account.packets as f64;
    assert!(account.rulesets >= seeds.min(MOST_FOR_A_TIER_TO_SKIP), "only {} rulesets in the time", account.rulesets);
    assert!(share(account.definite) >= 0.95, "{:.3} of the answers are definite", share(account.definite));
    assert!(share(account.refused) >= 0.30, "{:.3} of the packets are stopped", share(account.refused));
    assert!(share(account.rewritten) >= 0.20, "{:.3} of the packets are translated", share(account.rewritten));
    let rare: Vec<_> = account.features.iter().filter(|(_, count)| **count < tier.each_feature).collect();
    assert!(rare.is_empty(), "features in fewer than {} rulesets: {rare:?}", tier.each_feature);
}

/// Differences after which a run is not worth going on.
const ENOUGH: usize = 8;
/// A slow machine may cut the default tier short, down to this.
const MOST_FOR_A_TIER_TO_SKIP: u64 = 40;

fn cpus() -> usize {
    thread::available_parallelism().map_or(1, |count| count.get().min(4))
}

impl Account {
    fn play(&mut self, bench: &mut Bench, case: &Case) {
        let outcomes = bench
            .play(&case.rules, &case.shots)
            .unwrap_or_else(|error| panic!("seed {}: {error}\n{:#?}", case.seed, case.rules));
        self.rulesets += 1;
        for feature in &case.features {
            *self.features.entry(feature).or_default() += 1;
        }
        let mut wrong = None;
        for outcome in &outcomes {
            self.count(outcome);
            if wrong.is_none() && matches!(outcome.fit, Fit::Wrong(_)) {
                wrong = Some(outcome.clone());
            }
        }
        // One of a ruleset is enough to look at.
        if let Some(outcome) = wrong {
            let text = explain(bench, case, &outcome);
            self.wrong.push(Difference { seed: case.seed, text });
        }
    }

    fn count(&mut self, outcome: &Outcome) {
        self.packets += 1;
        let kind = match outcome.seen {
            Seen::Host(_) => "host",
            Seen::Link(..) => "link",
            Seen::Reset => "reset",
            Seen::Icmp { .. } => "icmp",
            Seen::Nothing => "nothing",
        };
        *self.seen.entry(kind.to_owned()).or_default() += 1;
        self.refused += u64::from(!matches!(outcome.seen, Seen::Host(_) | Seen::Link(..)));
        self.rewritten += u64::from(outcome.told.rewritten(&outcome.shot));
        if outcome.fit == Fit::Open {
            for what in &outcome.told.answer.unknown {
                *self.open.entry(what.clone()).or_default() += 1;
            }
        } else {
            self.definite += 1;
        }
    }

    fn with(mut self, other: Self) -> Self {
        self.rulesets += other.rulesets;
        self.packets += other.packets;
        self.definite += other.definite;
        self.refused += other.refused;
        self.rewritten += other.rewritten;
        for (feature, count) in other.features {
            *self.features.entry(feature).or_default() += count;
        }
        for (kind, count) in other.seen {
            *self.seen.entry(kind).or_default() += count;
        }
        for (what, count) in other.open {
            *self.open.entry(what).or_default() += count;
        }
        self.wrong.extend(other.wrong);
        self
    }

    fn print(&self, took: Duration) {
        let percent = |part: u64| part as f64 * 100.0 / self.packets.max(1) as f64;
        println!(
            "the oracle: {} rulesets, {} packets in {:.1} s; {:.2} % definite, {:.1} % stopped, {:.1} % translated, {} wrong",
            self.rulesets,
            self.packets,
            took.as_secs_f64(),
            percent(self.definite),
            percent(self.refused),
            percent(self.rewritten),
            self.wrong.len()
        );
        println!("  seen: {:?}", self.seen);
        let mut features: Vec<_> = self.features.iter().collect();
        features.sort_by_key(|(_, count)| **count);
        println!("  {} features; the rarest: {:?}", features.len(), &features[..features.len().min(12)]);
        let mut open: Vec<_> = self.open.iter().collect();
        open.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (what, count) in open.iter().take(15) {
            println!("  open {count}: {what}");
        }
    }
}

/// Shrinks the case and keeps it; says what it comes down to.
fn explain(bench: &mut Bench, case: &Case, wrong: &Outcome) -> String {
    let shots = [wrong.shot];
    let differs = |bench: &mut Bench, rules: &_| {
        let outcomes = bench.play(rules, &shots).ok()?;
        let outcome = outcomes.into_iter().next()?;
        matches!(outcome.fit, Fit::Wrong(_)).then_some(outcome)
    };
    if differs(bench, &case.rules).is_none() {
        return format!("only once: seen `{}`, told {:?}: {:?}", words(&wrong.seen), wrong.fit, wrong.shot);
    }
    let small = shrink(&case.rules, |rules| differs(bench, rules).is_some());
    let Some(outcome) = differs(bench, &small) else { return "it comes and goes".to_owned() };
    let regression = Regression {
        note: format!("found by seed {}", case.seed),
        rules: small.clone(),
        shots: vec![Remembered { seen: words(&outcome.seen), shot: outcome.shot }],
    };
    let path = regression.keep(&format!("seed-{}", case.seed));
    let Fit::Wrong(told) = &outcome.fit else { return String::new() };
    let rules = toml::to_string_pretty(&small).unwrap();
    format!(
        "seen `{}`, told {told}\n    {:?}\n{rules}    kept as {}",
        words(&outcome.seen),
        outcome.shot,
        path.display()
    )
}

/// What was wrong once is right now.
#[test]
fn regressions_stay_right() {
    let all = crate::regression::all();
    let programs: Vec<&str> = all.iter().flat_map(|(_, regression)| regression.rules.programs()).collect();
    if crate::missing("regressions of the oracle", &programs) {
        return;
    }
    thread::spawn(move || {
        let mut bench = Bench::new(0);
        let mut lines = Vec::new();
        for (name, regression) in &all {
            for line in regression.differences(&mut bench) {
                lines.push(format!("{name} ({}): {line}", regression.note));
            }
        }
        assert!(lines.is_empty(), "{}", lines.join("\n"));
        println!("the oracle: {} regressions", all.len());
    })
    .join()
    .unwrap();
}
