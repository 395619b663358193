//! Which exchange next, given the answers so far: a pure state machine for one endpoint.
//!
//! The driver asks [`Session::next`], does the input and output, hands the answer back, and repeats until
//! [`Step::Done`]; [`Session::service`] is the result at any moment. The order is the one of least surprise to the
//! peer: let it speak first, then the binary request of the port's own definition, then a TLS ClientHello, then
//! HTTP, then other protocols.

use std::collections::HashMap;
use std::sync::Arc;

use super::answer::{Answer, ClientCertificate, Handshake, HandshakeResult, Outcome};
use super::decide::{self, Decision, Progress};
use super::definition::{Class, Definition, Layer, Request};
use super::text;
use crate::model::{Endpoint, Service, Transport};

/// What the driver does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Connect and listen to what the peer says by itself.
    Greet(Patience),
    /// Attempt a TLS handshake.
    Handshake,
    /// Send this over this layer.
    Ask(Layer, Arc<Request>),
    Done,
}

/// How long to wait for a peer that may speak first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// The port's own definitions do not speak first: connect only.
    None,
    Full,
}

/// State of one endpoint.
#[derive(Clone, Debug)]
pub struct Session {
    definitions: Vec<Arc<Definition>>,
    endpoint: Endpoint,
    class: Class,
    greeting: Option<Answer>,
    handshake: Option<Handshake>,
    answers: HashMap<Arc<Request>, Answer>,
    stopped: bool,
}

/// Requests that are sent to one endpoint at most.
const REQUEST_LIMIT: usize = 48;
/// HTTP requests without any HTTP answer after which no more are sent.
const HTTP_FAILURE_LIMIT: usize = 2;
/// Alerts of servers that were given no client certificate: handshake_failure (OpenSSL, TLS 1.2), bad_certificate
/// (Go), certificate_required (RFC 8446, section 6.2).
const CERTIFICATE_ALERTS: [u8; 3] = [40, 42, 116];

impl Session {
    /// `class`: the strongest class of exchange that may be sent.
    pub fn new(definitions: &[Arc<Definition>], endpoint: Endpoint, class: Class) -> Self {
        let ports = |definition: &Definition| definition.ports(endpoint.transport).clone();
        let (mut own, others): (Vec<_>, Vec<_>) = definitions
            .iter()
            .filter(|definition| !ports(definition).is_empty())
            .cloned()
            .partition(|definition| ports(definition).contains(endpoint.port));
        // A datagram to a port that has its own definitions gets only theirs: silence is the usual answer there, and
        // each costs a full wait.
        if endpoint.transport == Transport::Tcp || own.is_empty() {
            own.extend(others);
        }
        Self {
            definitions: own,
            endpoint,
            class,
            greeting: None,
            handshake: None,
            answers: HashMap::new(),
            stopped: false,
        }
    }

    /// What to do next. Every step but `Done` expects its `handle_…` before the next call.
    pub fn next(&self) -> Step {
        if self.stopped {
            return Step::Done;
        }
        if self.endpoint.transport == Transport::Udp {
            return self.ask(Layer::Datagram);
        }
        let Some(greeting) = &self.greeting else {
            let own = self.definitions.iter().filter(|definition| self.is_own_port(definition));
            let mut silent_first = own.map(|definition| definition.listens()).peekable();
            let full = silent_first.peek().is_none() || silent_first.any(|listens| listens);
            return Step::Greet(if full { Patience::Full } else { Patience::None });
        };
        if !greeting.outcome.connected() {
            return Step::Done;
        }
        if self.handshake.is_none() && !greeting.answered() {
            // The port's own binary request first: a ClientHello would cost its peer a connection.
            for definition in self.definitions.iter().filter(|definition| self.is_own_port(definition)) {
                match decide::progress(self, definition, Layer::Plain) {
                    Progress::Ask(request) if matches!(*request, Request::Bytes(_) | Request::Codec(_)) => {
                        return Step::Ask(Layer::Plain, request);
                    }
                    Progress::Decided(_) => return Step::Done,
                    Progress::Ask(_) | Progress::NotThis => {}
                }
            }
            return Step::Handshake;
        }
        self.ask(self.layer())
    }

    fn ask(&self, layer: Layer) -> Step {
        for definition in &self.definitions {
            match decide::progress(self, definition, layer) {
                Progress::Ask(request) => return Step::Ask(layer, self.root_first(definition, request)),
                Progress::Decided(_) => return Step::Done,
                Progress::NotThis => {}
            }
        }
        // Nothing matched: the generic request says at least what kind of server it is.
        let root = Arc::new(Request::root());
        if layer != Layer::Datagram && self.may_ask_http() && !self.answers.contains_key(&root) {
            return Step::Ask(layer, root);
        }
        Step::Done
    }

    /// On a port that is not its own, a definition's HTTP request goes out only once `GET /` showed that it is HTTP.
    fn root_first(&self, definition: &Definition, request: Arc<Request>) -> Arc<Request> {
        let speaks_http = self.answers.values().any(|answer| answer.status.is_some());
        if matches!(*request, Request::Http(_)) && !self.is_own_port(definition) && !speaks_http {
            let root = Arc::new(Request::root());
            if !self.answers.contains_key(&root) {
                return root;
            }
        }
        request
    }

    pub fn handle_greeting(&mut self, greeting: Answer) {
        self.greeting = Some(greeting);
    }

    pub fn handle_handshake(&mut self, handshake: Handshake) {
        // A peer that speaks first may have been overtaken by the ClientHello.
        if let HandshakeResult::NotTls(bytes) = &handshake.result
            && !bytes.starts_with(b"HTTP/")
        {
            self.greeting = Some(Answer::bytes(bytes.clone()));
        }
        if handshake.is_tls() {
            // What was tried in plain before says nothing about the service inside TLS.
            self.answers.clear();
        }
        self.handshake = Some(handshake);
    }

    pub fn handle_answer(&mut self, request: Arc<Request>, answer: Answer) {
        self.answers.insert(request, answer);
    }

    /// Time is up: the result rests on what is known.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// The result as far as it is known.
    pub fn service(&self) -> Service {
        let layer = self.layer();
        for definition in &self.definitions {
            match decide::progress(self, definition, layer) {
                Progress::Decided(decision) => return decide::service(self, definition, &decision),
                Progress::Ask(_) | Progress::NotThis => {}
            }
        }
        decide::unknown(self)
    }

    /// Whether anything came back.
    pub fn heard(&self) -> bool {
        self.answers.values().any(|answer| matches!(answer.outcome, Outcome::Answered | Outcome::Malformed))
    }

    /// The definition that was recognised, and why.
    pub fn decision(&self) -> Option<(&Definition, Decision)> {
        let layer = self.layer();
        self.definitions.iter().find_map(|definition| match decide::progress(self, definition, layer) {
            Progress::Decided(decision) => Some((&**definition, decision)),
            Progress::Ask(_) | Progress::NotThis => None,
        })
    }

    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    pub fn handshake(&self) -> Option<&Handshake> {
        self.handshake.as_ref()
    }

    pub fn greeting(&self) -> Option<&Answer> {
        self.greeting.as_ref()
    }

    pub fn answer(&self, request: &Request) -> Option<&Answer> {
        match request {
            Request::Greeting => self.greeting.as_ref(),
            request => self.answers.get(request),
        }
    }

    /// What the server wants from a client without certificate, from the handshake and from later answers.
    pub fn client_certificate(&self) -> ClientCertificate {
        let Some(handshake) = &self.handshake else {
            return ClientCertificate::NotRequested;
        };
        let refused = |answer: &Answer| match answer.outcome {
            // The alert may come so late that it meets the first request.
            Outcome::Alert(number) => CERTIFICATE_ALERTS.contains(&number),
            // nginx completes the handshake and says it in HTTP.
            _ => answer.status == Some(400) && text::contains(&answer.body, b"No required SSL certificate was sent"),
        };
        match handshake.client_certificate {
            ClientCertificate::NotRequested => ClientCertificate::NotRequested,
            _ if self.answers.values().any(refused) => ClientCertificate::Required,
            found => found,
        }
    }

    pub(super) fn is_own_port(&self, definition: &Definition) -> bool {
        definition.ports(self.endpoint.transport).contains(self.endpoint.port)
    }

    pub(super) fn allows(&self, class: Class) -> bool {
        class <= self.class
    }

    /// The layer that requests go over.
    pub(super) fn layer(&self) -> Layer {
        match (self.endpoint.transport, &self.handshake) {
            (Transport::Udp, _) => Layer::Datagram,
            (Transport::Tcp, Some(handshake)) if handshake.is_tls() => Layer::Tls,
            (Transport::Tcp, _) => Layer::Plain,
        }
    }

    /// Whether anything more may be sent over this layer.
    pub(super) fn may_ask(&self) -> bool {
        let open = match &self.handshake {
            Some(handshake) => handshake.result != HandshakeResult::Refused,
            None => true,
        };
        open && !self.stopped
            && self.answers.len() < REQUEST_LIMIT
            && self.client_certificate() != ClientCertificate::Required
    }

    /// Whether an HTTP request makes sense.
    pub(super) fn may_ask_http(&self) -> bool {
        let http = |(request, _): &(&Arc<Request>, &Answer)| matches!(***request, Request::Http(_));
        let asked = || self.answers.iter().filter(http).map(|(_, answer)| answer);
        let speaks = asked().any(|answer| answer.status.is_some());
        let failures = asked().filter(|answer| answer.status.is_none()).count();
        let malformed = asked().any(|answer| answer.outcome == Outcome::Malformed);
        let limit = if speaks { 2 * HTTP_FAILURE_LIMIT } else { HTTP_FAILURE_LIMIT };
        self.may_ask() && !self.spoke_first() && failures < limit && (speaks || !malformed)
    }

    /// Whether the peer is known to answer HTTP.
    pub(super) fn speaks_http(&self) -> bool {
        self.answers.iter().any(|(request, answer)| matches!(**request, Request::Http(_)) && answer.status.is_some())
    }

    pub(super) fn spoke_first(&self) -> bool {
        self.greeting.as_ref().is_some_and(Answer::answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Access;
    use crate::probe::catalogue::Catalogue;

    fn session(port: u16) -> Session {
        let endpoint = Endpoint::tcp(std::net::Ipv4Addr::LOCALHOST.into(), port);
        Session::new(Catalogue::builtin().definitions(), endpoint, Class::Default)
    }

    fn silent(port: u16) -> Session {
        let mut session = session(port);
        session.handle_greeting(Answer::failed(Outcome::Silent));
        session
    }

    fn completed() -> Handshake {
        Handshake { result: HandshakeResult::Completed, ..Handshake::default() }
    }

    /// Runs to the end with one answer for everything; gives the requests that were asked.
    fn run(session: &mut Session, answer: &Answer) -> Vec<String> {
        let mut asked = Vec::new();
        loop {
            match session.next() {
                Step::Ask(_, request) => {
                    asked.push(request.to_string());
                    session.handle_answer(request, answer.clone());
                }
                Step::Done => return asked,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn strangers_may_speak_first_and_known_http_ports_are_not_waited_for() {
        assert_eq!(session(12345).next(), Step::Greet(Patience::Full));
        assert_eq!(session(2379).next(), Step::Greet(Patience::None));
        assert_eq!(silent(12345).next(), Step::Handshake);
    }

    #[test]
    fn a_port_that_takes_no_connection_is_not_said_to_answer() {
        for (outcome, says) in [
            (Outcome::Refused, "refused the connection"),
            (Outcome::NoConnection, "did not answer"),
            (Outcome::Unreachable, "could not be connected to"),
        ] {
            let mut session = session(2379);
            session.handle_greeting(Answer::failed(outcome));
            assert_eq!(session.next(), Step::Done, "{outcome}");
            let summary = session.service().summary;
            assert!(summary.contains(says) && !summary.contains("answers"), "{outcome}: {summary}");
        }
        assert!(silent(12345).service().summary.contains("the port answers"));
    }

    #[test]
    fn a_talkative_peer_is_not_asked_anything() {
        let mut session = session(12345);
        session.handle_greeting(Answer::bytes(b"220 mail ESMTP\r\n".to_vec()));
        assert_eq!(session.next(), Step::Done);
        assert_eq!(session.service().details["banner"], "220 mail ESMTP\\r\\n");
    }

    #[test]
    fn a_late_greeting_is_recognised_in_the_failed_handshake() {
        let mut session = silent(2379);
        let result = HandshakeResult::NotTls(b"220 mail ESMTP\r\n".to_vec());
        session.handle_handshake(Handshake { result, ..Handshake::default() });
        assert_eq!(session.next(), Step::Done);
    }

    #[test]
    fn http_answers_to_a_client_hello_mean_plain_http() {
        let mut session = silent(12345);
        let result = HandshakeResult::NotTls(b"HTTP/1.1 400 Bad Request\r\n".to_vec());
        session.handle_handshake(Handshake { result, ..Handshake::default() });
        assert_eq!(session.next(), Step::Ask(Layer::Plain, Arc::new(Request::root())));
    }

    #[test]
    fn each_request_goes_out_once_and_guarded_ones_not_to_strangers() {
        let mut session = silent(12345);
        session.handle_handshake(completed());
        let asked = run(&mut session, &Answer::http(200, Vec::new(), b"hello".to_vec()));
        assert_eq!(asked.first().map(String::as_str), Some("GET /"));
        let mut unique = asked.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), asked.len(), "{asked:?}");
        assert!(!asked.iter().any(|request| request.contains("pods") || request.contains("/v3")), "{asked:?}");
    }

    #[test]
    fn what_is_no_http_is_not_asked_again_and_again() {
        for outcome in [Outcome::Malformed, Outcome::Closed, Outcome::Silent] {
            let mut session = silent(12345);
            session.handle_handshake(Handshake::default());
            let asked = run(&mut session, &Answer::failed(outcome));
            let http = asked.iter().filter(|request| request.starts_with("GET")).count();
            assert!(http <= HTTP_FAILURE_LIMIT, "{outcome}: {asked:?}");
        }
    }

    #[test]
    fn a_demanded_certificate_ends_the_questions() {
        let mut session = silent(12345);
        let client_certificate = ClientCertificate::Required;
        session.handle_handshake(Handshake { client_certificate, alert: Some(116), ..completed() });
        assert_eq!(session.next(), Step::Done);
        let service = session.service();
        assert_eq!((service.name.as_str(), service.access), ("unknown", Access::ClientCertificateRequired));
    }

    #[test]
    fn a_late_alert_means_a_demanded_certificate_only_where_one_was_asked_for() {
        for (asked_for, wanted) in [
            (ClientCertificate::Requested, Access::ClientCertificateRequired),
            (ClientCertificate::NotRequested, Access::Unknown),
        ] {
            let mut session = silent(12345);
            session.handle_handshake(Handshake { client_certificate: asked_for, ..completed() });
            run(&mut session, &Answer::failed(Outcome::Alert(42)));
            assert_eq!(session.service().access, wanted);
        }
    }

    #[test]
    fn when_time_is_up_the_result_rests_on_what_is_known() {
        let mut session = silent(2379);
        session.handle_handshake(Handshake::default());
        let Step::Ask(_, request) = session.next() else {
            panic!("nothing asked");
        };
        session.handle_answer(request, Answer::http(200, Vec::new(), br#"{"etcdserver":"3.4.23"}"#.to_vec()));
        session.stop();
        assert_eq!(session.next(), Step::Done);
        let service = session.service();
        assert_eq!((service.name.as_str(), service.access), ("etcd", Access::Unknown));
    }
}
