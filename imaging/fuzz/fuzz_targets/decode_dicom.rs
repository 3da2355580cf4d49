//! Any bytes behind a DICOM prefix, and as they are.
//!
//! Seeds: `cargo fuzz run decode_dicom imaging/goldens/dicom imaging/goldens/refused`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scanside_imaging::decode::{Limits, decode_bytes};

const LIMITS: Limits = Limits {
    max_pixels: 1 << 20,
    max_bytes: 8 << 20,
    max_frames: 64,
};

fuzz_target!(|bytes: &[u8]| {
    attempt(bytes.to_vec());
    let prefixed = [&[0; 128][..], b"DICM", bytes].concat();
    attempt(prefixed);
});

fn attempt(bytes: Vec<u8>) {
    let decoded = decode_bytes(bytes, &LIMITS).and_then(|source| {
        (0..source.frame_count().min(3)).try_for_each(|frame| source.frame(frame).map(|image| drop(image.display_u8())))
    });
    // Third-party panics are contained and reported as damage; here they are findings.
    if let Err(error) = decoded {
        assert!(!error.to_string().contains("gave up at"), "{error}");
    }
}
