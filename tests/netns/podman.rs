//! Podman's published ports: with root they get by INPUT as Docker's do, without root INPUT rules over them.

use std::time::Duration;

use crate::case::Case;
use crate::servers::busybox_root;
use crate::support::{LIMITS, Podman, RootlessPodman, wait_until};

const HTTPD: [&str; 7] = ["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/www"];

#[test]
fn podman_with_and_without_root() {
    let case = Case::load("podman.toml");
    let Some(lab) = case.lab("podman.toml", "unused") else { return };
    let (host, own) = (lab.host(40), lab.host(41));

    let engine = Podman::new(host);
    engine.run(&["import", &busybox_root(&host.directory), "lab/web"]);
    let web = ["run", "-d", "--name", "web", "-p", "8080:80", "--ip", "10.88.0.10"];
    engine.run(&[&web[..], &LIMITS, &["lab/web"], &HTTPD].concat());
    host.nft(
        "table inet guard {\n chain in {\n  type filter hook input priority filter; policy drop;\n  ct state \
         established,related accept\n  iifname lo accept\n  tcp dport 22 accept\n }\n}\n",
    );

    let rootless = RootlessPodman::new(own, &busybox_root(&own.directory));
    let says = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    let imported = rootless.run(&["import", RootlessPodman::IMAGE, "lab/web"]);
    let web = ["run", "-d", "--cgroups=disabled", "--name", "web", "-p", "8080:80", "-p", "8081:80"];
    let started = rootless.run(&[&web[..], &LIMITS, &["localhost/lab/web"], &HTTPD].concat());
    let runs = imported.status.success() && started.status.success();
    if runs {
        wait_until("rootlessport", Duration::from_secs(20), || own.listens("tcp", 8080) && own.listens("tcp", 8081));
    } else {
        println!("SKIPPED: verdicts on rootless podman: it does not run here: {} {}", says(&imported), says(&started));
    }
    own.nft(
        "table inet guard {\n chain in {\n  type filter hook input priority filter;\n  tcp dport 8081 drop\n }\n}\n",
    );

    let reports = [40, 41].map(|number| lab.host(number).native_report().display().to_string());
    let outcome = lab.postern(&case.arguments_with(&reports)).all_formats(lab.directory()).run();
    let mut differences = case.differences(&outcome.report());
    if !runs {
        // Each difference is a line with its endpoint in front, and the entry below.
        differences.retain(|line| line.contains("198.18.0.40:"));
    }
    assert!(differences.is_empty(), "{}\n{}", differences.join("\n"), outcome.shown());
    assert_eq!(outcome.code, case.exit_code, "{}", outcome.shown());

    engine.run(&["rm", "-t", "0", "-fa"]);
    rootless.run(&["rm", "-t", "0", "-fa"]);
}
