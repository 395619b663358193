//! `postern scan`: every service told by what it answers, not by its port, and whether it asks for authentication.

use crate::case::Case;

/// Runs a case: the report must agree with every expectation, and the planted secret must be in no output.
fn check(name: &str) {
    let case = Case::load(name);
    let secret = format!("planted{}{}", std::process::id(), name.len());
    let Some(lab) = case.lab(name, &secret) else { return };
    let outcome = case.run(&lab, &[]);
    outcome.assert_silent_about(&secret);
}

#[test]
fn etcd() {
    check("etcd.toml");
}

#[test]
fn docker() {
    check("docker.toml");
}

#[test]
fn kubernetes() {
    check("kubernetes.toml");
}

#[test]
fn lan_services() {
    check("lan.toml");
}

#[test]
fn look_alikes_and_odd_peers() {
    check("odd.toml");
}
