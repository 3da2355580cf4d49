//! Making a delta: on the engineer's computer, with both bundles in memory.

use std::io::{self, Write};
use std::ops::Range;

use sha2::{Digest, Sha256};
use zstd::stream::write::Encoder;

use super::align::{self, Part};
use super::{COPY, DIFFERENCE, DeltaError, END, FORMAT_VERSION, MAGIC, MAX_PARTS, PACKED, PLAIN};
use crate::BundleError;
use crate::container::{Front, WINDOW_LOG, compress_frame};
use crate::manifest::FileEntry;
use crate::mcuboot::{TRAILER_BYTES, Trailer};

/// The host has time, and the line is slow. Of differences that are mostly noise, the search for repetitions makes more
/// than it saves: there the first level is the better one.
const LEVELS: [i32; 2] = [3, 19];

/// A bundle in memory and where its files lie. Nobody checked its signature: the device will.
struct Parts<'a> {
    bytes: &'a [u8],
    front: usize,
    files: Vec<(FileEntry, Range<usize>)>,
    trailer: Range<usize>,
}

/// The delta from `base` to `target`, both whole bundles. Worth sending only if it is shorter than the target.
///
/// # Errors
/// [`DeltaError::Bundle`] if either is no bundle, or its lengths contradict each other.
pub fn make(base: &[u8], target: &[u8]) -> Result<Vec<u8>, DeltaError> {
    let base = Parts::of(base)?;
    let target = Parts::of(target)?;
    let mut delta = prologue(&base, target.bytes)?;
    packed(&mut delta, &target.bytes[..target.front])?;
    for (entry, range) in &target.files {
        file(&mut delta, &base, &target, entry, range.clone())?;
    }
    plain(&mut delta, &target.bytes[target.trailer.clone()]);
    delta.push(END);
    Ok(delta)
}

impl<'a> Parts<'a> {
    fn of(bytes: &'a [u8]) -> Result<Self, DeltaError> {
        let front = Front::read(bytes)?;
        let truncated = |offset: usize| BundleError::Truncated {
            part: "the payload",
            offset: offset as u64,
        };
        let mut start = front.front_bytes();
        let front_bytes = start;
        let mut files = Vec::new();
        for entry in front.unverified_manifest()?.files {
            let stored = usize::try_from(entry.stored).ok();
            let end = stored.and_then(|stored| start.checked_add(stored));
            let end = end
                .filter(|end| *end <= bytes.len())
                .ok_or_else(|| truncated(bytes.len()))?;
            files.push((entry, start..end));
            start = end;
        }
        let trailer = start..bytes.len();
        if trailer.len() != TRAILER_BYTES {
            return Err(truncated(start).into());
        }
        Ok(Self {
            bytes,
            front: front_bytes,
            files,
            trailer,
        })
    }
}

fn prologue(base: &Parts<'_>, target: &[u8]) -> Result<Vec<u8>, DeltaError> {
    let trailer = base.bytes[base.trailer.clone()]
        .first_chunk()
        .ok_or(DeltaError::Target)?;
    let trailer = Trailer::parse(trailer).map_err(BundleError::from)?;
    let mut delta = MAGIC.to_vec();
    delta.extend(FORMAT_VERSION.to_le_bytes());
    delta.extend([0, 0]);
    delta.extend(trailer.digest);
    delta.extend((target.len() as u64).to_le_bytes());
    delta.extend(Sha256::digest(target));
    Ok(delta)
}

/// The frame of a file by the cheapest step that gives it.
fn file(
    delta: &mut Vec<u8>,
    base: &Parts<'_>,
    target: &Parts<'_>,
    entry: &FileEntry,
    range: Range<usize>,
) -> Result<(), DeltaError> {
    let frame = &target.bytes[range];
    let same = base.files.iter().find(|(_, range)| base.bytes[range.clone()] == *frame);
    if let Some((_, range)) = same {
        delta.push(COPY);
        delta.extend((range.start as u64).to_le_bytes());
        delta.extend((range.len() as u64).to_le_bytes());
        return Ok(());
    }
    let alike = base.files.iter().find(|(old, _)| old.path == entry.path);
    let before = delta.len();
    if let Some((_, old)) = alike {
        difference(delta, base, old.clone(), frame)?;
    }
    if delta.len() == before || delta.len() - before > frame.len() {
        delta.truncate(before);
        plain(delta, frame);
    }
    Ok(())
}

/// Leaves the delta as it was if the frame is not what our packer makes of its content.
fn difference(delta: &mut Vec<u8>, base: &Parts<'_>, old: Range<usize>, frame: &[u8]) -> Result<(), DeltaError> {
    let read = |source| DeltaError::Read {
        what: "a bundle's file",
        source,
    };
    let old_content = zstd::decode_all(&base.bytes[old.clone()]).map_err(read)?;
    let new_content = zstd::decode_all(frame).map_err(read)?;
    let parts = align::parts(&old_content, &new_content);
    if parts.len() > MAX_PARTS as usize || compress_frame(&new_content).map_err(read)? != frame {
        return Ok(());
    }
    let differences = differences(&old_content, &new_content, &parts);
    let packed = squeezed(&differences).map_err(read)?;
    delta.push(DIFFERENCE);
    delta.extend((old.start as u64).to_le_bytes());
    delta.extend((old.len() as u64).to_le_bytes());
    delta.extend((parts.len() as u32).to_le_bytes());
    for part in parts {
        delta.extend([part.skip, part.take, part.insert].map(u64::to_le_bytes).as_flattened());
    }
    delta.extend((packed.len() as u32).to_le_bytes());
    delta.extend(packed);
    Ok(())
}

/// What must be added to what the parts take of the old content.
fn differences(old: &[u8], new: &[u8], parts: &[Part]) -> Vec<u8> {
    let mut differences = new.to_vec();
    let (mut at, mut from) = (0, 0);
    for part in parts {
        from += part.skip as usize;
        let take = part.take as usize;
        let pairs = differences[at..].iter_mut().zip(&old[from..]);
        pairs.take(take).for_each(|(new, old)| *new = new.wrapping_sub(*old));
        from += take;
        at += take + part.insert as usize;
    }
    differences
}

/// As small as it gets with the window that the device grants.
fn squeezed(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let at = |level| {
        let mut encoder = Encoder::new(Vec::new(), level)?;
        encoder.window_log(WINDOW_LOG)?;
        encoder.set_pledged_src_size(Some(bytes.len() as u64))?;
        encoder.write_all(bytes)?;
        encoder.finish()
    };
    let [quick, thorough] = LEVELS.map(at);
    let (quick, thorough) = (quick?, thorough?);
    Ok(if quick.len() < thorough.len() { quick } else { thorough })
}

fn plain(delta: &mut Vec<u8>, bytes: &[u8]) {
    for piece in bytes.chunks(u32::MAX as usize) {
        delta.push(PLAIN);
        delta.extend((piece.len() as u32).to_le_bytes());
        delta.extend(piece);
    }
}

fn packed(delta: &mut Vec<u8>, bytes: &[u8]) -> Result<(), DeltaError> {
    let frame = squeezed(bytes).map_err(DeltaError::Write)?;
    delta.push(PACKED);
    delta.extend((frame.len() as u32).to_le_bytes());
    delta.extend(frame);
    Ok(())
}
