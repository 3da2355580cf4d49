//! Any bytes as a bundle: nothing of an unsigned file may be believed, and nothing may panic.

#![no_main]

use libfuzzer_sys::fuzz_target;
use scanside_bundle::container::{self, Front, Policy};
use scanside_bundle::{TrustedKeys, sign};

/// A public key whose secret key was thrown away.
const KEY: &str = "untrusted comment: fuzzing\nRWRqqla9yYH1FI5udC6zlqMhIFQlXVkVZCLpGAX4yJAwILTS0rLy/YTv\n";

fuzz_target!(|bytes: &[u8]| {
    let _ = Front::read(bytes);
    let key = sign::parse_public(KEY).expect("a public key");
    let trusted = TrustedKeys::new(vec![key]);
    assert!(container::open(bytes, &trusted, &Policy::default(), |_| true).is_err());
});
