//! Listings of the real tools, read into the expected reports. Origin of each: tests/data/host/listings/README.md.
#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test that reads test data")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use postern::host;
use postern::model::Transport;
use postern::model::host_report::{HostReport, Source};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/host/listings")
}

fn load(file: &str) -> HostReport {
    let text = std::fs::read_to_string(folder().join(file)).unwrap();
    host::read(file, &text).unwrap_or_else(|error| panic!("{error}"))
}

fn files() -> Vec<String> {
    let mut files: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".txt") || name.ends_with(".json"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_listing_gives_the_expected_report() {
    let files = files();
    assert_eq!(files.len(), 20, "{files:?}");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder().join("expected"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for file in files {
        let mut report = load(&file);
        report.tool.version = "VERSION".to_owned();
        settings.bind(|| insta::assert_json_snapshot!(file.as_str(), report));
    }
}

#[test]
fn each_file_is_told_by_its_content() {
    for file in files() {
        let expected = match file.split(['-', '.']).next().unwrap() {
            "ss" => Source::Ss,
            "netstat" => Source::Netstat,
            "lsof" => Source::Lsof,
            _ => Source::Osquery,
        };
        assert_eq!(load(&file).source, expected, "{file}");
    }
}

type Sockets = BTreeSet<(Transport, IpAddr, u16)>;

fn sockets(file: &str) -> Sockets {
    load(file).listeners.iter().map(|one| (one.transport, one.address, one.port)).collect()
}

/// All were taken of the same sockets at the same time.
#[test]
fn the_tools_agree_on_what_listens() {
    let root = sockets("ss-root.txt");
    assert_eq!(root.len(), 20);
    for file in [
        "lsof-root.txt",
        "netstat-all.txt",
        "netstat-busybox.txt",
        "netstat-wide.txt",
        "ss-all-states.txt",
        "ss-extended.txt",
        "ss-narrow-terminal.txt",
        "ss-no-header.txt",
        "ss-unprivileged.txt",
    ] {
        let found = sockets(file);
        let missing: Sockets = root.difference(&found).copied().collect();
        let extra: Sockets = found.difference(&root).copied().collect();
        // netstat without -W cuts the long address.
        let cut = if file == "netstat-all.txt" { 1 } else { 0 };
        assert_eq!((missing.len(), extra.len()), (cut, 0), "{file}: missing {missing:?}, extra {extra:?}");
    }
    for file in ["netstat-root.txt", "netstat-extended.txt", "netstat-german.txt", "netstat-unprivileged.txt"] {
        let report = load(file);
        let lost: Sockets = root.difference(&sockets(file)).copied().collect();
        assert_eq!(lost.iter().map(|socket| socket.2).collect::<Vec<_>>(), [4343], "{file}");
        assert!(report.gaps.iter().any(|gap| gap.incomplete && gap.what.contains("4343/tcp")), "{file}");
    }
    let tcp: Sockets = root.into_iter().filter(|socket| socket.0 == Transport::Tcp).collect();
    assert_eq!(sockets("ss-tcp-only.txt"), tcp);
}
