//! Runs one statement of a rule over a packet: a match, a verdict, a translation, a change.

use super::evaluate::{Action, End, Evaluation, Frame, Next, Run, Step};
use super::fields::Scene;
use super::lookup::Found;
use super::packet::Tracking;
use super::ruleset::{ElementData, Expression, Rule, SetReference, Statement, Verdict};
use super::translate::{self, Translated};
use super::value::{Truth, Value};

impl Evaluation<'_> {
    /// Runs one statement. `halves` get what else may happen.
    pub(super) fn statement(
        &self,
        statement: &Statement,
        frame: Frame,
        rule: &Rule,
        run: &mut Run,
        halves: &mut Vec<(Run, Next)>,
    ) -> Next {
        let scene = Scene { rules: self.rules, router: self.router, table: frame.chain.table };
        let done = |run: &mut Run, action| {
            run.way.steps.push(Step { hook: self.hook, chain: frame.chain, rule: Some(frame.rule as usize), action });
        };
        match statement {
            Statement::Match(matching) => {
                let truth = scene.holds(matching, &run.way.packet);
                Self::decide(truth, rule, run, halves)
            }
            Statement::AnyOf(matches) => {
                let mut truth = Truth::No;
                for matching in matches {
                    truth = match (truth, scene.holds(matching, &run.way.packet)) {
                        (Truth::Yes, _) | (_, Truth::Yes) => Truth::Yes,
                        (Truth::No, other) => other,
                        (unknown, _) => unknown,
                    };
                }
                Self::decide(truth, rule, run, halves)
            }
            Statement::NoneOf(matches) => {
                let mut truth = Truth::Yes;
                for matching in matches {
                    truth = match (truth, scene.holds(matching, &run.way.packet)) {
                        (Truth::No, _) | (_, Truth::Yes) => Truth::No,
                        (truth, Truth::No) => truth,
                        (_, unknown) => unknown,
                    };
                }
                Self::decide(truth, rule, run, halves)
            }
            Statement::Perhaps(what) => Self::decide(Truth::Unknown(what.clone()), rule, run, halves),
            Statement::Accept => {
                done(run, Action::Accept);
                Next::End(End::Accept)
            }
            Statement::Drop => {
                done(run, Action::Drop);
                Next::End(End::Drop)
            }
            Statement::Reject(kind) => {
                done(run, Action::Reject(*kind));
                Next::End(End::Reject(*kind))
            }
            Statement::Return => Next::Return,
            Statement::Continue => Next::Rule,
            Statement::Jump(name) | Statement::Goto(name) => match self.rules.find(frame.chain.table, name) {
                Some(chain) => {
                    done(run, Action::Jump);
                    if matches!(statement, Statement::Jump(_)) { Next::Jump(chain) } else { Next::Goto(chain) }
                }
                None => Next::End(End::Unknown(format!("chain {name}, which the dump lacks"))),
            },
            Statement::VerdictMap { key, map } => {
                let value = scene.value(key, &run.way.packet);
                let found = scene.find(map, &value);
                match found {
                    Found::No => Next::Rule,
                    Found::Element(element) => match &element.data {
                        Some(ElementData::Verdict(verdict)) => self.verdict(verdict, frame, run),
                        _ => Next::End(End::Unknown(format!("the verdict of an element in `{}`", rule.text))),
                    },
                    Found::Unknown(what) => match key {
                        Expression::Choice { what, first, count } if *count <= MOST_CHOICES => {
                            self.choose((what, *first, *count), map, frame, run, halves)
                        }
                        _ => {
                            done(run, Action::Unknown);
                            Next::End(End::Unknown(what))
                        }
                    },
                }
            }
            Statement::NoTrack => {
                if run.way.packet.tracking == Tracking::Before {
                    run.way.packet.tracking = Tracking::Untracked;
                    done(run, Action::NoTrack);
                }
                Next::Statement
            }
            Statement::SetMark(value) => {
                let Some(mark) = assigned(&scene.value(value, &run.way.packet)) else { return Next::Rule };
                run.way.packet.mark = mark.and_then(|mark| u32::try_from(mark).ok());
                done(run, Action::Change);
                Next::Statement
            }
            Statement::SetConnectionMark(value) => {
                let Some(value) = assigned(&scene.value(value, &run.way.packet)) else { return Next::Rule };
                if let Tracking::New { mark, .. } = &mut run.way.packet.tracking {
                    *mark = value.and_then(|mark| u32::try_from(mark).ok());
                }
                Next::Statement
            }
            Statement::SetField { field, value } => {
                let Some(value) = assigned(&scene.value(value, &run.way.packet)) else { return Next::Rule };
                run.way.packet.changed.push((*field, value));
                done(run, Action::Change);
                Next::Statement
            }
            Statement::DestinationNat(_)
            | Statement::SourceNat(_)
            | Statement::Redirect(_)
            | Statement::Masquerade(_) => {
                if self.without_nat {
                    return Next::End(End::Accept);
                }
                match translate::apply(statement, &scene, self.hook, &mut run.way.packet) {
                    Translated::Done => {
                        done(run, Action::Translate);
                        Next::End(End::Accept)
                    }
                    Translated::Missing => Next::Rule,
                    Translated::Dropped => {
                        done(run, Action::Drop);
                        Next::End(End::Drop)
                    }
                    Translated::Unknown(what) => {
                        done(run, Action::Unknown);
                        Next::End(End::Unknown(what))
                    }
                }
            }
            Statement::TransparentProxy(_) => {
                // It takes the packet only where a transparent socket listens, which the rules do not tell.
                let mut half = run.clone();
                done(&mut half, Action::Unknown);
                let what = format!("whether a transparent socket takes what `{}` hands over", rule.text);
                halves.push((half, Next::End(End::Unknown(what))));
                Next::Rule
            }
            Statement::Passive(_) => Next::Statement,
            Statement::Unknown(text) => {
                let mut half = run.clone();
                done(&mut half, Action::Unknown);
                halves.push((half, Next::End(End::Unknown(text.clone()))));
                let mut half = run.clone();
                half.way.assumed.push((text.clone(), true));
                halves.push((half, Next::Statement));
                run.way.assumed.push((text.clone(), false));
                Next::Rule
            }
        }
    }

    /// A verdict map asked with a number that is drawn: each number of `first` and the `count - 1` after it has a way of its
    /// own.
    fn choose(
        &self,
        (what, first, count): (&str, u64, u64),
        map: &SetReference,
        frame: Frame,
        run: &mut Run,
        halves: &mut Vec<(Run, Next)>,
    ) -> Next {
        let scene = Scene { rules: self.rules, router: self.router, table: frame.chain.table };
        for number in first..first.saturating_add(count) {
            let mut drawn = run.clone();
            drawn.way.assumed.push((format!("{what} is {number}"), true));
            let next = match scene.find(map, &Value::Number(number.into())) {
                Found::No => Next::Rule,
                Found::Element(element) => match &element.data {
                    Some(ElementData::Verdict(verdict)) => self.verdict(verdict, frame, &mut drawn),
                    _ => Next::End(End::Unknown(what.to_owned())),
                },
                Found::Unknown(why) => Next::End(End::Unknown(why)),
            };
            halves.push((drawn, next));
        }
        // This run goes on as the last of them.
        match halves.pop() {
            Some((way, next)) => {
                *run = way;
                next
            }
            None => Next::Rule,
        }
    }

    fn verdict(&self, verdict: &Verdict, frame: Frame, run: &mut Run) -> Next {
        let step = |action| Step { hook: self.hook, chain: frame.chain, rule: Some(frame.rule as usize), action };
        let find = |name: &String| self.rules.find(frame.chain.table, name);
        match verdict {
            Verdict::Accept => {
                run.way.steps.push(step(Action::Accept));
                Next::End(End::Accept)
            }
            Verdict::Drop => {
                run.way.steps.push(step(Action::Drop));
                Next::End(End::Drop)
            }
            Verdict::Return => Next::Return,
            Verdict::Continue => Next::Rule,
            Verdict::Jump(name) | Verdict::Goto(name) => match find(name) {
                Some(chain) => {
                    run.way.steps.push(step(Action::Jump));
                    if matches!(verdict, Verdict::Jump(_)) { Next::Jump(chain) } else { Next::Goto(chain) }
                }
                None => Next::End(End::Unknown(format!("chain {name}, which the dump lacks"))),
            },
            Verdict::Unknown(text) => Next::End(End::Unknown(text.clone())),
        }
    }

    fn decide(truth: Truth, rule: &Rule, run: &mut Run, halves: &mut Vec<(Run, Next)>) -> Next {
        match truth {
            Truth::Yes => Next::Statement,
            Truth::No => Next::Rule,
            Truth::Unknown(what) => {
                let what = if what.len() < 80 && !rule.text.is_empty() {
                    format!("{what} (asked by `{}`)", rule.text)
                } else {
                    what
                };
                // The same question again has the same answer.
                if let Some((_, holds)) = run.way.assumed.iter().find(|(known, _)| *known == what) {
                    return if *holds { Next::Statement } else { Next::Rule };
                }
                let mut half = run.clone();
                half.way.assumed.push((what.clone(), true));
                halves.push((half, Next::Statement));
                run.way.assumed.push((what, false));
                Next::Rule
            }
        }
    }
}

/// What a statement sets: `None` where the packet lacks what it would take, which ends the rule; `Some(None)` where the
/// number is not known.
fn assigned(value: &Value) -> Option<Option<u128>> {
    match value {
        Value::Number(number) => Some(Some(*number)),
        Value::Missing => None,
        _ => Some(None),
    }
}

/// Numbers that may be drawn, beyond which each is not followed by itself.
const MOST_CHOICES: u64 = 64;
