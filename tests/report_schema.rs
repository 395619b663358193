//! The committed JSON Schemas are those of the types, and what is written fits them.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "reads and writes committed files; a failure of its own is a failed test"
)]

use std::collections::BTreeMap;
use std::path::Path;

use postern::model::host_report::{HostReport, Listener, Source};
use postern::model::report::{
    EndpointEntry, Gap, Host, PortGroup, Run, SCHEMA, Scope, ScopePorts, Status, Sweep, Tool, Vantage, VantageKind,
};
use postern::model::{
    Access, Confidence, Evidence, Finding, Improbable, PortState, Reason, Report, Service, Severity, Transport, Triage,
    Verdict,
};
use postern::report::ndjson::{self, Record};
use postern::report::{json, schema};

/// `UPDATE_SCHEMAS=1 cargo test --test report_schema` writes them anew.
#[test]
fn committed_schemas_are_current() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/schema");
    for (name, schema) in schema::all() {
        let path = directory.join(name);
        let current = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(&path, &current).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == current, "{name} is stale: run UPDATE_SCHEMAS=1 cargo test --test report_schema");
    }
}

#[test]
fn documents_fit_their_schemas_and_come_back() {
    let report = report();
    let mut written = Vec::new();
    json::write(&report, &mut written).unwrap();
    let text = String::from_utf8(written).unwrap();
    validate("postern.report.1.json", &text);
    assert_eq!(json::read("report.json", &text).unwrap(), report);

    let mut written = Vec::new();
    json::write_host(&host_report(), &mut written).unwrap();
    validate("postern.host.1.json", &String::from_utf8(written).unwrap());

    let mut records = vec![Record::Run(Box::new(report.run.clone()))];
    records.push(Record::Endpoint(Box::new(report.hosts[0].endpoints[0].clone())));
    records.extend(ndjson::closing_records(&report, 3));
    for record in records {
        let mut line = Vec::new();
        ndjson::write(&record, &mut line).unwrap();
        validate("postern.ndjson.1.json", &String::from_utf8(line).unwrap());
    }
}

#[test]
fn a_document_that_does_not_fit_is_refused_by_the_schema() {
    let mut document = serde_json::to_value(report()).unwrap();
    document["hosts"][0]["endpoints"][0]["state"] = "ajar".into();
    let schemas: BTreeMap<_, _> = schema::all().into_iter().collect();
    assert!(!jsonschema::is_valid(&schemas["postern.report.1.json"], &document));
}

/// The field names that the format promises, in their order.
#[test]
fn top_level_fields_are_the_promised_ones() {
    let text = serde_json::to_string(&report()).unwrap();
    let positions: Vec<usize> = ["\"schema\"", "\"tool\"", "\"run\"", "\"hosts\"", "\"silent\"", "\"findings\""]
        .iter()
        .map(|field| text.find(field).unwrap())
        .collect();
    assert!(positions.is_sorted(), "{positions:?}");
    for field in ["other_ports", "gaps", "scope", "vantages", "seen_from", "also", "intent", "path", "via"] {
        assert!(text.contains(&format!("\"{field}\"")), "{field}");
    }
    assert!(text.contains("\"state\":\"open|filtered\""), "the one literal with a bar");
}

fn validate(name: &str, text: &str) {
    let schemas: BTreeMap<_, _> = schema::all().into_iter().collect();
    let document: serde_json::Value = serde_json::from_str(text).unwrap();
    let validator = jsonschema::validator_for(&schemas[name]).unwrap();
    let errors: Vec<String> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{name}: {errors:?}\n{text}");
}

fn listener() -> Listener {
    Listener {
        transport: Transport::Tcp,
        address: "0.0.0.0".parse().unwrap(),
        port: 2379,
        v6only: None,
        device: None,
        namespace: "host".to_owned(),
        pid: Some(7),
        process: Some("etcd".to_owned()),
        exe: None,
        user: Some("etcd".to_owned()),
        unit: Some("etcd.service".to_owned()),
        container: None,
        socket_activated: false,
        likely_client: false,
        accept_queue: None,
        starts: None,
    }
}

fn host_report() -> HostReport {
    HostReport {
        hostname: Some("h1".to_owned()),
        collected_at: Some("2026-11-24T12:00:00Z".to_owned()),
        listeners: vec![listener()],
        ..HostReport::of("h1", Source::Native)
    }
}

fn report() -> Report {
    let address = "198.18.0.7".parse().unwrap();
    let entry = EndpointEntry {
        address,
        transport: Transport::Tcp,
        port: 2379,
        state: PortState::Open,
        reason: Reason::Accepted,
        evidence: Evidence { rtt_us: Some(120), asked: Some(1), ..Evidence::default() },
        seen_from: vec!["eth0".to_owned()],
        via: None,
        views: Vec::new(),
        service: Some(Box::new(Service {
            name: "etcd".to_owned(),
            product: None,
            version: Some("3.4.23".to_owned()),
            tls: None,
            access: Access::Unauthenticated,
            severity: Severity::Critical,
            summary: "reads and writes without credentials".to_owned(),
            details: BTreeMap::new(),
            evidence: Vec::new(),
        })),
        listener: Some(Box::new(listener())),
        verdict: Some(Verdict::Exposed),
        also: vec!["open, and etcd takes it".to_owned()],
        intent: None,
        path: Vec::new(),
    };
    let udp = EndpointEntry {
        transport: Transport::Udp,
        port: 5353,
        state: PortState::OpenOrFiltered,
        reason: Reason::NoAnswer,
        service: None,
        listener: None,
        ..entry.clone()
    };
    Report {
        schema: SCHEMA.to_owned(),
        tool: Tool::this(),
        run: Run {
            id: "20261124T120000Z-0001".to_owned(),
            started_at: "2026-11-24T12:00:00Z".to_owned(),
            finished_at: "2026-11-24T12:00:09Z".to_owned(),
            status: Status::Complete,
            scope: Scope {
                targets: vec!["198.18.0.0/24".to_owned()],
                excluded: Vec::new(),
                ports: ScopePorts { tcp: "1-3000".to_owned(), udp: "5353".to_owned() },
            },
            vantages: vec![Vantage {
                name: "eth0".to_owned(),
                kind: VantageKind::Interface,
                interface: Some("eth0".to_owned()),
                source: vec!["198.18.0.1".parse().unwrap()],
                ..Vantage::default()
            }],
            sweep: Some(Sweep {
                engine: "connect".to_owned(),
                transmit: "kernel".to_owned(),
                probes_sent: 1,
                replies: 1,
                rounds: 2,
                packets_per_second: 1.0,
                dropped_replies: 0,
                recall: None,
            }),
            gaps: vec![Gap {
                what: "x".to_owned(),
                cause: "y".to_owned(),
                settled_by: "z".to_owned(),
                incomplete: false,
            }],
            host_reports: Vec::new(),
        },
        hosts: vec![Host {
            id: "h1".to_owned(),
            address,
            addresses: vec![address],
            mac: None,
            names: Vec::new(),
            endpoints: vec![entry, udp],
            other_ports: vec![PortGroup {
                address,
                transport: Transport::Tcp,
                state: PortState::Closed,
                reason: Reason::Refused,
                offender: None,
                ports: "1-2378,2380-3000".to_owned(),
                seen_from: Vec::new(),
            }],
            improbable: BTreeMap::from([(
                address,
                Improbable { ports: vec![23_456, 34_567, 45_678], open: 0, closed: 3, window: None, options: None },
            )]),
        }],
        silent: vec!["198.18.0.8-198.18.0.255".to_owned()],
        findings: vec![Finding {
            rule: "unauthenticated-service".to_owned(),
            severity: Severity::Critical,
            confidence: Confidence::Certain,
            endpoint: "198.18.0.7:2379/tcp".to_owned(),
            via: None,
            title: "etcd asks for no authentication".to_owned(),
            why: vec!["a range read was answered".to_owned()],
            triage: Triage::default(),
            references: Vec::new(),
        }],
    }
}
