//! Adaptive statistics (ISO/IEC 14495-1 A.4 to A.6 regular mode, A.7 run mode).

use super::stream_header::StreamHeader;

const MIN_CORRECTION: i32 = -128;
const MAX_CORRECTION: i32 = 127;

/// Quantities that follow from the header (A.2.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameters {
    pub(super) max_value: i32,
    pub(super) near: i32,
    /// `2 * NEAR + 1`
    pub(super) step: i32,
    /// RANGE
    pub(super) range: i32,
    /// Bits of a quantised error, qbpp.
    pub(super) error_bits: u32,
    /// LIMIT: longest code word.
    pub(super) limit: u32,
    pub(super) reset: i32,
}

impl Parameters {
    pub(super) fn of(header: &StreamHeader) -> Self {
        let (max_value, near) = (header.max_value, header.near);
        let range = (max_value + 2 * near) / (2 * near + 1) + 1;
        let bits = bits_for(max_value + 1).max(2);
        let limit = 2 * (bits + bits.max(8));
        Parameters {
            max_value,
            near,
            step: 2 * near + 1,
            range,
            error_bits: bits_for(range),
            limit,
            reset: header.reset,
        }
    }

    /// A of a new context (A.2.1)
    fn initial_magnitude(&self) -> i32 {
        ((self.range + 32) / 64).max(2)
    }

    /// The sample from its prediction and quantised error (A.4.5): modulo RANGE, within 0..=MAXVAL.
    #[inline]
    pub(super) fn reconstruct(&self, prediction: i32, error: i32) -> i32 {
        let span = self.range * self.step;
        let value = prediction + error * self.step;
        let wrapped = if value < -self.near {
            value + span
        } else if value > self.max_value + self.near {
            value - span
        } else {
            value
        };
        wrapped.clamp(0, self.max_value)
    }
}

/// Smallest number of bits that can count `count` values.
fn bits_for(count: i32) -> u32 {
    32 - (count - 1).max(0).leading_zeros()
}

/// One of the 365 contexts of regular mode.
#[derive(Clone, Copy, Debug)]
pub(super) struct RegularContext {
    /// N: occurrences
    count: i32,
    /// A: sum of magnitudes
    magnitude: i32,
    /// B: bias
    bias: i32,
    /// C: prediction correction
    pub(super) correction: i32,
}

impl RegularContext {
    pub(super) fn new(parameters: &Parameters) -> Self {
        RegularContext {
            count: 1,
            magnitude: parameters.initial_magnitude(),
            bias: 0,
            correction: 0,
        }
    }

    /// k: the Golomb parameter (A.5.1)
    #[inline]
    pub(super) fn golomb(&self) -> u32 {
        golomb(self.count, self.magnitude)
    }

    /// The quantised error of a mapped one (A.5.2); lossless scans map the other way round in biased contexts.
    #[inline]
    pub(super) fn unmap(&self, mapped: i32, k: u32, near: i32) -> i32 {
        let error = (mapped >> 1) ^ -(mapped & 1);
        if near == 0 && k == 0 && 2 * self.bias <= -self.count {
            -error - 1
        } else {
            error
        }
    }

    /// A.6
    #[inline]
    pub(super) fn update(&mut self, error: i32, parameters: &Parameters) {
        self.bias += error * parameters.step;
        self.magnitude += error.abs();
        if self.count == parameters.reset {
            self.magnitude >>= 1;
            self.bias >>= 1;
            self.count >>= 1;
        }
        self.count += 1;
        if self.bias <= -self.count {
            self.bias = (self.bias + self.count).max(1 - self.count);
            self.correction = (self.correction - 1).max(MIN_CORRECTION);
        } else if self.bias > 0 {
            self.bias = (self.bias - self.count).min(0);
            self.correction = (self.correction + 1).min(MAX_CORRECTION);
        }
    }
}

/// One of the two contexts of run interruption.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunContext {
    /// RItype: 1 if the neighbours agree.
    kind: i32,
    count: i32,
    magnitude: i32,
    /// Nn: negative errors
    negative: i32,
}

impl RunContext {
    pub(super) fn new(kind: i32, parameters: &Parameters) -> Self {
        RunContext {
            kind,
            count: 1,
            magnitude: parameters.initial_magnitude(),
            negative: 0,
        }
    }

    /// k (A.7.2.1)
    #[inline]
    pub(super) fn golomb(&self) -> u32 {
        golomb(
            self.count,
            self.magnitude + if self.kind == 1 { self.count >> 1 } else { 0 },
        )
    }

    /// The quantised error of a mapped one (A.7.2.2), and the update (A.7.2.3).
    #[inline]
    pub(super) fn take(&mut self, mapped: i32, k: u32, reset: i32) -> i32 {
        let sum = mapped + self.kind;
        let magnitude = (sum + 1) >> 1;
        let negative = (k != 0 || 2 * self.negative >= self.count) == (sum & 1 == 1);
        let error = if negative { -magnitude } else { magnitude };
        self.negative += i32::from(error < 0);
        self.magnitude += (mapped + 1 - self.kind) >> 1;
        if self.count == reset {
            self.magnitude >>= 1;
            self.count >>= 1;
            self.negative >>= 1;
        }
        self.count += 1;
        error
    }
}

/// The smallest k with `count << k >= magnitude`; magnitudes stay below 2^25, so this ends.
#[inline]
fn golomb(count: i32, magnitude: i32) -> u32 {
    let mut k = 0;
    while (count << k) < magnitude && k < 24 {
        k += 1;
    }
    k
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(max_value: i32, near: i32) -> Parameters {
        let thresholds = [3, 7, 21];
        let header = StreamHeader {
            height: 1,
            width: 1,
            precision: 8,
            max_value,
            near,
            thresholds,
            reset: 64,
            scan_start: 0,
        };
        Parameters::of(&header)
    }

    #[test]
    fn parameters_of_the_standard() {
        let lossless = parameters(255, 0);
        assert_eq!((lossless.range, lossless.error_bits, lossless.limit), (256, 8, 32));
        let near = parameters(255, 2);
        assert_eq!((near.range, near.error_bits), (52, 6));
        assert_eq!(parameters(65_535, 0).limit, 64);
    }

    #[test]
    fn errors_wrap_within_the_range() {
        let lossless = parameters(255, 0);
        assert_eq!(
            [
                lossless.reconstruct(250, 10),
                lossless.reconstruct(3, -5),
                lossless.reconstruct(7, 1)
            ],
            [4, 254, 8]
        );
    }

    #[test]
    fn mapping_alternates_signs() {
        let context = RegularContext::new(&parameters(255, 0));
        assert_eq!(
            [0, 1, 2, 3, 4].map(|mapped| context.unmap(mapped, 1, 0)),
            [0, -1, 1, -2, 2]
        );
    }
}
