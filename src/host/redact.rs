//! A process's arguments without what may be a secret in them. Pure.
//!
//! Program and option names stay. A value goes (`***`) when the option's name, or a name inside the value, speaks of a
//! secret; when it is the password of a URL; when it follows a short option that some programs take a password by; and when
//! it looks random. Rather one value too many: what is wanted here is how a program was told to listen.

/// Reads `/proc/PID/cmdline` (arguments end in zero bytes).
pub fn arguments(cmdline: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(cmdline);
    let mut words: Vec<&str> = text.trim_end_matches('\0').split('\0').collect();
    if words == [""] {
        return Vec::new();
    }
    let more = words.len() > MOST;
    words.truncate(MOST);
    let mut shown = all(&words, 0);
    if more {
        shown.push("…".to_owned());
    }
    shown
}

/// `first`: the number of the first word in its line; the program's own name is word 0.
fn all(words: &[&str], first: usize) -> Vec<String> {
    let mut hide = Hide::No;
    let mut shown = Vec::with_capacity(words.len());
    for (index, word) in (first..).zip(words) {
        let text = if word.split_whitespace().nth(1).is_some() && hide == Hide::No {
            // A script, or a title that the program gave itself (`nginx: worker process`).
            let inner: Vec<&str> = word.split_whitespace().collect();
            all(&inner, index).join(" ")
        } else {
            one(word, hide)
        };
        hide = if hide == Hide::No || word.starts_with('-') || SCHEMES.contains(word) {
            after(word, index)
        } else {
            Hide::No
        };
        shown.push(cut(&text));
    }
    shown
}

/// What becomes of the next word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hide {
    No,
    /// Unless it is a number, an address or a path.
    Odd,
    Yes,
}

fn after(word: &str, index: usize) -> Hide {
    if let Some(name) = word.strip_prefix('-').map(|rest| rest.trim_start_matches('-')) {
        return match word {
            "-p" | "-P" | "-a" | "-w" | "-W" | "-u" | "-U" => Hide::Odd,
            _ if word.contains('=') => Hide::No,
            _ if speaks_of_a_secret(name) => Hide::Yes,
            _ => Hide::No,
        };
    }
    // `requirepass VALUE`, `Authorization: VALUE`; the program itself and paths are no such words.
    let bare = word.trim_end_matches(':');
    let named = index > 0 && !word.contains(['/', '=', '.']) && speaks_of_a_secret(bare);
    if named || SCHEMES.contains(&bare) { Hide::Yes } else { Hide::No }
}

fn one(word: &str, hide: Hide) -> String {
    match hide {
        Hide::Yes if !word.starts_with('-') && !is_plain(word) => return HIDDEN.to_owned(),
        Hide::Odd if !word.starts_with('-') && !is_plain(word) && !word.starts_with('/') => return HIDDEN.to_owned(),
        _ => {}
    }
    // `-pSECRET`
    if let Some(value) = word.strip_prefix("-p")
        && !value.is_empty()
        && !value.starts_with('=')
        && !is_plain(value)
        && !value.chars().all(|c| c.is_ascii_lowercase())
    {
        return format!("-p{HIDDEN}");
    }
    if word.contains("-----BEGIN") {
        return HIDDEN.to_owned();
    }
    pieces(&without_userinfo(word))
}

/// Goes over `name=value` pieces, which may follow each other in a query or a list, and over what looks random.
fn pieces(word: &str) -> String {
    let mut shown = String::with_capacity(word.len());
    for (index, piece) in word.split_inclusive(['?', '&', ';', ',']).enumerate() {
        let (piece, end) = match piece.char_indices().next_back() {
            Some((at, '?' | '&' | ';' | ',')) => piece.split_at(at),
            _ => (piece, ""),
        };
        let separator = piece.find('=').or_else(|| piece.find(':').filter(|_| !piece.contains("://")));
        match separator {
            Some(at) if speaks_of_a_secret(last_name(&piece[..at])) && !is_plain(&piece[at + 1..]) => {
                // A secret may have any of the separators in itself: nothing after it is shown.
                shown.push_str(&piece[..=at]);
                shown.push_str(HIDDEN);
                return shown;
            }
            _ if index == 0 && word.starts_with('-') => match separator {
                Some(at) => {
                    shown.push_str(&piece[..=at]);
                    shown.push_str(&without_random(&piece[at + 1..]));
                }
                None => shown.push_str(piece),
            },
            _ => shown.push_str(&without_random(piece)),
        }
        shown.push_str(end);
    }
    shown
}

/// `--a.b.password` ends in `password`; so does `{"password"`.
fn last_name(text: &str) -> &str {
    text.trim_matches(|c: char| !c.is_alphanumeric())
}

/// `scheme://user:password@host`: nothing of the user part stays.
fn without_userinfo(word: &str) -> String {
    let mut shown = String::new();
    let mut rest = word;
    while let Some(at) = rest.find("://") {
        let (scheme, after) = rest.split_at(at + 3);
        shown.push_str(scheme);
        let end = after.find(['/', '?', '#', ',']).unwrap_or(after.len());
        // A password may hold a slash that should have been escaped: up to the last @ of the word.
        rest = match after[..end].rfind('@').or_else(|| after.rfind('@').filter(|at| after[..*at].contains(':'))) {
            Some(at) => {
                shown.push_str(HIDDEN);
                &after[at..]
            }
            None => after,
        };
    }
    shown.push_str(rest);
    shown
}

/// Long runs of letters and digits in which both are mixed as people do not.
fn without_random(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut run = String::new();
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+') {
            run.push(c);
            continue;
        }
        shown.push_str(if is_random(&run) { HIDDEN } else { &run });
        run.clear();
        if c != '\0' {
            shown.push(c);
        }
    }
    shown
}

fn is_random(run: &str) -> bool {
    let count = |is: fn(&char) -> bool| run.chars().filter(is).count();
    let digits = count(char::is_ascii_digit);
    let (upper, lower) = (count(char::is_ascii_uppercase), count(char::is_ascii_lowercase));
    // How often the kind of character changes: often in a token, seldom in `kube-apiserver-v1`.
    let kind = |c: char| {
        if c.is_ascii_digit() {
            0
        } else if c.is_ascii_uppercase() {
            1
        } else {
            2
        }
    };
    let characters: Vec<char> = run.chars().collect();
    let changes = characters.windows(2).filter(|pair| kind(pair[0]) != kind(pair[1])).count();
    let letters = upper + lower;
    let hexadecimal = run.chars().all(|c| c.is_ascii_hexdigit());
    (run.len() >= 16 && digits >= 2 && letters >= 2 && (changes >= 5 || hexadecimal))
        || (run.len() >= 24 && changes >= 8)
        || run.len() >= 48
}

/// A number, a port list, an address, a truth value.
fn is_plain(value: &str) -> bool {
    matches!(value, "true" | "false" | "yes" | "no" | "on" | "off")
        || (value.len() <= 21
            && value.contains(['.', ':'])
            && value.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ':' | '-' | '/')))
        || (value.len() <= 5 && value.chars().all(|c| c.is_ascii_digit()))
}

fn speaks_of_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace(['-', '_', '.'], "");
    let harmless = HARMLESS_ENDS.iter().any(|end| name.ends_with(end));
    !harmless && SECRETS.iter().any(|word| name.contains(word))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Of the header Authorization: the secret is the next word.
const SCHEMES: [&str; 4] = ["Basic", "Bearer", "Digest", "Token"];
const HIDDEN: &str = "***";
const SECRETS: [&str; 22] = [
    "apikey",
    "auth",
    "bearer",
    "cert",
    "connectionstring",
    "cookie",
    "cred",
    "dsn",
    "key",
    "license",
    "login",
    "pass",
    "private",
    "psk",
    "pwd",
    "salt",
    "secret",
    "seed",
    "session",
    "sign",
    "token",
    "webhook",
];
/// Names that end so hold a place or a choice, not the secret itself.
const HARMLESS_ENDS: [&str; 15] = [
    "algorithm",
    "certdir",
    "dir",
    "directory",
    "file",
    "files",
    "host",
    "kubeconfig",
    "method",
    "mode",
    "modes",
    "path",
    "plugins",
    "port",
    "type",
];
const MOST: usize = 64;
const LONGEST: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &[&str]) -> String {
        let bytes: Vec<u8> = line.iter().flat_map(|word| word.bytes().chain([0])).collect();
        arguments(&bytes).join("|")
    }

    #[test]
    fn tables_are_sorted() {
        assert!(SECRETS.is_sorted() && HARMLESS_ENDS.is_sorted());
    }

    #[test]
    fn what_says_how_a_program_listens_stays() {
        for line in [
            &["/usr/bin/etcd", "--listen-client-urls=http://0.0.0.0:2379", "--data-dir", "/var/lib/etcd"][..],
            &["kube-apiserver", "--anonymous-auth=false", "--tls-private-key-file=/etc/k.pem", "--secure-port=6443"],
            &["dockerd", "-H", "tcp://0.0.0.0:2375", "--authorization-plugins=opa"],
            &["sshd", "-D", "-p", "2222"],
            &["nginx: master process /usr/sbin/nginx -g daemon off;"],
            &["python3", "-m", "http.server", "8000", "--bind", "127.0.0.1"],
            &["redis-server", "*:6379"],
            &["docker-proxy", "-proto", "tcp", "-host-ip", "0.0.0.0", "-host-port", "8080"],
        ] {
            assert_eq!(shown(line), line.join("|"));
        }
        assert_eq!(arguments(b""), [""; 0]);
    }

    #[test]
    fn no_form_of_a_secret_stays() {
        let canary = "CANARY-hunter2";
        for line in [
            &["x", "--password", canary][..],
            &["x", "--password=CANARY-hunter2"],
            &["x", "-pCANARY-hunter2"],
            &["x", "-p", canary],
            &["sshpass", "-p", canary, "ssh", "h"],
            &["redis-cli", "-a", canary],
            &["redis-server", "--requirepass", canary],
            &["redis-server", "requirepass", canary],
            &["x", "DB_PASSWORD=CANARY-hunter2"],
            &["x", "postgres://user:CANARY-hunter2@db/x"],
            &["x", "--dsn=postgres://CANARY-hunter2@db/x"],
            &["x", "amqp://user:CANARY/hunter2@mq:5672"],
            &["x", "http://h/p?a=1&token=CANARY-hunter2"],
            &["curl", "-u", "user:CANARY-hunter2"],
            &["curl", "-H", "Authorization: Bearer CANARY-hunter2"],
            &["curl", "-H", "X-Api-Key: CANARY-hunter2"],
            &["sh", "-c", "mysql --password CANARY-hunter2 -h db"],
            &["sh", "-c", "export TOKEN=CANARY-hunter2; run"],
            &["x", "--config", "{\"user\":\"a\",\"password\":\"CANARY-hunter2\"}"],
            &["x", "--set", "auth.password=CANARY-hunter2,more"],
            &["x", "--secret-key", "--password", canary],
            &["x", "--client-secret=a,CANARY-hunter2"],
            &["x", "-----BEGIN PRIVATE KEY-----CANARY-hunter2"],
        ] {
            let text = shown(line);
            assert!(!text.contains("CANARY") && !text.contains("hunter2"), "{line:?}: {text}");
            assert!(text.contains(HIDDEN), "{line:?}: {text}");
        }
    }

    #[test]
    fn what_looks_random_goes_whatever_it_is_called() {
        for word in [
            "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
            "--x=AKIAIOSFODNN7EXAMPLE1Zq9",
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0",
            "9f86d081884c7d659a2feaa0c55ad015",
        ] {
            assert!(shown(&["x", word]).contains(HIDDEN), "{word}");
        }
        for word in [
            "kube-controller-manager",
            "--listen-peer-urls=https://10.0.0.1:2380",
            "/usr/lib/jvm/java-17-openjdk-amd64",
        ] {
            assert_eq!(shown(&["x", word]), format!("x|{word}"));
        }
    }

    #[test]
    fn long_lines_are_cut() {
        let long = "a ".repeat(400);
        assert!(shown(&["x", &long]).chars().count() < 220);
        let many = vec!["y"; 100];
        assert!(shown(&many).ends_with("|…"));
    }
}
