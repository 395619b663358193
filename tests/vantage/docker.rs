//! A machine with Docker: what a container reaches that the network does not, and what the network reaches through the
//! host although it is published on loopback only.

use std::fs;
use std::time::Duration;

use crate::support::{Background, Host, Lab, dockerd, finish, run, wait_until};
use crate::view::{entry, finding, network, on_host, seen, serve};

/// The network gets to ssh only; containers to everything.
const RULES: &str = "table inet guard {\n chain in {\n  type filter hook input priority filter; policy accept;\n  iifname != \
                     { \"lo\", \"docker0\" } tcp dport 7000 drop\n }\n}\n";

/// dockerd on the host with three containers: `web` published on loopback, `db` published nowhere, `open` on all addresses.
fn engine(lab: &mut Lab, number: u8) {
    let host = lab.host(number);
    let mut command = dockerd(host);
    let mut engine = Background::start("dockerd", &host.directory, command.args(["-H", "unix:///run/docker.sock"]));
    engine.wait_until("API", |output| output.contains("API listen on"));
    docker(host, &["import", &image(host), "lab/web"]);
    for (name, publish, port) in
        [("web", &["-p", "127.0.0.1:9090:80"][..], "80"), ("db", &[], "81"), ("open", &["-p", "8080:82"], "82")]
    {
        let start = ["run", "-d", "--stop-signal", "KILL", "--name", name];
        let server = ["lab/web", "/bin/busybox", "httpd", "-f", "-p", port, "-h", "/"];
        docker(host, &[&start[..], publish, &server].concat());
    }
    wait_until("docker-proxy", Duration::from_secs(20), || host.listens("tcp", 8080) && host.listens("tcp", 9090));
    lab.keep(Box::new(engine));
}

fn docker(host: &Host, arguments: &[&str]) -> String {
    finish(host.command("docker").args(arguments))
}

fn address(host: &Host, container: &str) -> String {
    docker(host, &["inspect", "-f", "{{.NetworkSettings.IPAddress}}", container]).trim().to_owned()
}

fn image(host: &Host) -> String {
    let root = host.directory.join("root");
    for folder in ["bin", "proc", "sys", "dev", "etc", "run", "tmp"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    let tar = host.directory.join("root.tar").display().to_string();
    let root = root.display().to_string();
    run("sh", &["-c", "cp \"$(command -v busybox)\" \"$0/bin/busybox\" && tar -C \"$0\" -cf \"$1\" .", &root, &tar]);
    tar
}

#[test]
fn a_container_reaches_what_the_network_does_not_and_the_network_what_is_on_loopback() {
    let programs = ["dockerd", "docker", "docker-proxy", "iptables", "nft", "busybox"];
    let Some(mut lab) = Lab::new("vantages beside Docker", &programs) else { return };
    lab.add_host(10);
    serve(&mut lab, 10, "0.0.0.0", 7000);
    lab.host(10).nft(RULES);
    engine(&mut lab, 10);
    through_the_host(&lab);
    from_the_container(&lab);
    docker(lab.host(10), &["rm", "-f", "web", "db", "open"]);
}

/// From the network, with the host's own report.
fn through_the_host(lab: &Lab) {
    let host = lab.host(10);
    let (web, db, open) = (address(host, "web"), address(host, "db"), address(host, "open"));
    let report = lab.host(10).native_report().display().to_string();
    let before = finish(lab.scanner().command("ip").args(["route", "show", "table", "all"]));
    let arguments = ["audit", "198.18.0.10", "-p", "7000,8080,9090", "--udp=none", "--host-report", &report];
    let outcome = lab.postern(&arguments).all_formats(lab.directory()).run();
    assert_eq!(outcome.code, 3, "{}", outcome.shown());
    assert_eq!(finish(lab.scanner().command("ip").args(["route", "show", "table", "all"])), before);

    let report = outcome.report();
    let via = Some("198.18.0.10");
    for (address, port, state, verdict, words) in [
        // At the container's own address, past the published one.
        (web.as_str(), 80, "open", "leaked-local", "published on 127.0.0.1:9090 only"),
        // 127.0.0.1 at the host's MAC address: DOCKER translates it before the routing decision (Docker before 28).
        ("127.0.0.1", 9090, "open", "leaked-local", "published on 127.0.0.1:9090 only"),
        (&open, 82, "open", "exposed", "published on 0.0.0.0:8080"),
        // Nothing lets packets of others to a container that publishes nothing.
        (&db, 81, "filtered", "local-only", "published nowhere"),
    ] {
        let entry = entry(&report, address, port, via);
        assert_eq!((entry["state"].as_str(), entry["verdict"].as_str()), (Some(state), Some(verdict)), "{entry:#}");
        assert!(entry["also"].to_string().contains(words), "{words}: {entry:#}");
        assert_eq!(entry["seen_from"][0], "br0", "{entry:#}");
    }
    // At the host's address the port is closed, as it should be.
    let outside = entry(&report, "198.18.0.10", 9090, None);
    assert_eq!((outside["state"].as_str(), outside["verdict"].as_str()), (Some("closed"), Some("local-only")));
    assert!(outside["also"].to_string().contains("Tried through the host, its loopback is open"), "{outside:#}");
    let leak = finding(&report, "leaked-local", &format!("{web}:80/tcp"));
    assert_eq!(leak["severity"], "high", "{leak:#}");
    let line = format!("iptables -t raw -I PREROUTING -i eth0 -d {web} -p tcp --dport 80 -j DROP");
    assert!(leak["triage"]["firewall"].as_str().unwrap().contains(&line), "{leak:#}");
    finding(&report, "leaked-local", "127.0.0.1:9090/tcp");
    assert_eq!(leak["via"], "198.18.0.10", "{leak:#}");
    let bind = leak["triage"]["bind"].as_str().unwrap();
    assert!(bind.contains("no binding of the published port helps here"), "{leak:#}");
    for words in [format!("{web}:80/tcp via 198.18.0.10  Port 80/tcp is meant for"), format!("{web} 80/tcp via host")] {
        assert!(outcome.stdout.contains(&words), "nothing of `{words}`:\n{}", outcome.stdout);
    }

    // The line closes it.
    finish(host.command("iptables").args(line.split_whitespace().skip(1)));
    let again = lab.host(10).native_report().display().to_string();
    let arguments = ["audit", "198.18.0.10", "-p", "8080", "--udp=none", "--host-report", &again];
    let closed = lab.postern(&arguments).all_formats(lab.directory()).run().report();
    let entry = entry(&closed, &web, 80, via);
    assert_eq!(
        (entry["state"].as_str(), entry["verdict"].as_str()),
        (Some("filtered"), Some("local-only")),
        "{entry:#}"
    );
    assert!(entry["also"].to_string().contains("It is stopped by table ip raw"), "{entry:#}");
}

/// On the host itself: the neighbour's view beside the container's.
fn from_the_container(lab: &Lab) {
    let host = lab.host(10);
    let before = network(host);
    let places = ["--vantage", "neighbour", "--vantage", "container:db"];
    let arguments = [&["audit", "-p", "7000,8080", "--udp=none"][..], &places].concat();
    let outcome = on_host(host, &arguments).all_formats(&host.directory).run();
    assert_eq!(network(host), before, "{}", outcome.shown());
    let report = outcome.report();
    let service = entry(&report, "198.18.0.10", 7000, None);
    assert_eq!(seen(service, "neighbour"), ("filtered", "guarded"), "{service:#}");
    assert_eq!(seen(service, "container:db"), ("open", "exposed"), "{service:#}");
    // The entry is what the worst of them saw.
    assert_eq!((service["state"].as_str(), service["verdict"].as_str()), (Some("open"), Some("exposed")));
    assert_eq!(service["seen_from"], serde_json::json!(["container:db"]));
    let gap = finding(&report, "vantage-gap", "198.18.0.10:7000/tcp");
    assert_eq!(gap["severity"], "medium", "{gap:#}");
    assert!(gap["why"][0].as_str().unwrap().contains("from container:db; from neighbour filtered"), "{gap:#}");
    // The bridge's own address is the host's, too, and Docker's published port is open to both.
    assert_eq!(seen(entry(&report, "172.17.0.1", 7000, None), "container:db").0, "open");
    assert_eq!(seen(entry(&report, "198.18.0.10", 8080, None), "neighbour").0, "open");
    for word in ["FROM neighbour", "FROM container:db", "filtered guarded"] {
        assert!(outcome.stdout.contains(word), "nothing of `{word}`:\n{}", outcome.stdout);
    }
    // The container has no IPv6, which is no filter: the host's own is what the neighbour alone was asked for.
    assert!(!report["run"]["vantages"][1]["targets"].to_string().contains("2001:db8"), "{}", outcome.shown());
    let of_ipv6 = report["hosts"][0]["endpoints"].as_array().unwrap().iter();
    let of_ipv6 = of_ipv6.filter(|entry| entry["address"] == "2001:db8::a").flat_map(|entry| entry["views"].as_array());
    let from: Vec<&str> = of_ipv6.flatten().filter_map(|view| view["vantage"].as_str()).collect();
    assert!(!from.is_empty() && from.iter().all(|name| *name == "neighbour"), "{from:?}");
    let gaps = report["run"]["gaps"].to_string();
    assert!(gaps.contains("from container:db") && gaps.contains("it has no IPv6 address"), "{gaps}");
    assert!(!gaps.contains("that were not asked: 2001:db8::a"), "{gaps}");
    // The host is called by its address on the network, and tried through it.
    assert_eq!(report["hosts"][0]["address"], "198.18.0.10", "{}", outcome.shown());
    let kinds: Vec<&str> =
        report["run"]["vantages"].as_array().unwrap().iter().filter_map(|vantage| vantage["kind"].as_str()).collect();
    assert_eq!(kinds, ["neighbour", "container"]);

    // Nobody of that name; a container with the host's network is no other place.
    let missing = on_host(host, &["audit", "-p", "7000", "--udp=none", "--vantage", "container:nobody"]).run();
    assert_eq!(missing.code, 2, "{}", missing.shown());
    assert!(missing.stderr.contains("container:nobody"), "{}", missing.shown());
    assert!(missing.stderr.contains("running are") && missing.stderr.contains("db"), "{}", missing.shown());
}
