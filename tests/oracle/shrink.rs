//! Makes a case smaller while it still shows what it shows.

use crate::rules::Rules;

type Field = fn(&mut Rules) -> &mut String;

const FIELDS: [Field; 6] = [
    |rules| &mut rules.nft,
    |rules| &mut rules.iptables,
    |rules| &mut rules.ip6tables,
    |rules| &mut rules.legacy,
    |rules| &mut rules.legacy6,
    |rules| &mut rules.ipset,
];

/// The smallest rules that `shows` still holds for, by leaving out whole inputs, then blocks, then lines. `shows` is asked
/// with rules that the tools may refuse, and says no to those.
pub fn shrink(rules: &Rules, mut shows: impl FnMut(&Rules) -> bool) -> Rules {
    let mut best = rules.clone();
    let mut changed = true;
    while changed {
        changed = false;
        for name in best.settings.keys().cloned().collect::<Vec<_>>() {
            let mut smaller = best.clone();
            smaller.settings.remove(&name);
            changed |= take(&mut best, smaller, &mut shows);
        }
        for field in FIELDS {
            if field(&mut best).is_empty() {
                continue;
            }
            let mut smaller = best.clone();
            field(&mut smaller).clear();
            if take(&mut best, smaller, &mut shows) {
                changed = true;
                continue;
            }
            let mut line = 0;
            while let Some(end) = part_from(field(&mut best), line) {
                let mut smaller = best.clone();
                let text = field(&mut smaller);
                *text = without(text, line, end);
                if take(&mut best, smaller, &mut shows) {
                    changed = true;
                } else {
                    line += 1;
                }
            }
        }
    }
    best
}

fn take(best: &mut Rules, smaller: Rules, shows: &mut impl FnMut(&Rules) -> bool) -> bool {
    let holds = shows(&smaller);
    if holds {
        *best = smaller;
    }
    holds
}

/// The line after the part that starts at this one: a table or chain with all that is in it, or one line. `None`: no such
/// line.
fn part_from(text: &str, start: usize) -> Option<usize> {
    let mut depth = 0_i32;
    let mut lines = text.lines().enumerate().skip(start).peekable();
    let (_, first) = lines.peek()?;
    if first.starts_with('*') {
        let end = lines.find(|(_, line)| *line == "COMMIT").map_or(start, |(at, _)| at);
        return Some(end + 1);
    }
    for (at, line) in lines {
        depth += line.matches('{').count() as i32 - line.matches('}').count() as i32;
        if depth <= 0 {
            return Some(at + 1);
        }
    }
    Some(start + 1)
}

fn without(text: &str, from: usize, to: usize) -> String {
    let kept = text.lines().enumerate().filter(|(at, _)| !(from..to).contains(at));
    kept.map(|(_, line)| format!("{line}\n")).collect()
}

#[test]
fn the_smallest_ruleset_is_found() {
    let rules = Rules {
        nft:
            "table ip a {\nchain x {\ndrop\n}\n}\ntable ip b {\nchain y {\naccept\nreject\n}\nchain z {\nreject\n}\n}\n"
                .to_owned(),
        iptables: "*nat\n-A ONE\nCOMMIT\n*filter\n-A TWO\n-A THREE\nCOMMIT\n".to_owned(),
        legacy: "anything\n".to_owned(),
        ..Rules::default()
    };
    let smallest = shrink(&rules, |rules| {
        let nft = &rules.nft;
        nft.matches('{').count() == nft.matches('}').count()
            && nft.contains("chain y {")
            && nft.contains("table ip b {")
            && nft.contains("accept")
            && rules.iptables.contains("*filter\n")
            && rules.iptables.contains("-A THREE\n")
            && rules.iptables.ends_with("COMMIT\n")
    });
    assert_eq!(smallest.nft, "table ip b {\nchain y {\naccept\n}\n}\n");
    assert_eq!(smallest.iptables, "*filter\n-A THREE\nCOMMIT\n");
    assert!(smallest.legacy.is_empty());
}
