//! Drives a [`Session`]: each step's input and output, within limits of time and of connections to one host.

#![expect(clippy::disallowed_methods, reason = "the clock for certificates' validity is read here")]

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::answer::{Answer, Outcome};
use super::catalogue::Catalogue;
use super::codec::{self, Ask, Facts};
use super::definition::{Class, Layer, Request};
use super::http::{HttpProber, HttpSettings};
use super::session::{Patience, Session, Step};
use super::stream::{self, Dialer, Stream, Talk};
use super::tls::TlsProber;
use super::{datagram, grpc, text};
use crate::model::{Access, Endpoint, Service, Severity, Transport};

/// How the prober behaves.
#[derive(Clone, Debug)]
pub struct ProberSettings {
    pub connect_timeout: Duration,
    /// For one whole answer.
    pub read_timeout: Duration,
    /// How long a peer on a port of no known definition, or of one that speaks first, gets to speak first.
    pub greeting_timeout: Duration,
    /// For everything that is asked of one endpoint.
    pub endpoint_timeout: Duration,
    pub fragile: Fragile,
    /// The strongest class of exchange that is sent.
    pub class: Class,
    /// Endpoints that are probed at the same time.
    pub parallel: usize,
    /// Endpoints of one host that are probed at the same time.
    pub host_parallel: usize,
    pub user_agent: String,
    /// Everything leaves by this interface; `None`: by the routes.
    pub device: Option<String>,
}

impl Default for ProberSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(3),
            read_timeout: Duration::from_secs(4),
            greeting_timeout: Duration::from_millis(1500),
            endpoint_timeout: Duration::from_secs(45),
            fragile: Fragile::Skip,
            class: Class::Default,
            parallel: 64,
            host_parallel: 4,
            user_agent: concat!("postern/", env!("CARGO_PKG_VERSION"), " (+read-only exposure audit)").to_owned(),
            device: None,
        }
    }
}

/// What to do with ports whose usual owners print or fall over when spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragile {
    Skip,
    Probe,
}

/// Printers (JetDirect prints what it gets) and industrial controllers: S7, Modbus, Niagara Fox, IEC 104, ProConOS,
/// OMRON FINS, GE SRTP, DNP3, PCWorx, EtherNet/IP.
const FRAGILE_TCP: [(u16, u16); 13] = [
    (102, 102),
    (502, 502),
    (789, 789),
    (1911, 1911),
    (1962, 1962),
    (2404, 2404),
    (4911, 4911),
    (9100, 9107),
    (9600, 9600),
    (18245, 18246),
    (20000, 20000),
    (20547, 20547),
    (44818, 44818),
];
/// EtherNet/IP, DNP3, BACnet.
const FRAGILE_UDP: [(u16, u16); 4] = [(2222, 2222), (20000, 20000), (44818, 44818), (47808, 47808)];

/// Asks endpoints what they are and whether they ask for authentication. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Prober {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    catalogue: Arc<Catalogue>,
    settings: ProberSettings,
    http: HttpSettings,
    tls: TlsProber,
    parallel: Semaphore,
    hosts: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
}

/// Settings with which nothing could be probed.
#[derive(Debug, thiserror::Error)]
pub enum ProberError {
    #[error("user agent `{value}` is no HTTP header value; hint: use printable ASCII")]
    UserAgent { value: String },
    #[error("the number of endpoints probed at the same time is 0; hint: use 1 or more")]
    Parallel,
}

impl Prober {
    pub fn new(catalogue: Arc<Catalogue>, settings: ProberSettings) -> Result<Self, ProberError> {
        if reqwest::header::HeaderValue::from_str(&settings.user_agent).is_err() {
            return Err(ProberError::UserAgent { value: settings.user_agent });
        }
        if settings.parallel == 0 || settings.host_parallel == 0 {
            return Err(ProberError::Parallel);
        }
        let http = HttpSettings {
            user_agent: settings.user_agent.clone(),
            connect_timeout: settings.connect_timeout,
            read_timeout: settings.read_timeout,
            device: settings.device.clone(),
        };
        let tls = TlsProber::new(settings.read_timeout);
        let parallel = Semaphore::new(settings.parallel.min(Semaphore::MAX_PERMITS));
        let hosts = Mutex::new(HashMap::new());
        Ok(Self { inner: Arc::new(Inner { catalogue, settings, http, tls, parallel, hosts }) })
    }

    /// What answers on an open TCP port. `unknown` with what was seen, where no definition matches.
    pub async fn tcp(&self, endpoint: Endpoint) -> Service {
        if self.skips(endpoint) {
            return not_probed(endpoint);
        }
        self.session(Endpoint::tcp(endpoint.address, endpoint.port)).await.service()
    }

    /// What answers on a UDP port; `None` when nothing did.
    pub async fn udp(&self, endpoint: Endpoint) -> Option<Service> {
        if self.skips(endpoint) {
            return None;
        }
        let session = self.session(Endpoint::udp(endpoint.address, endpoint.port)).await;
        session.heard().then(|| session.service())
    }

    /// What facts that came another way than by asking this endpoint (an answer to a multicast query) make of it, by
    /// the same definitions. `None` when no definition asks this codec's question or recognises the answer.
    pub fn judge(&self, endpoint: Endpoint, codec: &str, facts: Facts) -> Option<Service> {
        let request = Arc::new(Request::Codec(codec.to_owned()));
        let mut session = Session::new(self.inner.catalogue.definitions(), endpoint, self.inner.settings.class);
        let cleaned = facts.into_iter().map(|(name, value)| (name, text::clean_list(&value))).collect();
        session.handle_answer(request, Answer::facts(cleaned));
        // Nothing else is asked: what is not known stays unknown.
        session.stop();
        session.decision().is_some().then(|| session.service())
    }

    /// Whether the owners of this port are known to fall over, and nobody said to ask them all the same.
    pub fn skips(&self, endpoint: Endpoint) -> bool {
        let ranges: &[(u16, u16)] = match endpoint.transport {
            Transport::Tcp => &FRAGILE_TCP,
            Transport::Udp => &FRAGILE_UDP,
        };
        let fragile = ranges.iter().any(|(first, last)| (*first..=*last).contains(&endpoint.port));
        fragile && self.inner.settings.fragile == Fragile::Skip
    }

    async fn session(&self, endpoint: Endpoint) -> Session {
        let inner = &*self.inner;
        let mut session = Session::new(inner.catalogue.definitions(), endpoint, inner.settings.class);
        let host = inner.host(endpoint.address);
        // The semaphores are never closed; without a permit the only harm would be one probe more at a time.
        let _host: Option<SemaphorePermit<'_>> = host.acquire().await.ok();
        let _all: Option<SemaphorePermit<'_>> = inner.parallel.acquire().await.ok();
        let mut wire = Wire::new(inner, endpoint);
        let all = async {
            loop {
                match session.next() {
                    Step::Greet(patience) => {
                        let greeting = wire.greet(patience).await;
                        session.handle_greeting(greeting);
                    }
                    Step::Handshake => {
                        let stream = wire.idle.take();
                        let now = jiff::Timestamp::now();
                        session.handle_handshake(inner.tls.handshake(&wire.dialer, stream, now).await);
                    }
                    Step::Ask(layer, request) => {
                        let answer = wire.ask(layer, &request).await;
                        session.handle_answer(request, answer);
                    }
                    Step::Done => break,
                }
            }
        };
        let in_time = timeout(inner.settings.endpoint_timeout, all).await.is_ok();
        if !in_time {
            session.stop();
        }
        session
    }
}

impl Inner {
    fn host(&self, address: IpAddr) -> Arc<Semaphore> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = hosts.get(&address).and_then(Weak::upgrade) {
            return found;
        }
        // Hosts that are done leave an entry behind; a large sweep must not keep one for each.
        if hosts.len() >= 4096 {
            hosts.retain(|_, semaphore| semaphore.strong_count() > 0);
        }
        let fresh = Arc::new(Semaphore::new(self.settings.host_parallel.min(Semaphore::MAX_PERMITS)));
        hosts.insert(address, Arc::downgrade(&fresh));
        fresh
    }
}

/// The connections to one endpoint.
struct Wire<'a> {
    inner: &'a Inner,
    dialer: Dialer,
    /// The connection that was listened on and may still be used, and what the peer said on it.
    idle: Option<Stream>,
    greeting: Vec<u8>,
    http: Option<(Layer, HttpProber)>,
}

impl<'a> Wire<'a> {
    fn new(inner: &'a Inner, endpoint: Endpoint) -> Self {
        let settings = &inner.settings;
        let dialer = Dialer {
            address: endpoint.socket_addr(),
            connect_timeout: settings.connect_timeout,
            read_timeout: settings.read_timeout,
            greeting_timeout: settings.greeting_timeout,
            device: settings.device.clone(),
        };
        Self { inner, dialer, idle: None, greeting: Vec::new(), http: None }
    }

    async fn greet(&mut self, patience: Patience) -> Answer {
        let mut stream = match self.dialer.connect().await {
            Ok(stream) => stream,
            Err(error) => return Answer::failed(Outcome::of_connect(&error)),
        };
        let answer = match patience {
            Patience::None => Answer::failed(Outcome::Silent),
            Patience::Full => stream::greeting(&mut stream, self.dialer.greeting_timeout).await,
        };
        if answer.outcome != Outcome::Closed {
            self.idle = Some(stream);
        }
        self.greeting.clone_from(&answer.body);
        answer
    }

    async fn ask(&mut self, layer: Layer, request: &Request) -> Answer {
        let wait = self.dialer.read_timeout;
        match (request, layer) {
            // Listened to before anything else.
            (Request::Greeting, _) => Answer::failed(Outcome::Silent),
            (Request::Http(http), _) => match self.http(layer) {
                Some(prober) => prober.ask(http).await,
                None => Answer::failed(Outcome::Unreachable),
            },
            (Request::Grpc(call), _) => {
                grpc::call(call, layer, &self.dialer, &self.inner.tls, &self.inner.http.user_agent).await
            }
            (Request::Bytes(bytes), Layer::Datagram) => datagram::bytes(&self.dialer, &bytes.send, wait).await,
            (Request::Codec(name), Layer::Datagram) => match codec::find(name, Transport::Udp) {
                Some(codec) => datagram::codec(&self.dialer, codec, self.codec_ask(), wait).await,
                None => Answer::failed(Outcome::Unreachable),
            },
            (Request::Bytes(bytes), Layer::Tls) => match self.inner.tls.connect(&self.dialer, &[]).await {
                Ok(mut stream) => stream::bytes(&mut stream, bytes, wait).await,
                Err(_) => Answer::failed(Outcome::Unreachable),
            },
            (Request::Codec(name), Layer::Tls) => {
                match (codec::find(name, Transport::Tcp), self.inner.tls.connect(&self.dialer, &[]).await) {
                    (Some(codec), Ok(mut stream)) => {
                        let talk = Talk { received: Vec::new(), wait };
                        stream::codec(&mut stream, codec, self.codec_ask(), talk).await
                    }
                    _ => Answer::failed(Outcome::Unreachable),
                }
            }
            (Request::Bytes(bytes), Layer::Plain) => match self.stream().await {
                Some((mut stream, _)) => stream::bytes(&mut stream, bytes, wait).await,
                None => Answer::failed(Outcome::Unreachable),
            },
            (Request::Codec(name), Layer::Plain) => match (codec::find(name, Transport::Tcp), self.stream().await) {
                (Some(codec), Some((mut stream, received))) => {
                    stream::codec(&mut stream, codec, self.codec_ask(), Talk { received, wait }).await
                }
                _ => Answer::failed(Outcome::Unreachable),
            },
        }
    }

    /// What a codec's request depends on. The id only tells late answers from others, so any number that differs from
    /// conversation to conversation will do.
    fn codec_ask(&self) -> Ask {
        let id = std::collections::hash_map::RandomState::new().hash_one(self.dialer.address);
        Ask { id: (id & u64::from(u32::MAX)) as u32, peer: self.dialer.address.ip() }
    }

    /// The connection that was listened on, else a new one.
    async fn stream(&mut self) -> Option<(Stream, Vec<u8>)> {
        match self.idle.take() {
            Some(stream) => Some((stream, std::mem::take(&mut self.greeting))),
            None => self.dialer.connect().await.ok().map(|stream| (stream, Vec::new())),
        }
    }

    fn http(&mut self, layer: Layer) -> Option<&HttpProber> {
        // A server with few workers must not wait for a connection that is only being listened on.
        self.idle = None;
        if self.http.as_ref().is_none_or(|(known, _)| *known != layer) {
            let made = HttpProber::new(self.dialer.address, layer, &self.inner.http, &self.inner.tls);
            self.http = made.ok().map(|prober| (layer, prober));
        }
        self.http.as_ref().map(|(_, prober)| prober)
    }
}

fn not_probed(endpoint: Endpoint) -> Service {
    Service {
        name: "unknown".to_owned(),
        product: None,
        version: None,
        tls: None,
        access: Access::Unknown,
        severity: Severity::Info,
        summary: format!(
            "not probed: printers and controllers on port {} may print or fail; hint: --probe-fragile",
            endpoint.port
        ),
        details: BTreeMap::new(),
        evidence: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_from_elsewhere_are_judged_by_the_same_table() {
        let prober = Prober::new(Arc::new(Catalogue::builtin()), ProberSettings::default()).unwrap();
        let endpoint = Endpoint::udp([198, 18, 0, 1].into(), 5353);
        let facts = |pairs: &[(&str, &str)]| -> Facts {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let found = facts(&[("reply", "answer"), ("leaks", "hosts mac"), ("hosts", "a\u{1b}[2J.local")]);
        let service = prober.judge(endpoint, "dns-sd", found).unwrap();
        assert_eq!((service.name.as_str(), service.access), ("avahi", Access::Unauthenticated));
        assert_eq!(service.severity, Severity::Medium);
        assert_eq!(service.details["host-names"], "a\\u{1b}[2J.local");
        assert_eq!(prober.judge(endpoint, "dns-sd", facts(&[("reply", "not-mdns")])), None);
        assert_eq!(prober.judge(endpoint, "no-such-codec", facts(&[("reply", "answer")])), None);
    }
}
