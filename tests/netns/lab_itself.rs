//! The lab checked without the program: what the servers answer to the usual tools, so that a failing case is the
//! program's failure and not the lab's. Also that everything is gone when a lab ends.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::case::Case;
use crate::support::{Lab, finish};

/// Each row: case, command in the scanner's namespace, words that must stand in its output.
const ANSWERS: &[(&str, &str, &str)] = &[
    ("etcd.toml", "curl -s http://198.18.0.10:2379/version", "\"etcdserver\":\"3."),
    ("etcd.toml", "curl -sg http://[2001:db8::a]:2379/version", "\"etcdserver\":\"3."),
    (
        "etcd.toml",
        "curl -s -d {\"key\":\"AA==\",\"range_end\":\"AA==\"} http://198.18.0.10:2379/v3/kv/range",
        "SECRET64",
    ),
    ("etcd.toml", "curl -s -d {\"key\":\"AA==\"} http://198.18.0.11:2379/v3/kv/range", "user name is empty"),
    ("etcd.toml", "curl -s -w %{http_code} -d {} http://198.18.0.13:2379/v3/kv/range", "404"),
    ("etcd.toml", "curl -sk --tls-max 1.2 -w %{errormsg} https://198.18.0.12:2379/version", "alert"),
    ("docker.toml", "curl -s http://198.18.0.20:2375/containers/json", "\"/web\""),
    ("docker.toml", "curl -s http://198.18.0.20:2375/containers/web/json", "SECRET"),
    ("docker.toml", "curl -s http://198.18.0.20:8080/", "lab"),
    ("docker.toml", "curl -sk https://198.18.0.21:2376/containers/json", "[]"),
    ("docker.toml", "curl -sk --tls-max 1.2 -w %{errormsg} https://198.18.0.22:2376/containers/json", "alert"),
    ("kubernetes.toml", "curl -sk https://198.18.0.30:10250/pods", "SECRET"),
    ("kubernetes.toml", "curl -s http://198.18.0.30:10250/pods", "Client sent an HTTP request to an HTTPS server."),
    ("kubernetes.toml", "curl -s http://198.18.0.30:10255/pods", "\"kind\":\"PodList\""),
    ("kubernetes.toml", "curl -sk https://198.18.0.31:10250/pods", "Unauthorized"),
    ("kubernetes.toml", "curl -sk https://198.18.0.32:6443/version", "v1.36."),
    ("kubernetes.toml", "curl -sk https://198.18.0.33:10257/metrics", "system:anonymous"),
    ("lan.toml", "rpcinfo -p 198.18.0.40", "100000"),
    ("lan.toml", "curl -s http://198.18.0.42:9090/api/v1/status/config", "SECRET"),
    ("lan.toml", "curl -s http://198.18.0.43:9090/-/healthy", "Unauthorized"),
    ("lan.toml", "ssh-keyscan -p 2222 198.18.0.40", "ssh-ed25519"),
    ("odd.toml", "curl -s http://198.18.0.50:2375/", "not found"),
];

fn check(name: &str) {
    let case = Case::load(name);
    let secret = "planted-word-of-the-lab";
    let Some(lab) = case.lab(&format!("the lab of {name}"), secret) else { return };
    for (_, command, wanted) in ANSWERS.iter().filter(|(case, ..)| *case == name) {
        let mut words = command.split(' ');
        let output = lab.scanner().command(words.next().unwrap()).args(words).output().unwrap();
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        let wanted = match *wanted {
            "SECRET" => secret,
            "SECRET64" => "cGxhbnRlZC13b3JkLW9mLXRoZS1sYWI",
            other => other,
        };
        assert!(output.contains(wanted), "{command}: no `{wanted}` in {output:?}");
    }
}

#[test]
fn etcd_answers() {
    check("etcd.toml");
}

#[test]
fn docker_answers() {
    check("docker.toml");
}

#[test]
fn kubernetes_answers() {
    check("kubernetes.toml");
}

#[test]
fn lan_services_answer() {
    check("lan.toml");
}

#[test]
fn odd_peers_answer() {
    check("odd.toml");
}

#[test]
fn nothing_is_left_of_a_lab() {
    let Some(mut lab) = Lab::new("the end of a lab", &[]) else { return };
    lab.add_host(90);
    let (scanner, host) = (lab.scanner().path(), lab.host(90).namespace.path());
    let directory = lab.directory().to_owned();
    // A reset is an answer: the scanner reaches the host.
    let peer = SocketAddr::from((lab.host(90).address(), 9));
    let refused = lab.scanner().inside(|| TcpStream::connect_timeout(&peer, Duration::from_secs(5)).unwrap_err());
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(scanner.exists() && host.exists() && directory.exists());
    drop(lab);
    assert!(!scanner.exists() && !host.exists() && !directory.exists());
}

#[test]
fn a_lab_has_no_way_out() {
    let Some(lab) = Lab::new("a lab without a way out", &[]) else { return };
    let routes = finish(lab.scanner().command("ip").args(["-o", "route", "show", "table", "all"]));
    assert!(!routes.contains("default"), "{routes}");
    let links = finish(lab.scanner().command("ip").args(["-o", "link"]));
    assert_eq!(links.lines().count(), 2, "only lo and the bridge: {links}");
    // The namespace is another one than ours.
    let ours = fs::read_link("/proc/self/ns/net").unwrap();
    let theirs = lab.scanner().inside(|| fs::read_link(Path::new("/proc/thread-self/ns/net")).unwrap());
    assert_ne!(ours, theirs);
    assert!(Command::new("ip").args(["netns", "pids", lab.scanner().name()]).output().unwrap().stdout.is_empty());
}
