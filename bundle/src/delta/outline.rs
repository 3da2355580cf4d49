//! What a delta says about itself, read without following it.

use std::io::{self, BufReader, Read, Seek};

use super::{COPY, DIFFERENCE, DeltaError, END, PACKED, PLAIN, Prologue};
use crate::BundleError;
use crate::mcuboot::{TRAILER_BYTES, Trailer};

/// Bytes of a part: three u64.
const PART_BYTES: u64 = 24;

/// From which bundle a delta leads to which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// What stands before the steps.
    pub prologue: Prologue,
    /// MCUboot digest that the target's trailer names. Whether it is that of the target's bytes shows when the rebuilt
    /// bundle is checked.
    pub target_digest: [u8; 32],
}

impl Outline {
    /// Passes over the steps of a delta, in little memory and time whatever they would give.
    ///
    /// # Errors
    /// [`DeltaError::Magic`], [`DeltaError::FormatVersion`], [`DeltaError::Damaged`], [`DeltaError::Read`];
    /// [`DeltaError::Bundle`] if the target would not end as a bundle does.
    pub fn read<D: Read + Seek>(delta: D) -> Result<Self, DeltaError> {
        let mut delta = Delta {
            inner: BufReader::new(delta),
            offset: 0,
        };
        let prologue = Prologue::parse(&delta.array()?)?;
        let mut last = None;
        loop {
            let at = delta.offset;
            let [step] = delta.array()?;
            if step == END {
                break;
            }
            last = delta.pass(step, at)?;
        }
        let trailer = last.ok_or_else(|| damaged(delta.offset, "it does not end with the end of a bundle"))?;
        let digest = Trailer::parse(&trailer).map_err(BundleError::from)?.digest;
        Ok(Self {
            prologue,
            target_digest: digest,
        })
    }
}

struct Delta<D> {
    inner: BufReader<D>,
    offset: u64,
}

impl<D: Read + Seek> Delta<D> {
    /// Passes over a step, and gives the last bytes of a plain one that is long enough for a trailer.
    fn pass(&mut self, step: u8, at: u64) -> Result<Option<[u8; TRAILER_BYTES]>, DeltaError> {
        match step {
            COPY => self.skip(16)?,
            PLAIN => {
                let length = u32::from_le_bytes(self.array()?);
                if let Some(before) = u64::from(length).checked_sub(TRAILER_BYTES as u64) {
                    self.skip(before)?;
                    return self.array().map(Some);
                }
                self.skip(length.into())?;
            }
            PACKED => {
                let length = u32::from_le_bytes(self.array()?);
                self.skip(length.into())?;
            }
            DIFFERENCE => {
                self.skip(16)?;
                let parts = u32::from_le_bytes(self.array()?);
                self.skip(u64::from(parts) * PART_BYTES)?;
                let length = u32::from_le_bytes(self.array()?);
                self.skip(length.into())?;
            }
            _ => return Err(damaged(at, "there is no such step")),
        }
        Ok(None)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DeltaError> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => damaged(self.offset, "it ends early"),
            _ => read_error(e),
        })?;
        self.offset += N as u64;
        Ok(bytes)
    }

    /// That nothing is there shows with the next read.
    fn skip(&mut self, bytes: u64) -> Result<(), DeltaError> {
        self.inner
            .seek_relative(i64::try_from(bytes).map_err(|_| damaged(self.offset, "it ends early"))?)
            .map_err(read_error)?;
        self.offset += bytes;
        Ok(())
    }
}

fn damaged(offset: u64, what: &'static str) -> DeltaError {
    DeltaError::Damaged { offset, what }
}

fn read_error(source: io::Error) -> DeltaError {
    let what = "the delta";
    DeltaError::Read { what, source }
}
