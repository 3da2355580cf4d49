//! What a file may cost.

use super::error::DecodeError;

/// Bounds that are checked before memory is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Pixels of one frame.
    pub max_pixels: u64,
    /// Bytes of a file, and of a deflated data set once inflated.
    pub max_bytes: u64,
    /// Frames of a file.
    pub max_frames: u64,
}

impl Default for Limits {
    /// 64 megapixels a frame (the largest mammography detectors have 30), 512 MiB a file, 16384 frames.
    fn default() -> Self {
        Limits {
            max_pixels: 64 << 20,
            max_bytes: 512 << 20,
            max_frames: 16_384,
        }
    }
}

impl Limits {
    pub(super) fn check_pixels(&self, height: u64, width: u64) -> Result<(), DecodeError> {
        if height == 0 || width == 0 {
            return Err(DecodeError::damaged(
                "image header",
                format!("the image is {height} x {width} pixels"),
            ));
        }
        check("pixels of a frame", height.saturating_mul(width), self.max_pixels)
    }

    pub(super) fn check_bytes(&self, bytes: u64) -> Result<(), DecodeError> {
        check("bytes of the file", bytes, self.max_bytes)
    }

    pub(super) fn check_frames(&self, frames: u64) -> Result<(), DecodeError> {
        check("number of frames", frames, self.max_frames)
    }
}

fn check(what: &'static str, value: u64, limit: u64) -> Result<(), DecodeError> {
    if value > limit {
        Err(DecodeError::TooLarge { what, value, limit })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_inclusive_and_do_not_overflow() {
        let limits = Limits {
            max_pixels: 100,
            max_bytes: 10,
            max_frames: 2,
        };
        assert!(
            limits.check_pixels(10, 10).is_ok() && limits.check_bytes(10).is_ok() && limits.check_frames(2).is_ok()
        );
        for refused in [
            limits.check_pixels(10, 11),
            limits.check_bytes(11),
            limits.check_frames(3),
        ] {
            assert_eq!(refused.unwrap_err().code(), "too-large");
        }
        assert_eq!(limits.check_pixels(u64::MAX, u64::MAX).unwrap_err().code(), "too-large");
        assert_eq!(limits.check_pixels(0, 9).unwrap_err().code(), "damaged");
    }
}
