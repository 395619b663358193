//! Recorded answers (`tests/data/probe/captures`) as an HTTP handler.

use super::server::{not_found, response};

/// Answers each path with its recorded file, everything else with Go's 404.
pub fn handler(directory: &'static str, port: u16) -> impl Fn(&str) -> Vec<u8> + Send + Sync + 'static {
    move |line| {
        let path = line.split(' ').nth(1).unwrap_or("/");
        let path = path.split('?').next().unwrap_or("/").trim_start_matches('/');
        let name = if path.is_empty() { "root".to_owned() } else { path.replace('/', "_") };
        let root = env!("CARGO_MANIFEST_DIR");
        let file = format!("{root}/tests/data/probe/captures/{directory}/{port}-{name}.txt");
        std::fs::read_to_string(file).map_or_else(|_| not_found(), |text| recorded(&text))
    }
}

fn recorded(text: &str) -> Vec<u8> {
    let (_, text) = text.split_once('\n').unwrap();
    let (head, rest) = text.split_once("\n\n").unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let whole = rest.split("\n# ").next().unwrap();
    let body = match length {
        Some((_, length)) => &rest[..length.parse::<usize>().unwrap().min(whole.len() + 1)],
        None => whole,
    };
    let kept: Vec<(&str, &str)> =
        headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("content-length")).copied().collect();
    response(status, &kept, body.as_bytes())
}
