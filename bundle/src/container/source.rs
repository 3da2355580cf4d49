//! A reader that counts and hashes what passes, and tells a short file from a failed read.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use super::BundleError;

pub(super) struct Source<R> {
    inner: R,
    offset: u64,
    digest: Sha256,
}

impl<R: Read> Source<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            offset: 0,
            digest: Sha256::new(),
        }
    }

    /// Number of bytes read so far.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// SHA-256 of everything that [`Source::fill`] read.
    pub(super) fn digest(&self) -> [u8; 32] {
        self.digest.clone().finalize().into()
    }

    /// Fills `buffer`, adding it to the digest.
    pub(super) fn fill(&mut self, buffer: &mut [u8], part: &'static str) -> Result<(), BundleError> {
        self.fill_unhashed(buffer, part)?;
        self.digest.update(&*buffer);
        Ok(())
    }

    pub(super) fn array<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N], BundleError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, part)?;
        Ok(bytes)
    }

    /// Fills `buffer` without adding it to the digest: the TLV that holds the digest.
    pub(super) fn fill_unhashed(&mut self, buffer: &mut [u8], part: &'static str) -> Result<(), BundleError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_some(&mut buffer[filled..])? {
                0 => {
                    return Err(BundleError::Truncated {
                        part,
                        offset: self.offset,
                    });
                }
                n => filled += n,
            }
        }
        Ok(())
    }

    /// The file must end here.
    pub(super) fn expect_end(&mut self) -> Result<(), BundleError> {
        let offset = self.offset;
        match self.read_some(&mut [0])? {
            0 => Ok(()),
            _ => Err(BundleError::TrailingBytes { offset }),
        }
    }

    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, BundleError> {
        loop {
            match self.inner.read(buffer) {
                Ok(n) => {
                    self.offset += n as u64;
                    return Ok(n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(BundleError::Read {
                        offset: self.offset,
                        source,
                    });
                }
            }
        }
    }
}
