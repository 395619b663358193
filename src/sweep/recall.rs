//! What may have been missed: the removal estimate over rounds. Pure.
//!
//! Each round asks what has not answered yet; with q the chance that one probe of an answering port stays unanswered,
//! round i finds a share (1 − q)·q^(i−1) of all. Zippin's removal method (Biometrics 12, 1956) fits q to the numbers
//! found per round; after k rounds a share of q^k is expected to be missing.

use crate::model::report::Recall;

/// Rounds end when fewer ports than this are expected to be missing.
pub const ENOUGH: f64 = 0.1;

/// The estimate from the numbers of answering ports (SYN-ACK or reset) that each round was the first to find, and the
/// number of open ports among them. `None` when nothing answered: there is nothing to estimate from.
pub fn estimate(found_per_round: &[u64], open: u64) -> Option<Recall> {
    let total: u64 = found_per_round.iter().sum();
    if total == 0 {
        return None;
    }
    let rounds = found_per_round.len() as i32;
    let loss = fitted_loss(found_per_round);
    // Upper 95 % bound: the normal approximation of a proportion of `total` trials, at least the rule of three.
    let spread = (loss * (1.0 - loss) / total as f64).sqrt();
    let upper = (loss + 1.645 * spread).max(3.0 / total as f64).min(0.999);
    let missing_share = loss.powi(rounds);
    let found_share = (1.0 - missing_share).max(f64::MIN_POSITIVE);
    // Losses that come in bursts hit one port in several rounds: count the upper bound's last round only half.
    let worst_share = upper.powf(f64::from(rounds) - 0.5).min(1.0);
    Some(Recall {
        estimate: found_share,
        lower: (1.0 - worst_share).clamp(0.0, found_share),
        expected_missing: open as f64 * missing_share / found_share,
    })
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

/// The q that makes the found numbers likeliest: solves Zippin's equation q/p − k·q^k/(1 − q^k) = Σ(i−1)·nᵢ / Σnᵢ.
fn fitted_loss(found_per_round: &[u64]) -> f64 {
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
    fn without_answers_there_is_no_estimate() {
        assert_eq!(estimate(&[0, 0], 0), None);
        assert!(!wants_another_round(&[0, 0], 0, 6));
    }

    proptest::proptest! {
        #[test]
        fn shares_are_shares(found in proptest::collection::vec(0_u64..100_000, 1..7), open in 0_u64..1000) {
            if let Some(recall) = estimate(&found, open) {
                proptest::prop_assert!((0.0..=1.0).contains(&recall.estimate));
                proptest::prop_assert!((0.0..=recall.estimate).contains(&recall.lower));
                proptest::prop_assert!(recall.expected_missing >= 0.0 && recall.expected_missing.is_finite());
            }
        }
    }
}
