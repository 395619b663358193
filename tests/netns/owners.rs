//! `postern explain` beside each of the tools that keep rules: real dockerd with a published port, under nft's own rules,
//! ufw, firewalld and legacy iptables; and the lines it proposes, which do close what they are about.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::servers::{DockerGuard, Server};
use crate::support::{Background, Host, Lab, finish};

/// Everything but answers, loopback and ssh.
const GUARD: &str = "table inet guard {\n chain in {\n  type filter hook input priority filter; policy drop;\n  \
                     ct state established,related accept\n  iifname lo accept\n  tcp dport 22 accept\n }\n}\n";

/// A bus of the host's own, where all its programs look for one.
const BUS: &str = "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\" \
                   \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n<busconfig><type>system</type>\
                   <listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth><policy context=\"default\">\
                   <allow user=\"*\"/><allow own=\"*\"/><allow send_destination=\"*\"/><allow receive_sender=\"*\"/>\
                   <allow send_requested_reply=\"true\"/><allow receive_requested_reply=\"true\"/></policy></busconfig>\n";

/// A host whose rules one tool keeps, and what is said of the two ports there.
struct Case {
    number: u8,
    tool: &'static str,
    /// What stops 2375, and would stop 8080.
    refusal: &'static str,
    stopped_by: &'static str,
}

const CASES: [Case; 4] = [
    Case { number: 100, tool: "nft", refusal: "drop", stopped_by: "inet guard in: policy drop" },
    Case { number: 101, tool: "ufw", refusal: "drop", stopped_by: "ip filter INPUT: policy drop" },
    Case { number: 102, tool: "firewalld", refusal: "reject", stopped_by: "reject with icmpx admin-prohibited" },
    Case { number: 103, tool: "iptables-legacy", refusal: "drop", stopped_by: "ip filter (legacy) INPUT: policy drop" },
];

#[test]
fn the_path_is_explained_and_closed_under_each_tool() {
    let docker = Server::Docker {
        port: 2375,
        guard: DockerGuard::None,
        publish: Some(8080),
        privileged: None,
        without_proxy: false,
    };
    for case in &CASES {
        let what = format!("explain under {}", case.tool);
        let mut programs = docker.programs().to_vec();
        programs.extend(["nft", "iptables-legacy", case.tool]);
        if case.tool == "firewalld" {
            programs.extend(["dbus-daemon", "firewall-cmd"]);
        }
        let Some(mut lab) = Lab::new(&what, &programs) else { continue };
        lab.add_host(case.number);
        // Before the engine, as they come up on a real host.
        match case.tool {
            "nft" => lab.host(case.number).nft(GUARD),
            "ufw" => ufw(lab.host(case.number)),
            "firewalld" => {
                for server in firewalld(lab.host(case.number)) {
                    lab.keep(Box::new(server));
                }
            }
            _ => legacy(lab.host(case.number)),
        }
        docker.start(&mut lab, case.number, "unused");
        if case.tool == "firewalld" {
            // The engine has firewalld reload, which forgets what is not permanent.
            shell(lab.host(case.number), "firewall-cmd --zone=public --change-interface=eth0");
        }
        explained(&lab, case);
        closed(&lab, case);
    }
}

fn explained(lab: &Lab, case: &Case) {
    let tool = case.tool;
    let report = lab.host(case.number).native_report().display().to_string();
    let (table, answer) = ask(lab, &report, case, 8080);
    assert_eq!((&answer["intent"], &answer["path"]), (&case.refusal.into(), &"accept".into()), "{tool}: {answer}");
    assert_eq!(answer["delivered"]["namespace"], "container:web", "{tool}: {answer}");
    assert_eq!(answer["delivered"]["port"], 80, "{tool}: {answer}");
    // Both rules that let it in, with their chains.
    for step in [("prerouting", "ip nat", "DOCKER", "DNAT"), ("forward", "ip filter", "DOCKER", "ACCEPT")] {
        let (hook, place, chain, word) = step;
        let found = answer["trace"].as_array().unwrap().iter().any(|found| {
            found["hook"] == hook
                && found["table"] == place
                && found["chain"] == chain
                && found["rule"].as_str().unwrap().contains(word)
        });
        assert!(found, "{tool}: no {step:?} in {answer}");
    }
    assert!(table.contains("The firewall misses this packet"), "{tool}:\n{table}");
    let (table, answer) = ask(lab, &report, case, 2375);
    let refused = Value::from(case.refusal);
    assert_eq!((&answer["intent"], &answer["path"]), (&refused, &refused), "{tool}: {answer}");
    assert!(table.contains(case.stopped_by), "{tool}: nothing of `{}`:\n{table}", case.stopped_by);
}

/// `postern explain` in the scanner's namespace, on the saved report: what it prints, and its answer.
fn ask(lab: &Lab, report: &str, case: &Case, port: u16) -> (String, Value) {
    let file = lab.directory().join("explain.json");
    let (output, to) = (format!("json={}", file.display()), format!("198.18.0.{}:{port}/tcp", case.number));
    let arguments = ["explain", report, "--to", &to, "--from", "198.18.0.1", "-o", "table", "-o", &output];
    let outcome = lab.postern(&arguments).run();
    assert_eq!(outcome.code, 0, "{}", outcome.shown());
    (outcome.stdout, serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap())
}

/// Each proposed line closes the port by itself, and 2375 was closed all along.
fn closed(lab: &Lab, case: &Case) {
    let (tool, host) = (case.tool, lab.host(case.number));
    let report = lab.host(case.number).native_report().display().to_string();
    let (_, answer) = ask(lab, &report, case, 8080);
    let lines: Vec<&str> = answer["fix"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let line =
        |word: &str| *lines.iter().find(|line| line.contains(word)).unwrap_or_else(|| panic!("{tool}: {lines:?}"));
    assert!(is_open(lab, case, 8080) && !is_open(lab, case, 2375), "{tool}");

    let docker_user = command(line("DOCKER-USER"), 0);
    shell(host, &docker_user);
    assert!(!is_open(lab, case, 8080), "{tool}: open after {docker_user}");
    let (_, answer) = ask(lab, &lab.host(case.number).native_report().display().to_string(), case, 8080);
    assert_eq!(answer["path"], "drop", "{tool}: {answer}");
    shell(host, &docker_user.replace("-I DOCKER-USER", "-D DOCKER-USER"));
    assert!(is_open(lab, case, 8080), "{tool}: closed after the line was taken back");

    match tool {
        "firewalld" => {
            assert!(lines.iter().any(|line| line.contains("StrictForwardPorts=yes")), "{lines:?}");
            let direct = line("--direct");
            shell(host, &command(direct, 0));
            shell(host, &command(direct, 1));
        }
        "ufw" => {
            let before = line("/etc/ufw/before.rules");
            let added: Vec<String> = (0..4).map(|at| command(before, at)).collect();
            shell(host, &format!("printf '%s\\n' {} >>/etc/ufw/before.rules", quoted(&added)));
            shell(host, &command(before, 4));
        }
        _ => shell(host, &command(line("-t raw -I PREROUTING"), 0)),
    }
    assert!(!is_open(lab, case, 8080), "{tool}: open after {lines:?}");
    let (_, answer) = ask(lab, &lab.host(case.number).native_report().display().to_string(), case, 8080);
    assert_eq!(answer["path"], "drop", "{tool}: {answer}");
}

/// What stands between the n-th pair of backticks.
fn command(line: &str, at: usize) -> String {
    line.split('`').nth(2 * at + 1).unwrap_or_else(|| panic!("no command {at} in {line:?}")).to_owned()
}

fn quoted(words: &[String]) -> String {
    words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ")
}

fn is_open(lab: &Lab, case: &Case, port: u16) -> bool {
    let peer = SocketAddr::from((lab.host(case.number).address(), port));
    lab.scanner().inside(|| TcpStream::connect_timeout(&peer, Duration::from_millis(1_500)).is_ok())
}

fn shell(host: &Host, command: &str) {
    finish(host.command("sh").arg("-c").arg(command));
}

fn legacy(host: &Host) {
    for rule in
        ["-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT", "-A INPUT -i lo -j ACCEPT", "-P INPUT DROP"]
    {
        shell(host, &format!("iptables-legacy -w 5 {rule}"));
    }
}

/// ufw keeps its state in /etc: here in files of the host's own.
fn ufw(host: &Host) {
    let (files, defaults) = (host.directory.join("ufw"), host.directory.join("default-ufw"));
    let (files, defaults) = (files.display(), defaults.display());
    shell(
        host,
        &format!(
            "mkdir -p {files}/applications.d && cp -L /usr/share/ufw/iptables/*.rules /usr/share/ufw/ufw.conf \
             /etc/ufw/sysctl.conf {files}/ && cp /etc/default/ufw {defaults} && mount --bind {files} /etc/ufw && mount \
             --bind {defaults} /etc/default/ufw && ufw allow 22/tcp && ufw --force enable"
        ),
    );
}

fn firewalld(host: &Host) -> [Background; 2] {
    let (bus, settings) = (host.directory.join("bus.conf"), host.directory.join("firewalld"));
    fs::write(&bus, BUS).unwrap();
    fs::create_dir(&settings).unwrap();
    shell(host, "mkdir -p /run/dbus");
    let mut command = host.command("dbus-daemon");
    command.arg(format!("--config-file={}", bus.display())).args(["--nofork", "--nopidfile"]);
    let mut daemon = Background::start("dbus", &host.directory, &mut command);
    daemon.wait_until("bus", |_| {
        host.command("test").args(["-S", "/run/dbus/system_bus_socket"]).status().is_ok_and(|status| status.success())
    });
    let mut command = host.command("firewalld");
    command.args(["--nofork", "--nopid", "--log-target=console", "--system-config"]).arg(&settings);
    let mut firewalld = Background::start("firewalld", &host.directory, &mut command);
    firewalld.wait_until("answer", |_| {
        host.command("firewall-cmd").arg("--state").output().is_ok_and(|output| output.status.success())
    });
    // The last one is dropped first: firewalld says goodbye on the bus.
    [firewalld, daemon]
}
