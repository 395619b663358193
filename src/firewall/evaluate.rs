//! Runs one base chain over a packet: its rules, jumps, the policy; what a statement does is in [`super::statement`].
//!
//! Where it is not known whether a rule matches, the run is split: one half assumes that it does, the other that it
//! does not, and each notes what it assumed. Halves that come to the same end are joined again ([`join`]), so that only
//! what the answer depends on is left.

use super::packet::Packet;
use super::routing::Router;
use super::rules::{ChainId, Rules, kind};
use super::ruleset::{ChainKind, Hook, Policy, Reject, Statement};

/// How a base chain ends for a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Accept,
    Drop,
    Reject(Reject),
    /// With what is not known.
    Unknown(String),
}

/// A rule that mattered, or a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub hook: Hook,
    pub chain: ChainId,
    /// Position in the chain; `None` is the policy.
    pub rule: Option<usize>,
    pub action: Action,
}

/// What a rule did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Accept,
    Drop,
    Reject(Reject),
    Jump,
    Return,
    Translate,
    /// Changed the mark or another field.
    Change,
    NoTrack,
    /// It is not known what it does.
    Unknown,
}

/// Something that was assumed on the way: what, and whether it holds.
pub type Assumption = (String, bool);

/// One way that a packet may take.
#[derive(Clone, Debug, PartialEq)]
pub struct Way {
    pub packet: Packet,
    pub steps: Vec<Step>,
    pub assumed: Vec<Assumption>,
}

/// A way, and how it ended.
pub type Ended = (End, Way);

/// Where a run stands.
#[derive(Clone, Debug)]
pub(super) struct Run {
    frames: Vec<Frame>,
    pub(super) way: Way,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) chain: ChainId,
    pub(super) rule: u32,
    /// Statement of the rule to go on with.
    statement: usize,
}

/// A base chain over a packet at a hook.
#[derive(Clone, Copy, Debug)]
pub struct Evaluation<'a> {
    pub rules: &'a Rules,
    pub router: &'a Router,
    pub hook: Hook,
    pub base: ChainId,
    /// NAT statements change nothing (the administrator's view).
    pub without_nat: bool,
}

pub(super) enum Next {
    /// On to the next statement.
    Statement,
    /// On to the next rule.
    Rule,
    Jump(ChainId),
    Goto(ChainId),
    Return,
    End(End),
}

impl Evaluation<'_> {
    /// All ways that the packet may take through the chain, joined where they come to the same.
    pub fn run(&self, way: Way) -> Vec<Ended> {
        let start = Frame { chain: self.base, rule: 0, statement: 0 };
        let mut open = vec![Run { frames: vec![start], way }];
        let mut ended = Vec::new();
        let mut splits = 0;
        while let Some(run) = open.pop() {
            self.advance(run, &mut open, &mut ended, &mut splits);
            if splits > MOST_SPLITS {
                let way = open.pop().map(|run| run.way).or_else(|| ended.pop().map(|(_, way)| way));
                return way.map(|way| (End::Unknown(TOO_MANY.to_owned()), way)).into_iter().collect();
            }
        }
        join(ended)
    }

    /// Advances one run to its end; halves that split off go to `open`.
    fn advance(&self, mut run: Run, open: &mut Vec<Run>, ended: &mut Vec<Ended>, splits: &mut usize) {
        loop {
            let Some(frame) = run.frames.last_mut() else {
                let end = self.policy(&mut run.way);
                return ended.push((end, run.way));
            };
            let chain = self.rules.chain(frame.chain);
            let count = u32::try_from(chain.rules.len()).unwrap_or(u32::MAX);
            if frame.statement == 0 {
                let next = match self.rules.index(frame.chain) {
                    Some(index) => index.candidates(&run.way.packet, count).next(frame.rule),
                    None => (frame.rule < count).then_some(frame.rule),
                };
                match next {
                    Some(next) => frame.rule = next,
                    None => {
                        self.leave(&mut run);
                        continue;
                    }
                }
            }
            let frame = *frame;
            let Some(rule) = chain.rules.get(frame.rule as usize) else {
                self.leave(&mut run);
                continue;
            };
            let next = match rule.statements.get(frame.statement) {
                None => Next::Rule,
                Some(statement) => {
                    let mut halves = Vec::new();
                    let next = self.statement(statement, frame, rule, &mut run, &mut halves);
                    *splits += halves.len();
                    for (half, next) in halves {
                        self.follow(half, next, open, ended);
                    }
                    next
                }
            };
            match self.step(&mut run, next) {
                None => {}
                Some(end) => return ended.push((end, run.way)),
            }
            if *splits > MOST_SPLITS {
                open.push(run);
                return;
            }
        }
    }

    fn follow(&self, mut half: Run, next: Next, open: &mut Vec<Run>, ended: &mut Vec<Ended>) {
        match self.step(&mut half, next) {
            None => open.push(half),
            Some(end) => ended.push((end, half.way)),
        }
    }

    /// Moves a run on; the end, if this is one.
    fn step(&self, run: &mut Run, next: Next) -> Option<End> {
        let frame = run.frames.last_mut()?;
        match next {
            Next::Statement => frame.statement += 1,
            Next::Rule => (frame.rule, frame.statement) = (frame.rule + 1, 0),
            Next::Jump(chain) => {
                (frame.rule, frame.statement) = (frame.rule + 1, 0);
                if run.frames.len() >= MOST_FRAMES {
                    return Some(End::Unknown("a jump too deep".to_owned()));
                }
                run.frames.push(Frame { chain, rule: 0, statement: 0 });
            }
            Next::Goto(chain) => *frame = Frame { chain, rule: 0, statement: 0 },
            Next::Return => self.leave(run),
            Next::End(end) => return Some(end),
        }
        None
    }

    /// The chain is at its end: back to the caller. A jump that came to nothing leaves no trace.
    fn leave(&self, run: &mut Run) {
        let left = run.frames.pop().map(|frame| frame.chain);
        if let Some(last) = run.way.steps.last()
            && last.action == Action::Jump
            && left.is_some_and(|left| self.leads_to(*last, left))
        {
            run.way.steps.pop();
        }
    }

    fn leads_to(&self, step: Step, left: ChainId) -> bool {
        let rule = step.rule.and_then(|at| self.rules.chain(step.chain).rules.get(at));
        rule.is_some_and(|rule| {
            rule.statements.iter().any(|statement| match statement {
                Statement::Jump(name) | Statement::Goto(name) => self.rules.find(step.chain.table, name) == Some(left),
                Statement::VerdictMap { .. } => true,
                _ => false,
            })
        })
    }

    fn policy(&self, way: &mut Way) -> End {
        let policy = self.rules.chain(self.base).base.as_ref().map_or(Policy::Accept, |base| base.policy);
        let (end, action) = match policy {
            Policy::Accept => (End::Accept, Action::Accept),
            Policy::Drop => (End::Drop, Action::Drop),
        };
        let filters = kind(self.rules.chain(self.base)) == Some(ChainKind::Filter);
        if policy == Policy::Drop || (filters && matches!(self.hook, Hook::Input | Hook::Forward)) {
            way.steps.push(Step { hook: self.hook, chain: self.base, rule: None, action });
        }
        end
    }
}

/// Joins ways that come to the same: what only one of them assumed, the end does not depend on.
pub fn join(ended: Vec<Ended>) -> Vec<Ended> {
    if ended.len() < 2 {
        return ended;
    }
    let mut joined: Vec<Ended> = Vec::new();
    for (end, way) in ended {
        match joined.iter_mut().find(|(known, other)| *known == end && other.packet == way.packet) {
            Some((_, other)) => {
                other.assumed.retain(|assumption| way.assumed.contains(assumption));
                // The longer trail tells more.
                if way.steps.len() > other.steps.len() {
                    other.steps = way.steps;
                }
            }
            None => joined.push((end, way)),
        }
    }
    joined
}

/// Ways that are followed in one base chain; beyond that nobody could read the answer.
const MOST_SPLITS: usize = 128;
const TOO_MANY: &str = "too many rules of which it is not known whether they match";
/// NFT_JUMP_STACK_SIZE is 16; x_tables allows as many as there are chains.
const MOST_FRAMES: usize = 256;
