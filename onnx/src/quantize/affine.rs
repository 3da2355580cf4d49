//! The arithmetic of 8-bit numbers: q = round(x / scale) + zero point, saturated.
//!
//! Rounding is to the nearest, halves to even, as ONNX QuantizeLinear has it.

use serde::{Deserialize, Serialize};

/// Type of quantized activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActivationType {
    /// 0 to 255 with any zero point.
    U8,
    /// -128 to 127 with zero point 0.
    S8,
}

/// Scale and zero point of one activation tensor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Affine {
    /// Real value of one step; above 0.
    pub scale: f32,
    /// The number that stands for 0.0.
    pub zero_point: i32,
    /// Type of the numbers.
    pub numbers: ActivationType,
}

/// Steps below this are no activations but rounding noise; a scale near the smallest float would
/// overflow when it divides.
const SMALLEST_SCALE: f32 = 1e-20;

impl Affine {
    /// Asymmetric unsigned numbers for values from `low` to `high`. The range is widened to hold 0,
    /// which is then exact.
    pub fn unsigned(low: f32, high: f32) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = (high / 255.0 - low / 255.0).max(SMALLEST_SCALE);
        let zero_point = (-low / scale).round_ties_even().clamp(0.0, 255.0) as i32;
        Self {
            scale,
            zero_point,
            numbers: ActivationType::U8,
        }
    }

    /// Symmetric signed numbers for values from `low` to `high`.
    pub fn signed(low: f32, high: f32) -> Self {
        let scale = (low.abs().max(high.abs()) / 127.0).max(SMALLEST_SCALE);
        Self {
            scale,
            zero_point: 0,
            numbers: ActivationType::S8,
        }
    }

    /// Numbers of the given type for values from `low` to `high`.
    pub fn for_range(numbers: ActivationType, low: f32, high: f32) -> Self {
        match numbers {
            ActivationType::U8 => Self::unsigned(low, high),
            ActivationType::S8 => Self::signed(low, high),
        }
    }

    fn limits(&self) -> (i32, i32) {
        match self.numbers {
            ActivationType::U8 => (0, 255),
            ActivationType::S8 => (-128, 127),
        }
    }

    /// The number for a real value.
    pub fn quantize(&self, value: f32) -> i32 {
        let (least, most) = self.limits();
        // The cast saturates, so that values far outside the range stay ordered.
        let steps = (value / self.scale).round_ties_even() as i32;
        steps.saturating_add(self.zero_point).clamp(least, most)
    }

    /// The real value of a number.
    pub fn dequantize(&self, number: i32) -> f32 {
        (number - self.zero_point) as f32 * self.scale
    }

    /// The value that is left of `value` after quantization.
    pub fn round_trip(&self, value: f32) -> f32 {
        self.dequantize(self.quantize(value))
    }

    /// Smallest and largest value that the numbers hold.
    pub fn range(&self) -> (f32, f32) {
        let (least, most) = self.limits();
        (self.dequantize(least), self.dequantize(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ordered(a: f32, b: f32) -> (f32, f32) {
        (a.min(b), a.max(b))
    }

    proptest! {
        #[test]
        fn inside_the_range_the_error_is_at_most_half_a_step(
            a in -1e6_f32..1e6, b in -1e6_f32..1e6, t in 0.0_f32..=1.0, signed: bool,
        ) {
            let (low, high) = ordered(a, b);
            let numbers = if signed { ActivationType::S8 } else { ActivationType::U8 };
            let affine = Affine::for_range(numbers, low, high);
            let value = low + t * (high - low);
            let (least, most) = affine.range();
            // The zero point is a whole number, so the ends move by up to half a step.
            let slack = affine.scale * 1e-3;
            prop_assert!(least <= low + affine.scale / 2.0 + slack);
            prop_assert!(most >= high - affine.scale / 2.0 - slack);
            let error = (affine.round_trip(value) - value.clamp(least, most)).abs();
            prop_assert!(error <= affine.scale / 2.0 + slack, "{affine:?} {value} {error}");
        }

        #[test]
        fn zero_is_exact(a in -1e30_f32..1e30, b in -1e30_f32..1e30, signed: bool) {
            let (low, high) = ordered(a, b);
            let numbers = if signed { ActivationType::S8 } else { ActivationType::U8 };
            prop_assert_eq!(Affine::for_range(numbers, low, high).round_trip(0.0), 0.0);
        }

        #[test]
        fn order_is_kept(a in -1e3_f32..1e3, b in -1e3_f32..1e3, high in 1e-3_f32..1e3) {
            let (small, large) = ordered(a, b);
            let affine = Affine::unsigned(-high / 3.0, high);
            prop_assert!(affine.quantize(small) <= affine.quantize(large));
        }

        #[test]
        fn every_number_is_its_own_round_trip(low in -1e3_f32..0.0, high in 1e-3_f32..1e3, q in 0..256_i32) {
            let affine = Affine::unsigned(low, high);
            prop_assert_eq!(affine.quantize(affine.dequantize(q)), q);
        }

        #[test]
        fn any_float_gives_a_number(bits: u32, low in -1.0_f32..0.0) {
            let affine = Affine::unsigned(low, 1.0);
            prop_assert!((0..=255).contains(&affine.quantize(f32::from_bits(bits))));
        }
    }

    #[test]
    fn a_range_of_nothing_is_usable() {
        let affine = Affine::unsigned(0.0, 0.0);
        assert!(affine.scale > 0.0 && affine.round_trip(0.0) == 0.0);
        assert!(Affine::unsigned(f32::MIN, f32::MAX).scale.is_finite());
    }

    #[test]
    fn a_range_without_negatives_puts_zero_at_the_bottom() {
        // This is what lets quantization do the work of a ReLU.
        let affine = Affine::unsigned(0.0, 6.0);
        assert_eq!(affine.zero_point, 0);
        assert_eq!(affine.round_trip(-3.0), 0.0);
    }
}
