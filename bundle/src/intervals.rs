//! Wilson's interval of a share.

use serde::{Deserialize, Serialize};

/// 97.5th percentile of the normal distribution: two-sided 95 %.
const Z_95: f64 = 1.959_963_984_540_054;

/// A value with its 95 % interval and the number of images behind it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value on the data.
    pub value: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
    /// Images that the value rests on.
    pub n: u64,
}

/// Wilson's 95 % score interval of `hits` in `n` (Wilson 1927); `None` for n = 0.
#[must_use]
pub fn wilson(hits: u64, n: u64) -> Option<Estimate> {
    if n == 0 {
        return None;
    }
    let (count, share) = (n as f64, hits as f64 / n as f64);
    let spread = Z_95 * Z_95 / count;
    let centre = (share + spread / 2.0) / (1.0 + spread);
    let half = Z_95 * (share * (1.0 - share) / count + spread / (4.0 * count)).sqrt() / (1.0 + spread);
    // Rounding must not put an end beyond the value or outside of 0..1.
    Some(Estimate {
        value: share,
        low: (centre - half).clamp(0.0, share),
        high: (centre + half).clamp(share, 1.0),
        n,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Newcombe 1998, table I, method 3.
    #[test]
    fn wilson_agrees_with_the_literature() {
        for (hits, n, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let estimate = wilson(hits, n).unwrap();
            assert!(
                (estimate.low - low).abs() < 5e-5 && (estimate.high - high).abs() < 5e-5,
                "{estimate:?}"
            );
        }
        assert_eq!(wilson(0, 0), None);
        for n in 1..2000 {
            for hits in [0, 1, n / 2, n - 1, n] {
                let Estimate { value, low, high, .. } = wilson(hits, n).unwrap();
                assert!(
                    0.0 <= low && low <= value && value <= high && high <= 1.0,
                    "{hits} of {n}"
                );
            }
        }
    }
}
