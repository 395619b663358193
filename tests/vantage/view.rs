//! Reading of reports, and the servers that the hosts here run.

use serde_json::Value;

use crate::support::{Background, Host, Lab, Postern, finish};

/// An HTTP server on the host, bound to an address.
pub fn serve(lab: &mut Lab, number: u8, address: &str, port: u16) {
    let host = lab.host(number);
    let mut command = host.command("busybox");
    command.args(["httpd", "-f", "-p", &format!("{address}:{port}"), "-h", "/run"]);
    let mut server = Background::start(&format!("httpd-{port}"), &host.directory, &mut command);
    server.wait_until("port", |_| host.listens("tcp", port));
    lab.keep(Box::new(server));
}

/// `postern` with these arguments on the host itself.
pub fn on_host(host: &Host, arguments: &[&str]) -> Postern {
    Postern::new(host.command("timeout"), &host.directory, arguments)
}

/// The entry of one endpoint, tried through `via` or not.
pub fn entry<'a>(report: &'a Value, address: &str, port: u16, via: Option<&str>) -> &'a Value {
    let hosts = report["hosts"].as_array().unwrap();
    let entries = hosts.iter().flat_map(|host| host["endpoints"].as_array().unwrap());
    let mut wanted = entries.filter(|one| {
        one["address"] == address && one["port"] == port && one["transport"] == "tcp" && one["via"].as_str() == via
    });
    wanted.next().unwrap_or_else(|| panic!("no {address}:{port} via {via:?} in {report:#}"))
}

/// State and verdict of an endpoint from one vantage.
pub fn seen<'a>(entry: &'a Value, vantage: &str) -> (&'a str, &'a str) {
    let views = entry["views"].as_array().unwrap_or_else(|| panic!("no views: {entry:#}"));
    let view = views.iter().find(|view| view["vantage"] == vantage);
    let view = view.unwrap_or_else(|| panic!("not seen from {vantage}: {entry:#}"));
    (view["state"].as_str().unwrap(), view["verdict"].as_str().unwrap_or("none"))
}

pub fn finding<'a>(report: &'a Value, rule: &str, endpoint: &str) -> &'a Value {
    let findings = report["findings"].as_array().unwrap();
    let found = findings.iter().find(|one| one["rule"] == rule && one["endpoint"] == endpoint);
    found.unwrap_or_else(|| panic!("no {rule} about {endpoint}: {findings:#?}"))
}

/// All that a run must leave as it was: interfaces, addresses, routes, rules, neighbours of no vantage, settings.
pub fn network(host: &Host) -> String {
    let commands = "ip -o link | sed 's/ state .*//'; ip -o addr; ip route show table all; ip -6 route show table all; ip \
                    rule; ip netns list; nft -s list ruleset; ls /proc/sys/net/ipv4/conf; cat \
                    /proc/sys/net/ipv4/conf/*/rp_filter /proc/sys/net/ipv4/conf/*/forwarding \
                    /proc/sys/net/ipv4/conf/*/route_localnet /proc/sys/net/ipv6/conf/*/forwarding";
    // Lifetimes of addresses count down.
    finish(host.command("sh").args(["-c", &format!("{{ {commands}; }} | sed 's/valid_lft.*//'")]))
}

/// Whether a run has an interface of its own on the host.
pub fn has_neighbour(host: &Host) -> bool {
    finish(host.command("ls").arg("/proc/sys/net/ipv4/conf")).contains("postern")
}
