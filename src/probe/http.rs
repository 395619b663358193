//! HTTP/1.1 and HTTP/2 requests of one endpoint: no proxy, no decompression, no redirect elsewhere, bounded in size
//! and time.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, HeaderName, HeaderValue, LOCATION};
use reqwest::{Client, Method, Response, Url};

use super::answer::{Answer, Outcome};
use super::definition::{HttpRequest, Layer, Redirects, SCAN_LIMIT};
use super::text;
use super::tls::{self, TlsProber};

/// Redirects that are followed within one origin.
const REDIRECT_LIMIT: usize = 2;
/// Bytes of HTTP/2 header lists that are taken; HTTP/1.1 heads are bounded by hyper (about 400 KiB, 100 lines).
const HEADER_LIMIT: u32 = 32 * 1024;
/// Bytes of one header value that are kept.
const VALUE_LIMIT: usize = 1024;

/// What a client is made with.
#[derive(Clone, Debug)]
pub(super) struct HttpSettings {
    pub(super) user_agent: String,
    pub(super) connect_timeout: Duration,
    pub(super) read_timeout: Duration,
    /// Everything leaves by this interface; `None`: by the routes.
    pub(super) device: Option<String>,
}

/// A client for one endpoint; keeps its connection for the next request.
#[derive(Clone, Debug)]
pub(super) struct HttpProber {
    client: Client,
    base: Url,
}

impl HttpProber {
    pub(super) fn new(
        address: SocketAddr,
        layer: Layer,
        settings: &HttpSettings,
        tls: &TlsProber,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let scheme = if layer == Layer::Tls { "https" } else { "http" };
        let base = Url::parse(&format!("{scheme}://{address}/"))?;
        let mut builder = Client::builder();
        if let Some(device) = &settings.device {
            builder = builder.interface(device);
        }
        let client = builder
            .tls_backend_preconfigured(tls.http_config()?)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(settings.user_agent.clone())
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.read_timeout)
            .pool_max_idle_per_host(1)
            .http2_max_header_list_size(HEADER_LIMIT)
            .build()?;
        Ok(Self { client, base })
    }

    pub(super) async fn ask(&self, request: &HttpRequest) -> Answer {
        let Ok(mut url) = self.base.join(&request.path) else {
            return Answer::failed(Outcome::Malformed);
        };
        for _ in 0..=REDIRECT_LIMIT {
            let response = match self.send(request, url.clone()).await {
                Ok(response) => response,
                Err(error) => return Answer::failed(outcome(&error)),
            };
            match self.redirected(request, &url, &response) {
                Some(next) => url = next,
                None => return answer(request, response).await,
            }
        }
        Answer::failed(Outcome::Malformed)
    }

    async fn send(&self, request: &HttpRequest, url: Url) -> reqwest::Result<Response> {
        // The definition's reader admits reading methods only.
        let method = Method::from_bytes(request.method.as_bytes()).unwrap_or(Method::GET);
        let mut builder =
            self.client.request(method, url).header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for (name, value) in &request.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                builder = builder.header(name, value);
            }
        }
        if !request.body.is_empty() {
            builder = builder.body(request.body.clone());
        }
        builder.send().await
    }

    /// Where to go on, if the definition wants it and it is the same scheme, host and port.
    fn redirected(&self, request: &HttpRequest, from: &Url, response: &Response) -> Option<Url> {
        if request.redirects == Redirects::Refused || !response.status().is_redirection() || request.method == "POST" {
            return None;
        }
        let to = from.join(response.headers().get(LOCATION)?.to_str().ok()?).ok()?;
        (to.origin() == self.base.origin() && to.username().is_empty()).then_some(to)
    }
}

async fn answer(request: &HttpRequest, mut response: Response) -> Answer {
    let status = response.status().as_u16();
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        let value = &value.as_bytes()[..value.len().min(VALUE_LIMIT)];
        (name.as_str().to_owned(), String::from_utf8_lossy(value).into_owned())
    };
    let headers = response.headers().iter().map(header).collect();
    // What is searched for stands in the page that was asked for; of a refusal the beginning counts.
    let find = request.find.as_deref().filter(|_| response.status().is_success());
    let mut body = Body::new(request.limit, find);
    // A body that breaks off is an answer too: the status and what came of it.
    while !body.full() {
        match response.chunk().await {
            Ok(Some(chunk)) => body.add(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    Answer::http(status, headers, body.kept)
}

/// The part of a body that is kept.
struct Body {
    kept: Vec<u8>,
    limit: usize,
    /// The text to wait for; gone once found.
    awaited: Option<Vec<u8>>,
    read: usize,
}

impl Body {
    fn new(limit: usize, find: Option<&str>) -> Self {
        Self { kept: Vec::new(), limit, awaited: find.map(|text| text.as_bytes().to_vec()), read: 0 }
    }

    fn add(&mut self, chunk: &[u8]) {
        self.read += chunk.len();
        match &self.awaited {
            None => {
                let room = self.limit.saturating_sub(self.kept.len());
                self.kept.extend(chunk.iter().take(room));
            }
            Some(awaited) => {
                self.kept.extend_from_slice(chunk);
                if let Some(position) = text::find(&self.kept, awaited) {
                    self.kept.drain(..position);
                    self.kept.truncate(self.limit);
                    self.awaited = None;
                } else {
                    // The text may lie across the border of two chunks.
                    let keep = awaited.len().saturating_sub(1).min(self.kept.len());
                    self.kept.drain(..self.kept.len() - keep);
                }
            }
        }
    }

    fn full(&self) -> bool {
        match self.awaited {
            None => self.kept.len() >= self.limit,
            Some(_) => self.read >= SCAN_LIMIT,
        }
    }
}

fn outcome(error: &reqwest::Error) -> Outcome {
    if let Some(alert) = tls::alert(error) {
        return Outcome::Alert(alert);
    }
    if error.is_timeout() {
        return Outcome::Silent;
    }
    if error.is_connect() {
        return Outcome::Unreachable;
    }
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        let unreadable = error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse);
        if unreadable || error.downcast_ref::<h2::Error>().is_some_and(h2::Error::is_library) {
            return Outcome::Malformed;
        }
        next = error.source();
    }
    Outcome::Closed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(find: Option<&str>, limit: usize, chunks: &[&[u8]]) -> Vec<u8> {
        let mut body = Body::new(limit, find);
        for chunk in chunks {
            body.add(chunk);
        }
        body.kept
    }

    #[test]
    fn keeps_no_more_than_the_limit() {
        assert_eq!(body(None, 4, &[b"abc", b"def"]), b"abcd");
    }

    #[test]
    fn finds_a_text_across_chunks_and_keeps_nothing_before_it() {
        assert_eq!(body(Some("needle"), 9, &[b"secret nee", b"dle=12", b"3456"]), b"needle=12");
        assert!(body(Some("needle"), 9, &[b"secret secret secret"]).len() < "needle".len());
    }
}
