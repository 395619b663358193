//! The command line as users meet it: help, exit codes, errors, offline commands. Sends nothing.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test driver: it runs the program; a failure of its own is a failed test"
)]

use std::process::Output;

use assert_cmd::Command;

fn postern(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_postern")).args(args).env_remove("NO_COLOR").output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn help_of_every_command() {
    for command in ["audit", "scan", "host", "correlate", "explain", "probes", "probes list", "probes test"] {
        let output = postern(&command.split(' ').chain(["--help"]).collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(0));
        insta::assert_snapshot!(format!("help-{}", command.replace(' ', "-")), stdout(&output));
    }
    insta::assert_snapshot!("help", stdout(&postern(&["--help"])));
}

#[test]
fn wrong_usage_is_2_and_names_the_value() {
    for (args, part) in [
        (&["scan"][..], "<TARGET>"),
        (&["scan", "198.18.0.300"], "`198.18.0.300`"),
        (&["scan", "198.18.0.0/33"], "`198.18.0.0/33`"),
        (&["scan", "@/nonexistent"], "/nonexistent"),
        (&["scan", "203.0.113.9"], "--allow-public"),
        (&["scan", "198.18.0.1", "-p", "80,http"], "`http`"),
        (&["scan", "198.18.0.1", "-p", "0"], "-p: port 0 in ports `0` cannot be asked"),
        (&["scan", "198.18.0.1", "-p", "-80"], "`-80`"),
        (&["scan", "198.18.0.1", "--udp=80,0"], "--udp: port 0 in ports `80,0`"),
        (&["scan", "198.18.0.1", "--udp", "53"], "--udp=53"),
        (&["scan", "198.18.0.1", "@/dev/null"], "file `/dev/null` names no target"),
        (&["scan", "-"], "stdin names no target"),
        (&["scan", "198.18.0.1", "--recall", "x"], "`x` is no share"),
        (&["scan", "198.18.0.1", "--recall", "1.5"], "`1.5` is no share"),
        (&["scan", "198.18.0.1", "--parallel", "0"], "`0` is no whole number above 0"),
        (&["scan", "198.18.0.1", "--rate", "-5"], "`-5`"),
        (&["scan", "198.18.0.1", "--engine", "connect", "--recall", "0.9"], "--recall is for the raw sweep"),
        (&["scan", "198.18.0.1", "--no-probes", "--probe-fragile"], "cannot be used with"),
        (&["audit", "198.18.0.1", "--host-report", "198.18.0.1="], "no file behind `198.18.0.1=`"),
        (&["explain", "Cargo.toml", "--to", "198.18.0.1:80", "--from", "x"], "`x` is no address"),
        (&["scan", "198.18.0.1", "-o", "xml"], "`xml`"),
        (&["scan", "198.18.0.1", "--rate", "fast"], "`fast`"),
        (&["scan", "198.18.0.1", "--fail-on", "bad"], "`bad`"),
        (&["scan", "198.18.0.1", "--exclude", "198.18.0.0/24"], "excluded"),
        (&["scan", "198.18.0.1", "--exclude", "no-such-host.invalid"], "no-such-host.invalid"),
        (&["audit", "198.18.0.1", "--host-report", "/nonexistent"], "/nonexistent"),
        (&["audit", "198.18.0.1", "--host-report", "ssh://-oProxyCommand=x"], "`-oProxyCommand=x`"),
        (&["host", "ssh://me:secret@web"], "password"),
        (&["host", "ssh://web", "--static-binary", "Cargo.toml"], "Cargo.toml is no program"),
        (&["host", "ssh://web", "--ssh-config", "/nonexistent"], "/nonexistent"),
        (&["host", "ssh://web", "--ssh-timeout", "0"], "--ssh-timeout"),
        (&["correlate", "--scan", "Cargo.toml", "--host-report", "ssh://web"], "postern host ssh://web"),
        (&["correlate", "--scan", "Cargo.toml", "--host-report", "Cargo.toml"], "Cargo.toml"),
        (&["probes", "show", "nothing"], "`nothing`"),
        (&["probes", "check", "Cargo.toml"], "Cargo.toml"),
    ] {
        let output = postern(args);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
        assert!(message.contains(part), "{args:?}: {message}");
        assert!(message.to_lowercase().contains("hint") || message.contains("Usage"), "{args:?}: {message}");
        assert!(output.stdout.is_empty(), "{args:?}: results on stdout");
    }
}

#[test]
fn a_plan_sends_nothing_and_is_lazy() {
    let plan = ["scan", "198.18.0.0/15", "-p", "all", "--plan", "--exclude", "198.18.0.0/24"];
    let output = postern(&[&plan[..], &["--engine", "connect"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    insta::assert_snapshot!(stdout(&output));
    // What the raw sweep would send is another number, and here it depends on who asks.
    let raw = stdout(&postern(&[&plan[..], &["--engine", "syn"]].concat()));
    assert!(raw.contains("engine     syn") && !raw.contains("the kernel repeats"), "{raw}");
    assert!(raw.contains("111449345280 at most") || raw.contains("takes root or CAP_NET_RAW"), "{raw}");
}

/// A plan added to a whole command line says where the results would go, and touches no file.
#[test]
fn a_plan_writes_no_results() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.json");
    let spec = format!("json={}", file.display());
    let output = postern(&["scan", "198.18.0.1", "-p", "1", "--udp=9", "--shard", "1/1", "--plan", "-o", &spec]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains(&format!("results    json to {}", file.display())), "{}", stdout(&output));
    assert!(stdout(&output).contains("1 datagrams at least, 3 at most"), "{}", stdout(&output));
    assert!(!file.exists());
    let itself = "a run takes this machine's own report twice";
    assert!(stdout(&postern(&["audit", "127.0.0.1", "--plan"])).contains(itself));
    assert!(!stdout(&postern(&["scan", "127.0.0.1", "--plan"])).contains(itself));
    let unknown = postern(&["scan", "198.18.0.1", "--plan", "--vantage", "nowhere0"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", stderr(&unknown));
    assert!(stderr(&unknown).contains("hint: there are "), "{}", stderr(&unknown));
}

#[test]
fn probes_are_listed_as_a_bare_array_and_shown_as_written() {
    let list: serde_json::Value = serde_json::from_slice(&postern(&["probes", "list", "-o", "json"]).stdout).unwrap();
    let names: Vec<&str> = list.as_array().unwrap().iter().map(|probe| probe["name"].as_str().unwrap()).collect();
    assert!(names.is_sorted() && names.contains(&"etcd") && names.contains(&"kubelet"), "{names:?}");
    for name in names {
        let file = format!("probes/{name}.toml");
        assert_eq!(
            stdout(&postern(&["probes", "show", name])).trim_end(),
            std::fs::read_to_string(&file).unwrap().trim_end()
        );
        let checked = postern(&["probes", "check", &file]);
        assert_eq!(checked.status.code(), Some(0), "{}", stderr(&checked));
    }
}

#[test]
fn probes_are_listed_in_the_files_that_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let (json, table) = (directory.path().join("probes.json"), directory.path().join("probes.txt"));
    let (to_json, to_table) = (format!("json={}", json.display()), format!("table={}", table.display()));
    let output = postern(&["probes", "list", "-o", &to_json, "-o", &to_table]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(output.stdout.is_empty(), "{}", stdout(&output));
    let list: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert!(list.as_array().is_some_and(|list| list.iter().any(|probe| probe["name"] == "etcd")), "{list}");
    assert_eq!(std::fs::read_to_string(&table).unwrap(), stdout(&postern(&["probes", "list"])));
}

/// `--probes DIR` means the same wherever definitions are used.
#[test]
fn definitions_of_ones_own_are_listed_shown_and_used() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (probes, scan) = (path("probes"), path("scan.json"));
    std::fs::create_dir(&probes).unwrap();
    let builtin = std::fs::read_to_string("probes/etcd.toml").unwrap();
    let house =
        builtin.replace("\ntitle = \"", "\ntitle = \"House: ").replace("disable = \"No", "disable = \"House: No");
    let etcd = builtin.replace("\ntitle = \"", "\ntitle = \"Ours: ");
    std::fs::write(format!("{probes}/house.toml"), &house).unwrap();
    std::fs::write(format!("{probes}/etcd.toml"), &etcd).unwrap();
    let with = |args: &[&str]| postern(&[args, &["--probes", &probes]].concat());

    let list = with(&["probes", "list", "-o", "json"]);
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    let title = |name: &str| {
        let list = list.as_array().unwrap();
        list.iter().find(|one| one["name"] == name).map(|one| one["title"].as_str().unwrap().to_owned())
    };
    assert!(title("house").unwrap().starts_with("House: ") && title("etcd").unwrap().starts_with("Ours: "), "{list}");
    assert!(title("kubelet").is_some());
    for (name, text) in [("house", &house), ("etcd", &etcd)] {
        assert_eq!(stdout(&with(&["probes", "show", name])).trim_end(), text.trim_end());
    }
    assert_eq!(stdout(&with(&["probes", "show", "kubelet"])), stdout(&postern(&["probes", "show", "kubelet"])));
    assert_eq!(postern(&["probes", "show", "house"]).status.code(), Some(2));

    // A transport that it does not speak is found out before anything is sent, and after the definition.
    let refused = stderr(&with(&["probes", "test", "house", "198.18.0.1:1/udp"]));
    assert!(refused.contains("`house` does not speak over udp"), "{refused}");

    std::fs::write(&scan, scanned("house").to_string()).unwrap();
    let listing = "198.18.0.7=tests/data/host/listings/ss-root.txt";
    let correlate = ["correlate", "--scan", &scan, "--host-report", listing, "-o", "json"];
    let advice = |output: &Output| {
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = report["findings"].as_array().unwrap();
        let about = findings.iter().find(|one| one["rule"] == "unauthenticated-service");
        about.unwrap_or_else(|| panic!("{report:#}"))["triage"]["disable"].as_str().unwrap().to_owned()
    };
    assert!(advice(&with(&correlate)).starts_with("House: No"), "{}", advice(&with(&correlate)));
    assert!(!advice(&postern(&correlate)).contains("House"));

    for args in [&["probes", "list"][..], &["probes", "show", "etcd"], &["probes", "test", "etcd", "198.18.0.1:1"]] {
        let output = postern(&[args, &["--probes", "/nonexistent"]].concat());
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains("/nonexistent"), "{args:?}: {}", stderr(&output));
    }
}

/// A saved scan that found this service on 198.18.0.7:2379, letting everybody in.
fn scanned(service: &str) -> serde_json::Value {
    serde_json::json!({
        "schema": "postern.report/1",
        "tool": {"name": "postern", "version": "0.0.0"},
        "run": {
            "id": "r1",
            "started_at": "2026-11-24T12:00:00Z",
            "finished_at": "2026-11-24T12:00:09Z",
            "status": "complete",
            "scope": {"targets": ["198.18.0.7"], "excluded": [], "ports": {"tcp": "2379", "udp": ""}},
            "vantages": [],
            "sweep": null,
            "gaps": [],
        },
        "hosts": [{
            "id": "198.18.0.7",
            "address": "198.18.0.7",
            "endpoints": [{
                "address": "198.18.0.7", "transport": "tcp", "port": 2379, "state": "open", "reason": "accepted",
                "evidence": {}, "seen_from": [],
                "service": {
                    "name": service, "access": "unauthenticated", "severity": "critical", "summary": "", "evidence": [],
                },
            }],
            "other_ports": [],
        }],
        "silent": [],
        "findings": [],
    })
}

/// What streams is what a run finds; the other commands have one document.
#[test]
fn formats_that_mean_nothing_are_refused() {
    let listing = "tests/data/host/listings/ss-root.txt";
    for args in [
        &["probes", "list"][..],
        &["host", "--from-ss", listing],
        &["explain", listing, "--to", "198.18.0.1:80", "--from", "198.18.0.2"],
    ] {
        for format in ["ndjson", "ndjson=/nonexistent/x"] {
            let output = postern(&[args, &["-o", format]].concat());
            let message = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
            assert!(message.contains("`ndjson`") && message.contains("json, table"), "{args:?}: {message}");
            assert!(output.stdout.is_empty(), "{args:?}");
        }
    }
}

/// Whatever prints: a reader that has seen enough is no error, a full disk is one.
#[test]
fn a_closed_stdout_is_a_quiet_end_and_a_full_disk_is_an_error() {
    let listing = "tests/data/host/listings/ss-root.txt";
    for args in [
        &["probes", "list"][..],
        &["probes", "list", "-o", "json"],
        &["probes", "show", "etcd"],
        &["probes", "check", "probes/etcd.toml"],
        &["scan", "198.18.0.1", "--plan"],
        &["audit", "198.18.0.1", "--plan"],
        &["host", "--from-ss", listing],
        &["host", "--from-ss", listing, "-o", "json"],
    ] {
        let run = |stdout: std::process::Stdio| {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_postern"));
            command.args(args).stdout(stdout).stderr(std::process::Stdio::piped()).output().unwrap()
        };
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let closed = run(writer.into());
        assert_eq!((closed.status.code(), stderr(&closed)), (Some(0), String::new()), "{args:?}");
        let full = run(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap().into());
        let message = stderr(&full);
        assert_eq!(full.status.code(), Some(1), "{args:?}: {message}");
        assert!(message.contains("stdout") && message.contains("No space left"), "{args:?}: {message}");
    }
}

#[test]
fn a_listing_becomes_a_host_report() {
    let output = postern(&["host", "--from-ss", "tests/data/host/listings/ss-root.txt", "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["schema"], "postern.host/1");
    assert!(!report["listeners"].as_array().unwrap().is_empty());
}

#[test]
fn results_go_to_the_file_and_stdout_stays_empty() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("host.json");
    let spec = format!("json={}", file.display());
    let output = postern(&["host", "--from-ss", "tests/data/host/listings/ss-root.txt", "-o", &spec]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
    assert!(std::fs::read_to_string(&file).unwrap().contains("postern.host/1"));
    let output = postern(&["host", "--from-ss", "tests/data/host/listings/ss-root.txt", "-o", "json=/nonexistent/x"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("/nonexistent/x") && stderr(&output).contains("hint"));
}
