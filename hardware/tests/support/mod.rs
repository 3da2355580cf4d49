//! What the integration tests share.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod client;

use sha2::{Digest, Sha256};

/// A well-formed MCUboot image with a body of `bytes` bytes and version 1.2.3+4, as a bundle's MCUboot face is one.
pub fn image(bytes: u32, seed: u8) -> Vec<u8> {
    let mut image = 0x96f3_b83d_u32.to_le_bytes().to_vec();
    image.extend(0_u32.to_le_bytes());
    image.extend(32_u16.to_le_bytes());
    image.extend(12_u16.to_le_bytes());
    image.extend(bytes.to_le_bytes());
    image.extend(0_u32.to_le_bytes());
    image.extend([1, 2, 3, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
    image.extend((0..bytes).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8 ^ seed));
    image.extend([0x08, 0x69, 12, 0, 0x50, 0, 4, 0, 7, 0, 0, 0]);
    let digest: [u8; 32] = Sha256::digest(&image).into();
    image.extend([0x07, 0x69, 40, 0, 0x10, 0, 32, 0]);
    image.extend(digest);
    image
}
