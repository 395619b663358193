//! What the processes of a raw sweep may do, and what happens without the privilege or without the sweeping process.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::{Lab, OnAccept, state_of};

/// An ordinary user's run, with these ambient capabilities.
fn as_nobody(lab: &Lab, capabilities: &str, args: &[&str]) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{}", lab.scanner));
    command.args(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.args(["--inh-caps", capabilities, "--ambient-caps", capabilities]);
    command.arg(program()).args(["scan", "--no-probes", "-q", "-o", "json"]).args(args);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Where anybody may run it.
fn program() -> &'static str {
    static COPY: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    COPY.get_or_init(|| {
        let copy = std::env::temp_dir().join(format!("postern-sweep-{}", std::process::id()));
        fs::copy(env!("CARGO_BIN_EXE_postern"), &copy).unwrap();
        copy.display().to_string()
    })
}

fn report_of(child: Child) -> (Option<i32>, Value) {
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"));
    (output.status.code(), report)
}

/// The process that `parent` has started, once it is confined.
fn sweeping_process(parent: u32) -> String {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        let of_threads = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        let all: String = of_threads
            .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
            .chain([children])
            .collect::<Vec<_>>()
            .join(" ");
        for child in all.split_whitespace() {
            let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
            if status.contains("Seccomp:\t2") {
                return child.to_owned();
            }
        }
        assert!(Instant::now() < until, "no confined process below {parent}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Root's sweep, and that of somebody who has CAP_NET_RAW and nothing else: the process that reads the network has no
/// capability, cannot get any, and a filter is over all of its threads.
#[test]
fn the_sweeping_process_has_nothing() {
    let Some(lab) = Lab::new("confined") else { return };
    let listener = lab.listen(&[22], OnAccept::Keep);
    let args = ["198.18.0.2", "-p", "1-4000", "--rate", "2000"];
    let mut as_root = lab.postern(&["scan", "--no-probes", "-q", "-o", "json"]);
    as_root.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    for mut command in [as_root, as_nobody(&lab, "+net_raw", &args)] {
        let child = command.spawn().unwrap();
        let sweeping = sweeping_process(child.id());
        let mut threads = 0;
        for thread in fs::read_dir(format!("/proc/{sweeping}/task")).unwrap() {
            let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
            for line in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
                assert!(status.contains(&format!("{line}:\t0000000000000000")), "{status}");
            }
            assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
            threads += 1;
        }
        let transmitting = std::thread::available_parallelism().unwrap().get().min(2);
        assert_eq!(threads, 1 + transmitting, "the machine's and the transmitting ones");
        let (code, report) = report_of(child);
        assert_eq!(code, Some(0), "{:#}", report["run"]);
        assert_eq!(report["run"]["sweep"]["engine"], "syn");
        assert_eq!(state_of(&report, "198.18.0.2", 22).unwrap().0, "open");
    }
    drop(listener);
}

/// Without the privilege `auto` connects and says so; `syn` says what is missing.
#[test]
fn without_the_privilege_it_connects() {
    let Some(lab) = Lab::new("unprivileged") else { return };
    let listener = lab.listen(&[22], OnAccept::Keep);
    let (code, report) = report_of(as_nobody(&lab, "-all", &["198.18.0.2", "-p", "20-30"]).spawn().unwrap());
    assert_eq!((code, report["run"]["sweep"]["engine"].as_str()), (Some(0), Some("connect")));
    assert_eq!(state_of(&report, "198.18.0.2", 22), Some(("open".to_owned(), "accepted".to_owned())));
    let gaps = report["run"]["gaps"].to_string();
    assert!(gaps.contains("CAP_NET_RAW") && gaps.contains("setcap"), "{gaps}");
    let args = ["198.18.0.2", "-p", "20-30", "--engine", "syn"];
    let (code, report) = report_of(as_nobody(&lab, "-all", &args).spawn().unwrap());
    assert_eq!(code, Some(4), "{report:#}");
    drop(listener);
}

/// AF_XDP takes locked memory. Who asks for nothing else is told what is missing; who leaves it open is served otherwise.
#[test]
fn without_locked_memory_only_the_wish_for_af_xdp_fails() {
    let Some(lab) = Lab::new("locked memory") else { return };
    let listener = lab.listen(&[22], OnAccept::Keep);
    let scan = |limit: &str, args: &[&str]| {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", lab.scanner)).args(["prlimit", &format!("--memlock={limit}")]);
        command.args([env!("CARGO_BIN_EXE_postern"), "scan", "--no-probes", "-q", "-o", "json"]);
        command.args(["198.18.0.2", "-p", "20-30"]).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        report_of(command.spawn().unwrap())
    };
    let (code, report) = scan("65536:65536", &["--engine", "syn"]);
    assert_eq!((code, report["run"]["sweep"]["transmit"].as_str()), (Some(0), Some("af_packet")));
    for engine in ["syn", "auto"] {
        let (code, report) = scan("65536:65536", &["--engine", engine, "--transmit", "xdp"]);
        assert_eq!((code, report["run"]["sweep"]["transmit"].as_str()), (Some(4), Some("none")), "{engine}");
        let gap = &report["run"]["gaps"][0];
        let cause = gap["cause"].as_str().unwrap();
        assert!(cause.contains("sending by AF_XDP on eth0: No buffer space") && cause.contains("`ulimit -l "), "{gap}");
        assert!(gap["settled_by"].as_str().unwrap().contains("without --transmit xdp"), "{gap}");
        // The hint works.
        let limit: u64 = cause.split("`ulimit -l ").nth(1).unwrap().split('`').next().unwrap().parse().unwrap();
        let limit = limit * 1024;
        let (code, report) = scan(&format!("{limit}:{limit}"), &["--engine", engine, "--transmit", "xdp"]);
        assert_eq!((code, report["run"]["sweep"]["transmit"].as_str()), (Some(0), Some("af_xdp")), "{engine}");
    }
    let args = ["198.18.0.2", "-p", "20-30", "--transmit", "xdp"];
    let (code, report) = report_of(as_nobody(&lab, "-all", &args).spawn().unwrap());
    let gap = report["run"]["gaps"][0].to_string();
    assert!(code == Some(4) && gap.contains("sending by AF_XDP") && gap.contains("CAP_NET_RAW"), "{gap}");
    drop(listener);
}

/// The sweeping process dies in the middle: what it had found stays, and the rest is said to be missing.
#[test]
fn a_dead_sweeping_process_leaves_what_it_found() {
    let Some(lab) = Lab::new("killed") else { return };
    let listener = lab.listen(&(1..=400).collect::<Vec<u16>>(), OnAccept::Keep);
    let mut command = lab.postern(&["scan", "198.18.0.2", "-p", "1-400,1000-60000", "--rate", "4000", "--no-probes"]);
    command.args(["-q", "-o", "json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let sweeping = sweeping_process(child.id());
    std::thread::sleep(Duration::from_secs(3));
    let pid = rustix::process::Pid::from_raw(sweeping.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let (code, report) = report_of(child);
    assert_eq!(code, Some(4), "{:#}", report["run"]);
    let open = report["hosts"][0]["endpoints"].as_array().unwrap().len();
    assert!(open > 5, "{open} found before the end");
    let gaps = report["run"]["gaps"].to_string();
    assert!(gaps.contains("the rest of the TCP sweep") && gaps.contains("SIGKILL"), "{gaps}");
    drop(listener);
}
