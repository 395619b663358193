//! Places that need no engine: other namespaces, chosen interfaces, the loopback that route_localnet opens; and the same
//! matrix offline.

use std::fs;

use crate::support::{Lab, Namespace};
use crate::view::{entry, finding, seen, serve};

#[test]
fn from_a_namespace_by_name_and_by_process() {
    let Some(mut lab) = Lab::new("namespace vantage", &["nft", "busybox"]) else { return };
    lab.add_host(30);
    serve(&mut lab, 30, "0.0.0.0", 7000);
    // A second network to the same host, by which alone 7000 is open.
    let inner = Namespace::new("inner");
    let host = lab.host(30);
    host.namespace.ip(&format!("link add side type veth peer name eth0 netns {}", inner.name()));
    host.namespace.ip("addr add 198.18.8.1/24 dev side");
    host.namespace.ip("link set side up");
    inner.ip("addr add 198.18.8.2/24 dev eth0");
    inner.ip("link set eth0 up");
    inner.ip("route add default via 198.18.8.1");
    host.nft("table inet guard {\n chain in {\n  type filter hook input priority filter;\n  iifname eth0 tcp dport 7000 drop\n \
         }\n}\n",
    );
    let report = lab.host(30).native_report().display().to_string();
    let name = format!("netns:{}", inner.name());
    let places = ["--vantage", &name, "--vantage", "br0"];
    let arguments = ["audit", "198.18.0.30", "-p", "7000,7001", "--udp=none", "--host-report", &report];
    let outcome = lab.postern(&[&arguments[..], &places].concat()).all_formats(lab.directory()).run();
    let report_of_all = outcome.report();
    let service = entry(&report_of_all, "198.18.0.30", 7000, None);
    assert_eq!(seen(service, &name), ("open", "exposed"), "{}", outcome.shown());
    assert_eq!(seen(service, "br0"), ("filtered", "guarded"), "{}", outcome.shown());
    finding(&report_of_all, "vantage-gap", "198.18.0.30:7000/tcp");
    let source = &report_of_all["run"]["vantages"][0]["source"];
    assert_eq!(source, &serde_json::json!(["198.18.8.2"]));
    // Folded ports tell by whom.
    let groups = report_of_all["hosts"][0]["other_ports"].as_array().unwrap();
    let closed = groups.iter().find(|group| group["ports"] == "7001").unwrap();
    assert_eq!(closed["seen_from"], serde_json::json!([name, "br0"]));

    // The same offline, from the saved report.
    let saved = lab.directory().join("saved.json");
    fs::write(&saved, report_of_all.to_string()).unwrap();
    let saved = saved.display().to_string();
    let offline =
        lab.postern(&["correlate", "--scan", &saved, "--host-report", &report]).all_formats(lab.directory()).run();
    let offline_report = offline.report();
    assert_eq!(offline_report["hosts"], report_of_all["hosts"], "{}", offline.shown());
    assert_eq!(offline_report["findings"], report_of_all["findings"], "{}", offline.shown());
    assert_eq!(offline_report["run"]["vantages"], report_of_all["run"]["vantages"]);

    // By the id of a process in it.
    let sleeper = inner.command("sleep").arg("60").spawn();
    let mut sleeper = sleeper.unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let by_process = format!("netns:{}", sleeper.id());
    let arguments = ["scan", "198.18.0.30", "-p", "7000", "--vantage", &by_process, "-o", "json"];
    let outcome = lab.postern(&arguments).run();
    let _ = sleeper.kill();
    let _ = sleeper.wait();
    let report = outcome.report();
    assert_eq!(entry(&report, "198.18.0.30", 7000, None)["seen_from"][0], by_process, "{}", outcome.shown());
    assert_eq!(entry(&report, "198.18.0.30", 7000, None)["state"], "open", "{}", outcome.shown());
}

#[test]
fn a_chosen_interface_is_used_whatever_the_route() {
    let Some(mut lab) = Lab::new("interface vantage", &["nft", "busybox"]) else { return };
    lab.add_host(31);
    serve(&mut lab, 31, "0.0.0.0", 7000);
    let host = lab.host(31);
    lab.scanner().ip(&format!("link add alt0 type veth peer name eth1 netns {}", host.namespace.name()));
    lab.scanner().ip("addr add 198.18.9.1/24 dev alt0");
    lab.scanner().ip("link set alt0 up");
    host.namespace.ip("addr add 198.18.9.31/24 dev eth1");
    host.namespace.ip("link set eth1 up");
    host.nft("table inet guard {\n chain in {\n  type filter hook input priority filter;\n  iifname eth0 tcp dport 7000 drop\n \
         }\n}\n",
    );
    let arguments = ["scan", "198.18.0.31", "-p", "7000", "--vantage", "alt0", "--vantage", "br0"];
    let outcome = lab.postern(&arguments).all_formats(lab.directory()).run();
    let report = outcome.report();
    let service = entry(&report, "198.18.0.31", 7000, None);
    assert_eq!((seen(service, "alt0").0, seen(service, "br0").0), ("open", "filtered"), "{}", outcome.shown());
    // The probe went the same way: it had an answer.
    assert!(service["service"]["evidence"].as_array().is_some_and(|evidence| !evidence.is_empty()), "{service:#}");
    let none = lab.postern(&["scan", "198.18.0.31", "-p", "7000", "--vantage", "nowhere0"]).run();
    assert_eq!(none.code, 2, "{}", none.shown());
    assert!(none.stderr.contains("--vantage nowhere0: no interface here"), "{}", none.shown());
    assert!(none.stderr.contains("hint: there are alt0, br0"), "{}", none.shown());
    let none = lab.postern(&["scan", "198.18.0.31", "-p", "7000", "--vantage", "netns:nowhere"]).run();
    assert_eq!(none.code, 2, "{}", none.shown());
    assert!(none.stderr.contains(lab.scanner().name()), "{}", none.shown());
    // Beside one that is there it is a gap.
    let one = lab.postern(&["scan", "198.18.0.31", "-p", "7001", "--vantage", "nowhere0", "--vantage", "br0"]).run();
    assert_eq!(one.code, 4, "{}", one.shown());
    assert!(one.stdout.contains("the view from nowhere0"), "{}", one.shown());
}

#[test]
fn loopback_behind_route_localnet() {
    let Some(mut lab) = Lab::new("route_localnet", &["busybox"]) else { return };
    for number in [40, 41] {
        lab.add_host(number);
        serve(&mut lab, number, "127.0.0.1", 7100);
    }
    lab.host(40).namespace.sysctl("net.ipv4.conf.eth0.route_localnet", "1");
    let reports = [40, 41].map(|number| lab.host(number).native_report().display().to_string());
    let mut arguments = vec!["audit", "198.18.0.40-41", "-p", "7100", "--udp=none"];
    for report in &reports {
        arguments.extend(["--host-report", report]);
    }
    let outcome = lab.postern(&arguments).all_formats(lab.directory()).run();
    let report = outcome.report();
    let open = entry(&report, "127.0.0.1", 7100, Some("198.18.0.40"));
    assert_eq!((open["state"].as_str(), open["verdict"].as_str()), (Some("open"), Some("leaked-local")), "{open:#}");
    assert_eq!(open["listener"]["process"], "busybox", "{open:#}");
    let leak = finding(&report, "leaked-local", "127.0.0.1:7100/tcp");
    assert!(leak["triage"]["firewall"].to_string().contains("net.ipv4.conf.eth0.route_localnet=0"), "{leak:#}");
    assert_eq!(leak["via"], "198.18.0.40", "{leak:#}");
    let bind = leak["triage"]["bind"].as_str().unwrap();
    assert!(bind.contains("bound to loopback only already"), "{leak:#}");
    // At the host's own address it is closed, and the note is there where loopback is open.
    for (address, open_behind) in [("198.18.0.40", true), ("198.18.0.41", false)] {
        let outside = entry(&report, address, 7100, None);
        let (state, verdict) = (outside["state"].as_str(), outside["verdict"].as_str());
        assert_eq!((state, verdict), (Some("closed"), Some("local-only")), "{outside:#}");
        let says = outside["also"].to_string();
        assert_eq!(says.contains("its loopback is open"), open_behind, "{outside:#}");
    }
    let shut = entry(&report, "127.0.0.1", 7100, Some("198.18.0.41"));
    assert_eq!((shut["state"].as_str(), shut["verdict"].as_str()), (Some("filtered"), Some("local-only")), "{shut:#}");
}
