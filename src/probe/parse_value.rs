//! Single values of a definition, and where one is wrong.

use toml::Spanned;

use super::definition::*;
use super::parse_raw::*;
use crate::model::PortRanges;

/// A problem at a byte of the text.
pub(super) struct At {
    pub(super) offset: usize,
    pub(super) problem: String,
}

impl At {
    pub(super) fn new(offset: usize, problem: impl Into<String>) -> Self {
        Self { offset, problem: problem.into() }
    }
}

pub(super) fn http_request(raw: &RawHttp) -> Result<HttpRequest, At> {
    let offset = raw.path.span().start;
    let path = raw.path.get_ref();
    if !path.starts_with('/') || path.bytes().any(|byte| byte <= b' ' || byte >= 0x7f) {
        return Err(At::new(offset, "an HTTP path begins with `/` and has no spaces"));
    }
    let method = raw.method.as_deref().unwrap_or("GET");
    if !["GET", "HEAD", "POST", "OPTIONS"].contains(&method) {
        return Err(At::new(offset, format!("HTTP method `{method}` is not for reading")));
    }
    if method != "POST" && !raw.body.is_empty() {
        return Err(At::new(offset, "only POST has a body"));
    }
    let redirects = match raw.redirects.as_deref() {
        None => Redirects::Refused,
        Some("same-origin") => Redirects::SameOrigin,
        Some(other) => return Err(At::new(offset, format!("redirects `{other}` is not `same-origin`"))),
    };
    Ok(HttpRequest {
        method: method.to_owned(),
        path: path.clone(),
        headers: raw.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect(),
        body: raw.body.clone(),
        limit: raw.limit.unwrap_or(BODY_LIMIT).min(BODY_LIMIT),
        find: raw.find.clone(),
        redirects,
    })
}

pub(super) fn ports(raw: &[Spanned<RawPort>]) -> Result<PortRanges, At> {
    let mut ranges = PortRanges::default();
    for port in raw {
        let text = match port.get_ref() {
            RawPort::Number(number) => number.to_string(),
            RawPort::Range(text) => text.clone(),
        };
        let parsed: PortRanges = text.parse().map_err(|error| At::new(port.span().start, format!("{error}")))?;
        ranges = ranges.union(&parsed);
    }
    Ok(ranges)
}

pub(super) fn layers(raw: Option<&Spanned<Vec<String>>>) -> Result<Vec<Layer>, At> {
    let Some(raw) = raw else {
        return Ok(vec![Layer::Plain, Layer::Tls]);
    };
    let one = |word: &String| match word.as_str() {
        "plain" => Ok(Layer::Plain),
        "tls" => Ok(Layer::Tls),
        _ => Err(At::new(raw.span().start, format!("layer `{word}` is neither `plain` nor `tls`"))),
    };
    raw.get_ref().iter().map(one).collect()
}

pub(super) fn class(raw: Option<&Spanned<String>>) -> Result<Class, At> {
    match raw.map(|word| (word.get_ref().as_str(), word.span().start)) {
        None | Some(("default", _)) => Ok(Class::Default),
        Some(("opt-in", _)) => Ok(Class::OptIn),
        Some((word, offset)) => Err(At::new(offset, format!("class `{word}` is neither `default` nor `opt-in`"))),
    }
}

pub(super) fn unhex(text: &Spanned<String>) -> Result<Vec<u8>, At> {
    let error = || At::new(text.span().start, "not an even number of hexadecimal digits");
    let digits: Vec<u32> = text
        .get_ref()
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).ok_or_else(error))
        .collect::<Result<_, _>>()?;
    if !digits.len().is_multiple_of(2) {
        return Err(error());
    }
    // Two digits below 16 make a byte.
    Ok(digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
}
