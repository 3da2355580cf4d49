//! PNG, JPEG and TIFF: the first byte chooses a signature, so that the fuzzer need not guess it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scanside_imaging::decode::{Limits, decode_bytes};

const LIMITS: Limits = Limits {
    max_pixels: 1 << 20,
    max_bytes: 8 << 20,
    max_frames: 64,
};
const SIGNATURES: [&[u8]; 5] = [b"", b"\x89PNG\r\n\x1A\n", b"\xFF\xD8\xFF", b"II*\0", b"MM\0*"];

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, rest)) = bytes.split_first() else {
        return;
    };
    let file = [SIGNATURES[usize::from(choice) % SIGNATURES.len()], rest].concat();
    let decoded = decode_bytes(file, &LIMITS)
        .and_then(|source| source.frame(0))
        .map(|image| drop(image.display_u8()));
    if let Err(error) = decoded {
        assert!(!error.to_string().contains("gave up at"), "{error}");
    }
});
