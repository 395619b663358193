//! A rule's line as words, options and the matches and targets that these belong to.

/// A word of a line; what was in quotes is never an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub text: String,
    quoted: bool,
}

/// An option with its values: `! --dport 22`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// Without its dashes; short names of the basic options: `s`, `d`, `i`, `o`, `p`, `f`.
    pub name: String,
    pub negated: bool,
    pub values: Vec<String>,
}

/// A match or a target with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub name: String,
    pub choices: Vec<Choice>,
    /// As it stood in the line: `-m limit --limit 3/min`.
    pub text: String,
}

/// A rule's line after `-A CHAIN`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub basic: Vec<Choice>,
    pub matches: Vec<Part>,
    /// `-j`, or `-g` with `goes` set.
    pub target: Option<Part>,
    pub goes: bool,
    /// `-c PACKETS BYTES`.
    pub counter: Option<(u64, u64)>,
}

/// Name of the part that takes options of the packet's protocol (`--dport` without `-m tcp` before it).
pub(super) const PROTOCOL_PART: &str = "";

impl Line {
    /// Sorts the options of a rule.
    pub fn parse(words: &[Word]) -> Result<Self, String> {
        let mut line = Self::default();
        let mut place = Place::Nowhere;
        let mut rest = words;
        while !rest.is_empty() {
            let (choice, text, after) = next_choice(rest)?;
            rest = after;
            match choice.name.as_str() {
                "m" => {
                    line.matches.push(Part { name: one_value(&choice)?, choices: Vec::new(), text });
                    place = Place::Match(line.matches.len() - 1);
                }
                "j" | "g" => {
                    if line.target.is_some() {
                        return Err("a second target".to_owned());
                    }
                    line.goes = choice.name == "g";
                    line.target = Some(Part { name: one_value(&choice)?, choices: Vec::new(), text });
                    place = Place::Target;
                }
                "c" => line.counter = Some(counter_of(&choice.values)?),
                "4" | "6" => {}
                "s" | "d" | "i" | "o" | "p" | "f" => line.basic.push(choice),
                name if PROTOCOL_OPTIONS.contains(&name) => {
                    let part = match line.matches.iter_mut().find(|part| is_protocol_match(&part.name)) {
                        Some(part) => part,
                        None => {
                            line.matches.push(Part {
                                name: PROTOCOL_PART.to_owned(),
                                choices: Vec::new(),
                                text: String::new(),
                            });
                            line.matches.last_mut().ok_or("no match")?
                        }
                    };
                    part.add(choice, &text);
                }
                _ => match place {
                    Place::Match(index) => line.matches[index].add(choice, &text),
                    Place::Target => line.target.as_mut().ok_or("no target")?.add(choice, &text),
                    Place::Nowhere => return Err(format!("option {text} belongs to no match")),
                },
            }
        }
        Ok(line)
    }
}

impl Part {
    fn add(&mut self, choice: Choice, text: &str) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(text);
        self.choices.push(choice);
    }
}

/// Cuts a line into words as iptables-restore does: double quotes hold spaces, in them a backslash takes the next
/// character as it is.
pub(super) fn split(line: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut characters = line.chars().peekable();
    while let Some(&first) = characters.peek() {
        if first.is_whitespace() {
            characters.next();
            continue;
        }
        let (mut text, mut quoted, mut open) = (String::new(), false, false);
        while let Some(&character) = characters.peek() {
            if !open && character.is_whitespace() {
                break;
            }
            characters.next();
            match character {
                '"' => {
                    open = !open;
                    quoted = true;
                }
                '\\' if open => text.push(characters.next().ok_or("a backslash at the end")?),
                _ => text.push(character),
            }
        }
        if open {
            return Err("a quote is not closed".to_owned());
        }
        words.push(Word { text, quoted });
    }
    Ok(words)
}

/// `[PACKETS:BYTES]`.
pub(super) fn bracketed_counter(text: &str) -> Option<(u64, u64)> {
    let (packets, bytes) = text.strip_prefix('[')?.strip_suffix(']')?.split_once(':')?;
    Some((packets.parse().ok()?, bytes.parse().ok()?))
}

/// Which part an option without a place of its own belongs to.
#[derive(Clone, Copy)]
enum Place {
    Nowhere,
    Match(usize),
    Target,
}

/// The option at the start of `words` with its values, its text and the words after it.
fn next_choice(words: &[Word]) -> Result<(Choice, String, &[Word]), String> {
    let mut negated = false;
    let mut rest = words;
    if rest[0].is_bang() {
        negated = true;
        rest = &rest[1..];
    }
    let Some((option, after)) = rest.split_first() else { return Err("nothing after !".to_owned()) };
    rest = after;
    let Some(name) = option.option_name() else { return Err(format!("stray word {:?}", option.text)) };
    let mut values = Vec::new();
    if TAKES_ANYTHING.contains(&name) {
        let Some((value, after)) = rest.split_first() else { return Err(format!("--{name} without a value")) };
        values.push(value.text.clone());
        rest = after;
    } else {
        while let Some((value, after)) = rest.split_first() {
            // `-i ! lo`, as iptables before 1.4.3 wrote it.
            if value.is_bang() && values.is_empty() && after.first().is_some_and(|next| next.option_name().is_none()) {
                negated = true;
            } else if value.is_bang() || value.option_name().is_some() {
                break;
            } else {
                values.push(value.text.clone());
            }
            rest = after;
        }
    }
    let text = words[..words.len() - rest.len()].iter().map(Word::as_written).collect::<Vec<_>>().join(" ");
    Ok((Choice { name: canonical(name).to_owned(), negated, values }, text, rest))
}

impl Word {
    fn is_bang(&self) -> bool {
        self.text == "!" && !self.quoted
    }

    /// The option's name without dashes.
    fn option_name(&self) -> Option<&str> {
        if self.quoted {
            return None;
        }
        let name = self.text.strip_prefix("--").or_else(|| self.text.strip_prefix('-'))?;
        (!name.is_empty()).then_some(name)
    }

    fn as_written(&self) -> String {
        if self.quoted {
            format!("\"{}\"", self.text.replace('\\', "\\\\").replace('"', "\\\""))
        } else {
            self.text.clone()
        }
    }
}

fn one_value(choice: &Choice) -> Result<String, String> {
    match choice.values.as_slice() {
        [value] if !choice.negated => Ok(value.clone()),
        _ => Err(format!("-{} needs one name", choice.name)),
    }
}

fn counter_of(values: &[String]) -> Result<(u64, u64), String> {
    match values {
        [packets, bytes] => packets.parse().ok().zip(bytes.parse().ok()).ok_or_else(|| "bad counters".to_owned()),
        _ => Err("-c needs packets and bytes".to_owned()),
    }
}

/// Short names of the basic options (iptables(8), PARAMETERS).
fn canonical(name: &str) -> &str {
    match name {
        "source" | "src" => "s",
        "destination" | "dst" => "d",
        "in-interface" => "i",
        "out-interface" => "o",
        "protocol" | "proto" => "p",
        "fragment" => "f",
        "match" => "m",
        "jump" => "j",
        "goto" => "g",
        "set-counters" => "c",
        "ipv4" => "4",
        "ipv6" => "6",
        "source-port" => "sport",
        "destination-port" => "dport",
        other => other,
    }
}

fn is_protocol_match(name: &str) -> bool {
    matches!(name, PROTOCOL_PART | "tcp" | "udp" | "udplite" | "sctp" | "dccp" | "icmp" | "icmp6" | "icmpv6")
}

/// Options of the matches that a protocol brings with it.
const PROTOCOL_OPTIONS: &[&str] =
    &["sport", "dport", "tcp-flags", "syn", "tcp-option", "icmp-type", "icmpv6-type", "chunk-types", "dccp-types"];

/// Options whose value may look like an option.
const TAKES_ANYTHING: &[&str] =
    &["comment", "hashlimit-name", "hex-string", "log-prefix", "name", "nflog-prefix", "string", "ulog-prefix"];

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line::parse(&split(text).unwrap()).unwrap()
    }

    #[test]
    fn quotes_hold_spaces_and_what_looks_like_an_option() {
        let words = split(r#"-m comment --comment "a \"b\" -j \\ DROP" -j ACCEPT"#).unwrap();
        assert_eq!(words[3].text, r#"a "b" -j \ DROP"#);
        let rule = line(r#"-m comment --comment "a \"b\" -j DROP" -j ACCEPT"#);
        assert_eq!(rule.target.unwrap().name, "ACCEPT");
        assert_eq!(rule.matches[0].text, r#"-m comment --comment "a \"b\" -j DROP""#);
        // iptables-save puts no quotes around a comment of dashes and letters.
        assert_eq!(line("-m comment --comment -j -j DROP").target.unwrap().name, "DROP");
    }

    #[test]
    fn options_find_their_part() {
        let rule = line("! -i lo -p tcp -m conntrack --ctstate NEW -m tcp ! --dport 22 -j LOG --log-level 4 -c 1 2");
        assert_eq!(rule.basic[0], Choice { name: "i".into(), negated: true, values: vec!["lo".into()] });
        assert_eq!(rule.matches[0].choices[0].name, "ctstate");
        assert_eq!(
            rule.matches[1].choices,
            [Choice { name: "dport".into(), negated: true, values: vec!["22".into()] }]
        );
        assert_eq!(rule.target.unwrap().choices[0].values, ["4"]);
        assert_eq!(rule.counter, Some((1, 2)));
        assert!(line("-i ! lo").basic[0].negated, "as old versions wrote it");
        assert_eq!(line("-p udp --dport 53").matches[0].name, PROTOCOL_PART);
    }

    #[test]
    fn broken_lines_say_why() {
        for (text, why) in [
            ("-m comment --comment \"open", "a quote is not closed"),
            ("-m", "-m needs one name"),
            ("-j DROP -j ACCEPT", "a second target"),
            ("-i lo !", "nothing after !"),
            ("tcp -j DROP", "stray word \"tcp\""),
            ("--limit 3", "option --limit 3 belongs to no match"),
        ] {
            let error = split(text).and_then(|words| Line::parse(&words)).unwrap_err();
            assert_eq!(error, why, "{text}");
        }
    }
}
