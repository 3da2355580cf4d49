//! What an upload brings: a whole bundle, or its difference to one on the device. Pieces of either as requests.

use std::ops::Range;

use hardware::smp::message::group;
use hardware::smp::scanside::command;
use hardware::smp::{DeltaBegin, DeltaChunk};
use mcumgr_toolkit::commands::image::ImageUpload;
use serde::Serialize;

use crate::artifact::Artifact;
use crate::difference::Difference;
use crate::exit::Failure;
use crate::scanside::DeltaPiece;

/// SMP's number of the upload command.
const UPLOAD: u8 = 1;
/// Length of an SMP header.
const HEADER_BYTES: usize = 8;
/// What the length of a byte string takes in CBOR, up to 64 KiB.
const BYTES_HEADER: usize = 3;

/// What goes over the line.
#[derive(Debug)]
pub enum Parcel<'a> {
    /// A whole bundle.
    Whole(&'a mut Artifact),
    /// A difference.
    Difference(&'a Difference),
}

impl Parcel<'_> {
    /// Length in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Whole(artifact) => artifact.bytes,
            Self::Difference(difference) => difference.bytes.len() as u64,
        }
    }

    /// What it is, in words.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::Whole(artifact) => artifact.title(),
            Self::Difference(difference) => format!("as a difference to {}", difference.base.name()),
        }
    }

    /// Group and command that its pieces go to.
    #[must_use]
    pub fn address(&self) -> (u16, u8) {
        match self {
            Self::Whole(_) => (group::IMAGE, UPLOAD),
            Self::Difference(_) => (group::SCANSIDE, command::DELTA),
        }
    }

    /// The body of the request that brings these bytes to the slots of `image`. The piece at offset 0 names the upload.
    ///
    /// # Errors
    /// The file cannot be read any more.
    pub fn request(&mut self, image: u32, range: Range<u64>) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Whole(artifact) => whole_request(artifact, image, range),
            Self::Difference(difference) => difference_request(difference, image, range),
        }
    }

    /// How many bytes fit into a request of `frame` bytes; the one that names the upload has less room.
    #[must_use]
    pub fn room(&self, frame: usize, first: bool) -> Option<u64> {
        let empty = match self {
            Self::Whole(_) => body(&ImageUpload {
                image: Some(u32::MAX),
                len: first.then_some(u64::MAX),
                off: u64::MAX,
                sha: first.then_some(&[0; 32]),
                data: &[],
                upgrade: None,
            }),
            Self::Difference(_) => body(&difference_piece(&DeltaChunk {
                offset: u64::MAX,
                data: &[],
                begin: first.then_some(DeltaBegin {
                    image: u32::MAX,
                    length: u64::MAX,
                    sha: &[0; 32],
                    base: &[0; 32],
                    target: &[0; 32],
                    target_bytes: u64::MAX,
                }),
            })),
        };
        let taken = empty.ok()?.len() + HEADER_BYTES + BYTES_HEADER;
        frame
            .checked_sub(taken)
            .filter(|room| *room > 0)
            .map(|room| room as u64)
    }
}

fn whole_request(artifact: &mut Artifact, image: u32, range: Range<u64>) -> Result<Vec<u8>, Failure> {
    let mut data = vec![0; (range.end - range.start) as usize];
    artifact.read(range.start, &mut data)?;
    let first = range.start == 0;
    body(&ImageUpload {
        // SMP names the image in the first piece; there are servers that take another piece without it for image 0.
        image: (first || image > 0).then_some(image),
        len: first.then_some(artifact.bytes),
        off: range.start,
        sha: first.then_some(&artifact.sha256),
        data: &data,
        upgrade: None,
    })
}

fn difference_request(difference: &Difference, image: u32, range: Range<u64>) -> Result<Vec<u8>, Failure> {
    let bytes = difference.bytes.get(range.start as usize..range.end as usize);
    let data = bytes.ok_or_else(|| Failure::device("a piece lies behind the end of the difference", ""))?;
    let begin = (range.start == 0).then(|| difference.begin(image));
    body(&difference_piece(&DeltaChunk {
        offset: range.start,
        data,
        begin,
    }))
}

/// A piece as it goes out, with its checksum.
pub(crate) fn difference_piece<'a>(chunk: &DeltaChunk<'a>) -> DeltaPiece<'a> {
    let begin = chunk.begin.as_ref();
    DeltaPiece {
        off: chunk.offset,
        data: chunk.data,
        crc: chunk.checksum(),
        image: begin.map(|begin| begin.image),
        len: begin.map(|begin| begin.length),
        sha: begin.map(|begin| begin.sha),
        base: begin.map(|begin| begin.base),
        hash: begin.map(|begin| begin.target),
        total: begin.map(|begin| begin.target_bytes),
    }
}

fn body(request: &impl Serialize) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let encoded = ciborium::into_writer(request, &mut body);
    encoded.map_err(|error| Failure::device(format!("cannot encode a request: {error}"), ""))?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::difference::Base;

    fn difference() -> Difference {
        Difference {
            bytes: (0..u16::MAX).map(|n| n as u8).collect(),
            sha256: [1; 32],
            base: Base {
                hash: [2; 32],
                version: "1.2.3".parse().unwrap(),
                path: "old.scanside".into(),
            },
            target: [3; 32],
            target_bytes: u64::from(u32::MAX),
        }
    }

    #[test]
    fn a_piece_that_fills_the_room_fits_the_frame() {
        let difference = difference();
        let mut parcel = Parcel::Difference(&difference);
        for frame in [512, 4096, 16_384] {
            for first in [true, false] {
                let room = parcel.room(frame, first).unwrap();
                let start = if first { 0 } else { 1000 };
                let request = parcel.request(7, start..start + room).unwrap();
                assert!(request.len() + HEADER_BYTES <= frame, "{frame} {first}");
                // Numbers at their largest are what is kept free.
                assert!(request.len() + HEADER_BYTES + 48 > frame, "{frame} {first}");
            }
        }
        assert_eq!(parcel.room(64, true), None);
    }

    #[test]
    fn only_the_first_piece_names_the_difference() {
        let difference = difference();
        let mut parcel = Parcel::Difference(&difference);
        let keys = |range| {
            let body = parcel.request(0, range).unwrap();
            let value: ciborium::Value = ciborium::from_reader(body.as_slice()).unwrap();
            let map = value.into_map().unwrap();
            map.into_iter().map(|(key, _)| key.into_text().unwrap()).collect()
        };
        let [first, next]: [Vec<String>; 2] = [0..10, 10..20].map(keys);
        assert_eq!(
            first,
            ["off", "data", "crc", "image", "len", "sha", "base", "hash", "total"]
        );
        assert_eq!(next, ["off", "data", "crc"]);
        assert!(parcel.request(0, 65_000..70_000).is_err());
    }
}
