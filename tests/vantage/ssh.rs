//! From another machine, by its own postern, over a real sshd.

use serde_json::json;

use crate::door::{Doors, gaps, install};
use crate::view::{entry, seen, serve};

#[test]
fn another_machine_sees_what_it_is_let_to() {
    let Some(mut doors) = Doors::new("vantage over ssh", &["nft", "busybox"]) else { return };
    let door = doors.open(50, "");
    install(doors.lab.host(50), None);
    doors.lab.add_host(51);
    serve(&mut doors.lab, 51, "0.0.0.0", 7000);
    serve(&mut doors.lab, 51, "0.0.0.0", 7001);
    doors.lab.host(51).nft(
        "table inet guard {\n chain in {\n  type filter hook input priority filter;\n  tcp dport 7000 ip saddr != \
         198.18.0.50 drop\n }\n}\n",
    );
    let there = "ssh://root@198.18.0.50";
    let scan = ["scan", "198.18.0.51", "-p", "7000-7002", "-o", "json"];
    let ran = doors.postern(&[&scan[..], &["--vantage", there, "--vantage", "br0"]].concat());
    assert_eq!(ran.code(), Some(0), "{ran}");
    assert_eq!(door.log_ins(), 1, "{ran}");
    let report = ran.json();
    let service = entry(&report, "198.18.0.51", 7000, None);
    assert_eq!((seen(service, there).0, seen(service, "br0").0), ("open", "filtered"), "{ran}");
    assert_eq!(seen(entry(&report, "198.18.0.51", 7001, None), there).0, "open", "{ran}");
    let vantage = &report["run"]["vantages"][0];
    assert_eq!((vantage["kind"].as_str(), &vantage["source"]), (Some("ssh"), &json!(["198.18.0.50"])), "{ran}");

    // One place that cannot be had does not take the other with it; the run is incomplete.
    let ran = doors.postern(&[&scan[..], &["--vantage", "br0", "--vantage", "ssh://root@198.18.0.51"]].concat());
    assert_eq!(ran.code(), Some(4), "{ran}");
    assert!(gaps(&ran.json()).contains("the view from ssh://root@198.18.0.51"), "{ran}");
    // Where there is nothing to run, it is said what would be.
    crate::door::host_sh(doors.lab.host(50), "umount --recursive /usr/local/bin");
    let ran = doors.postern(&[&scan[..], &["--vantage", there]].concat());
    assert_eq!(ran.code(), Some(1), "{ran}");
    assert!(ran.stderr().contains("static"), "{ran}");
}
