//! Weights as signed bytes with one scale an output channel, biases as 32-bit integers.

/// A weight tensor in 8 bits.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedWeights {
    /// -127 to 127, in the layout of the float weights.
    pub values: Vec<i8>,
    /// One scale an output channel.
    pub scales: Vec<f32>,
}

/// Where the output channels lie in a weight tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelLayout {
    /// Output channels.
    pub channels: usize,
    /// Elements from one value of a channel to the next channel's: all of a channel for axis 0,
    /// 1 for the last axis.
    pub stride: usize,
}

impl ChannelLayout {
    /// The channel of the element at `index`.
    pub fn channel(&self, index: usize) -> usize {
        index / self.stride % self.channels
    }
}

/// Largest share of the 32-bit range that a bias may take; the sums of products need the rest.
const BIAS_LIMIT: f32 = (1 << 30) as f32;

/// Quantizes weights per channel, symmetric.
///
/// A channel's scale is its largest magnitude over 127, or more where that would make the bias,
/// which is counted in steps of `input_scale * scale`, overflow its integers.
pub fn quantize_weights(
    weights: &[f32],
    layout: ChannelLayout,
    bias: Option<&[f32]>,
    input_scale: f32,
) -> QuantizedWeights {
    let mut largest = vec![0.0_f32; layout.channels];
    for (index, weight) in weights.iter().enumerate() {
        let channel = &mut largest[layout.channel(index)];
        *channel = channel.max(weight.abs());
    }
    let bias_of = |channel: usize| bias.and_then(|b| b.get(channel)).map_or(0.0, |b| b.abs());
    let scale = |(channel, largest): (usize, &f32)| {
        let least = bias_of(channel) / input_scale / BIAS_LIMIT;
        let scale = (largest / 127.0).max(least);
        // A dead channel: all its products are 0 at any scale.
        if scale >= f32::MIN_POSITIVE { scale } else { 1.0 }
    };
    let scales: Vec<f32> = largest.iter().enumerate().map(scale).collect();
    let values = weights.iter().enumerate().map(|(index, weight)| {
        (weight / scales[layout.channel(index)])
            .round_ties_even()
            .clamp(-127.0, 127.0) as i8
    });
    QuantizedWeights {
        values: values.collect(),
        scales,
    }
}

/// The bias in steps of `input_scale * scale` of its channel.
pub fn quantize_bias(bias: &[f32], input_scale: f32, scales: &[f32]) -> Vec<i32> {
    let steps = bias
        .iter()
        .zip(scales)
        .map(|(bias, scale)| f64::from(*bias) / step(input_scale, *scale));
    // The cast saturates.
    steps.map(|steps| steps.round_ties_even() as i32).collect()
}

/// The bias' step as the file stores it: one f32.
fn step(input_scale: f32, scale: f32) -> f64 {
    f64::from(input_scale * scale)
}

/// What quantized weights add to each output channel on average, when the mean of each input channel is
/// `input_means`: sum over the kernel of (quantized - float weight) x mean. Zero padding is left out
/// of account. Weights are [M, C / groups, kernel...]; with one group for [M, C].
///
/// Subtracting it from the bias is the bias correction of Nagel et al., "Data-Free Quantization
/// Through Weight Equalization and Bias Correction" (ICCV 2019), section 4.2.
pub fn mean_shift(weights: &[f32], quantized: &QuantizedWeights, groups: usize, input_means: &[f32]) -> Vec<f32> {
    let channels = quantized.scales.len();
    let inputs = input_means.len() / groups;
    let per_channel = weights.len() / channels;
    let kernel = per_channel / inputs;
    let channel_shift = |channel: usize| {
        let group = channel / (channels / groups);
        let start = channel * per_channel;
        let mut shift = 0.0_f64;
        for offset in 0..per_channel {
            let index = start + offset;
            let back = f32::from(quantized.values[index]) * quantized.scales[channel];
            let mean = input_means[group * inputs + offset / kernel];
            shift += f64::from(back - weights[index]) * f64::from(mean);
        }
        shift as f32
    };
    (0..channels).map(channel_shift).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(channels: usize, len: usize) -> ChannelLayout {
        ChannelLayout {
            channels,
            stride: len / channels,
        }
    }

    proptest! {
        #[test]
        fn weights_come_back_within_half_a_step(
            weights in prop::collection::vec(-3.0_f32..3.0, 12), columns: bool, power in -20_i32..20,
        ) {
            let weights: Vec<f32> = weights.iter().map(|w| w * 2.0_f32.powi(power)).collect();
            let layout = if columns { ChannelLayout { channels: 4, stride: 1 } } else { rows(3, 12) };
            let quantized = quantize_weights(&weights, layout, None, 0.1);
            prop_assert_eq!(quantized.scales.len(), layout.channels);
            for (index, weight) in weights.iter().enumerate() {
                let scale = quantized.scales[layout.channel(index)];
                let back = f32::from(quantized.values[index]) * scale;
                prop_assert!((back - weight).abs() <= scale * 0.501);
                prop_assert!(quantized.values[index] >= -127);
            }
        }

        #[test]
        fn a_bias_never_overflows_and_keeps_its_value(
            bias in prop::collection::vec(-1e6_f32..1e6, 3),
            weights in prop::collection::vec(-1e-3_f32..1e-3, 6),
            input_scale in 1e-6_f32..1.0,
        ) {
            let quantized = quantize_weights(&weights, rows(3, 6), Some(&bias), input_scale);
            let integers = quantize_bias(&bias, input_scale, &quantized.scales);
            for channel in 0..3 {
                let step = step(input_scale, quantized.scales[channel]);
                let back = f64::from(integers[channel]) * step;
                prop_assert!((back - f64::from(bias[channel])).abs() <= step * 0.51);
                prop_assert!(integers[channel].unsigned_abs() <= (1 << 30) + 1024);
            }
        }
    }

    #[test]
    fn a_dead_channel_keeps_its_bias() {
        let quantized = quantize_weights(&[0.0, 0.0, 1.0, -1.0], rows(2, 4), Some(&[0.25, 0.0]), 0.02);
        let integers = quantize_bias(&[0.25, 0.0], 0.02, &quantized.scales);
        let back = f64::from(integers[0]) * step(0.02, quantized.scales[0]);
        assert!((back - 0.25).abs() < 1e-6, "{back}");
        let dead = quantize_weights(&[0.0; 4], rows(2, 4), None, 0.02);
        assert_eq!((dead.values, dead.scales), (vec![0; 4], vec![1.0; 2]));
    }

    #[test]
    fn the_mean_shift_is_what_the_quantized_convolution_adds() {
        // Two groups of one input channel each, kernel of two, constant inputs 3 and 5.
        let weights = [0.1004, 0.7, -0.3, 0.9];
        let quantized = quantize_weights(&weights, rows(2, 4), None, 1.0);
        let shift = mean_shift(&weights, &quantized, 2, &[3.0, 5.0]);
        let back = |i: usize, c: usize| f32::from(quantized.values[i]) * quantized.scales[c];
        let first = (back(0, 0) + back(1, 0)) * 3.0 - (weights[0] + weights[1]) * 3.0;
        let second = (back(2, 1) + back(3, 1)) * 5.0 - (weights[2] + weights[3]) * 5.0;
        assert!((shift[0] - first).abs() < 1e-6 && (shift[1] - second).abs() < 1e-6);
        assert!(shift[0] != 0.0);
    }
}
