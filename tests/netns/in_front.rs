//! A box in front of a host that answers in its place: open outside, and nothing inside knows of it. What tells it apart:
//! how the answer looks beside those of the host's own ports, and a vantage that does not pass the box.
//! `cases/in_front.toml` has the answers.

use std::fs;

use crate::case::{Case, entry};
use crate::support::{Background, Host, Lab, Namespace, finish};

#[test]
fn a_box_in_front_is_told_from_the_host() {
    let case = Case::load("in_front.toml");
    let Some(lab) = case.lab("in_front.toml", "unused") else { return };
    let place = Place::build(&lab, lab.host(115));
    let inside = [lab.host(115).native_report().display().to_string()];

    let outcome = case.run(&lab, &inside);
    let report = outcome.report();
    // The other machine has another stack, and the evidence shows it beside the host's own.
    let options = |port: u16| {
        let endpoint = format!("198.18.2.115:{port}/tcp");
        let entry = entry(&report, &endpoint).unwrap_or_else(|| panic!("no {endpoint}\n{}", outcome.shown()));
        entry["evidence"]["options"].as_str().unwrap_or_else(|| panic!("no options: {entry:#}")).to_owned()
    };
    let (own, other) = (options(22), options(8443));
    let stamped = |options: &str| options.split(',').any(|option| option == "ts");
    assert!(stamped(&own) && !stamped(&other), "{own:?} and {other:?}");

    // From the host's own network nothing is in front of it, and nothing answers.
    let desk = format!("netns:{}", place.desk.name());
    let mut arguments = case.arguments_with(&inside);
    arguments.extend(["--vantage", "br0", "--vantage", &desk]);
    let outcome = lab.postern(&arguments).all_formats(lab.directory()).run();
    let report = outcome.report();
    for (port, state, verdict) in [(22, "open", "exposed"), (8443, "closed", "none"), (9443, "closed", "none")] {
        let endpoint = format!("198.18.2.115:{port}/tcp");
        let entry = entry(&report, &endpoint).unwrap_or_else(|| panic!("no {endpoint}\n{}", outcome.shown()));
        let seen = |vantage: &str| {
            let view = entry["views"].as_array().unwrap().iter().find(|view| view["vantage"] == vantage);
            let view = view.unwrap_or_else(|| panic!("not seen from {vantage}: {entry:#}"));
            [&view["state"], &view["verdict"]].map(|word| word.as_str().unwrap_or("none").to_owned())
        };
        let outer = if port == 22 { "exposed" } else { "unreported" };
        assert_eq!(seen("br0"), ["open", outer], "{entry:#}");
        assert_eq!(seen(&desk), [state, verdict], "{entry:#}");
        let compared = format!("It is open from br0; from {desk} closed (refused).");
        let mut findings = report["findings"].as_array().unwrap().iter();
        let told = findings.any(|one| one["endpoint"] == endpoint.as_str() && one.to_string().contains(&compared));
        assert_eq!(told, port != 22, "{}", outcome.shown());
    }
}

/// Scanner, router, host; a desk in the host's network; a machine beside it, and one behind that machine.
#[derive(Debug)]
struct Place {
    _servers: [Background; 2],
    desk: Namespace,
    _others: [Namespace; 3],
}

impl Place {
    /// Moves the host behind the router, as 198.18.2.115.
    fn build(lab: &Lab, host: &Host) -> Self {
        let [router, desk, beside, behind] = ["front", "desk", "beside", "behind"].map(Namespace::new);
        lab.scanner().ip(&format!("link add front type veth peer name eth0 netns {}", router.name()));
        lab.scanner().ip("link set front master br0 up");
        lab.scanner().ip("route add 198.18.2.0/24 via 198.18.0.254");
        router.ip("addr add 198.18.0.254/24 dev eth0");
        router.ip("link set eth0 up");
        router.ip("link add lan type bridge");
        router.ip("addr add 198.18.2.1/24 dev lan");
        router.ip("link set lan up");
        host.namespace.ip("link del eth0");
        join(&router, "lan", &host.namespace, "198.18.2.115/24", "198.18.2.1");
        join(&router, "lan", &desk, "198.18.2.7/24", "198.18.2.1");
        wire(&router, "198.18.3.1/24", &beside, "198.18.3.2/24");
        wire(&beside, "198.18.4.1/24", &behind, "198.18.4.2/24");
        router.ip("route add 198.18.4.0/24 via 198.18.3.2");
        router.sysctl("net.ipv4.ip_forward", "1");
        beside.sysctl("net.ipv4.ip_forward", "1");
        beside.sysctl("net.ipv4.tcp_timestamps", "0");
        // What comes from the host's own network passes the router's bridge alone: `iifname` keeps it out of the rules
        // even where the kernel shows bridged packets to them.
        let file = lab.directory().join("front.nft");
        fs::write(
            &file,
            "table ip front {\n chain pre {\n  type nat hook prerouting priority dstnat;\n  iifname eth0 ip daddr \
             198.18.2.115 tcp dport 8443 dnat to 198.18.3.2:8080\n  iifname eth0 ip daddr 198.18.2.115 tcp dport 9443 \
             dnat to 198.18.4.2:8080\n }\n}\n",
        )
        .unwrap();
        finish(router.command("nft").arg("-f").arg(&file));
        let servers = [&beside, &behind].map(|namespace| web_server(lab, namespace));
        Self { _servers: servers, desk, _others: [router, beside, behind] }
    }
}

/// Plugs `namespace` into a bridge of the router.
fn join(router: &Namespace, bridge: &str, namespace: &Namespace, address: &str, gateway: &str) {
    let port = format!("to-{}", namespace.name().rsplit('-').next().unwrap());
    router.ip(&format!("link add {port} type veth peer name eth0 netns {}", namespace.name()));
    router.ip(&format!("link set {port} master {bridge} up"));
    namespace.ip(&format!("addr add {address} dev eth0"));
    namespace.ip("link set eth0 up");
    namespace.ip(&format!("route add default via {gateway}"));
}

/// Joins two namespaces by a network of their own; the second one's way out is the first.
fn wire(first: &Namespace, here: &str, second: &Namespace, there: &str) {
    first.ip(&format!("link add onward type veth peer name eth0 netns {}", second.name()));
    first.ip(&format!("addr add {here} dev onward"));
    first.ip("link set onward up");
    second.ip(&format!("addr add {there} dev eth0"));
    second.ip("link set eth0 up");
    let gateway = here.split('/').next().unwrap();
    second.ip(&format!("route add default via {gateway}"));
}

fn web_server(lab: &Lab, namespace: &Namespace) -> Background {
    let mut command = namespace.command("busybox");
    command.args(["httpd", "-f", "-p", "8080", "-h"]).arg(lab.directory());
    let mut server = Background::start(&format!("httpd-{}", namespace.name()), lab.directory(), &mut command);
    server.wait_until("port", |_| finish(namespace.command("ss").args(["-Htln"])).contains(":8080 "));
    server.killed_at_once()
}
