//! Any header and payload behind a valid signature: what a signer with a faulty packer could send.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use scanside_bundle::container::{self, FORMAT_VERSION, MAGIC, Policy};
use scanside_bundle::mcuboot::{HEADER_BYTES, ImageHeader, TRAILER_BYTES, Trailer};
use scanside_bundle::{SecretKey, TrustedKeys, Version, example, sign};

static KEYS: LazyLock<(SecretKey, TrustedKeys)> = LazyLock::new(|| {
    let keys = sign::generate(None).expect("random numbers");
    let secret = sign::parse_secret(&keys.secret_file).expect("a secret key");
    (secret, TrustedKeys::new(vec![keys.public]))
});

/// Header and payload of a bundle that is in order.
static EXAMPLE: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let mut file = Vec::new();
    container::write(&example::manifest(), &example::files(), &KEYS.0, &mut file).expect("a bundle");
    let body = file.split_off(HEADER_BYTES + MAGIC.len() + 4);
    let (header, rest) = sized(&body);
    let (_, rest) = sized(rest);
    (header.to_vec(), rest[..rest.len() - TRAILER_BYTES].to_vec())
});

/// A part behind its length, and what follows it.
fn sized(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = bytes.split_first_chunk::<4>().expect("a length");
    rest.split_at(u32::from_le_bytes(*length) as usize)
}

// The first byte chooses: bytes as they are, or edits of the example, which get past its first checks.
fuzz_target!(|bytes: &[u8]| {
    let Some((choice, rest)) = bytes.split_first() else {
        return;
    };
    let Some((header, payload)) = (if choice % 2 == 0 { plain(rest) } else { edited(rest) }) else {
        return;
    };
    let file = assemble(&header, &payload);
    // Small limits: the fuzzer looks for more memory than was allowed.
    let policy = Policy {
        max_file_bytes: 1 << 20,
        max_total_bytes: 1 << 20,
        ..Policy::default()
    };
    let _ = container::open(file.as_slice(), &KEYS.1, &policy, |_| true);
});

/// The first two bytes say how much of the rest is the header.
fn plain(bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (split, rest) = bytes.split_first_chunk::<2>()?;
    let split = usize::from(u16::from_le_bytes(*split)).min(rest.len());
    let (header, payload) = rest.split_at(split);
    Some((header.to_vec(), payload.to_vec()))
}

/// Five bytes an edit: which part and what to do, where (24 bits), with which byte.
fn edited(bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut header, mut payload) = EXAMPLE.clone();
    for [action, low, middle, high, value] in bytes.as_chunks::<5>().0 {
        let part = if action & 0x80 == 0 { &mut header } else { &mut payload };
        if part.is_empty() {
            return None;
        }
        let at = u32::from_le_bytes([*low, *middle, *high, 0]) as usize % part.len();
        match action % 4 {
            0 => part[at] = *value,
            1 => part.insert(at, *value),
            2 => drop(part.remove(at)),
            _ => part.truncate(at),
        }
    }
    Some((header, payload))
}

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
