//! One definition against what is known of an endpoint: identity first, then access, then version and details; and
//! what is reported in the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::answer::{Answer, ClientCertificate, Handshake, HandshakeResult, Outcome};
use super::condition::{Condition, Rule};
use super::definition::{Definition, Layer, Request};
use super::matcher::{self, Extracted, Lookup, Truth, View};
use super::session::Session;
use super::text;
use crate::model::service::ProbeEvidence;
use crate::model::{Access, Service, Severity};

/// How far a definition is decided.
#[derive(Clone, Debug)]
pub enum Progress {
    NotThis,
    /// This answer is needed.
    Ask(Arc<Request>),
    Decided(Decision),
}

/// Everything a definition says about an endpoint that is its service.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Position of the rule that proved the identity; `None`: assumed from the port, behind a demand for a client
    /// certificate.
    pub identity: Option<usize>,
    /// Position of the access rule; `None`: the table cannot decide.
    pub access: Option<usize>,
    pub version: Option<String>,
    pub details: BTreeMap<String, String>,
}

/// Decides as far as the answers reach.
pub(super) fn progress(session: &Session, definition: &Definition, layer: Layer) -> Progress {
    match decide(session, definition, layer) {
        Ok(Some(decision)) => Progress::Decided(decision),
        Ok(None) => Progress::NotThis,
        Err(position) => Progress::Ask(definition.exchanges[position].request.clone()),
    }
}

/// `Err` is the position of the exchange to ask.
fn decide(session: &Session, definition: &Definition, layer: Layer) -> Result<Option<Decision>, usize> {
    if layer != Layer::Datagram && !definition.layers.contains(&layer) || !session.allows(definition.class) {
        return Ok(None);
    }
    let mut scene = Scene { session, definition, layer, stage: Stage::Stranger };
    if session.is_own_port(definition) || first_true(&definition.hints, &scene)?.is_some() {
        scene.stage = Stage::Candidate;
    }
    let assumed = session.client_certificate() == ClientCertificate::Required
        && definition.client_certificate_ports.contains(session.endpoint().port);
    let identity = match first_true(&definition.identify, &scene)? {
        Some(position) => Some(position),
        None if assumed => None,
        None => return Ok(None),
    };
    scene.stage = Stage::Identified;
    let mut access = None;
    for (position, row) in definition.access.iter().enumerate() {
        match matcher::rule(&row.rule, &scene) {
            Truth::True => {
                access = Some(position);
                break;
            }
            Truth::False => {}
            Truth::Pending(exchange) => return Err(exchange),
        }
    }
    let mut version = None;
    for source in &definition.version {
        match matcher::extract(source, &scene) {
            Extracted::Text(text) => {
                version = Some(text);
                break;
            }
            Extracted::Nothing => {}
            Extracted::Pending(exchange) => return Err(exchange),
        }
    }
    let mut details = BTreeMap::new();
    for (name, source) in &definition.details {
        match matcher::extract(source, &scene) {
            // Several sources may stand for one detail: the first that yields one counts.
            Extracted::Text(text) => drop(details.entry(name.clone()).or_insert(text)),
            Extracted::Nothing => {}
            Extracted::Pending(exchange) if !details.contains_key(name) => return Err(exchange),
            Extracted::Pending(_) => {}
        }
    }
    Ok(Some(Decision { identity, access, version, details }))
}

/// The first rule that holds, without asking where a later one holds already.
fn first_true(rules: &[Rule], scene: &Scene<'_>) -> Result<Option<usize>, usize> {
    let mut open = None;
    for (position, rule) in rules.iter().enumerate() {
        match matcher::rule(rule, scene) {
            Truth::True => return Ok(Some(position)),
            Truth::False => {}
            Truth::Pending(exchange) => open = open.or(Some(exchange)),
        }
    }
    open.map_or(Ok(None), Err)
}

/// How close the endpoint is to the definition; opens exchanges step by step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Stranger,
    /// Its port, or one of its hints holds.
    Candidate,
    Identified,
}

struct Scene<'a> {
    session: &'a Session,
    definition: &'a Definition,
    layer: Layer,
    stage: Stage,
}

impl View for Scene<'_> {
    fn exchange(&self, position: usize) -> Lookup<'_> {
        let exchange = &self.definition.exchanges[position];
        if let Some(answer) = self.session.answer(&exchange.request) {
            return Lookup::Answer(answer);
        }
        let session = self.session;
        let sensible = match &*exchange.request {
            Request::Greeting => false,
            Request::Http(_) => session.may_ask_http(),
            Request::Grpc(_) => session.may_ask() && !session.spoke_first(),
            // A stranger's binary request is for peers that are neither HTTP nor talkative.
            Request::Bytes(_) | Request::Codec(_) => {
                session.may_ask()
                    && (self.stage > Stage::Stranger || !session.speaks_http())
                    && (self.stage == Stage::Identified || !session.spoke_first())
            }
        };
        let trusted = !exchange.guarded || self.stage > Stage::Stranger;
        if !sensible || !trusted || !session.allows(exchange.class) {
            return Lookup::Never;
        }
        match matcher::all(&exchange.when, self) {
            Truth::True => Lookup::Open,
            Truth::False => Lookup::Never,
            Truth::Pending(other) => Lookup::Waits(other),
        }
    }

    fn layer(&self) -> Layer {
        self.layer
    }

    fn handshake(&self) -> Option<&Handshake> {
        self.session.handshake()
    }

    fn client_certificate(&self) -> ClientCertificate {
        self.session.client_certificate()
    }
}

/// The report's form of a decision.
pub(super) fn service(session: &Session, definition: &Definition, decision: &Decision) -> Service {
    let scene = Scene { session, definition, layer: session.layer(), stage: Stage::Identified };
    let mut evidence = Vec::new();
    let mut details = decision.details.clone();
    match decision.identity {
        Some(position) => cite(&definition.identify[position], &scene, &mut evidence),
        None => {
            let port = session.endpoint().port;
            let assumed = format!("assumed from port {port}: behind the demanded client certificate nothing shows");
            details.insert("identity".to_owned(), assumed);
        }
    }
    let required = session.client_certificate() == ClientCertificate::Required;
    if required && !evidence.iter().any(|known: &ProbeEvidence| known.request == HANDSHAKE) {
        evidence.push(handshake_evidence(session, None));
    }
    let (access, severity, summary) = match decision.access.map(|position| &definition.access[position]) {
        Some(row) => {
            cite(&row.rule, &scene, &mut evidence);
            (row.access, row.severity, row.summary.clone())
        }
        None if required => {
            let summary = "reachable; the TLS handshake demands a client certificate".to_owned();
            (Access::ClientCertificateRequired, Severity::Info, summary)
        }
        None => {
            let summary = "recognised; the answers do not tell whether it asks for authentication".to_owned();
            (Access::Unknown, Severity::Info, summary)
        }
    };
    Service {
        name: definition.name.clone(),
        product: definition.product.clone(),
        version: decision.version.clone(),
        tls: session.handshake().filter(|handshake| handshake.is_tls()).map(|handshake| handshake.facts.clone()),
        access,
        severity,
        summary,
        details,
        evidence,
    }
}

/// What is reported where no definition matched: whether the port answers, and its first words.
pub(super) fn unknown(session: &Session) -> Service {
    let mut details = BTreeMap::new();
    let mut evidence = Vec::new();
    if let Some(greeting) = session.greeting() {
        if greeting.answered() {
            details.insert("banner".to_owned(), text::banner(&greeting.body));
        }
        evidence.push(ProbeEvidence {
            request: "greeting".to_owned(),
            status: greeting.outcome.to_string(),
            detail: None,
        });
    }
    let tls = session.handshake().filter(|handshake| handshake.is_tls());
    if let Some(handshake) = session.handshake() {
        evidence.push(handshake_evidence(session, None));
        if let HandshakeResult::NotTls(bytes) = &handshake.result {
            details.entry("banner".to_owned()).or_insert_with(|| text::banner(bytes));
        }
    }
    let root = Request::root();
    if let Some(answer) = session.answer(&root) {
        evidence.push(ProbeEvidence { request: root.to_string(), status: status(answer), detail: None });
        if let Some((_, server)) = answer.headers.iter().find(|(name, _)| name == "server") {
            details.insert("server".to_owned(), text::clean(server));
        }
    }
    let required = session.client_certificate() == ClientCertificate::Required;
    let (access, summary) = if required {
        (Access::ClientCertificateRequired, "unknown service; the TLS handshake demands a client certificate")
    } else {
        let summary = match session.greeting().map(|greeting| greeting.outcome) {
            Some(Outcome::Refused) => "the port refused the connection when it was asked what it is",
            Some(Outcome::NoConnection) => "the port did not answer when it was asked what it is",
            Some(Outcome::Unreachable) => "the port could not be connected to when it was asked what it is",
            _ => "the port answers; no probe definition recognises the service",
        };
        (Access::Unknown, summary)
    };
    Service {
        name: "unknown".to_owned(),
        product: None,
        version: None,
        tls: tls.map(|handshake| handshake.facts.clone()),
        access,
        severity: Severity::Info,
        summary: summary.to_owned(),
        details,
        evidence,
    }
}

const HANDSHAKE: &str = "TLS handshake";

/// Adds the exchanges on which a rule that holds rests, each once.
fn cite(rule: &Rule, scene: &Scene<'_>, evidence: &mut Vec<ProbeEvidence>) {
    let alternative = rule.any.iter().find(|one| matcher::condition(one, scene) == Truth::True);
    for condition in rule.all.iter().chain(alternative) {
        let Some(entry) = condition_evidence(condition, scene) else {
            continue;
        };
        match evidence.iter_mut().find(|known| known.request == entry.request) {
            // One marker is enough; the later rule is the one that decides.
            Some(known) => known.detail = entry.detail.or_else(|| known.detail.take()),
            None => evidence.push(entry),
        }
    }
}

fn condition_evidence(condition: &Condition, scene: &Scene<'_>) -> Option<ProbeEvidence> {
    let marker = condition.test.is_some().then(|| matcher::fitting(condition, scene).to_string());
    let Some(position) = condition.of else {
        return scene.session.handshake().map(|_| handshake_evidence(scene.session, marker));
    };
    let request = &scene.definition.exchanges[position].request;
    let answer = scene.session.answer(request)?;
    Some(ProbeEvidence { request: request.to_string(), status: status(answer), detail: marker })
}

fn handshake_evidence(session: &Session, detail: Option<String>) -> ProbeEvidence {
    let handshake = session.handshake();
    let status = match (session.client_certificate(), handshake.map(|handshake| (&handshake.result, handshake.alert))) {
        (ClientCertificate::Required, Some((_, Some(alert)))) => {
            format!("client certificate required (alert {alert})")
        }
        (ClientCertificate::Required, _) => "client certificate required".to_owned(),
        (_, Some((HandshakeResult::Completed, _))) => "completed".to_owned(),
        (_, Some((HandshakeResult::Refused, Some(alert)))) => format!("refused (alert {alert})"),
        (_, Some((HandshakeResult::Refused, None))) => "refused".to_owned(),
        (_, Some((HandshakeResult::NotTls(_), _))) => "not TLS".to_owned(),
        (_, Some((HandshakeResult::NoAnswer, _)) | None) => "no answer".to_owned(),
    };
    ProbeEvidence { request: HANDSHAKE.to_owned(), status, detail }
}

fn status(answer: &Answer) -> String {
    match (answer.facts.get("grpc-status"), answer.status) {
        (Some(code), _) => format!("grpc-status {}", text::clean(code)),
        (None, Some(status)) => status.to_string(),
        (None, None) => answer.outcome.to_string(),
    }
}
