//! Any bytes as a bundle: nothing of an unsigned file may be believed, and nothing may panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use scanside_bundle::container::{self, FORMAT_VERSION, Front, MAGIC, Policy};
use scanside_bundle::mcuboot::{ImageHeader, TRAILER_BYTES};
use scanside_bundle::{TrustedKeys, Version, sign};

/// A public key whose secret key was thrown away.
const KEY: &str = "untrusted comment: fuzzing\nRWRqqla9yYH1FI5udC6zlqMhIFQlXVkVZCLpGAX4yJAwILTS0rLy/YTv\n";

// The first byte chooses whether the rest stands behind the front of a bundle, so that the fuzzer need not guess it.
fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first() else {
        return;
    };
    let file = if choice % 2 == 0 {
        rest.to_vec()
    } else {
        behind_front(rest)
    };
    let _ = Front::read(file.as_slice());
    let key = sign::parse_public(KEY).expect("a public key");
    let trusted = TrustedKeys::new(vec![key]);
    assert!(container::open(file.as_slice(), &trusted, &Policy::default(), |_| true).is_err());
});

/// The bytes as what follows the format version.
fn behind_front(bytes: &[u8]) -> Vec<u8> {
    let body = [&MAGIC[..], &FORMAT_VERSION.to_le_bytes(), &[0, 0], bytes].concat();
    let image = ImageHeader {
        version: Version::new(1, 2, 3),
        body_bytes: body.len().saturating_sub(TRAILER_BYTES) as u32,
    };
    [&image.to_bytes()[..], &body].concat()
}
