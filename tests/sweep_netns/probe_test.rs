//! `postern probes test`: a port that takes no connection is told from one that answers, and how.

use serde_json::Value;

use crate::lab::{Lab, OnAccept};

#[test]
fn closed_silent_rejected_and_open_are_told_apart() {
    let Some(lab) = Lab::new("probes test") else { return };
    let listener = lab.listen(&[2379, 9100], OnAccept::Reset);
    lab.nft(
        "table inet t {
            chain i { type filter hook input priority 0;
                tcp dport 101 drop; udp dport 101 drop;
                tcp dport 102 reject with icmpx admin-prohibited; }
        }",
    );
    for (name, endpoint, code, state, reason) in [
        ("etcd", "198.18.0.2:2379", 0, "open", "accepted-then-reset"),
        ("etcd", "[2001:db8::2]:2379", 0, "open", "accepted-then-reset"),
        ("etcd", "198.18.0.2:2380", 4, "closed", "refused"),
        ("etcd", "198.18.0.2:101", 4, "filtered", "no-answer"),
        ("rpcbind", "198.18.0.2:101/udp", 4, "open|filtered", "no-answer"),
        ("rpcbind", "198.18.0.2:103/udp", 4, "closed", "icmp-port-unreachable"),
        ("etcd", "198.18.9.9:2379", 4, "unknown", "not-swept"),
    ] {
        let (got, tested) = test(&lab, &[name, endpoint]);
        assert_eq!((got, &tested["state"], &tested["reason"]), (code, &state.into(), &reason.into()), "{tested:#}");
        assert_eq!(tested["service"].is_object(), code == 0, "{tested:#}");
    }
    let (code, rejected) = test(&lab, &["etcd", "198.18.0.2:102", "--probe-fragile"]);
    assert_eq!((code, &rejected["reason"]), (4, &"icmp-admin-prohibited".into()), "{rejected:#}");
    assert_eq!(rejected["offender"], "198.18.0.2");

    // A printer would print what it is asked.
    let refused = lab.postern(&["probes", "test", "etcd", "198.18.0.2:9100"]).output().unwrap();
    let says = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(2) && says.contains("--probe-fragile"), "{says}");
    let (code, asked) = test(&lab, &["etcd", "198.18.0.2:9100", "--probe-fragile"]);
    assert_eq!((code, &asked["state"]), (0, &"open".into()), "{asked:#}");

    // By a definition of one's own.
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy("probes/etcd.toml", directory.path().join("house.toml")).unwrap();
    let probes = directory.path().display().to_string();
    let (code, asked) = test(&lab, &["house", "198.18.0.2:2379", "--probes", &probes]);
    assert_eq!((code, &asked["state"]), (0, &"open".into()), "{asked:#}");
    drop(listener);
}

fn test(lab: &Lab, args: &[&str]) -> (i32, Value) {
    let output = lab.postern(&["probes", "test"]).args(args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let tested = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {errors}"));
    (output.status.code().unwrap_or(-1), tested)
}
