//! The run over many seeds.

use std::collections::BTreeMap;
use std::thread;
use std::time::Instant;

use crate::generate::case;
use crate::lab::{Lab, Seen};
use crate::rules::Loader;

#[test]
fn throughput() {
    let seeds: u64 = std::env::var("ORC_SEEDS").ok().and_then(|t| t.parse().ok()).unwrap_or(100);
    let from: u64 = std::env::var("ORC_FROM").ok().and_then(|t| t.parse().ok()).unwrap_or(0);
    thread::spawn(move || {
        let mut lab = Lab::new(0);
        let mut loader = Loader::new();
        let start = Instant::now();
        let mut kinds: BTreeMap<&str, u32> = BTreeMap::new();
        let mut features: BTreeMap<&str, u32> = BTreeMap::new();
        let mut refused = 0;
        for seed in from..from + seeds {
            let case = case(seed);
            for feature in &case.features {
                *features.entry(feature).or_default() += 1;
            }
            if let Err(error) = loader.load(&case.rules) {
                refused += 1;
                println!("seed {seed}: {error}\n{}", if error.contains("tables") { format!("{}{}", case.rules.iptables, case.rules.ip6tables) } else { String::new() });
                for line in error.lines().filter_map(|l| l.split_once("stdin:")?.1.split(':').next()?.parse::<usize>().ok()) {
                    println!("      {line}: {}", case.rules.nft.lines().nth(line - 2).unwrap_or(""));
                }
                continue;
            }
            for (shot, seen) in case.shots.iter().zip(lab.fire(&case.shots)) {
                let kind = match seen {
                    Seen::Host(s) | Seen::Link(_, s) => {
                        if s.source != shot.source || s.destination != shot.destination || s.destination_port != shot.destination_port {
                            *kinds.entry("rewritten").or_default() += 1;
                        }
                        if matches!(seen, Seen::Host(_)) { "host" } else { "link" }
                    }
                    Seen::Reset => "reset",
                    Seen::Icmp { .. } => "icmp",
                    Seen::Nothing => "nothing",
                };
                *kinds.entry(kind).or_default() += 1;
            }
        }
        println!("{features:#?}\n{kinds:?} refused {refused} {:.1} ms a ruleset", start.elapsed().as_secs_f64() * 1000.0 / seeds as f64);
    })
    .join()
    .unwrap();
}
