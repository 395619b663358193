//! Servers inside the test process: recorded Kubernetes answers (tests/data/captures), and peers that behave badly.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::pki::Authority;
use crate::support::{Host, Namespace};

/// What a Go server says to plain HTTP on its TLS port (captures/kubelet-open-plain).
const HTTP_TO_HTTPS: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// One port of a recorded component.
#[derive(Debug)]
pub struct Recording {
    answers: BTreeMap<String, Answer>,
    /// For every path that was not recorded: the answer to `/nosuch`.
    unknown: Answer,
}

#[derive(Clone, Debug)]
struct Answer {
    status: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Recording {
    /// Reads `DIRECTORY/PORT-*.txt`. The password of the recording is replaced by `secret`.
    pub fn load(directory: &Path, port: u16, secret: &str) -> Self {
        let mut answers = BTreeMap::new();
        let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            if !name.starts_with(&format!("{port}-")) || name.ends_with("-tls.txt") {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap().replace("not-a-real-secret", secret);
            if let Some((path, answer)) = parse(&text) {
                answers.insert(path, answer);
            }
        }
        let unknown = answers.remove("/nosuch").unwrap_or_else(|| panic!("{}: no {port}-nosuch", directory.display()));
        assert!(answers.len() > 5, "{}: only {} answers of port {port}", directory.display(), answers.len());
        Self { answers, unknown }
    }

    fn answer(&self, method: &str, target: &str) -> Vec<u8> {
        // A capture may have been asked with its query; else the path alone decides.
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        let answer = self.answers.get(target).or_else(|| self.answers.get(path)).unwrap_or(&self.unknown);
        let mut bytes = format!("HTTP/1.1 {}\r\n", answer.status);
        for (name, value) in &answer.headers {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        bytes.push_str(&format!("Content-Length: {}\r\n\r\n", answer.body.len()));
        if method != "HEAD" {
            bytes.push_str(&answer.body);
        }
        bytes.into_bytes()
    }
}

/// `# curl -ski URL (time)`, status line, headers, empty line, body, `# curl exit 0`. None without an answer.
fn parse(text: &str) -> Option<(String, Answer)> {
    let (command, rest) = text.split_once('\n')?;
    let url = command.split_whitespace().find(|word| word.starts_with("http"))?;
    let path = url.splitn(4, '/').nth(3).map_or_else(|| "/".to_owned(), |path| format!("/{path}"));
    let rest = rest.replace("\r\n", "\n");
    let (head, body) = rest.split_once("\n\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.strip_prefix("HTTP/")?.split_once(' ')?.1.trim();
    let code: u16 = status.split(' ').next()?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .filter(|(name, _)| {
            !["content-length", "transfer-encoding", "date"].contains(&name.to_ascii_lowercase().as_str())
        })
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    // The recorder put a newline of its own behind the body.
    let body = body.rsplit_once("# curl exit")?.0;
    let body = body.strip_suffix('\n').unwrap_or(body);
    let body = body.split("\n# ... body cut at").next().unwrap_or(body).to_owned();
    Some((path, Answer { status: format!("{code} {}", reason(code)), headers, body }))
}

/// HTTP/2 has no reason phrases; HTTP/1.1 has.
const fn reason(code: u16) -> &'static str {
    match code {
        200 => "OK",
        301 => "Moved Permanently",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        _ => "Other",
    }
}

/// A listening thread inside a host's namespace; stopped when the value goes.
#[derive(Debug)]
pub struct Acceptor {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Acceptor {
    /// Listens on all addresses of the namespace, IPv4 and IPv6, and gives each connection to `serve` on its own thread.
    fn start(
        namespace: &Namespace,
        port: u16,
        serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = namespace.inside(|| {
            let listener = TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
                .unwrap_or_else(|error| panic!("port {port}: {error}"));
            listener.set_nonblocking(true).unwrap();
            listener
        });
        let stop = Arc::new(AtomicBool::new(false));
        let serve = Arc::new(serve);
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                let serve = Arc::clone(&serve);
                thread::spawn(move || {
                    let _ = stream.set_nonblocking(false);
                    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
                    // What the peer does to its connection is the peer's affair.
                    let _ = serve(stream);
                });
            }
        });
        Self { stop, thread: Some(thread) }
    }

    /// Accepts and never says a word.
    pub fn silent(host: &Host, port: u16) -> Self {
        Self::start(&host.namespace, port, |mut stream| {
            let mut sink = [0; 4096];
            while stream.read(&mut sink)? > 0 {}
            Ok(())
        })
    }

    /// Accepts and resets at once.
    pub fn resetting(host: &Host, port: u16) -> Self {
        Self::start(&host.namespace, port, |stream| socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)))
    }

    /// Accepts and hangs up without a word, as boxes do that answer for everybody.
    pub fn hanging_up(host: &Host, port: u16) -> Self {
        Self::start(&host.namespace, port, |stream| stream.shutdown(std::net::Shutdown::Both))
    }

    /// Says the same to everybody, whatever the request.
    pub fn saying(namespace: &Namespace, port: u16, answer: &str) -> Self {
        let answer = answer.to_owned();
        Self::start(namespace, port, move |mut stream| {
            read_request(&mut stream)?;
            stream.write_all(answer.as_bytes())
        })
    }

    /// A recorded component over plain HTTP.
    pub fn plain(host: &Host, port: u16, recording: Recording) -> Self {
        Self::start(&host.namespace, port, move |mut stream| serve_http(&mut stream, &recording))
    }

    /// A recorded component over TLS.
    pub fn tls(host: &Host, port: u16, recording: Recording, tls: &TlsShape) -> Self {
        let config = tls.config();
        Self::start(&host.namespace, port, move |mut stream| {
            let mut first = [0];
            if stream.peek(&mut first)? == 1 && first != [0x16] {
                read_request(&mut stream)?;
                return stream.write_all(HTTP_TO_HTTPS);
            }
            let session = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
            serve_http(&mut StreamOwned::new(session, stream), &recording)
        })
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the recorded TLS layer looked like.
#[derive(Debug)]
pub struct TlsShape {
    pub subject: String,
    pub issuer: String,
    pub names: Vec<String>,
    /// Common name of the authority named in a CertificateRequest; none is sent without.
    pub asks_for: Option<String>,
}

impl TlsShape {
    /// From `PORT-tls.txt`: names as they were, with keys of our own.
    pub fn load(directory: &Path, port: u16) -> Self {
        let text = fs::read_to_string(directory.join(format!("{port}-tls.txt"))).unwrap();
        let after = |mark: &str| text.split_once(mark).map(|(_, rest)| rest.lines().next().unwrap_or_default().trim());
        let names = after("X509v3 Subject Alternative Name: \n").unwrap_or_default();
        let asks_for = after("Acceptable client certificate CA names\n");
        Self {
            subject: after("subject=CN = ").unwrap().to_owned(),
            issuer: after("issuer=CN = ").unwrap().to_owned(),
            names: names
                .split(", ")
                .filter_map(|name| name.strip_prefix("DNS:").or_else(|| name.strip_prefix("IP Address:")))
                .map(ToOwned::to_owned)
                .collect(),
            asks_for: asks_for.map(|name| name.trim_start_matches("CN = ").to_owned()),
        }
    }

    fn config(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let identity = Authority::new(&self.issuer).server(&self.subject, &self.names);
        let chain = vec![identity.certificate.der().clone(), identity.authority.der().clone()];
        let key = PrivateKeyDer::Pkcs8(identity.key.serialize_der().into());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
        let builder = match &self.asks_for {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let mut roots = RootCertStore::empty();
                roots.add(Authority::new(name).certificate().der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .allow_unauthenticated()
                    .build()
                    .unwrap();
                builder.with_client_cert_verifier(verifier)
            }
        };
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    }
}

fn serve_http(stream: &mut (impl Read + Write), recording: &Recording) -> io::Result<()> {
    while let Some(head) = read_request(stream)? {
        let mut words = head.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or("/"));
        stream.write_all(&recording.answer(method, target))?;
        stream.flush()?;
        if head.to_ascii_lowercase().contains("\r\nconnection: close") {
            break;
        }
    }
    Ok(())
}

/// The head of one request, its body read away; `None` when the peer has no more to ask.
fn read_request(stream: &mut impl Read) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        if bytes.len() > 16_384 || stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<u64>().ok())
        .unwrap_or(0);
    io::copy(&mut stream.take(length.min(65_536)), &mut io::sink())?;
    Ok(Some(head))
}

#[test]
fn recordings_are_served_as_they_were_recorded() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/captures");
    let open = Recording::load(&data.join("kubelet-open"), 10250, "planted");
    let answer = String::from_utf8(open.answer("GET", "/pods")).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\"value\":\"planted\""), "{answer}");
    // The recorded length was 2004; the password was shorter or longer than the planted word.
    let length = 2004 + "planted".len() - "not-a-real-secret".len();
    assert!(answer.contains(&format!("Content-Length: {length}\r\n")), "{answer}");
    assert!(String::from_utf8(open.answer("GET", "/")).unwrap().ends_with("\r\n\r\n404 page not found\n"));

    let shut = Recording::load(&data.join("kubelet-auth"), 10250, "planted");
    let answer = String::from_utf8(shut.answer("GET", "/pods")).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 401 Unauthorized\r\n") && answer.ends_with("\r\n\r\nUnauthorized"),
        "{answer}"
    );

    let server = Recording::load(&data.join("apiserver-rbac"), 6443, "planted");
    let answer = String::from_utf8(server.answer("GET", "/api/v1/namespaces?limit=1")).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    let tls = TlsShape::load(&data.join("apiserver-rbac"), 6443);
    assert_eq!((tls.subject.as_str(), tls.issuer.as_str()), ("kube-apiserver", "kubernetes"));
    assert_eq!(tls.names.len(), 10);
    assert_eq!(tls.asks_for.as_deref(), Some("kubernetes"));
    assert_eq!(TlsShape::load(&data.join("kubelet-open"), 10250).asks_for, None);
}
