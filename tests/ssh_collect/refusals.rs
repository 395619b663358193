//! Hosts that give no report: each is a gap of the run, and nothing else suffers.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::door::{Doors, gaps, host_sh, install};
use crate::support::run;

#[test]
fn refused_changed_unknown_and_absent_hosts_are_gaps_and_the_rest_goes_on() {
    let Some(mut doors) = Doors::new("ssh: refusals", &[]) else { return };
    let good = doors.open(2, "");
    install(doors.lab.host(2), None);
    let changed = doors.open(3, "");
    let unknown = doors.open(4, "");
    let refused = doors.open(5, "");
    let other = doors.file("other").display().to_string();
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &other]);
    fs::copy(format!("{other}.pub"), doors.lab.host(5).directory.join("authorized_keys")).unwrap();
    // 3 is known by another key, 4 not at all, 5 lets only another key in; nothing listens on 6's port, 9 is not there.
    doors.open(6, "");
    let key = fs::read_to_string(format!("{other}.pub")).unwrap();
    let known: String = fs::read_to_string(doors.known_hosts())
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with("198.18.0.4 "))
        .map(|line| if line.starts_with("198.18.0.3 ") { format!("198.18.0.3 {key}") } else { format!("{line}\n") })
        .collect();
    fs::write(doors.known_hosts(), known).unwrap();

    let mut arguments = vec!["audit", "198.18.0.2", "-p", "22", "--udp=none", "-o", "json"];
    for report in [
        "ssh://root@198.18.0.2",
        "ssh://root@198.18.0.3",
        "ssh://root@198.18.0.4",
        "ssh://root@198.18.0.5",
        "ssh://root@198.18.0.6:2222",
        "ssh://root@no-such-host.invalid",
        "ssh://root@198.18.0.9",
    ] {
        arguments.extend(["--host-report", report]);
    }
    let ran = doors.postern(&arguments);
    let report = ran.json();
    assert_eq!(ran.code(), Some(4), "incomplete:\n{ran}");
    assert_eq!(report["run"]["host_reports"].as_array().unwrap().len(), 2, "{ran}");
    assert_eq!(report["hosts"][0]["endpoints"][0]["listener"]["process"], "sshd", "{ran}");
    let gaps = gaps(&report);
    for (host, says) in [
        ("198.18.0.3", "its host key is not the one that is known: Host key for 198.18.0.3 has changed"),
        ("198.18.0.4", "its host key is not known here"),
        ("198.18.0.5", "it lets us not in"),
        ("198.18.0.6:2222", "it cannot be reached"),
        ("no-such-host.invalid", "Could not resolve hostname"),
        ("198.18.0.9", "it cannot be reached"),
    ] {
        let line = gaps.lines().find(|line| line.starts_with(&format!("the host report of ssh://root@{host}: ")));
        assert!(line.is_some_and(|line| line.contains(says)), "{host}: {says}\n{gaps}");
    }
    assert_eq!(good.log_ins(), 2);
    for door in [changed, unknown, refused] {
        assert_eq!(door.log_ins(), 0, "{}", door.server.output());
    }
}

#[test]
fn hanging_hosts_cost_their_time_and_nothing_else() {
    let Some(mut doors) = Doors::new("ssh: hanging", &[]) else { return };
    let _good = doors.open(2, "");
    install(doors.lab.host(2), None);
    // The kernel still takes connections for the one; the other lets in and then does nothing.
    let stopped = doors.open(3, "");
    let group = Pid::from_raw(i32::try_from(stopped.server.id()).unwrap()).unwrap();
    kill_process_group(group, Signal::STOP).unwrap();
    let _sleeping = doors.open(4, "ForceCommand sleep 600");
    let from = Instant::now();
    let ran = doors.postern(&[
        "audit",
        "198.18.0.2",
        "-p",
        "22",
        "--udp=none",
        "-o",
        "json",
        "--ssh-timeout",
        "6",
        "--host-report",
        "ssh://root@198.18.0.3",
        "--host-report",
        "ssh://root@198.18.0.4",
        "--host-report",
        "ssh://root@198.18.0.2",
    ]);
    let took = from.elapsed();
    kill_process_group(group, Signal::CONT).unwrap();
    assert_eq!(ran.code(), Some(4), "{ran}");
    assert!(took < Duration::from_secs(25), "{took:?}\n{ran}");
    let report = ran.json();
    assert_eq!(report["run"]["host_reports"].as_array().unwrap().len(), 2, "{ran}");
    let gaps = gaps(&report);
    for host in ["198.18.0.3", "198.18.0.4"] {
        let line = gaps.lines().find(|line| line.starts_with(&format!("the host report of ssh://root@{host}: ")));
        assert!(
            line.is_some_and(|line| line.contains("not done within 6 s") && line.contains("--ssh-timeout")),
            "{gaps}"
        );
    }
    // Nothing of ours goes on there or here.
    let left = host_sh(doors.lab.host(2), "pgrep -f '[.]postern[.]' || true");
    assert_eq!(left, "");
}

#[test]
fn ctrl_c_while_a_host_hangs_keeps_what_there_is() {
    let Some(mut doors) = Doors::new("ssh: Ctrl-C", &[]) else { return };
    let hanging = doors.open(3, "ForceCommand sleep 600");
    let mut command = doors.command(&[
        "audit",
        "198.18.0.3",
        "-p",
        "22",
        "--udp=none",
        "-o",
        "json",
        "--host-report",
        "ssh://root@198.18.0.3",
    ]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    crate::support::wait_until("the log-in", Duration::from_secs(20), || hanging.log_ins() == 1);
    let from = Instant::now();
    // Not to timeout(1): that one hands it on twice, to the process and to its group, and twice means at once.
    let program = watched(child.id());
    crate::support::finish(std::process::Command::new("kill").args(["-INT", &program]));
    let output = child.wait_with_output().unwrap();
    assert!(from.elapsed() < Duration::from_secs(15), "{:?}", from.elapsed());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!((output.status.code(), &report["run"]["status"]), (Some(4), &"interrupted".into()));
    assert!(gaps(&report).contains("the host report of ssh://root@198.18.0.3: interrupted"), "{report}");
    assert_eq!(fs::read_dir(doors.temporary()).unwrap().count(), 0, "ssh's configuration is left");
}

/// The process that timeout(1) watches over.
fn watched(timeout: u32) -> String {
    run("pgrep", &["-P", &timeout.to_string()]).trim().to_owned()
}
