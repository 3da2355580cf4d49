//! Any header and payload behind a valid signature: what a signer with a faulty packer could send.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use scanside_bundle::container::{self, FORMAT_VERSION, MAGIC, Policy};
use scanside_bundle::mcuboot::{ImageHeader, Trailer};
use scanside_bundle::{SecretKey, TrustedKeys, Version, sign};

static KEYS: LazyLock<(SecretKey, TrustedKeys)> = LazyLock::new(|| {
    let keys = sign::generate(None).expect("random numbers");
    let secret = sign::parse_secret(&keys.secret_file).expect("a secret key");
    (secret, TrustedKeys::new(vec![keys.public]))
});

// The first two bytes say how much of the rest is the header.
fuzz_target!(|bytes: &[u8]| {
    let Some((split, rest)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let split = usize::from(u16::from_le_bytes(*split)).min(rest.len());
    let (header, payload) = rest.split_at(split);
    let file = assemble(header, payload);
    // Small limits: the fuzzer looks for more memory than was allowed.
    let policy = Policy {
        max_file_bytes: 1 << 20,
        max_total_bytes: 1 << 20,
        ..Policy::default()
    };
    let _ = container::open(file.as_slice(), &KEYS.1, &policy, |_| true);
});

fn assemble(header: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut signed = MAGIC.to_vec();
    signed.extend(FORMAT_VERSION.to_le_bytes());
    signed.extend([0, 0]);
    signed.extend((header.len() as u32).to_le_bytes());
    signed.extend(header);
    let signature = sign::sign(&KEYS.0, &signed, "fuzzing").expect("a signature");
    let image = ImageHeader {
        version: Version::new(1, 2, 3),
        body_bytes: (signed.len() + 4 + signature.len() + payload.len()) as u32,
    };
    let mut file = image.to_bytes().to_vec();
    file.extend(signed);
    file.extend((signature.len() as u32).to_le_bytes());
    file.extend(signature.as_bytes());
    file.extend(payload);
    file.extend(Trailer::protected_bytes(7));
    file.extend(Trailer::unprotected_bytes(&[0; 32]));
    file
}
