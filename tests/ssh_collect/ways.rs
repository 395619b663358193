//! The ways to a report: installed, copied, plain commands; as root and not; through a jump host; many at once.

use std::fs;
use std::time::{Duration, Instant};

use crate::door::{Doors, POSTERN, Ran, add_user, allow, gaps, host_sh, install, left_on, owner};
use crate::support::{finish, wait_until};

#[test]
fn a_host_with_postern_is_joined_before_and_after_the_sweep() {
    let Some(mut doors) = Doors::new("ssh: installed", &[]) else { return };
    let door = doors.open(2, "");
    install(doors.lab.host(2), None);
    let ran = doors.postern(&[
        "audit",
        "198.18.0.2",
        "-p",
        "22",
        "--udp=none",
        "--host-report",
        "ssh://root@198.18.0.2",
        "-o",
        "json",
    ]);
    let report = ran.json();
    assert_eq!(ran.code(), Some(0), "{ran}");
    assert_eq!(door.log_ins(), 2, "before and after:\n{}", door.server.output());
    let joined = &report["run"]["host_reports"][0];
    assert_eq!(joined["source"], "native", "{ran}");
    let endpoint = &report["hosts"][0]["endpoints"][0];
    assert_eq!((&endpoint["port"], &endpoint["listener"]["process"]), (&22.into(), &"sshd".into()), "{ran}");
    assert_eq!(endpoint["verdict"], "exposed");
}

#[test]
fn a_forced_command_that_prints_the_report_is_enough() {
    let Some(mut doors) = Doors::new("ssh: forced command", &[]) else { return };
    let _door = doors.open(2, &format!("ForceCommand {POSTERN} host -o json"));
    let report = doors.report(&["ssh://root@198.18.0.2"]);
    assert_eq!((report["source"].as_str(), owner(&report, 22)), (Some("native"), Some("sshd")));
}

#[test]
fn through_a_jump_host_to_one_that_cannot_be_reached() {
    let Some(mut doors) = Doors::new("ssh: jump host", &[]) else { return };
    let jump = doors.open(2, "");
    let inner = doors.open(3, "");
    install(doors.lab.host(3), None);
    let (h2, h3) = (&doors.lab.host(2).namespace, &doors.lab.host(3).namespace);
    h3.ip("link del eth0");
    h2.ip(&format!("link add inner type veth peer name inner netns {}", h3.name()));
    h2.ip("addr add 198.18.9.2/24 dev inner");
    h2.ip("link set inner up");
    h3.ip("addr add 198.18.9.3/24 dev inner");
    h3.ip("link set inner up");
    doors.configure("Host inner\n  HostName 198.18.9.3\n  ProxyJump root@198.18.0.2\n");
    doors.learn(3, "198.18.9.3");
    let report = doors.report(&["ssh://root@inner"]);
    assert_eq!(report["hostname"], "h3");
    assert_eq!((jump.log_ins(), inner.log_ins()), (1, 1));

    // A jump host whose key nobody knows is refused too, although the user's configuration would take it.
    let known = fs::read_to_string(doors.known_hosts()).unwrap();
    let without: String =
        known.lines().filter(|line| !line.starts_with("198.18.0.2 ")).map(|line| format!("{line}\n")).collect();
    fs::write(doors.known_hosts(), without).unwrap();
    let ran = doors.postern(&["host", "ssh://root@inner"]);
    assert_eq!(ran.code(), Some(1), "{ran}");
    assert!(ran.stderr().contains("host key is not known here") && ran.stderr().contains("198.18.0.2"), "{ran}");
    assert_eq!(jump.log_ins(), 1, "nobody was let in any more");
}

#[test]
fn a_user_without_sudo_gives_what_it_sees_and_names_the_rest() {
    let Some(mut doors) = Doors::new("ssh: no sudo", &[]) else { return };
    let _door = doors.open(2, "");
    let host = doors.lab.host(2);
    add_user(host);
    install(host, None);
    let report = doors.report(&["ssh://ops@198.18.0.2"]);
    assert_eq!((report["privileges"]["uid"].as_u64(), owner(&report, 22)), (Some(1234), None));
    let gaps = gaps(&report);
    assert!(gaps.contains("what only root sees on ssh://ops@198.18.0.2"), "{gaps}");
    assert!(gaps.contains("ops ALL=(root) NOPASSWD"), "{gaps}");
}

#[test]
fn a_user_with_sudo_gives_what_root_sees() {
    let Some(mut doors) = Doors::new("ssh: sudo", &["sudo"]) else { return };
    let _door = doors.open(2, "");
    let host = doors.lab.host(2);
    add_user(host);
    install(host, None);
    // This one command and no other; and then all.
    for rule in ["ops ALL=(root) NOPASSWD: /usr/local/bin/postern host -o json", "ops ALL=(ALL) NOPASSWD: ALL"] {
        allow(host, rule);
        let report = doors.report(&["ssh://ops@198.18.0.2"]);
        assert_eq!((report["privileges"]["uid"].as_u64(), owner(&report, 22)), (Some(0), Some("sshd")), "{rule}");
        assert!(!gaps(&report).contains("what only root sees"), "{report}");
    }
    let plain = doors.report(&["ssh://ops@198.18.0.2", "--agentless"]);
    assert_eq!((plain["privileges"]["uid"].as_u64(), owner(&plain, 22)), (Some(0), Some("sshd")));
}

/// The program to copy: a static one where `tests/run --all` built it, else the one under test, whose libraries the hosts
/// of the lab have.
fn copy() -> String {
    std::env::var("POSTERN_STATIC_BINARY").unwrap_or_else(|_| POSTERN.to_owned())
}

#[test]
fn a_copied_program_runs_and_is_gone_afterwards() {
    let Some(mut doors) = Doors::new("ssh: copied", &[]) else { return };
    let _door = doors.open(2, "");
    let report = doors.report(&["ssh://root@198.18.0.2", "--static-binary", &copy()]);
    assert_eq!((report["source"].as_str(), owner(&report, 22)), (Some("native"), Some("sshd")));
    assert_eq!(left_on(doors.lab.host(2)), "");

    // A static program copies itself.
    if let Ok(program) = std::env::var("POSTERN_STATIC_BINARY") {
        let ran = Ran(doors.command_of(&program, &["host", "-o", "json", "ssh://root@198.18.0.2"]).output().unwrap());
        assert_eq!((ran.code(), ran.json()["source"].as_str()), (Some(0), Some("native")), "{ran}");
        assert_eq!(left_on(doors.lab.host(2)), "");
    }

    // Where the temporary directory takes no programs, another one does.
    let host = doors.lab.host(2);
    add_user(host);
    host_sh(host, "mount -t tmpfs -o noexec,mode=1777 tmpfs /run/scratch");
    let report = doors.report(&["ssh://ops@198.18.0.2", "--static-binary", &copy()]);
    assert_eq!((report["source"].as_str(), report["privileges"]["uid"].as_u64()), (Some("native"), Some(1234)));
    assert_eq!(left_on(host), "");

    // A program for another machine is not tried, and one that does not run is told.
    let broken = doors.file("broken");
    let mut bytes = fs::read(POSTERN).unwrap();
    bytes.truncate(20_000);
    fs::write(&broken, &bytes).unwrap();
    let report = doors.report(&["ssh://root@198.18.0.2", "--static-binary", &broken.display().to_string()]);
    assert_eq!(report["source"], "agentless");
    let told = gaps(&report);
    assert!(told.contains("a copy of") && told.contains("ended with exit code"), "{told}");
    assert_eq!(left_on(host), "");
    bytes[18] = 183;
    fs::write(&broken, &bytes).unwrap();
    let report = doors.report(&["ssh://root@198.18.0.2", "--static-binary", &broken.display().to_string()]);
    assert!(gaps(&report).contains("no program to copy is for a x86_64 machine"), "{report}");
}

#[test]
fn nothing_is_left_when_the_connection_dies_in_the_middle_of_a_copy() {
    let Some(mut doors) = Doors::new("ssh: dead in the middle", &[]) else { return };
    let _door = doors.open(2, "ClientAliveInterval 1\nClientAliveCountMax 2");
    // Long enough to be met in the middle, and not to be pressed by ssh's compression.
    let big = doors.file("big");
    let mut bytes = fs::read(POSTERN).unwrap();
    let mut state = 1_u32;
    bytes.extend((0..300_000_000_u32).map(|_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    }));
    fs::write(&big, &bytes).unwrap();
    drop(bytes);
    let big = big.display().to_string();
    let host = doors.lab.host(2);
    let underway = || host_sh(host, "find /run/scratch -name postern -size +1000k").contains(".postern.");

    // The whole of this side is killed.
    let mut run = doors.command(&["-q", "host", "ssh://root@198.18.0.2", "--static-binary", &big]).spawn().unwrap();
    wait_until("the copy under way", Duration::from_secs(30), underway);
    assert_eq!(run.try_wait().unwrap(), None, "the copy was done before it could be cut");
    finish(
        std::process::Command::new("sh")
            .args(["-c", &format!("kill -KILL $(pgrep -P {0}; pgrep -P $(pgrep -P {0})); true", run.id())]),
    );
    let _ = run.kill();
    run.wait().unwrap();
    wait_until("an empty directory", Duration::from_secs(20), || left_on(host).is_empty());
    for left in fs::read_dir(doors.temporary()).unwrap() {
        // What a killed process cannot remove: ssh's configuration, which holds no secret.
        fs::remove_dir_all(left.unwrap().path()).unwrap();
    }

    // The network between them goes.
    let arguments = ["host", "ssh://root@198.18.0.2", "--ssh-timeout", "12", "--static-binary", &big];
    let run = doors.command(&arguments).stderr(std::process::Stdio::piped()).spawn().unwrap();
    wait_until("the copy under way", Duration::from_secs(30), underway);
    host.namespace.ip("link set eth0 down");
    let output = run.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("no host report of ssh://root@198.18.0.2") && message.contains("hint"), "{message}");
    wait_until("an empty directory", Duration::from_secs(30), || left_on(host).is_empty());
    assert_eq!(fs::read_dir(doors.temporary()).unwrap().count(), 0);
}

#[test]
fn plain_commands_see_sockets_routes_and_rules() {
    let Some(mut doors) = Doors::new("ssh: agentless", &["nft", "iptables-nft-save", "ip"]) else { return };
    let _door = doors.open(2, "");
    let host = doors.lab.host(2);
    host_sh(
        host,
        "nft 'add table inet lab; add chain inet lab input { type filter hook input priority 0; }; \
              add rule inet lab input tcp dport 8080 drop; add table ip off { flags dormant; }'; \
         ip route add 198.19.0.0/16 via 198.18.0.9",
    );
    let plain = doors.report(&["ssh://root@198.18.0.2", "--agentless"]);
    assert_eq!((plain["source"].as_str(), owner(&plain, 22)), (Some("agentless"), Some("sshd")));
    let network = &plain["namespaces"][0]["network"];
    let rules = network["firewall"]["nft"].to_string();
    assert!(rules.contains("\"lab\"") && rules.contains("8080"), "{network}");
    assert_eq!(network["firewall"]["nft_dormant"][0], "ip off");
    let routes = network["routes"].as_array().unwrap();
    let route = routes.iter().find(|route| route["destination"] == "198.19.0.0").unwrap();
    assert_eq!((&route["gateway"], &route["table"]), (&"198.18.0.9".into(), &254.into()));
    assert_eq!(network["sysctls"]["ipv4.ip_forward"], "0");
    assert!(gaps(&plain).contains("plain commands do not ask the engines"), "{plain}");

    // It is the same machine by any way; and without anything to copy this way is gone by itself, and says so.
    let fallback = doors.report(&["ssh://root@198.18.0.2"]);
    assert_eq!(fallback["source"], "agentless");
    assert!(gaps(&fallback).contains("this postern is no static program"), "{fallback}");
    install(host, None);
    let native = doors.report(&["ssh://root@198.18.0.2"]);
    assert_eq!(native["source"], "native");
    for key in ["id", "hostname", "addresses", "os"] {
        assert_eq!(plain[key], native[key], "{key}");
    }
    assert_eq!(plain["namespaces"][0]["inode"], native["namespaces"][0]["inode"]);
}

#[test]
fn another_program_of_that_name_and_a_newer_version_are_told_apart() {
    let Some(mut doors) = Doors::new("ssh: odd programs", &[]) else { return };
    let _door = doors.open(2, "");
    let host = doors.lab.host(2);
    install(host, Some("#!/bin/sh\necho 'postern: a mail filter'\n"));
    assert_eq!(doors.report(&["ssh://root@198.18.0.2"])["source"], "agentless");
    install(host, Some("#!/bin/sh\n[ \"$1\" = --version ] && { echo 'postern 0.0.1'; exit; }\necho '{\"schema\":'\n"));
    let report = doors.report(&["ssh://root@198.18.0.2"]);
    assert!(gaps(&report).contains("printed no report"), "{report}");
    install(
        host,
        Some(
            "#!/bin/sh\n[ \"$1\" = --version ] && { echo 'postern 9.0.0'; exit; }\n\
             echo '{\"schema\":\"postern.host/9\",\"tool\":{\"name\":\"postern\",\"version\":\"9.0.0\"}}'\n",
        ),
    );
    let ran = doors.postern(&["host", "ssh://root@198.18.0.2"]);
    assert_eq!(ran.code(), Some(1), "{ran}");
    assert!(ran.stderr().contains("postern.host/9") && ran.stderr().contains("hint"), "{ran}");
    // More than a host may send.
    install(host, Some("#!/bin/sh\n[ \"$1\" = --version ] && { echo 'postern 0.1.0'; exit; }\nexec cat /dev/zero\n"));
    let ran = doors.postern(&["host", "ssh://root@198.18.0.2"]);
    assert!(ran.stderr().contains("it sent more than 64 MB"), "{ran}");
}

#[test]
fn many_hosts_at_once_and_no_more_than_allowed() {
    let Some(mut doors) = Doors::new("ssh: parallel", &[]) else { return };
    let log = doors.file("log");
    let slow = doors.file("slow");
    fs::write(
        &slow,
        format!("echo begin >>'{0}'\nsleep 1\n'{POSTERN}' host -o json\necho end >>'{0}'\n", log.display()),
    )
    .unwrap();
    let hosts = 2..=7_u8;
    let _doors: Vec<_> =
        hosts.clone().map(|number| doors.open(number, &format!("ForceCommand sh '{}'", slow.display()))).collect();
    let reports: Vec<String> = hosts.clone().map(|number| format!("ssh://root@198.18.0.{number}")).collect();
    let mut arguments =
        vec!["audit", "198.18.0.2-7", "-p", "22", "--udp=none", "--no-probes", "--ssh-parallel", "3", "-o", "json"];
    for report in &reports {
        arguments.extend(["--host-report", report]);
    }
    let from = Instant::now();
    let ran = doors.postern(&arguments);
    let took = from.elapsed();
    let report = ran.json();
    assert_eq!(report["run"]["host_reports"].as_array().unwrap().len(), 12, "{ran}");
    let (mut now, mut most) = (0, 0);
    for line in fs::read_to_string(&log).unwrap().lines() {
        now += if line == "begin" { 1 } else { -1 };
        most = most.max(now);
    }
    assert_eq!((now, most), (0, 3), "took {took:?}");
    // Two rounds of six, three at a time, a second each.
    assert!(took >= Duration::from_secs(4), "{took:?}");
}
