//! The cases, and what each must reach.

use std::collections::BTreeMap;
use std::time::Duration;

use postern::net::link::open::OutletKind;

use crate::ceiling;
use crate::delay::Delay;
use crate::distinct;
use crate::lab::{Lab, OPEN, Rules};
use crate::measure::run;
use crate::peers::{Peer, Task, open_in};
use crate::table::{Expected, Results, Row};

/// One network and those that sweep it.
pub struct Case {
    pub name: &'static str,
    pub title: &'static str,
    pub quick: bool,
    pub slow: bool,
    pub run: fn(&mut Results, bool) -> Result<(), String>,
}

pub const CASES: [Case; 11] = [
    case("dead", "198.19.0.0/16 x 33 ports, 256 living hosts", dead),
    case("firewalled", "a living /24 x 1000 ports, 4 open, the rest dropped", firewalled),
    case("closed", "a living /24 x 1000 ports, 4 open, the rest refused", closed),
    case("one-host", "one host x 65,535 ports, 20 open", one_host),
    case("loss", "the firewalled /24, 20 % lost each way", loss),
    case("delay", "a living /26 x 1000 ports, a millisecond each way", delay),
    case("connect", "the closed /24 without privileges", connect),
    case("connect-firewalled", "the firewalled /24 without privileges", connect_firewalled),
    case("connect-loss", "the firewalled /24 without privileges, 1 % lost each way", connect_loss),
    Case {
        quick: true,
        ..case("distinct", "each endpoint once a round: 4096 hosts x 33 ports, nothing lost", distinct_probes)
    },
    Case { slow: true, ..case("memory", "10.0.0.0/8 x 4 ports, the first minute", memory) },
];

const fn case(name: &'static str, title: &'static str, run: fn(&mut Results, bool) -> Result<(), String>) -> Case {
    Case { name, title, quick: false, slow: false, run }
}

/// 22 is one of them.
const PORTS_33: &str = "7,13,21-23,25,53,80,110,111,135,139,143,179,389,443,445,993,995,1433,2375,2379,3306,3389,5432,5900,6379,6443,8080,8443,9090,9200,10250";

fn dead(results: &mut Results, _: bool) -> Result<(), String> {
    let lab = Lab::build()?;
    lab.rules(Rules::Dead)?;
    let loop_rate = ceiling::measure(OutletKind::Xdp)?;
    results.note("dead", "AF_XDP loop", loop_rate);
    results.note("dead", "sendmmsg loop", ceiling::measure(OutletKind::Frames)?);
    let task = Task { network: "198.19.0.0/16", ports: PORTS_33, port: 22 };
    let expected = Expected { task, probes: 65_536 * 33, open: 256 };
    let postern = results.measure(&lab, "dead", Peer::Postern, &expected);
    let masscan = results.measure(&lab, "dead", Peer::Masscan, &expected);
    let zmap = results.measure(&lab, "dead", Peer::Zmap, &Expected { probes: 65_536, ..expected });
    let Some(postern) = postern else { return Err("postern did not end".to_owned()) };
    if let Some(masscan) = masscan {
        let ratio = postern.rate / masscan.rate;
        results.goal("dead", "x masscan's rate (2.2)", ratio, ratio >= 2.2);
    }
    if let Some(zmap) = zmap {
        let ratio = postern.rate / zmap.rate;
        results.goal("dead", "x zmap's rate (2.4)", ratio, ratio >= 2.4);
    }
    let share = postern.rate / loop_rate;
    results.goal("dead", "of the loop's rate (0.85)", share, share >= 0.85);
    results.goal("dead", "living hosts found (256)", postern.found as f64, postern.found == 256);
    Ok(())
}

const CLASS_C: Expected = Expected {
    task: Task { network: "198.19.1.0/24", ports: "1-1000", port: 22 },
    probes: 256_000,
    open: 256 * OPEN.len(),
};

fn firewalled(results: &mut Results, slow: bool) -> Result<(), String> {
    let lab = Lab::build()?;
    lab.rules(Rules::Dropped { loss: 0 })?;
    let postern = results.measure(&lab, "firewalled", Peer::Postern, &CLASS_C);
    for peer in [Peer::Masscan, Peer::RustScan, Peer::NmapRate] {
        results.measure(&lab, "firewalled", peer, &CLASS_C);
    }
    if slow {
        results.measure(&lab, "firewalled", Peer::Nmap, &CLASS_C);
    }
    let Some(postern) = postern else { return Err("postern did not end".to_owned()) };
    results.goal("firewalled", "seconds (2.0)", postern.seconds, postern.seconds <= 2.0);
    whole(results, "firewalled", &postern);
    Ok(())
}

fn closed(results: &mut Results, _: bool) -> Result<(), String> {
    let lab = Lab::build()?;
    lab.rules(Rules::Refused)?;
    let postern = results.measure(&lab, "closed", Peer::Postern, &CLASS_C);
    for peer in [Peer::Masscan, Peer::Nmap] {
        results.measure(&lab, "closed", peer, &CLASS_C);
    }
    let Some(postern) = postern else { return Err("postern did not end".to_owned()) };
    results.goal("closed", "seconds (1.7)", postern.seconds, postern.seconds <= 1.7);
    whole(results, "closed", &postern);
    Ok(())
}

fn whole(results: &mut Results, case: &str, postern: &Row) {
    results.goal(case, "open ports found (1024)", postern.found as f64, postern.found == 1024);
    let recall = &postern.run.report()["run"]["sweep"]["recall"];
    let lower = recall["lower"].as_f64().unwrap_or(0.0);
    results.goal(case, "recall stated, lower bound", lower, recall["estimate"].is_number());
}

fn one_host(results: &mut Results, _: bool) -> Result<(), String> {
    let mut lab = Lab::build()?;
    lab.rules(Rules::OneHost)?;
    let more: Vec<u16> = (0..16).map(|number| 1000 + 4001 * number).collect();
    lab.listen(&more)?;
    let task = Task { network: "198.19.1.1", ports: "1-65535", port: 22 };
    let expected = Expected { task, probes: 65_535, open: 20 };
    results.measure(&lab, "one-host", Peer::Nmap, &expected);
    results.measure(&lab, "one-host", Peer::Masscan, &expected);
    let (mut whole, mut slowest) = (0, 0_f64);
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let Some(ended) = run(Peer::Postern.command(&task), Duration::from_secs(60)) else { continue };
        whole += usize::from(Peer::Postern.found(&ended.output, &task) == 20);
        times.push(ended.wall.as_secs_f64());
        slowest = slowest.max(ended.wall.as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied().unwrap_or(f64::INFINITY);
    results.note("one-host", "slowest run", slowest);
    results.goal("one-host", "median seconds (0.6)", median, median <= 0.6);
    results.goal("one-host", "runs that found all 20 (50)", whole as f64, whole == RUNS);
    Ok(())
}

const RUNS: usize = 50;

fn loss(results: &mut Results, slow: bool) -> Result<(), String> {
    let lab = Lab::build()?;
    lab.rules(Rules::Dropped { loss: 20 })?;
    results.measure(&lab, "loss", Peer::Masscan, &CLASS_C);
    let runs = if slow { 20 } else { 3 };
    let (mut good, mut honest) = (0, 0);
    for _ in 0..runs {
        let Some(row) = results.measure(&lab, "loss", Peer::Postern, &CLASS_C) else { continue };
        let report = row.run.report();
        let lower = report["run"]["sweep"]["recall"]["lower"].as_f64().unwrap_or(1.0);
        let sent = report["run"]["sweep"]["probes_sent"].as_f64().unwrap_or(f64::INFINITY);
        let share = row.found as f64 / CLASS_C.open as f64;
        println!("{:<18} found {share:.4}, lower bound {lower:.4}, {:.1} x the probes", "", sent / 256_000.0);
        good += usize::from(share >= 0.999 && row.seconds <= 15.0 && sent <= 12.0 * 256_000.0);
        honest += usize::from((0.99..=share).contains(&lower));
    }
    // One in twenty may miss.
    let enough = runs - runs / 20;
    results.goal("loss", "runs with 0.999 found, 15 s, 12 x the probes", good as f64, good >= enough);
    results.goal("loss", "runs whose bound is 0.99 and true", honest as f64, honest >= enough);
    Ok(())
}

fn delay(results: &mut Results, _: bool) -> Result<(), String> {
    let lab = Lab::build()?;
    lab.rules(Rules::Refused)?;
    let delayed = Delay::start(Duration::from_millis(1))?;
    let task = Task { network: "198.19.1.0/26", ports: "1-1000", port: 22 };
    let expected = Expected { task, probes: 64_000, open: 64 * OPEN.len() };
    results.measure(&lab, "delay", Peer::Nmap, &expected);
    let postern = results.measure(&lab, "delay", Peer::Postern, &expected);
    drop(delayed);
    let Some(postern) = postern else { return Err("postern did not end".to_owned()) };
    results.goal("delay", "open ports found (256)", postern.found as f64, postern.found == 256);
    Ok(())
}

fn connect(results: &mut Results, _: bool) -> Result<(), String> {
    by_connecting(results, "connect", Rules::Refused, &[(Peer::NmapConnect, 1.5), (Peer::RustScan, 4.0)])
}

fn connect_firewalled(results: &mut Results, _: bool) -> Result<(), String> {
    by_connecting(results, "connect-firewalled", Rules::Dropped { loss: 0 }, &[(Peer::RustScan, 2.0)])
}

fn connect_loss(results: &mut Results, _: bool) -> Result<(), String> {
    by_connecting(results, "connect-loss", Rules::Dropped { loss: 1 }, &[(Peer::RustScan, 1.0)])
}

/// Beside peers, each with how many times faster Postern is to be.
fn by_connecting(results: &mut Results, case: &str, rules: Rules, peers: &[(Peer, f64)]) -> Result<(), String> {
    let lab = Lab::build()?;
    lab.rules(rules)?;
    let postern = results.measure(&lab, case, Peer::PosternConnect, &CLASS_C);
    let Some(postern) = postern else { return Err("postern did not end".to_owned()) };
    for (peer, times) in peers {
        if let Some(peer) = results.measure(&lab, case, *peer, &CLASS_C) {
            let ratio = peer.seconds / postern.seconds;
            results.goal(case, &format!("x {} ({times})", peer.peer.name()), ratio, ratio >= *times);
        }
    }
    results.goal(case, "open ports found (1024)", postern.found as f64, postern.found == 1024);
    let mib = postern.memory_kib as f64 / 1024.0;
    results.goal(case, "MiB (100)", mib, mib < 100.0);
    Ok(())
}

/// Slow enough for the counter to lose nothing.
fn distinct_probes(results: &mut Results, _: bool) -> Result<(), String> {
    let lab = Lab::build()?;
    lab.rules(Rules::Dead)?;
    let task = Task { network: "198.19.0.0/20", ports: PORTS_33, port: 22 };
    let ports: Vec<u16> =
        PORTS_33.parse::<postern::model::PortRanges>().map_err(|error| error.to_string())?.iter().collect();
    let mut command = Peer::Postern.command(&task);
    command.args(["--rate", "100000"]);
    let (counted, ended) = distinct::count(&ports, || run(command, Duration::from_secs(60)))?;
    let Some(ended) = ended else { return Err("postern did not end".to_owned()) };
    if counted.lost > 0 {
        return Err(format!("the counter lost {} probes", counted.lost));
    }
    let endpoints = 4096 * ports.len();
    // The first round's source port is the one that asked most.
    let mut rounds: BTreeMap<u16, usize> = BTreeMap::new();
    for (_, _, from) in counted.probes.keys() {
        *rounds.entry(*from).or_default() += 1;
    }
    let most = rounds.values().max().copied().unwrap_or(0);
    results.goal("distinct", "endpoints asked in one round (135168)", most as f64, most == endpoints);
    // Of the living some are asked again on purpose, to measure losses.
    let again = counted.probes.iter().filter(|((to, ..), times)| to[2] != 1 && **times > 1).count();
    results.goal("distinct", "dead endpoints asked twice in a round (0)", again as f64, again == 0);
    let open = open_in(&ended.report()).len();
    results.goal("distinct", "living hosts found (256)", open as f64, open == 256);
    Ok(())
}

fn memory(results: &mut Results, _: bool) -> Result<(), String> {
    let lab = Lab::build()?;
    lab.rules(Rules::Dead)?;
    let task = Task { network: "10.0.0.0/8", ports: "22,80,443,10250", port: 22 };
    let mut command = crate::lab::inside(crate::lab::SCANNER);
    // Stops as by Ctrl-C.
    command.args(["timeout", "-s", "INT", "60"]);
    let postern = Peer::Postern.command(&task);
    command.args(postern.get_args().skip(1)).args(["--rate", "300000"]);
    let peaks = run(command, Duration::from_secs(120)).ok_or("postern did not end")?;
    let mib = peaks.memory_kib as f64 / 1024.0;
    results.goal("memory", "MiB at most, both processes (64)", mib, mib < 64.0);
    drop(lab);
    Ok(())
}
