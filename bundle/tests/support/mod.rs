//! What the integration tests share: a packed example and ways to damage it while keeping its signature valid.

use scanside_bundle::container::{self, PROLOGUE_BYTES};
use scanside_bundle::mcuboot::{HEADER_BYTES, ImageHeader, TRAILER_BYTES, Trailer};
use scanside_bundle::{SecretKey, TrustedKeys, example, sign};
use sha2::{Digest, Sha256};

/// A packed example with its keys.
pub struct Fixture {
    pub file: Vec<u8>,
    pub keys: TrustedKeys,
    pub secret: SecretKey,
    /// Length of the signed header, without magic, version and length.
    pub header_bytes: usize,
    pub signature_bytes: usize,
}

#[allow(dead_code, reason = "not every test binary damages the example")]
impl Fixture {
    pub fn new() -> Self {
        let new = sign::generate(None).unwrap();
        let secret = sign::parse_secret(&new.secret_file).unwrap();
        let mut file = Vec::new();
        container::write(&example::manifest(), &example::files(), &secret, &mut file).unwrap();
        let header_bytes = u32_at(&file, HEADER_BYTES + 12) as usize;
        let signature_bytes = u32_at(&file, HEADER_BYTES + PROLOGUE_BYTES + header_bytes) as usize;
        Self {
            file,
            keys: TrustedKeys::new(vec![new.public]),
            secret,
            header_bytes,
            signature_bytes,
        }
    }

    pub fn signature_at(&self) -> usize {
        HEADER_BYTES + PROLOGUE_BYTES + self.header_bytes
    }

    pub fn payload_at(&self) -> usize {
        self.signature_at() + 4 + self.signature_bytes
    }

    pub fn trailer_at(&self) -> usize {
        self.file.len() - TRAILER_BYTES
    }

    pub fn header(&self) -> &[u8] {
        &self.file[HEADER_BYTES + PROLOGUE_BYTES..self.signature_at()]
    }

    pub fn payload(&self) -> &[u8] {
        &self.file[self.payload_at()..self.trailer_at()]
    }

    /// A bundle of any header and payload with a valid signature, MCUboot face and digest: what a signer with a
    /// faulty or hostile packer could make.
    pub fn assemble(&self, header: &[u8], payload: &[u8]) -> Vec<u8> {
        let manifest = example::manifest();
        let mut signed = self.file[HEADER_BYTES..HEADER_BYTES + 12].to_vec();
        signed.extend((header.len() as u32).to_le_bytes());
        signed.extend(header);
        let signature = sign::sign(&self.secret, &signed, "test").unwrap();
        let image = ImageHeader {
            version: manifest.version,
            body_bytes: (signed.len() + 4 + signature.len() + payload.len()) as u32,
        };
        let mut file = image.to_bytes().to_vec();
        file.extend(signed);
        file.extend((signature.len() as u32).to_le_bytes());
        file.extend(signature.as_bytes());
        file.extend(payload);
        file.extend(Trailer::protected_bytes(manifest.security_counter));
        let digest: [u8; 32] = Sha256::digest(&file).into();
        file.extend(Trailer::unprotected_bytes(&digest));
        file
    }
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}
