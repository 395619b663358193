//! Listings of the real tools beside the own report of the same host, through a real sweep.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::plain::{machine, python};
use crate::support::{Host, finish, wait_until};
use crate::view::View;

const SOCKETS: &str = "
import socket, time
def listen(family, address, port, v6only=None, device=None):
    one = socket.socket(family)
    if v6only is not None:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    if device:
        one.setsockopt(socket.SOL_SOCKET, 25, device)
    one.bind((address, port))
    one.listen(8)
    return one
kept = [
    listen(socket.AF_INET, '0.0.0.0', 7001),
    listen(socket.AF_INET6, '::', 7002, v6only=1),
    listen(socket.AF_INET6, '::', 7003, v6only=0),
    listen(socket.AF_INET, '0.0.0.0', 7004, device=b'eth0'),
]
print('ready')
time.sleep(300)
";
const LATE: &str = "
import socket, time
late = socket.socket()
late.bind(('0.0.0.0', 7006))
late.listen(8)
print('ready')
time.sleep(300)
";

fn save(host: &Host, name: &str, text: &str) -> PathBuf {
    let file = host.directory.join(name);
    fs::write(&file, text).unwrap();
    file
}

fn listing(host: &Host, program: &str, arguments: &[&str]) -> PathBuf {
    let text = finish(host.command(program).args(arguments));
    save(host, &format!("{program}.txt"), &text)
}

fn entry(report: &Value, port: u16) -> &Value {
    let entries = report["hosts"].as_array().unwrap().iter().flat_map(|host| host["endpoints"].as_array().unwrap());
    let found = entries.clone().find(|one| one["port"] == port && one["address"] == "198.18.0.10");
    found.unwrap_or_else(|| panic!("no {port} in {:#}", report["hosts"]))
}

#[test]
fn listings_beside_the_hosts_own_report() {
    let Some((lab, number)) = machine("listings", &["python3", "ss", "netstat", "lsof"]) else { return };
    let host = lab.host(number);
    let _sockets = python(host, "sockets", &[], SOCKETS, &[]);
    let native = save(host, "native.json", &View::by_root(host).0.to_string());
    let ordinary = save(host, "ordinary.json", &View::by_nobody(host).0.to_string());
    let _late = python(host, "late", &[], LATE, &[]);
    wait_until("the late one", std::time::Duration::from_secs(10), || host.listens("tcp", 7006));
    let listings = [
        listing(host, "ss", &["-tulpn"]),
        listing(host, "netstat", &["-tulpn"]),
        listing(host, "lsof", &["-i", "-P", "-n"]),
    ];
    let audit = |reports: &[String]| {
        let mut arguments = vec!["audit", "198.18.0.10", "-p", "7001-7006", "--udp=none", "--no-probes"];
        reports.iter().for_each(|report| arguments.extend(["--host-report", report]));
        let outcome = lab.postern(&arguments).all_formats(lab.directory()).run();
        (outcome.report(), outcome.shown())
    };
    let mut reports: Vec<String> = listings.iter().map(|file| format!("198.18.0.10={}", file.display())).collect();
    reports.push(native.display().to_string());
    let (report, shown) = audit(&reports);

    assert_eq!(report["hosts"].as_array().unwrap().len(), 1, "{shown}");
    let also = |report: &Value, port| entry(report, port)["also"].to_string();
    for (port, v6only) in [(7001, Value::Null), (7003, false.into()), (7004, Value::Null)] {
        let one = entry(&report, port);
        assert_eq!(one["verdict"], "exposed", "{one:#}");
        assert_eq!((&one["listener"]["v6only"], &one["listener"]["process"]), (&v6only, &"python3".into()), "{one:#}");
        let also = one["also"].to_string();
        assert!(!also.contains("listing") && !also.contains("may take") && !also.contains("Also"), "{also}");
    }
    assert_eq!(entry(&report, 7004)["listener"]["device"], "eth0");
    // Its socket takes IPv6 only; what netstat and lsof do not show of it makes nothing uncertain.
    let closed = report["hosts"][0]["other_ports"].to_string();
    assert!(closed.contains("7002"), "{closed}");
    // Only the listings have it.
    let late = entry(&report, 7006);
    assert_eq!((&late["verdict"], &late["listener"]["process"]), (&"exposed".into(), &"python3".into()), "{late:#}");
    assert!(also(&report, 7006).contains("0.0.0.0:7006/tcp is in the ss listing and not in the machine's own report"));
    let gaps = report["run"]["gaps"].as_array().unwrap();
    let about = |words: &str| gaps.iter().any(|gap| gap["what"].as_str().unwrap().contains(words));
    assert!(about("that only its ss listing shows: 0.0.0.0:7006/tcp"), "{gaps:#?}");
    for settled in ["take IPv4 too", "SO_BINDTODEVICE", "other network namespaces", "own addresses"] {
        assert!(!about(settled), "the own report settles {settled}: {gaps:#?}");
    }

    // An ordinary user's report beside the listing of root: what both know.
    let reports = [ordinary.display().to_string(), format!("198.18.0.10={}", listings[1].display())];
    let (report, shown) = audit(&reports);
    let one = entry(&report, 7003);
    assert_eq!(
        (&one["listener"]["v6only"], &one["listener"]["process"]),
        (&false.into(), &"python3".into()),
        "{one:#}"
    );
    let gaps = report["run"]["gaps"].as_array().unwrap();
    let about = |words: &str| gaps.iter().any(|gap| gap["what"].as_str().unwrap().contains(words));
    assert!(!about("take IPv4 too") && about("other network namespaces"), "{shown}\n{gaps:#?}");

    // Without any own report they are gaps.
    let (report, _) = audit(&[format!("198.18.0.10={}", listings[1].display())]);
    let gaps = report["run"]["gaps"].as_array().unwrap();
    let about = |words: &str| gaps.iter().any(|gap| gap["what"].as_str().unwrap().contains(words));
    assert!(about("whether the IPv6 sockets on port 7002, 7003 take IPv4 too"), "{gaps:#?}");
    assert!(about("other network namespaces"), "{gaps:#?}");
    assert!(also(&report, 7003).contains("does not tell whether this [::] socket takes IPv4"));
}
