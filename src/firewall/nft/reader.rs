//! The objects of a listing: tables, chains, sets, rules, and what refers to what.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::document::{NftError, wrong};
use super::expression::Known;
use super::json::{Map, Value};
use super::statement::{Malformed, Reader};
use super::{render, sets};
use crate::firewall::ruleset::{
    Backend, BaseChain, Chain, ChainKind, ElementData, Family, Hook, Policy, Rule, Ruleset, Set, Table, Verdict,
};
use crate::model::unread::{Lack, Unread};

/// A listing while its objects are read.
pub(super) struct Listing<'a> {
    dormant: &'a [String],
    tables: Vec<Draft>,
    /// Place in `tables` of a family and a name.
    at: HashMap<Family, HashMap<String, usize>>,
    unread: Vec<Unread>,
}

/// A table while it is read.
struct Draft {
    table: Table,
    /// Place in the table's chains of a name.
    chains: HashMap<String, usize>,
    sets: HashMap<String, Set>,
    filled: BTreeSet<String>,
    targets: BTreeSet<String>,
}

/// An object of the listing with its place.
#[derive(Clone, Copy)]
struct Object<'a> {
    index: usize,
    kind: &'a str,
    body: &'a Map<'a>,
}

impl<'a> Object<'a> {
    fn text(self, key: &str) -> Result<&'a str, NftError> {
        match self.body.get(key) {
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(self.wrong(key, "not a string")),
            None => Err(self.wrong("", format!("has no `{key}`"))),
        }
    }

    fn wrong(self, key: &str, message: impl Into<String>) -> NftError {
        // RFC 6901: `~` and `/` are written `~0` and `~1`.
        let mut pointer = format!("/nftables/{}/{}", self.index, self.kind.replace('~', "~0").replace('/', "~1"));
        if !key.is_empty() {
            pointer.push('/');
            pointer.push_str(key);
        }
        wrong(pointer, message)
    }

    fn family(self) -> Result<Option<Family>, NftError> {
        Ok(match self.text("family")? {
            "arp" => Some(Family::Arp),
            "bridge" => Some(Family::Bridge),
            "inet" => Some(Family::Inet),
            "ip" => Some(Family::Ip),
            "ip6" => Some(Family::Ip6),
            "netdev" => Some(Family::Netdev),
            _ => None,
        })
    }
}

impl<'d> Listing<'d> {
    pub(super) fn new(dormant: &'d [String]) -> Self {
        Self { dormant, tables: Vec::new(), at: HashMap::new(), unread: Vec::new() }
    }

    pub(super) fn object(&mut self, index: usize, value: &Value<'_>) -> Result<(), NftError> {
        let object = value.as_object().ok_or_else(|| wrong(format!("/nftables/{index}"), "not an object"))?;
        let (kind, body) =
            object.only().ok_or_else(|| wrong(format!("/nftables/{index}"), "not an object with one member"))?;
        match kind {
            "metainfo" => return Ok(()),
            "table" | "chain" | "rule" | "set" | "map" | "meter" => {}
            // Named objects of rules decide nothing by themselves: the rules that use them name them.
            "counter" | "quota" | "limit" | "ct helper" | "ct timeout" | "ct expectation" | "secmark" | "synproxy"
            | "flowtable" | "tunnel" => return Ok(()),
            other => {
                self.unread.push(Unread::new(Lack::Novel, format!("nft {other}: not known to this version")));
                return Ok(());
            }
        }
        let body = body.as_object().ok_or_else(|| wrong(format!("/nftables/{index}/{kind}"), "not an object"))?;
        let object = Object { index, kind, body };
        let Some(family) = object.family()? else {
            let what = format!("nft {kind} of family {}: not known to this version", object.text("family")?);
            self.unread.push(Unread::new(Lack::Novel, what));
            return Ok(());
        };
        if kind == "table" {
            return self.table(object, family);
        }
        let name = object.text("table")?;
        let Some(&at) = self.at.get(&family).and_then(|tables| tables.get(name)) else {
            return Err(object.wrong("table", format!("no table {} {name} before it", family.as_str())));
        };
        match kind {
            "chain" => chain(&mut self.tables[at], object, &mut self.unread),
            "rule" => rule(&mut self.tables[at], object),
            _ => set(&mut self.tables[at], object),
        }
    }

    fn table(&mut self, object: Object<'_>, family: Family) -> Result<(), NftError> {
        let name = object.text("name")?;
        let known = self.at.entry(family).or_default();
        if known.contains_key(name) {
            return Err(object.wrong("name", format!("a second table {} {name}", family.as_str())));
        }
        known.insert(name.to_owned(), self.tables.len());
        let dormant = self.sleeps(family, name, object.body.get("flags"));
        let table = Table {
            backend: Backend::Nft,
            family,
            name: name.to_owned(),
            dormant,
            chains: Vec::new(),
            sets: HashMap::new(),
        };
        self.tables.push(Draft {
            table,
            chains: HashMap::new(),
            sets: HashMap::new(),
            filled: BTreeSet::new(),
            targets: BTreeSet::new(),
        });
        Ok(())
    }

    /// Whether a table is dormant. nft 1.0.6 prints garbage for a table's flags; that there are any is all it says.
    fn sleeps(&self, family: Family, name: &str, flags: Option<&Value<'_>>) -> Option<bool> {
        let listed = format!("{} {name}", family.as_str());
        if self.dormant.contains(&listed) {
            return Some(true);
        }
        let flags: Vec<&Value> = match flags {
            None | Some(Value::Null) => return Some(false),
            Some(Value::Array(flags)) => flags.iter().collect(),
            Some(flag) => vec![flag],
        };
        if flags.iter().any(|flag| **flag == "dormant") {
            return Some(true);
        }
        let readable = flags.iter().all(|flag| **flag == "owner" || **flag == "persist");
        // With any table in the list the text was read, and showed this one awake.
        (readable || !self.dormant.is_empty()).then_some(false)
    }

    pub(super) fn finish(mut self) -> Ruleset {
        let mut tables = Vec::with_capacity(self.tables.len());
        for mut draft in self.tables {
            let family = draft.table.family.as_str();
            for set in draft.sets.values() {
                for element in &set.elements {
                    if let Some(ElementData::Verdict(Verdict::Jump(target) | Verdict::Goto(target))) = &element.data {
                        draft.targets.insert(target.clone());
                    }
                }
            }
            for target in draft.targets.iter().filter(|target| !draft.chains.contains_key(*target)) {
                let what = format!("chain {family} {} {target}: led to, but not listed", draft.table.name);
                self.unread.push(Unread::new(Lack::Broken, what));
            }
            // nft 1.0.6 leaves the flag `dynamic` out: a rule that fills the set tells the same.
            for name in &draft.filled {
                if let Some(set) = draft.sets.get_mut(name) {
                    set.dynamic = true;
                }
            }
            draft.table.sets = draft.sets.into_iter().map(|(name, set)| (name, Arc::new(set))).collect();
            tables.push(draft.table);
        }
        Ruleset { tables, unread: self.unread, ..Ruleset::default() }
    }
}

fn set(draft: &mut Draft, object: Object<'_>) -> Result<(), NftError> {
    let name = object.text("name")?;
    let set = sets::named(name, object.body);
    if draft.sets.insert(name.to_owned(), set).is_some() {
        return Err(object.wrong("name", format!("a second set {name}")));
    }
    Ok(())
}

fn chain(draft: &mut Draft, object: Object<'_>, unread: &mut Vec<Unread>) -> Result<(), NftError> {
    let name = object.text("name")?;
    if draft.chains.contains_key(name) {
        return Err(object.wrong("name", format!("a second chain {name}")));
    }
    let base = match object.body.get("hook") {
        // All of them are printed together, or none: a chain with some of them is of no nft.
        None => match ["type", "prio", "policy", "dev"].into_iter().find(|key| object.body.get(key).is_some()) {
            Some(key) => return Err(object.wrong("", format!("has a `{key}` and no `hook`"))),
            None => None,
        },
        Some(_) => match base_chain(object, draft.table.family)? {
            Ok(base) => Some(base),
            Err(reason) => {
                let what = format!("chain {} {} {name}: {reason}", draft.table.family.as_str(), draft.table.name);
                unread.push(Unread::new(Lack::Novel, what));
                None
            }
        },
    };
    draft.chains.insert(name.to_owned(), draft.table.chains.len());
    draft.table.chains.push(Chain { name: name.to_owned(), base, rules: Vec::new() });
    Ok(())
}

/// The inner error is for what later versions of nft may have.
fn base_chain(object: Object<'_>, family: Family) -> Result<Result<BaseChain, String>, NftError> {
    let kind = match object.text("type")? {
        "filter" => ChainKind::Filter,
        "nat" => ChainKind::Nat,
        "route" => ChainKind::Route,
        other => return Ok(Err(format!("type {other} is not known to this version"))),
    };
    let hook = match object.text("hook")? {
        "ingress" => Hook::Ingress,
        "prerouting" => Hook::Prerouting,
        "input" => Hook::Input,
        "forward" => Hook::Forward,
        "output" => Hook::Output,
        "postrouting" => Hook::Postrouting,
        "egress" => Hook::Egress,
        other => return Ok(Err(format!("hook {other} is not known to this version"))),
    };
    // nft prints it of every base chain, whatever its family and its hook, and whether or not anybody set it
    // (`chain_print_json`; libnftables-json(5), CHAIN: required for base chains). What it would be without it nobody knows.
    let policy = object.body.get("policy").ok_or_else(|| object.wrong("", "has a hook and no `policy`"))?;
    let policy = match policy.as_str() {
        Some("accept") => Policy::Accept,
        Some("drop") => Policy::Drop,
        _ => return Err(object.wrong("policy", "neither accept nor drop")),
    };
    let priority = object.body.get("prio").ok_or_else(|| object.wrong("", "has a hook and no `prio`"))?;
    let priority = self::priority(priority, family).ok_or_else(|| object.wrong("prio", "not a priority"))?;
    let devices = match object.body.get("dev") {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::String(device)) => Some(vec![device.as_ref().to_owned()]),
        Some(Value::Array(devices)) => devices.iter().map(|device| device.as_str().map(str::to_owned)).collect(),
        Some(_) => None,
    };
    let devices = devices.ok_or_else(|| object.wrong("dev", "not the names of interfaces"))?;
    Ok(Ok(BaseChain { kind, hook, priority, policy, devices }))
}

/// A number, or a name with an offset: `-150`, `mangle`, `filter - 5` (nft(8), CHAINS).
fn priority(value: &Value, family: Family) -> Option<i32> {
    let text = match value {
        Value::String(text) => text.trim(),
        number => return number.as_i64()?.try_into().ok(),
    };
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (name, offset) = text.split_at(end);
    let start: i32 = match (name, family) {
        ("dstnat", Family::Bridge) => -300,
        ("filter", Family::Bridge) => -200,
        ("out", Family::Bridge) => 100,
        ("srcnat", Family::Bridge) => 300,
        ("raw", _) => -300,
        ("mangle", _) => -150,
        ("dstnat", _) => -100,
        ("filter", _) => 0,
        ("security", _) => 50,
        ("srcnat", _) => 100,
        _ => return None,
    };
    let offset: String = offset.chars().filter(|c| !c.is_whitespace()).collect();
    match offset.as_str() {
        "" => Some(start),
        offset => start.checked_add(offset.parse().ok()?),
    }
}

fn rule(draft: &mut Draft, object: Object<'_>) -> Result<(), NftError> {
    let chain = object.text("chain")?;
    let Some(&at) = draft.chains.get(chain) else {
        return Err(object.wrong("chain", format!("no chain {chain} before it")));
    };
    let expressions = match object.body.get("expr") {
        Some(Value::Array(expressions)) => expressions.as_slice(),
        None => &[],
        Some(_) => return Err(object.wrong("expr", "not a list")),
    };
    let family = draft.table.family;
    let mut reader = Reader {
        family,
        known: Known::of_table(family),
        statements: Vec::with_capacity(expressions.len()),
        counter: None,
        filled: &mut draft.filled,
        targets: &mut draft.targets,
    };
    for (index, expression) in expressions.iter().enumerate() {
        reader.read(expression).map_err(|Malformed(message)| object.wrong(&format!("expr/{index}"), message))?;
    }
    let Reader { statements, counter, .. } = reader;
    let rules = &mut draft.table.chains[at].rules;
    let comment = object.body.get("comment").and_then(Value::as_str);
    rules.push(Rule {
        handle: object.body.get("handle").and_then(Value::as_u64),
        number: u32::try_from(rules.len()).map_or(u32::MAX, |before| before.saturating_add(1)),
        text: render::rule(family, expressions, comment),
        comment: comment.map(str::to_owned),
        counter,
        statements,
    });
    Ok(())
}
