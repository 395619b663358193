//! Shares of small samples. Pure.

/// The share of `count` in `of`, as if half of one more were in it: none of ten is no proof of none.
pub fn smoothed(count: u32, of: u32) -> f64 {
    (f64::from(count) + 0.5) / (f64::from(of) + 1.0)
}

/// The bounds of the share that `count` of `of` are a sample of, at `z` standard deviations (Wilson, Journal of the American
/// Statistical Association 22, 1927).
pub fn bounds(count: u32, of: u32, z: f64) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    let n = f64::from(of);
    let share = f64::from(count.min(of)) / n;
    let spread = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let (middle, scale) = (share + z * z / (2.0 * n), 1.0 + z * z / n);
    (((middle - spread) / scale).max(0.0), ((middle + spread) / scale).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_shares() {
        // Values from the published formula: 3 of 10 at 1.96.
        let (low, high) = bounds(3, 10, 1.96);
        assert!((low - 0.1078).abs() < 5e-4 && (high - 0.6032).abs() < 5e-4, "{low} {high}");
        assert_eq!(bounds(0, 0, 1.96), (0.0, 1.0));
        assert_eq!((bounds(0, 10, 2.0).0, bounds(10, 10, 2.0).1), (0.0, 1.0));
        assert!((smoothed(0, 9) - 0.05).abs() < 1e-9);
    }
}
