//! One scan of one component (ISO/IEC 14495-1 Annex A): every sample is predicted from its left, upper and upper right
//! neighbours, and its error decoded in the context of their gradients; flat neighbourhoods are coded as runs.

use super::bits::BitReader;
use super::contexts::{Parameters, RegularContext, RunContext};
use super::stream_header::StreamHeader;
use crate::decode::error::DecodeError;

const REGULAR_CONTEXTS: usize = 365;
/// J: bits of a run segment's length (table A.3, code segment A.14)
const RUN_BITS: [u32; 32] = [
    0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15,
];

/// Decodes line by line; `store` takes `width` samples within 0..=MAXVAL, `height` times.
pub(super) fn decode(header: &StreamHeader, frame: &[u8], mut store: impl FnMut(&[i32])) -> Result<(), DecodeError> {
    let width = header.width;
    let mut scan = Scan::new(header, frame.get(header.scan_start..).unwrap_or_default());
    // Lines have one sample before and one after the image: left edge and right edge of the neighbourhood (A.2.1).
    let mut above = vec![0; width + 2];
    let mut line = vec![0; width + 2];
    for _ in 0..header.height {
        line[0] = above[1];
        above[width + 1] = above[width];
        scan.decode_line(&above, &mut line)?;
        store(&line[1..=width]);
        std::mem::swap(&mut above, &mut line);
    }
    Ok(())
}

struct Scan<'a> {
    bits: BitReader<'a>,
    parameters: Parameters,
    regular: Vec<RegularContext>,
    run: [RunContext; 2],
    run_index: usize,
    /// -4..=4 for every difference of two samples, shifted by MAXVAL.
    gradients: Vec<i8>,
}

impl<'a> Scan<'a> {
    fn new(header: &StreamHeader, bytes: &'a [u8]) -> Self {
        let parameters = Parameters::of(header);
        let quantise = |difference| quantised_gradient(difference, header.thresholds, header.near);
        Scan {
            bits: BitReader::new(bytes),
            parameters,
            regular: vec![RegularContext::new(&parameters); REGULAR_CONTEXTS],
            run: [RunContext::new(0, &parameters), RunContext::new(1, &parameters)],
            run_index: 0,
            gradients: (-header.max_value..=header.max_value).map(quantise).collect(),
        }
    }

    fn decode_line(&mut self, above: &[i32], line: &mut [i32]) -> Result<(), DecodeError> {
        let width = line.len() - 2;
        let mut x = 1;
        while x <= width {
            let (left, up, up_left, up_right) = (line[x - 1], above[x], above[x - 1], above[x + 1]);
            let context =
                81 * self.gradient(up_right - up) + 9 * self.gradient(up - up_left) + self.gradient(up_left - left);
            if context == 0 {
                x = self.decode_run(above, line, x)?;
            } else {
                line[x] = self.decode_regular(context, predict(left, up, up_left))?;
                x += 1;
            }
        }
        Ok(())
    }

    #[inline]
    fn gradient(&self, difference: i32) -> i32 {
        i32::from(self.gradients[(difference + self.parameters.max_value) as usize])
    }

    #[inline]
    fn decode_regular(&mut self, context: i32, prediction: i32) -> Result<i32, DecodeError> {
        let sign = context.signum();
        // 1..=364: contexts of opposite sign share one entry.
        let index = context.unsigned_abs() as usize;
        let correction = sign * self.regular[index].correction;
        let prediction = (prediction + correction).clamp(0, self.parameters.max_value);
        let k = self.regular[index].golomb();
        let mapped = self.mapped_error(k, self.parameters.limit)?;
        let context = &mut self.regular[index];
        let error = context.unmap(mapped, k, self.parameters.near);
        context.update(error, &self.parameters);
        Ok(self.parameters.reconstruct(prediction, sign * error))
    }

    /// A run of the left sample, and the sample that interrupts it; gives the next column.
    fn decode_run(&mut self, above: &[i32], line: &mut [i32], start: usize) -> Result<usize, DecodeError> {
        let width = line.len() - 2;
        let left = line[start - 1];
        let mut x = start;
        while self.bits.bit()? {
            let segment = 1usize << RUN_BITS[self.run_index];
            let end = (x + segment).min(width + 1);
            line[x..end].fill(left);
            if end - x == segment {
                self.run_index = (self.run_index + 1).min(31);
            }
            x = end;
            if x > width {
                return Ok(x);
            }
        }
        let rest = match RUN_BITS[self.run_index] {
            0 => 0,
            bits => self.bits.bits(bits)? as usize,
        };
        if x + rest > width {
            return Err(DecodeError::damaged("JPEG-LS scan", "a run is longer than its line"));
        }
        line[x..x + rest].fill(left);
        x += rest;
        line[x] = self.decode_interruption(left, above[x])?;
        self.run_index = self.run_index.saturating_sub(1);
        Ok(x + 1)
    }

    /// A.7.2
    fn decode_interruption(&mut self, left: i32, up: i32) -> Result<i32, DecodeError> {
        let alike = (left - up).abs() <= self.parameters.near;
        let k = self.run[usize::from(alike)].golomb();
        let limit = self.parameters.limit - RUN_BITS[self.run_index] - 1;
        let mapped = self.mapped_error(k, limit)?;
        let error = self.run[usize::from(alike)].take(mapped, k, self.parameters.reset);
        let (prediction, sign) = match (alike, left > up) {
            (true, _) => (left, 1),
            (false, true) => (up, -1),
            (false, false) => (up, 1),
        };
        Ok(self.parameters.reconstruct(prediction, sign * error))
    }

    /// A Golomb code of limited length (A.5.3).
    #[inline]
    fn mapped_error(&mut self, k: u32, limit: u32) -> Result<i32, DecodeError> {
        let escape = limit - self.parameters.error_bits - 1;
        let zeros = self.bits.zeros(escape)?;
        let mapped = if zeros == escape {
            self.bits.bits(self.parameters.error_bits)? + 1
        } else if k == 0 {
            zeros
        } else {
            // At most 63 zeros and k of 24: fits.
            (zeros << k) | self.bits.bits(k)?
        };
        // An error lies within the range, so that no sum below can overflow.
        if mapped > 2 * self.parameters.range as u32 {
            return Err(DecodeError::damaged(
                "JPEG-LS scan",
                format!("an error of {mapped} is out of range"),
            ));
        }
        Ok(mapped as i32)
    }
}

/// The median edge detector (A.4.1).
#[inline]
fn predict(left: i32, up: i32, up_left: i32) -> i32 {
    let (low, high) = (left.min(up), left.max(up));
    if up_left >= high {
        low
    } else if up_left <= low {
        high
    } else {
        left + up - up_left
    }
}

/// A.3.3
fn quantised_gradient(difference: i32, [t1, t2, t3]: [i32; 3], near: i32) -> i8 {
    let size = match difference.abs() {
        size if size <= near => 0,
        size if size < t1 => 1,
        size if size < t2 => 2,
        size if size < t3 => 3,
        _ => 4,
    };
    if difference < 0 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of ISO/IEC 14495-1 Annex H.3: 4 x 4 samples of 8 bits.
    #[test]
    fn example_of_the_standard() {
        let coded = [
            0xFF, 0xD8, 0xFF, 0xF7, 0x00, 0x0B, 0x08, 0x00, 0x04, 0x00, 0x04, 0x01, 0x01, 0x11, 0x00, 0xFF, 0xDA, 0x00,
            0x08, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0xC0, 0x00, 0x00, 0x6C, 0x80, 0x20, 0x8E, 0x01, 0xC0, 0x00, 0x00,
            0x57, 0x40, 0x00, 0x00, 0x6E, 0xE6, 0x00, 0x00, 0x01, 0xBC, 0x18, 0x00, 0x00, 0x05, 0xD8, 0x00, 0x00, 0x91,
            0x60, 0xFF, 0xD9,
        ];
        let header = StreamHeader::read(&coded).unwrap();
        let mut samples = Vec::new();
        decode(&header, &coded, |line| samples.extend_from_slice(line)).unwrap();
        assert_eq!(
            samples,
            [0, 0, 90, 74, 68, 50, 43, 205, 64, 145, 145, 145, 100, 145, 145, 145]
        );
        for length in header.scan_start..coded.len() - 4 {
            assert!(decode(&header, &coded[..length], |_| ()).is_err(), "cut to {length}");
        }
    }

    #[test]
    fn gradients_have_nine_steps() {
        let steps =
            [-30, -21, -7, -3, -1, 0, 1, 3, 7, 21].map(|difference| quantised_gradient(difference, [3, 7, 21], 0));
        assert_eq!(steps, [-4, -4, -3, -2, -1, 0, 1, 2, 3, 4]);
        assert_eq!(quantised_gradient(2, [9, 17, 35], 2), 0);
    }

    #[test]
    fn edges_are_predicted_by_the_median() {
        assert_eq!(
            [predict(10, 20, 25), predict(10, 20, 5), predict(10, 20, 15)],
            [10, 20, 15]
        );
    }
}
