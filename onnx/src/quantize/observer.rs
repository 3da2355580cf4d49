//! What values a tensor takes: a histogram that grows with the data, in fixed memory.
//!
//! The bins start at zero and go outwards on both sides, all of one width. When a value lies beyond
//! the last bin, the width doubles and neighbours are joined; so every count stays exact, whatever
//! the order of the data, and nothing has to be seen twice.

use serde::{Deserialize, Serialize};

use super::affine::{ActivationType, Affine};

/// Bins on each side of zero; after growth at least half of them are in use.
const BINS: usize = 4096;

/// How the range of a tensor is chosen from what was seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The smallest and the largest value.
    MinMax,
    /// Leaves out the outermost values on each side: `Percentile(99.99)` leaves out one in 10,000
    /// above and one in 10,000 below. From 50 to 100.
    Percentile(f64),
    /// The range with the least mean squared error of the quantized values.
    MeanSquaredError,
}

/// The histogram of one tensor, and the mean of each of its channels.
#[derive(Clone, Debug)]
pub struct Observer {
    width: f32,
    positive: Vec<u64>,
    negative: Vec<u64>,
    low: f32,
    high: f32,
    count: u64,
    finite: bool,
    channel_sums: Vec<f64>,
    channel_count: u64,
}

impl Default for Observer {
    fn default() -> Self {
        Self {
            width: 0.0,
            positive: vec![0; BINS],
            negative: vec![0; BINS],
            low: f32::INFINITY,
            high: f32::NEG_INFINITY,
            count: 0,
            finite: true,
            channel_sums: Vec::new(),
            channel_count: 0,
        }
    }
}

impl Observer {
    /// Takes in values. Infinite and undefined ones are noted, see [`Observer::is_finite`].
    pub fn observe(&mut self, values: &[f32]) {
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        let mut finite = true;
        for &value in values {
            low = low.min(value);
            high = high.max(value);
            finite &= value.is_finite();
        }
        if !finite {
            self.finite = false;
            return;
        }
        if values.is_empty() {
            return;
        }
        self.low = self.low.min(low);
        self.high = self.high.max(high);
        self.count += values.len() as u64;
        self.make_room(high.max(-low));
        let per_width = if self.width > 0.0 { 1.0 / self.width } else { 0.0 };
        for &value in values {
            let bin = ((value.abs() * per_width) as usize).min(BINS - 1);
            match value < 0.0 {
                true => self.negative[bin] += 1,
                false => self.positive[bin] += 1,
            }
        }
    }

    /// Takes in one image's tensor of `channels` planes, and the sum of each plane beside.
    pub fn observe_planes(&mut self, values: &[f32], channels: usize) {
        self.observe(values);
        if channels == 0 || !values.len().is_multiple_of(channels) || values.is_empty() {
            return;
        }
        self.channel_sums.resize(channels, 0.0);
        let plane = values.len() / channels;
        for (sum, values) in self.channel_sums.iter_mut().zip(values.chunks_exact(plane)) {
            *sum += values.iter().map(|value| f64::from(*value)).sum::<f64>();
        }
        self.channel_count += plane as u64;
    }

    /// Mean of each channel over all images; empty if no planes were observed.
    pub fn channel_means(&self) -> Vec<f32> {
        let count = self.channel_count.max(1) as f64;
        self.channel_sums.iter().map(|sum| (sum / count) as f32).collect()
    }

    /// False if an infinite or undefined value came by; what came with it was left out.
    pub fn is_finite(&self) -> bool {
        self.finite
    }

    /// Values seen.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The smallest and the largest value seen; (0, 0) if nothing was.
    pub fn extremes(&self) -> (f32, f32) {
        if self.count == 0 {
            (0.0, 0.0)
        } else {
            (self.low, self.high)
        }
    }

    fn make_room(&mut self, magnitude: f32) {
        if magnitude == 0.0 {
            return;
        }
        if self.width == 0.0 {
            // A power of two, so that bin edges and the division by the width are exact; not below
            // the normal floats, where its reciprocal would be infinite.
            let needed = (magnitude / BINS as f32).log2().ceil().exp2();
            self.width = needed.max(f32::MIN_POSITIVE);
        }
        while magnitude > self.width * BINS as f32 {
            self.width *= 2.0;
            join_neighbours(&mut self.positive);
            join_neighbours(&mut self.negative);
        }
    }

    /// The range for this method; (0, 0) if nothing was seen.
    pub fn range(&self, method: Method, numbers: ActivationType) -> (f32, f32) {
        if self.count == 0 {
            return (0.0, 0.0);
        }
        match method {
            Method::MinMax => self.extremes(),
            Method::Percentile(percent) => self.percentile(percent),
            Method::MeanSquaredError => self.least_error(numbers),
        }
    }

    fn percentile(&self, percent: f64) -> (f32, f32) {
        let outside = (1.0 - percent.clamp(50.0, 100.0) / 100.0) * self.count as f64;
        let edge = |side: &[u64]| {
            let mut beyond = 0.0;
            for (bin, count) in side.iter().enumerate().rev() {
                beyond += *count as f64;
                if beyond > outside {
                    return (bin + 1) as f32 * self.width;
                }
            }
            0.0
        };
        let low = -edge(&self.negative);
        (low.max(self.low.min(0.0)), edge(&self.positive).min(self.high.max(0.0)))
    }

    /// Tries ends from all of what was seen down to a tenth of it: first the upper, then the lower.
    fn least_error(&self, numbers: ActivationType) -> (f32, f32) {
        let shares = || (10_u8..=100).rev().map(|percent| f32::from(percent) / 100.0);
        let (low, high) = (self.low.min(0.0), self.high.max(0.0));
        let error = |range: &(f32, f32)| self.squared_error(&Affine::for_range(numbers, range.0, range.1));
        let best = |ranges: &mut dyn Iterator<Item = (f32, f32)>| {
            ranges
                .map(|range| (error(&range), range))
                .min_by(|a, b| a.0.total_cmp(&b.0))
        };
        let Some((_, upper)) = best(&mut shares().map(|share| (low, high * share))) else {
            return (low, high);
        };
        let lower = best(&mut shares().map(|share| (low * share, upper.1)));
        lower.map_or(upper, |(_, range)| range)
    }

    /// Sum of squared errors that these numbers make, each bin taken at its middle.
    fn squared_error(&self, affine: &Affine) -> f64 {
        let side = |counts: &[u64], sign: f32| -> f64 {
            let filled = counts.iter().enumerate().filter(|(_, count)| **count > 0);
            filled
                .map(|(bin, count)| {
                    let middle = sign * (bin as f32 + 0.5) * self.width;
                    let error = f64::from(affine.round_trip(middle) - middle);
                    error * error * *count as f64
                })
                .sum()
        };
        side(&self.positive, 1.0) + side(&self.negative, -1.0)
    }
}

fn join_neighbours(bins: &mut [u64]) {
    let half = bins.len() / 2;
    for bin in 0..half {
        bins[bin] = bins[2 * bin] + bins[2 * bin + 1];
    }
    bins[half..].fill(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn observed(chunks: &[Vec<f32>]) -> Observer {
        let mut observer = Observer::default();
        chunks.iter().for_each(|chunk| observer.observe(chunk));
        observer
    }

    proptest! {
        #[test]
        fn growth_loses_no_value(
            chunks in prop::collection::vec(prop::collection::vec(-1e6_f32..1e6, 1..40), 1..8),
        ) {
            let observer = observed(&chunks);
            let all: Vec<f32> = chunks.concat();
            let counted: u64 = observer.positive.iter().chain(&observer.negative).sum();
            prop_assert_eq!(counted, all.len() as u64);
            let low = all.iter().copied().fold(f32::INFINITY, f32::min);
            let high = all.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            prop_assert_eq!(observer.range(Method::MinMax, ActivationType::U8), (low, high));
        }

        #[test]
        fn a_percentile_is_within_a_bin_of_the_sorted_values(
            values in prop::collection::vec(-100.0_f32..100.0, 200..2000),
            percent in 90.0_f64..100.0,
        ) {
            let observer = observed(&values.chunks(64).map(<[f32]>::to_vec).collect::<Vec<_>>());
            let (low, high) = observer.range(Method::Percentile(percent), ActivationType::U8);
            let allowed = (1.0 - percent / 100.0) * values.len() as f64;
            let above = values.iter().filter(|v| **v > high).count() as f64;
            let below = values.iter().filter(|v| **v < low).count() as f64;
            prop_assert!(above <= allowed && below <= allowed, "{above} {below} {allowed}");
            // One bin further in, too many would be left out.
            let above = values.iter().filter(|v| **v >= high - observer.width * 1.01).count() as f64;
            prop_assert!(above > allowed, "{above} {allowed}");
        }

        #[test]
        fn the_order_of_data_changes_a_percentile_by_two_bins_at_most(
            mut values in prop::collection::vec(0.0_f32..50.0, 100..500),
        ) {
            let there = observed(&values.chunks(7).map(<[f32]>::to_vec).collect::<Vec<_>>());
            values.reverse();
            let back = observed(&values.chunks(7).map(<[f32]>::to_vec).collect::<Vec<_>>());
            let edge = |o: &Observer| o.range(Method::Percentile(99.0), ActivationType::U8).1;
            let width = there.width.max(back.width);
            prop_assert!((edge(&there) - edge(&back)).abs() <= 2.0 * width);
        }
    }

    #[test]
    fn the_least_error_range_beats_the_full_one_with_an_outlier() {
        let mut values: Vec<f32> = (0..400_000).map(|i| (i as f32 * 0.37).sin()).collect();
        values.push(3.0);
        let observer = observed(&[values]);
        let error = |method| {
            let (low, high) = observer.range(method, ActivationType::U8);
            observer.squared_error(&Affine::unsigned(low, high))
        };
        assert!(error(Method::MeanSquaredError) < 0.9 * error(Method::MinMax));
    }

    #[test]
    fn zeros_and_nothing_have_a_range() {
        assert_eq!(
            Observer::default().range(Method::Percentile(99.9), ActivationType::U8),
            (0.0, 0.0)
        );
        let zeros = observed(&[vec![0.0; 10]]);
        assert_eq!(zeros.count(), 10);
        assert_eq!(zeros.range(Method::MeanSquaredError, ActivationType::U8), (0.0, 0.0));
        assert_eq!(zeros.range(Method::Percentile(99.9), ActivationType::U8), (0.0, 0.0));
    }

    #[test]
    fn undefined_values_are_noted_and_tiny_ones_do_no_harm() {
        let mut observer = observed(&[vec![1.0, f32::NAN]]);
        assert!(!observer.is_finite());
        assert_eq!(observer.count(), 0);
        observer = observed(&[vec![1e-44, -1e-40], vec![1e30]]);
        assert!(observer.is_finite());
        assert_eq!(observer.range(Method::MinMax, ActivationType::U8), (-1e-40, 1e30));
    }

    #[test]
    fn channel_means_go_over_planes_and_images() {
        let mut observer = Observer::default();
        observer.observe_planes(&[1.0, 3.0, 10.0, 20.0], 2);
        observer.observe_planes(&[5.0, 7.0, 30.0, 40.0], 2);
        assert_eq!(observer.channel_means(), [4.0, 25.0]);
    }
}
