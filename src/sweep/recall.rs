//! What may have been missed: the removal estimate over rounds. Pure.
//!
//! Each round asks what has not answered yet; with q the chance that one probe of an answering port stays unanswered,
//! round i finds a share (1 − q)·q^(i−1) of all. Zippin's removal method (Biometrics 12, 1956) fits q to the numbers
//! found per round; after k rounds a share of q^k is expected to be missing.
//!
//! Losses that come in bursts give every round a q of its own, which the numbers found cannot tell: a round in an outage
//! finds nothing and looks like one with nothing left to find. So a sweep that can asks again, in each later round, some
//! ports that are known to answer ([`Canaries`]); their silence is that round's q. The share that is missing is then the
//! product over the rounds.
//!
//! The lower bound is one for what was really found, not for a mean: it allows for the number of missing ports that is
//! exceeded in one run of forty, with each q at a bound that is exceeded as rarely.

use super::proportion;
use crate::model::report::Recall;

/// Rounds end when fewer ports than this are expected to be missing.
pub const ENOUGH: f64 = 0.1;

/// Ports known to answer that one round asked again, and how many of them did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Canaries {
    pub asked: u32,
    pub answered: u32,
}

/// What a sweep knows of its own losses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evidence<'a> {
    /// Answering ports (SYN-ACK or reset) that each round was the first to find.
    pub found: &'a [u64],
    /// The open ones among them.
    pub found_open: &'a [u64],
    /// By round; shorter than `found`, or empty, where none were asked.
    pub canaries: &'a [Canaries],
    /// Endpoints of living hosts that are unanswered, where that is known: no more than these can be missing.
    pub unanswered: Option<u64>,
}

/// Shares of the ports that would answer which are missing: expected, and at most.
#[derive(Clone, Copy, Debug)]
struct Missing {
    expected: f64,
    most: f64,
}

/// So many open ports tell about open ports better than resets do.
const OWN_SERIES: u64 = 50;
/// Open ports are taken for so many more: that none was found among many that answered is no proof that none was missed.
const NONE_FOUND: f64 = 0.5;
/// Fewer canaries than this measure nothing alone.
const CANARIES_ENOUGH: u32 = 20;
/// The quantile of both bounds, and of the number missing: together they fail in less than one run of twenty.
const Z: f64 = 1.96;

/// The estimate from the numbers of answering ports (SYN-ACK or reset) that each round was the first to find, and the
/// number of open ports among them, without canaries.
pub fn estimate(found_per_round: &[u64], open: u64) -> Option<Recall> {
    judge(&Evidence { found: found_per_round, found_open: &[open], ..Evidence::default() })
}

/// The estimate. `None` when there is nothing to estimate from: no answers, or one round and no canaries.
pub fn judge(evidence: &Evidence<'_>) -> Option<Recall> {
    judge_parts(evidence, &[])
}

/// The estimate from all hosts together, and from `parts` of them whose losses differ: a host behind a lossy way of its
/// own is lost among many that lose nothing. What either expects to be missing counts, whichever is more; the parts alone
/// would miss what hosts without a sign of loss have lost by chance.
pub fn judge_parts(whole: &Evidence<'_>, parts: &[Evidence<'_>]) -> Option<Recall> {
    let all = left_of(whole)?;
    let lefts: Vec<Left> = parts.iter().filter_map(left_of).collect();
    let sum = |of: fn(&Left) -> f64| lefts.iter().map(of).sum::<f64>();
    let found = all.open.max(sum(|left| left.open));
    let expected_missing = all.expected.max(sum(|left| left.expected));
    let most = all.most.max(sum(|left| left.most));
    let estimate = (found + NONE_FOUND) / (found + NONE_FOUND + expected_missing);
    let lower = if found == 0.0 { 1.0 - all.share.most } else { found / (found + most.max(poisson_quantile(most))) };
    Some(Recall { estimate, lower: lower.min(estimate), expected_missing })
}

/// Open ports of some hosts that are missing: expected, and at most on average.
#[derive(Clone, Copy, Debug)]
struct Left {
    open: f64,
    expected: f64,
    most: f64,
    share: Missing,
}

fn left_of(evidence: &Evidence<'_>) -> Option<Left> {
    let open: u64 = evidence.found_open.iter().sum();
    let own = open >= OWN_SERIES && evidence.found_open.len() == evidence.found.len();
    let series = if own { evidence.found_open } else { evidence.found };
    if series.iter().sum::<u64>() == 0 {
        return None;
    }
    let canaries = evidence.canaries.get(..series.len()).unwrap_or(evidence.canaries);
    let missing = if canaries.iter().skip(1).any(|round| round.asked > 0) {
        measured(series, canaries)
    } else if series.len() > 1 {
        fitted(series)
    } else {
        let first = canaries.first().filter(|first| first.asked >= CANARIES_ENOUGH)?;
        Missing { expected: first.loss(), most: first.most() }
    };
    let expected = missing.expected.clamp(0.0, 0.999_999);
    let most = missing.most.clamp(expected, 0.999_999);
    let at_most = evidence.unanswered.map_or(f64::INFINITY, |unanswered| unanswered as f64);
    let open = open as f64;
    let of_all = |open: f64, share: f64| (open * share / (1.0 - share)).min(at_most);
    let share = Missing { expected, most };
    Some(Left { open, expected: of_all(open + NONE_FOUND, expected), most: of_all(open, most), share })
}

/// The rounds that were walked to their end. An interrupted one found less than it would have, which looks as if there
/// were little left to find.
pub fn whole_rounds(found_per_round: &[u64], interrupted: bool) -> &[u64] {
    &found_per_round[..found_per_round.len().saturating_sub(usize::from(interrupted))]
}

/// Whether another round is worth its packets.
pub fn wants_another_round(found_per_round: &[u64], open: u64, max_rounds: u32) -> bool {
    let rounds = found_per_round.len();
    if rounds >= max_rounds as usize {
        return false;
    }
    // Without a second round there is no way to know what the first one lost.
    rounds < 2 || estimate(found_per_round, open).is_some_and(|recall| recall.expected_missing >= ENOUGH)
}

impl Canaries {
    /// The loss, as if half of one more had been lost: none of ten is no proof of none. Where all are, the round is worth nothing.
    pub fn loss(self) -> f64 {
        if self.answered == 0 && self.asked > 0 {
            return 1.0;
        }
        proportion::smoothed(self.lost(), self.asked)
    }

    /// The upper bound of the loss.
    pub fn most(self) -> f64 {
        proportion::bounds(self.lost(), self.asked, Z).1
    }

    /// The loss that was seen; none of none.
    pub fn share_lost(self) -> f64 {
        f64::from(self.lost()) / f64::from(self.asked.max(1))
    }

    pub const fn add(&mut self, other: Self) {
        self.asked += other.asked;
        self.answered += other.answered;
    }

    const fn lost(self) -> u32 {
        self.asked.saturating_sub(self.answered)
    }
}

/// From the numbers found alone: one q for all rounds.
fn fitted(series: &[u64]) -> Missing {
    let total = series.iter().sum::<u64>() as f64;
    let rounds = series.len() as i32;
    let loss = fitted_loss(series);
    // Upper bound: the normal approximation of a proportion of `total` trials, at least the rule of three.
    let spread = (loss * (1.0 - loss) / total).sqrt();
    let most = (loss + Z * spread).max(3.0 / total).min(0.999);
    // Losses that come in bursts hit one port in several rounds: count the upper bound's last round only half.
    Missing { expected: loss.powi(rounds), most: most.powf(f64::from(rounds) - 0.5) }
}

/// With canaries: every later round has a loss of its own, and the first round's is what later rounds found and are
/// expected to have left.
fn measured(series: &[u64], canaries: &[Canaries]) -> Missing {
    let total = series.iter().sum::<u64>() as f64;
    let later = total - series[0] as f64;
    let common = fitted_loss(series);
    let round = |index: usize| canaries.get(index).copied().unwrap_or_default();
    let rounds = 1..series.len();
    let expected_later: f64 = rounds
        .clone()
        .map(|index| if round(index).asked > 0 { round(index).loss() } else { common.max(0.5) })
        .product();
    let most_later: f64 = rounds.map(|index| round(index).most()).product();
    // Later rounds found their share of what the first one left; half a port more, as none found is no proof of none.
    let left = |later: f64, share: f64| later * share / (1.0 - share.min(0.999_999));
    let by_product = left(later + 0.5, expected_later) / total;
    // The last round alone: it found its share of what was left before it.
    let last = series.len() - 1;
    let last_loss = if round(last).asked > 0 { round(last).loss() } else { common.max(0.5) };
    let by_last = left(series[last] as f64, last_loss) / total;
    let most_by_product = left(poisson_upper(later), most_later) / total;
    let most_by_last = left(poisson_upper(series[last] as f64), round(last).most()) / total;
    // From shares of what was found to shares of all.
    let share = |ratio: f64| ratio / (1.0 + ratio);
    Missing { expected: share(by_product.max(by_last)), most: share(most_by_product.min(most_by_last)) }
}

/// The mean that a count of `count` or less would be too rare for (Wilson and Hilferty's approximation, PNAS 17, 1931).
fn poisson_upper(count: f64) -> f64 {
    let next = count + 1.0;
    next * (1.0 - 1.0 / (9.0 * next) + Z / (3.0 * next.sqrt())).powi(3)
}

/// The number that a Poisson variable of this mean exceeds in one case of forty.
fn poisson_quantile(mean: f64) -> f64 {
    if mean > 100.0 {
        return (mean + Z * mean.sqrt()).ceil();
    }
    let (mut term, mut sum, mut number) = ((-mean).exp(), (-mean).exp(), 0.0);
    while sum < 0.975 {
        number += 1.0;
        term *= mean / number;
        sum += term;
    }
    number
}

/// The q that makes the found numbers likeliest: solves Zippin's equation q/p − k·q^k/(1 − q^k) = Σ(i−1)·nᵢ / Σnᵢ.
pub fn fitted_loss(found_per_round: &[u64]) -> f64 {
    let rounds = found_per_round.len() as f64;
    let total: f64 = found_per_round.iter().map(|found| *found as f64).sum();
    let weighted: f64 = found_per_round.iter().enumerate().map(|(index, found)| index as f64 * *found as f64).sum();
    let target = weighted / total;
    // The left side grows from 0 to (k − 1)/2 over q in 0..1.
    if target <= 0.0 {
        return 0.0;
    }
    let (mut low, mut high) = (0.0_f64, 0.999_f64);
    for _ in 0..60 {
        let q = f64::midpoint(low, high);
        let power = q.powf(rounds);
        let left = q / (1.0 - q) - rounds * power / (1.0 - power);
        if left < target {
            low = q;
        } else {
            high = q;
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lossless_network_takes_two_rounds() {
        assert!(wants_another_round(&[256_000], 1024, 6));
        assert!(!wants_another_round(&[256_000, 0], 1024, 6));
        let recall = estimate(&[256_000, 0], 1024).unwrap();
        assert_eq!(recall.estimate, 1.0);
        assert!(recall.lower > 0.999 && recall.expected_missing < 1e-6);
    }

    #[test]
    fn two_percent_loss_takes_a_third_round() {
        let recall = estimate(&[1004, 20], 1024).unwrap();
        assert!((recall.expected_missing - 0.41).abs() < 0.05, "{recall:?}");
        assert!(wants_another_round(&[1004, 20], 1024, 6));
        assert!(!wants_another_round(&[1004, 20, 0], 1024, 6));
        assert!(!wants_another_round(&[1004, 20], 1024, 2), "the limit holds");
    }

    #[test]
    fn heavy_loss_goes_on_and_is_admitted() {
        assert!(wants_another_round(&[50, 25, 12], 87, 6));
        let recall = estimate(&[50, 25, 12], 87).unwrap();
        assert!(recall.expected_missing > 5.0 && recall.lower < recall.estimate, "{recall:?}");
    }

    #[test]
    fn an_interrupted_round_is_no_clean_one() {
        let found = [980, 0];
        assert_eq!(estimate(whole_rounds(&found, false), 980).unwrap().estimate, 1.0);
        assert_eq!(estimate(whole_rounds(&found, true), 980), None);
        assert!(whole_rounds(&[], true).is_empty());
    }

    #[test]
    fn one_round_alone_knows_nothing() {
        assert_eq!(estimate(&[100], 10), None);
        let canaries = [Canaries { asked: 100, answered: 80 }];
        let recall =
            judge(&Evidence { found: &[100], found_open: &[10], canaries: &canaries, unanswered: None }).unwrap();
        assert!((0.78..0.82).contains(&recall.estimate) && recall.lower < 0.7, "{recall:?}");
    }

    #[test]
    fn a_round_in_an_outage_is_not_taken_for_a_clean_one() {
        // Two of a hundred lost in the first round, and all but everything in the second.
        let found = [980, 1];
        let blind = estimate(&found, 981).unwrap();
        assert!(blind.expected_missing < 0.1, "{blind:?}");
        let canaries = [Canaries::default(), Canaries { asked: 256, answered: 12 }];
        let recall =
            judge(&Evidence { found: &found, found_open: &found, canaries: &canaries, unanswered: None }).unwrap();
        assert!(recall.expected_missing > 5.0 && recall.lower < 980.0 / 1000.0, "{recall:?}");
    }

    #[test]
    fn canaries_that_all_answer_make_a_clean_round() {
        let canaries = [Canaries::default(), Canaries { asked: 256, answered: 256 }];
        let recall =
            judge(&Evidence { found: &[1024, 0], found_open: &[1024, 0], canaries: &canaries, unanswered: None })
                .unwrap();
        assert!(recall.expected_missing < 0.01 && recall.lower > 0.999, "{recall:?}");
        let few = judge(&Evidence {
            found: &[4, 0],
            found_open: &[4, 0],
            canaries: &[canaries[0], Canaries { asked: 4, answered: 4 }],
            unanswered: None,
        });
        let few = few.unwrap();
        assert!(few.expected_missing < ENOUGH && few.lower < 0.8, "{few:?}");
    }

    #[test]
    fn bounds_of_counts() {
        // Exact values: 3.689, 5.572, 36.8 (chi-squared tables).
        for (count, upper) in [(0.0, 3.689), (1.0, 5.572), (25.0, 36.9)] {
            assert!((poisson_upper(count) / upper - 1.0_f64).abs() < 0.01, "{count}: {}", poisson_upper(count));
        }
        assert_eq!([0.0, 0.02, 0.03, 1.0, 10.0].map(poisson_quantile), [0.0, 0.0, 1.0, 3.0, 17.0]);
    }

    #[test]
    fn without_answers_there_is_no_estimate() {
        assert_eq!(estimate(&[0, 0], 0), None);
        assert!(!wants_another_round(&[0, 0], 0, 6));
    }

    proptest::proptest! {
        #[test]
        fn shares_are_shares(
            found in proptest::collection::vec(0_u64..100_000, 1..7),
            open in 0_u64..1000,
            canaries in proptest::collection::vec((0_u32..500, 0_u32..500), 0..8),
        ) {
            let canaries: Vec<Canaries> =
                canaries.into_iter().map(|(asked, answered)| Canaries { asked, answered: answered.min(asked) }).collect();
            for recall in [estimate(&found, open), judge(&Evidence { found: &found, found_open: &found, canaries: &canaries, unanswered: None })]
                .into_iter()
                .flatten()
            {
                proptest::prop_assert!((0.0..=1.0).contains(&recall.estimate), "{:?}", recall);
                proptest::prop_assert!((0.0..=recall.estimate).contains(&recall.lower), "{:?}", recall);
                proptest::prop_assert!(recall.expected_missing >= 0.0 && recall.expected_missing.is_finite());
            }
        }
    }
}
