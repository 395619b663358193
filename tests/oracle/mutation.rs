//! The oracle can tell: where a rule that decided is changed, the kernel does something else, the model with the old rules is
//! wrong, and the model with the new ones is right.

use std::thread;

use postern::model::PathOutcome;
use postern::model::path::TraceStep;

use crate::bench::{Bench, Outcome};
use crate::compare::{Fit, words};
use crate::generate::case;
use crate::lab::Seen;
use crate::space::run;

/// Rules that are changed in one run.
const WANTED: usize = 25;
/// Cases that are looked through for them at most.
const MOST: u64 = 600;

#[test]
fn a_changed_rule_changes_the_answer() {
    if crate::missing("the mutation test of the oracle", crate::run::PROGRAMS) {
        return;
    }
    thread::spawn(|| {
        let mut bench = Bench::new(0);
        let mut changed = 0;
        for seed in 10_000..10_000 + MOST {
            if changed == WANTED {
                break;
            }
            let case = case(seed);
            let outcomes = bench.play(&case.rules, &case.shots).unwrap();
            let Some((outcome, step)) = outcomes.iter().find_map(|outcome| Some((outcome, decisive(outcome)?))) else {
                continue;
            };
            changed += 1;
            mutate(&mut bench, seed, outcome, step);
        }
        assert_eq!(changed, WANTED, "too few cases have an `accept` of nft that decides");
        println!("the oracle: {changed} deciding rules changed");
    })
    .join()
    .unwrap();
}

/// A rule of nft itself that let the packet pass.
fn decisive(outcome: &Outcome) -> Option<&TraceStep> {
    let answer = &outcome.told.answer;
    let passed = answer.path == PathOutcome::Accept && outcome.fit == Fit::Agrees;
    let step = answer.trace.iter().find(|step| step.decides)?;
    let by_nft = step.handle.is_some() && step.rule.ends_with(" accept") && !step.rule.starts_with('-');
    (passed && by_nft).then_some(step)
}

fn mutate(bench: &mut Bench, seed: u64, before: &Outcome, step: &TraceStep) {
    let handle = step.handle.unwrap();
    let place = format!("{} {}", step.table, step.chain);
    // As nft prints it, which is what it reads.
    let listing = run("nft", &["-a", "list", "ruleset"], "").unwrap();
    let ending = format!(" accept # handle {handle}");
    let mut inside = String::new();
    let mut rule = None;
    for line in listing.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["table", family, name, ..] => inside = format!("{family} {name}"),
            ["chain", name, ..] if format!("{inside} {name}") == place => rule = Some(None),
            ["chain", ..] if rule == Some(None) => rule = None,
            _ if rule == Some(None) && line.ends_with(&ending) => {
                rule = Some(line.trim().strip_suffix(&ending).map(str::to_owned));
            }
            _ => {}
        }
    }
    let rule = rule.flatten().unwrap_or_else(|| panic!("seed {seed}: no rule {handle} in {place}:\n{listing}"));
    run("nft", &["-f", "-"], &format!("replace rule {place} handle {handle} {rule} drop\n")).unwrap();
    let after = &bench.observe(&[before.shot])[0];
    assert_eq!(after.seen, Seen::Nothing, "seed {seed}: `{rule} drop` in {place} dropped nothing: {:?}", before.shot);
    assert!(
        matches!(before.told.fit(&after.seen), Fit::Wrong(_)),
        "seed {seed}: the model of other rules passes: seen `{}`",
        words(&after.seen)
    );
    assert_eq!(after.fit, Fit::Agrees, "seed {seed}: `{rule} drop` in {place}: told {}", after.told.summary());
}
