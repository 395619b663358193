//! A ruleset made ready to be asked often: base chains by hook, chains by name, indexes of long chains and of sets.

use std::collections::HashMap;
use std::sync::Arc;

use super::index::ChainIndex;
use super::lookup::SetIndex;
use super::loops;
use super::ruleset::{
    Backend, Chain, ChainKind, Expression, Family, Hook, Match, Pattern, Ports, Ruleset, Set, SetReference, Statement,
    Table, Translation, TranslationTarget,
};

/// A chain of a ruleset, by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChainId {
    pub table: usize,
    pub chain: usize,
}

/// A ruleset with its indexes.
#[derive(Debug)]
pub struct Rules {
    pub ruleset: Ruleset,
    chains: Vec<HashMap<String, usize>>,
    indexes: HashMap<ChainId, ChainIndex>,
    /// By table, then by name.
    named: Vec<HashMap<String, SetIndex>>,
    ipsets: HashMap<String, SetIndex>,
    /// By address of the shared set.
    anonymous: HashMap<usize, SetIndex>,
    /// Sorted by priority; the later one of the dump first where priorities are alike.
    hooks: HashMap<(Hook, bool), Vec<ChainId>>,
    /// The same, of the family `bridge`.
    bridge_hooks: HashMap<Hook, Vec<ChainId>>,
    /// Some rule turns connection tracking on (nf_ct_netns_get), for IPv4 and for IPv6; without any, whether something else
    /// does is not known.
    tracks: [bool; 2],
}

impl Rules {
    pub fn new(mut ruleset: Ruleset) -> Self {
        loops::cut(&mut ruleset);
        let mut rules = Self {
            chains: Vec::new(),
            indexes: HashMap::new(),
            named: Vec::new(),
            ipsets: ruleset.ipsets.iter().map(|(name, set)| (name.clone(), SetIndex::new(set))).collect(),
            anonymous: HashMap::new(),
            hooks: HashMap::new(),
            bridge_hooks: HashMap::new(),
            tracks: [false; 2],
            ruleset: Ruleset::default(),
        };
        for (at, table) in ruleset.tables.iter().enumerate() {
            rules.chains.push(table.chains.iter().enumerate().map(|(at, chain)| (chain.name.clone(), at)).collect());
            rules.named.push(table.sets.iter().map(|(name, set)| (name.clone(), SetIndex::new(set))).collect());
            for (place, chain) in table.chains.iter().enumerate() {
                let id = ChainId { table: at, chain: place };
                rules.add_chain(&ruleset, table, chain, id);
            }
        }
        for list in rules.hooks.values_mut().chain(rules.bridge_hooks.values_mut()) {
            // Of equal priority, the one that was hooked in last comes first (nf_hook_entries_grow), and tables are listed in
            // the order in which they were made.
            list.reverse();
            list.sort_by_key(|id| priority(&ruleset.tables[id.table].chains[id.chain]));
        }
        rules.ruleset = ruleset;
        rules
    }

    fn add_chain(&mut self, ruleset: &Ruleset, table: &Table, chain: &Chain, id: ChainId) {
        let named = |reference: &SetReference| match reference {
            SetReference::Anonymous(_) => None,
            SetReference::Named(name) => table.sets.get(name).map(Arc::as_ref),
            SetReference::Ipset(name) => ruleset.ipsets.get(name).map(Arc::as_ref),
        };
        if let Some(index) = ChainIndex::new(chain, named) {
            self.indexes.insert(id, index);
        }
        for statement in chain.rules.iter().flat_map(|rule| &rule.statements) {
            for ipv6 in [false, true] {
                let on = is_asked(table.family, ipv6) && turns_tracking_on(statement, ipv6);
                self.tracks[usize::from(ipv6)] |= on;
            }
            anonymous_sets(statement, &mut |set| {
                self.anonymous.entry(key(set)).or_insert_with(|| SetIndex::new(set));
            });
        }
        if let Some(base) = &chain.base
            && table.dormant != Some(true)
        {
            if table.family == Family::Bridge {
                self.bridge_hooks.entry(base.hook).or_default().push(id);
            }
            for ipv6 in [false, true] {
                if is_asked(table.family, ipv6) {
                    self.hooks.entry((base.hook, ipv6)).or_default().push(id);
                }
            }
        }
    }

    pub fn table(&self, id: ChainId) -> &Table {
        &self.ruleset.tables[id.table]
    }

    pub fn chain(&self, id: ChainId) -> &Chain {
        &self.ruleset.tables[id.table].chains[id.chain]
    }

    pub fn index(&self, id: ChainId) -> Option<&ChainIndex> {
        self.indexes.get(&id)
    }

    /// The chain of this name in the same table.
    pub fn find(&self, table: usize, name: &str) -> Option<ChainId> {
        self.chains.get(table)?.get(name).map(|&chain| ChainId { table, chain })
    }

    /// Base chains of a hook that see packets of the family, in their order.
    pub fn base_chains(&self, hook: Hook, ipv6: bool) -> &[ChainId] {
        self.hooks.get(&(hook, ipv6)).map_or(&[], Vec::as_slice)
    }

    /// Whether connection tracking is certainly on for a family.
    pub fn tracks(&self, ipv6: bool) -> bool {
        self.tracks[usize::from(ipv6)]
    }

    /// Base chains of the family `bridge` at a hook, in their order.
    pub fn bridge_chains(&self, hook: Hook) -> &[ChainId] {
        self.bridge_hooks.get(&hook).map_or(&[], Vec::as_slice)
    }

    /// A set with its index, as a rule of `table` names it.
    pub fn set<'s>(&'s self, table: usize, reference: &'s SetReference) -> Option<(&'s Set, &'s SetIndex)> {
        match reference {
            SetReference::Anonymous(set) => Some((set.as_ref(), self.anonymous.get(&key(set))?)),
            SetReference::Named(name) => {
                let set = self.ruleset.tables.get(table)?.sets.get(name)?;
                Some((set.as_ref(), self.named.get(table)?.get(name)?))
            }
            SetReference::Ipset(name) => Some((self.ruleset.ipsets.get(name)?.as_ref(), self.ipsets.get(name)?)),
        }
    }
}

pub fn kind(chain: &Chain) -> Option<ChainKind> {
    chain.base.as_ref().map(|base| base.kind)
}

pub fn priority(chain: &Chain) -> i32 {
    chain.base.as_ref().map_or(0, |base| base.priority)
}

/// Name of a table for people, with its backend where that is not nft.
pub fn table_name(table: &Table) -> String {
    let family = table.family.as_str();
    match table.backend {
        Backend::Nft | Backend::IptablesNft => format!("{family} {}", table.name),
        Backend::IptablesLegacy => format!("{family} {} (legacy)", table.name),
    }
}

/// Whether a table of the family sees packets of the IP version on their way through the IP layer, or at ingress.
const fn is_asked(family: Family, ipv6: bool) -> bool {
    match family {
        Family::Inet | Family::Netdev => true,
        Family::Ip => !ipv6,
        Family::Ip6 => ipv6,
        Family::Arp | Family::Bridge => false,
    }
}

fn turns_tracking_on(statement: &Statement, ipv6: bool) -> bool {
    let asks = |matching: &Match| of_connection(&matching.left);
    match statement {
        Statement::Match(matching) => asks(matching),
        Statement::AnyOf(matches) | Statement::NoneOf(matches) => matches.iter().any(asks),
        Statement::VerdictMap { key, .. } => of_connection(key),
        Statement::SetMark(value) | Statement::SetField { value, .. } => of_connection(value),
        // Of one family, even in a table of both (nft_nat_init).
        Statement::DestinationNat(to) | Statement::SourceNat(to) => match &to.to {
            TranslationTarget::Address(address) | TranslationTarget::Range(address, _) => address.is_ipv6() == ipv6,
            TranslationTarget::Unchanged | TranslationTarget::Computed(_) => false,
        },
        Statement::Redirect(_) | Statement::Masquerade(_) | Statement::SetConnectionMark(_) => true,
        _ => false,
    }
}

fn of_connection(expression: &Expression) -> bool {
    match expression {
        Expression::Field(field) => field.is_of_connection(),
        Expression::And(one, other)
        | Expression::Or(one, other)
        | Expression::Xor(one, other)
        | Expression::ShiftLeft(one, other)
        | Expression::ShiftRight(one, other) => of_connection(one) || of_connection(other),
        Expression::Concatenation(parts) => parts.iter().any(of_connection),
        Expression::Map { key, .. } => of_connection(key),
        Expression::Choice { .. } | Expression::Value(_) | Expression::Unknown(_) => false,
    }
}

fn key(set: &Arc<Set>) -> usize {
    Arc::as_ptr(set).addr()
}

fn anonymous_sets(statement: &Statement, found: &mut dyn FnMut(&Arc<Set>)) {
    match statement {
        Statement::Match(matching) => in_match(matching, found),
        Statement::AnyOf(matches) | Statement::NoneOf(matches) => {
            matches.iter().for_each(|matching| in_match(matching, found));
        }
        Statement::VerdictMap { key, map } => {
            in_expression(key, found);
            in_reference(map, found);
        }
        Statement::DestinationNat(to) | Statement::SourceNat(to) | Statement::TransparentProxy(to) => {
            in_translation(to, found);
        }
        Statement::Redirect(ports) | Statement::Masquerade(ports) => in_ports(ports, found),
        Statement::SetMark(value) | Statement::SetConnectionMark(value) | Statement::SetField { value, .. } => {
            in_expression(value, found);
        }
        Statement::Accept
        | Statement::Drop
        | Statement::Return
        | Statement::Continue
        | Statement::Jump(_)
        | Statement::Goto(_)
        | Statement::Reject(_)
        | Statement::NoTrack
        | Statement::Passive(_)
        | Statement::Perhaps(_)
        | Statement::Unknown(_) => {}
    }
}

fn in_match(matching: &Match, found: &mut dyn FnMut(&Arc<Set>)) {
    in_expression(&matching.left, found);
    in_pattern(&matching.right, found);
}

fn in_pattern(pattern: &Pattern, found: &mut dyn FnMut(&Arc<Set>)) {
    match pattern {
        Pattern::Set(reference) => in_reference(reference, found),
        Pattern::Concatenation(parts) => parts.iter().for_each(|part| in_pattern(part, found)),
        _ => {}
    }
}

fn in_reference(reference: &SetReference, found: &mut dyn FnMut(&Arc<Set>)) {
    if let SetReference::Anonymous(set) = reference {
        found(set);
    }
}

fn in_translation(translation: &Translation, found: &mut dyn FnMut(&Arc<Set>)) {
    if let TranslationTarget::Computed(expression) = &translation.to {
        in_expression(expression, found);
    }
    in_ports(&translation.ports, found);
}

fn in_ports(ports: &Ports, found: &mut dyn FnMut(&Arc<Set>)) {
    if let Ports::Computed(expression) = ports {
        in_expression(expression, found);
    }
}

fn in_expression(expression: &Expression, found: &mut dyn FnMut(&Arc<Set>)) {
    match expression {
        Expression::And(one, other)
        | Expression::Or(one, other)
        | Expression::Xor(one, other)
        | Expression::ShiftLeft(one, other)
        | Expression::ShiftRight(one, other) => {
            in_expression(one, found);
            in_expression(other, found);
        }
        Expression::Concatenation(parts) => parts.iter().for_each(|part| in_expression(part, found)),
        Expression::Map { key, map } => {
            in_expression(key, found);
            in_reference(map, found);
        }
        Expression::Choice { .. } | Expression::Field(_) | Expression::Value(_) | Expression::Unknown(_) => {}
    }
}
