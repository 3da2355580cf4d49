//! Following a delta: on the device, as a stream in bounded memory.

use std::io::{self, BufReader, Read, Seek, SeekFrom, Take, Write};

use sha2::{Digest, Sha256};
use zstd::stream::read::Decoder;

use super::align::Part;
use super::{COPY, DIFFERENCE, DeltaError, END, FORMAT_VERSION, MAGIC, MAX_PARTS, PACKED, PLAIN, PROLOGUE_BYTES};
use crate::container::{Policy, WINDOW_LOG, frame_encoder};

/// Bytes handled at once.
const CHUNK_BYTES: usize = 32 * 1024;

/// What stands before the steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prologue {
    /// MCUboot digest of the bundle that the delta starts from.
    pub base: [u8; 32],
    /// Length of the bundle that it gives, in bytes.
    pub target_bytes: u64,
    /// SHA-256 of that bundle's whole file.
    pub target_sha256: [u8; 32],
}

impl Prologue {
    /// Reads the beginning of a delta.
    ///
    /// # Errors
    /// [`DeltaError::Magic`], [`DeltaError::FormatVersion`].
    pub fn parse(bytes: &[u8; PROLOGUE_BYTES]) -> Result<Self, DeltaError> {
        let (magic, rest) = bytes.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(DeltaError::Magic);
        }
        let version = u16::from_le_bytes([rest[0], rest[1]]);
        if version != FORMAT_VERSION {
            return Err(DeltaError::FormatVersion { found: version });
        }
        let (mut base, mut length, mut target_sha256) = ([0; 32], [0; 8], [0; 32]);
        base.copy_from_slice(&bytes[12..44]);
        length.copy_from_slice(&bytes[44..52]);
        target_sha256.copy_from_slice(&bytes[52..84]);
        Ok(Self {
            base,
            target_bytes: u64::from_le_bytes(length),
            target_sha256,
        })
    }
}

/// Writes the bundle that `delta` gives with `base` to `out`, and says what was rebuilt.
///
/// What reached `out` may be believed only after this returns; a bundle's own checks come on top. Whether `base` is the
/// one that [`Prologue::base`] names is the caller's to look at, with [`Outline`](super::Outline), before a byte is
/// written.
///
/// # Errors
/// [`DeltaError`]; [`DeltaError::Target`] if the result is another file, which a wrong base gives at the latest.
pub fn rebuild<D: Read, B: Read + Seek, W: Write>(delta: D, base: B, out: W) -> Result<Prologue, DeltaError> {
    let mut steps = Steps {
        inner: BufReader::with_capacity(CHUNK_BYTES, delta),
        offset: 0,
    };
    let prologue = Prologue::parse(&steps.array()?)?;
    let mut target = Target {
        out,
        digest: Sha256::new(),
        left: prologue.target_bytes,
        failure: None,
    };
    let mut base = base;
    loop {
        let at = steps.offset;
        let [step] = steps.array()?;
        match step {
            END => break,
            COPY => copy(&mut steps, &mut base, &mut target)?,
            PLAIN => plain(&mut steps, &mut target)?,
            PACKED => packed(&mut steps, &mut target)?,
            DIFFERENCE => difference(&mut steps, &mut base, &mut target)?,
            _ => return Err(damaged(at, "there is no such step")),
        }
    }
    target.finish(&prologue)?;
    Ok(prologue)
}

fn copy<D: Read, B: Read + Seek, W: Write>(
    steps: &mut Steps<D>,
    base: &mut B,
    target: &mut Target<W>,
) -> Result<(), DeltaError> {
    let (offset, length) = (steps.u64()?, steps.u64()?);
    let at = steps.offset;
    let mut range = range(base, offset, length)?;
    let copied = io::copy(&mut range, target).map_err(|e| target.failed(e, base_error))?;
    if copied == length {
        return Ok(());
    }
    Err(damaged(at, "it copies from behind the end of the base"))
}

fn plain<D: Read, W: Write>(steps: &mut Steps<D>, target: &mut Target<W>) -> Result<(), DeltaError> {
    let length = steps.u32()?;
    let at = steps.offset;
    let copied = io::copy(&mut steps.part(length), target).map_err(|e| target.failed(e, delta_error))?;
    if copied == u64::from(length) {
        return Ok(());
    }
    Err(damaged(at, "it ends early"))
}

fn packed<D: Read, W: Write>(steps: &mut Steps<D>, target: &mut Target<W>) -> Result<(), DeltaError> {
    let length = steps.u32()?;
    let at = steps.offset;
    let mut part = steps.part(length);
    let mut content = decoder(&mut part).map_err(delta_error)?;
    io::copy(&mut content, target).map_err(|e| target.failed(e, |_| damaged(at, "it does not decompress")))?;
    drop(content);
    finished(&part, at)
}

fn difference<D: Read, B: Read + Seek, W: Write>(
    steps: &mut Steps<D>,
    base: &mut B,
    target: &mut Target<W>,
) -> Result<(), DeltaError> {
    let (offset, stored) = (steps.u64()?, steps.u64()?);
    let (parts, length) = steps.parts()?;
    let packed = steps.u32()?;
    let at = steps.offset;
    let mut old = BufReader::with_capacity(CHUNK_BYTES, range(base, offset, stored)?);
    let mut part = steps.part(packed);
    let reference = Reference {
        old: decoder(&mut old).map_err(base_error)?,
        parts: parts.iter(),
        part: Part::default(),
    };
    let added = add(reference, &mut part, &mut *target, length, at);
    // What a limit of the target stopped is the delta's fault, not the medium's.
    added.map_err(|error| target.failure.take().unwrap_or(error))?;
    // The rest of the frame's end marks is passed over.
    io::copy(&mut part, &mut io::sink()).map_err(delta_error)?;
    finished(&part, at)
}

/// What a file is compared with: parts of an old one, and zeros.
struct Reference<'a, R> {
    old: R,
    parts: std::slice::Iter<'a, Part>,
    /// What is left of the present one.
    part: Part,
}

impl<R: Read> Reference<'_, R> {
    fn fill(&mut self, mut into: &mut [u8]) -> io::Result<()> {
        while !into.is_empty() {
            let room = into.len() as u64;
            let Part { take, insert, .. } = self.part;
            let now = if take > 0 { take.min(room) } else { insert.min(room) };
            let (filled, rest) = into.split_at_mut(now as usize);
            if take > 0 {
                self.old.read_exact(filled)?;
                self.part.take -= now;
            } else if insert > 0 {
                filled.fill(0);
                self.part.insert -= now;
            } else {
                self.part = *self.parts.next().ok_or(io::ErrorKind::UnexpectedEof)?;
                io::copy(&mut self.old.by_ref().take(self.part.skip), &mut io::sink())?;
            }
            into = rest;
        }
        Ok(())
    }
}

/// The sum of what the reference gives and of a frame's content, `length` bytes of either, as a frame.
fn add<O: Read, P: io::BufRead, W: Write>(
    mut reference: Reference<'_, O>,
    part: P,
    target: W,
    length: u64,
    at: u64,
) -> Result<(), DeltaError> {
    let mut differences = decoder(part).map_err(delta_error)?;
    let mut frame = frame_encoder(target, length).map_err(DeltaError::Write)?;
    let (mut chunk, mut added) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    let mut left = length;
    while left > 0 {
        let wanted = usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        let short = |_| damaged(at, "a difference and its base do not have the length that it says");
        reference.fill(&mut chunk[..wanted]).map_err(short)?;
        differences.read_exact(&mut added[..wanted]).map_err(short)?;
        chunk
            .iter_mut()
            .zip(&added)
            .for_each(|(byte, add)| *byte = byte.wrapping_add(*add));
        frame.write_all(&chunk[..wanted]).map_err(DeltaError::Write)?;
        left -= wanted as u64;
    }
    frame.finish().map_err(DeltaError::Write)?;
    Ok(())
}

fn decoder<R: io::BufRead>(from: R) -> io::Result<Decoder<'static, R>> {
    let mut decoder = Decoder::with_buffer(from)?.single_frame();
    decoder.window_log_max(WINDOW_LOG)?;
    Ok(decoder)
}

fn range<B: Read + Seek>(base: &mut B, offset: u64, length: u64) -> Result<Take<&mut B>, DeltaError> {
    base.seek(SeekFrom::Start(offset)).map_err(base_error)?;
    Ok(base.take(length))
}

fn finished<R: Read>(part: &Take<R>, at: u64) -> Result<(), DeltaError> {
    if part.limit() == 0 {
        return Ok(());
    }
    Err(damaged(at, "bytes follow its frame, or it ends early"))
}

fn damaged(offset: u64, what: &'static str) -> DeltaError {
    DeltaError::Damaged { offset, what }
}

fn base_error(source: io::Error) -> DeltaError {
    let what = "the base";
    DeltaError::Read { what, source }
}

fn delta_error(source: io::Error) -> DeltaError {
    let what = "the delta";
    DeltaError::Read { what, source }
}

/// The delta with its offset.
struct Steps<D> {
    inner: BufReader<D>,
    offset: u64,
}

impl<D: Read> Steps<D> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DeltaError> {
        let mut bytes = [0; N];
        let at = self.offset;
        self.inner.read_exact(&mut bytes).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => damaged(at, "it ends early"),
            _ => delta_error(e),
        })?;
        self.offset += N as u64;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, DeltaError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, DeltaError> {
        self.array().map(u64::from_le_bytes)
    }

    /// The parts of a file, and its length.
    fn parts(&mut self) -> Result<(Vec<Part>, u64), DeltaError> {
        let count = self.u32()?;
        let at = self.offset;
        if count > MAX_PARTS {
            return Err(damaged(at, "a difference has too many parts"));
        }
        let mut parts = Vec::new();
        let mut length = Some(0_u64);
        for _ in 0..count {
            let (skip, take, insert) = (self.u64()?, self.u64()?, self.u64()?);
            length = length.and_then(|length| length.checked_add(take)?.checked_add(insert));
            parts.push(Part { skip, take, insert });
        }
        // No bundle with a longer one would be taken; a few bytes could keep the device busy for hours.
        let length = length.filter(|length| *length <= Policy::default().max_file_bytes);
        let length = length.ok_or_else(|| damaged(at, "a difference leads to a longer file than a bundle may have"))?;
        Ok((parts, length))
    }

    /// The next bytes; whoever takes them takes them all.
    fn part(&mut self, length: u32) -> Take<&mut BufReader<D>> {
        self.offset += u64::from(length);
        (&mut self.inner).take(length.into())
    }
}

/// The rebuilt bundle: hashed, and never longer than it should be.
struct Target<W> {
    out: W,
    digest: Sha256,
    left: u64,
    failure: Option<DeltaError>,
}

impl<W: Write> Target<W> {
    /// The error of a copy: of the target, if that is what failed, else of what was read.
    fn failed(&mut self, error: io::Error, other: impl Fn(io::Error) -> DeltaError) -> DeltaError {
        self.failure.take().unwrap_or_else(|| other(error))
    }

    fn finish(mut self, prologue: &Prologue) -> Result<(), DeltaError> {
        self.out.flush().map_err(DeltaError::Write)?;
        let digest: [u8; 32] = self.digest.finalize().into();
        if self.left > 0 || digest != prologue.target_sha256 {
            return Err(DeltaError::Target);
        }
        Ok(())
    }
}

impl<W: Write> Write for Target<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            self.failure = Some(DeltaError::Target);
            return Err(io::ErrorKind::InvalidData.into());
        };
        if let Err(error) = self.out.write_all(bytes) {
            self.failure = Some(DeltaError::Write(error));
            return Err(io::ErrorKind::Other.into());
        }
        self.digest.update(bytes);
        self.left = left;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
