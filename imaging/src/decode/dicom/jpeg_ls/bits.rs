//! Bits of an entropy-coded segment: most significant first; after FF comes a byte with 7 bits (ISO/IEC 14495-1 A.1).

use crate::decode::error::DecodeError;

/// Reads bits up to the next marker or the end of the data.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Unread bits, left-aligned; zeros below.
    cache: u64,
    cached: u32,
    after_ff: bool,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        BitReader {
            bytes,
            at: 0,
            cache: 0,
            cached: 0,
            after_ff: false,
        }
    }

    /// One bit.
    #[inline]
    pub(super) fn bit(&mut self) -> Result<bool, DecodeError> {
        Ok(self.bits(1)? == 1)
    }

    /// `count` bits, 1 to 32.
    #[inline]
    pub(super) fn bits(&mut self, count: u32) -> Result<u32, DecodeError> {
        if self.cached < count {
            self.fill();
            if self.cached < count {
                return Err(self.ends());
            }
        }
        let value = (self.cache >> (64 - count)) as u32;
        self.drop_bits(count);
        Ok(value)
    }

    /// Zeros before the next one, which is read too; more than `limit` zeros are damage.
    #[inline]
    pub(super) fn zeros(&mut self, limit: u32) -> Result<u32, DecodeError> {
        let mut zeros = 0;
        loop {
            if self.cached < 32 {
                self.fill();
            }
            let run = self.cache.leading_zeros();
            if run < self.cached {
                self.drop_bits(run + 1);
                zeros += run;
                return if zeros <= limit {
                    Ok(zeros)
                } else {
                    Err(too_many_zeros())
                };
            }
            if self.cached == 0 {
                return Err(self.ends());
            }
            zeros += self.cached;
            self.drop_bits(self.cached);
            if zeros > limit {
                return Err(too_many_zeros());
            }
        }
    }

    #[inline]
    fn drop_bits(&mut self, count: u32) {
        // A shift by 64 is not defined, and leaves nothing.
        self.cache = self.cache.checked_shl(count).unwrap_or(0);
        self.cached -= count;
    }

    fn fill(&mut self) {
        while self.cached <= 56 {
            let Some(&byte) = self.bytes.get(self.at) else { return };
            let width = if self.after_ff { 7 } else { 8 };
            // FF and a byte from 80 on is a marker; FF at the end is the start of one.
            if byte == 0xFF && self.bytes.get(self.at + 1).is_none_or(|&next| next >= 0x80) {
                return;
            }
            self.cache |= u64::from(byte) << (64 - width - self.cached);
            self.cached += width;
            self.at += 1;
            self.after_ff = byte == 0xFF;
        }
    }

    #[cold]
    fn ends(&self) -> DecodeError {
        DecodeError::truncated("JPEG-LS scan", self.at, 1, 0)
    }
}

#[cold]
fn too_many_zeros() -> DecodeError {
    DecodeError::damaged("JPEG-LS scan", "a code word is longer than the limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuffed_bits_are_left_out_and_markers_end_the_scan() {
        let mut bits = BitReader::new(&[0b1010_0000, 0xFF, 0b0100_0001, 0xFF, 0xD9]);
        assert_eq!(bits.bits(3).unwrap(), 0b101);
        assert_eq!(bits.bits(5).unwrap(), 0);
        assert_eq!(bits.bits(8).unwrap(), 0xFF);
        assert_eq!(bits.bits(7).unwrap(), 0b100_0001);
        assert_eq!(bits.bit().unwrap_err().code(), "truncated");
    }

    #[test]
    fn zeros_run_over_any_number_of_bytes() {
        let mut bytes = vec![0; 20];
        bytes.push(0b0001_0000);
        assert_eq!(BitReader::new(&bytes).zeros(200).unwrap(), 163);
        assert_eq!(BitReader::new(&bytes).zeros(100).unwrap_err().code(), "damaged");
        assert_eq!(BitReader::new(&[0; 5]).zeros(100).unwrap_err().code(), "truncated");
        let mut bits = BitReader::new(&[0, 0, 0, 0, 0, 0, 0, 1, 0x80]);
        assert_eq!((bits.zeros(64).unwrap(), bits.zeros(64).unwrap()), (63, 0));
    }
}
