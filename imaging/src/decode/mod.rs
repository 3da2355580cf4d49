//! Files into grey images: DICOM, PNG, JPEG, TIFF.
//!
//! - [`decode_path`], [`decode_bytes`]: read and check the header, give a [`Source`]
//! - [`file_kind`]: what a file looks like from its beginning
//! - [`header_texts`]: what a DICOM file says, without its pixels
//! - [`Source::frame`]: decode one frame; nothing else is expanded
//! - [`dicom_header`]: elements of a DICOM file beside its pixels, as they stand
//! - [`Limits`]: what a file may cost; checked before memory is taken
//! - [`transfer_syntaxes`], [`identify`]: which DICOM objects can be decoded, and which one a data set is
//! - [`DecodeError`]: why there is no image, with a stable code
//!
//! No byte sequence makes these functions panic.
//!
//! ```
//! use scanside_imaging::decode::{Limits, decode_bytes};
//!
//! let error = decode_bytes(b"just some text".to_vec(), &Limits::default()).unwrap_err();
//! assert_eq!(error.code(), "not-an-image");
//! ```

mod contain;
mod dicom;
mod error;
mod jpeg_header;
mod limits;
mod raster;
mod tiff_header;

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::Path;

use contain::contained;
use dicom::DicomSource;
use dicom_core::Tag;
use raster::RasterSource;

pub use dicom::{DicomHeader, HeaderElement, HeaderTexts, HeaderValue, Identity};
pub use error::{DecodeError, Shortage};
pub use limits::Limits;

use crate::grey::{GreyImage, ImageMeta};

/// What a file looks like from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A DICOM object; not the directory of a medium (DICOMDIR).
    Dicom,
    /// PNG, JPEG or TIFF.
    Raster,
}

/// What a file looks like from its `beginning`, a few kilobytes; `None` if it is no image.
#[must_use]
pub fn file_kind(beginning: &[u8]) -> Option<FileKind> {
    if dicom::sniff(beginning) {
        let object = contained("file", || Ok(!dicom::is_directory(beginning)));
        return object.unwrap_or(false).then_some(FileKind::Dicom);
    }
    raster::sniff(beginning).map(|_| FileKind::Raster)
}

/// A file whose header was read and accepted; the frames are still encoded.
#[derive(Debug)]
pub struct Source {
    format: Format,
}

#[derive(Debug)]
enum Format {
    Raster(Box<RasterSource>),
    Dicom(Box<DicomSource>),
}

/// Reads a file and its header.
///
/// # Errors
/// Any [`DecodeError`], with the path.
pub fn decode_path(path: &Path, limits: &Limits) -> Result<Source, DecodeError> {
    read_file(path, limits)
        .and_then(|bytes| decode_bytes(bytes, limits))
        .map_err(|error| error.in_file(path))
}

/// Reads the header of a file that is in memory.
///
/// # Errors
/// Any [`DecodeError`] but `io`.
pub fn decode_bytes(bytes: Vec<u8>, limits: &Limits) -> Result<Source, DecodeError> {
    limits.check_bytes(bytes.len() as u64)?;
    contained("file", || {
        let format = if dicom::sniff(&bytes) {
            Format::Dicom(Box::new(DicomSource::open(bytes, limits)?))
        } else if let Some(format) = raster::sniff(&bytes) {
            Format::Raster(Box::new(RasterSource::open(bytes, format, limits)?))
        } else {
            return Err(DecodeError::NotAnImage {
                found: describe(&bytes),
            });
        };
        Ok(Source { format })
    })
}

/// The first frame of a file; the encoded file is freed with it.
///
/// # Errors
/// Any [`DecodeError`], with the path.
pub fn first_frame(path: &Path, limits: &Limits) -> Result<GreyImage, DecodeError> {
    decode_path(path, limits)?.frame(0).map_err(|error| error.in_file(path))
}

/// The elements of a DICOM file that have one of the `wanted` tags, as they stand. The pixels may be coded in any way,
/// missing or cut off.
///
/// # Errors
/// `not-an-image` if the file is no DICOM, `io`, `too-large`, or `truncated` and `damaged` if the elements before the
/// pixels are.
pub fn dicom_header(path: &Path, limits: &Limits, wanted: &[Tag]) -> Result<DicomHeader, DecodeError> {
    let read = |bytes: Vec<u8>| {
        if !dicom::sniff(&bytes) {
            let found = describe(&bytes);
            return Err(DecodeError::NotAnImage { found });
        }
        contained("data set", || DicomHeader::read(bytes, limits, wanted))
    };
    let header = read_file(path, limits).and_then(read);
    header.map_err(|error| error.in_file(path))
}

/// The DICOM transfer syntaxes whose images are decoded (UIDs; PS3.6 Annex A). A file in one of them may still be refused,
/// such as JPEG Extended with 12 bits a sample.
pub fn transfer_syntaxes() -> impl Iterator<Item = &'static str> {
    dicom::transfer_syntaxes()
}

/// Which object a DICOM data set is, from its `beginning` (a few hundred bytes are enough), as it stands behind the file
/// meta information.
///
/// # Errors
/// `unsupported-transfer-syntax`, `video`; `truncated` or `damaged` if the elements up to SOP Instance UID are.
pub fn identify(beginning: &[u8], transfer_syntax: &str) -> Result<Identity, DecodeError> {
    contained("data set", || dicom::identify(beginning, transfer_syntax))
}

/// Texts of a DICOM file by tag, from the groups up to 0040; `None` if the file is no DICOM. Only the beginning of the
/// file is read where that is enough.
///
/// # Errors
/// Any [`DecodeError`], with the path.
pub fn header_texts(path: &Path, wanted: &[(u16, u16)], limits: &Limits) -> Result<Option<HeaderTexts>, DecodeError> {
    let read = || {
        check_plain(&fs::metadata(path)?)?;
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        contained("file", || dicom::read_header_texts(file, length, wanted, limits))
    };
    read().map_err(|error: DecodeError| error.in_file(path))
}

impl Source {
    /// Frames in the file, at least 1.
    pub fn frame_count(&self) -> usize {
        match &self.format {
            Format::Raster(_) => 1,
            Format::Dicom(source) => source.frame_count(),
        }
    }

    /// What the file says about the image, as far as it holds for all frames.
    pub fn meta(&self) -> &ImageMeta {
        match &self.format {
            Format::Raster(source) => source.meta(),
            Format::Dicom(source) => source.meta(),
        }
    }

    /// Decodes frame `index`, counted from 0.
    ///
    /// # Errors
    /// `no-such-frame`, or what is wrong with the encoded pixels.
    pub fn frame(&self, index: usize) -> Result<GreyImage, DecodeError> {
        let frames = self.frame_count();
        if index >= frames {
            return Err(DecodeError::NoSuchFrame { frame: index, frames });
        }
        contained("pixel data", || match &self.format {
            Format::Raster(source) => source.decode(),
            Format::Dicom(source) => source.decode(index),
        })
    }
}

fn read_file(path: &Path, limits: &Limits) -> Result<Vec<u8>, DecodeError> {
    // Looked at first, because opening a named pipe waits for a writer.
    check_plain(&fs::metadata(path)?)?;
    let file = File::open(path)?;
    let status = file.metadata()?;
    check_plain(&status)?;
    limits.check_bytes(status.len())?;
    let mut bytes = Vec::with_capacity(status.len() as usize);
    // A file that grows meanwhile is cut at the limit and refused by `decode_bytes`.
    file.take(limits.max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn check_plain(status: &Metadata) -> Result<(), DecodeError> {
    if status.is_file() {
        return Ok(());
    }
    Err(DecodeError::NotAnImage {
        found: "a folder, pipe or device".to_owned(),
    })
}

fn describe(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(512)];
    match head {
        [] => "an empty file".to_owned(),
        _ if head
            .iter()
            .all(|&byte| byte == b'\t' || byte == b'\n' || byte == b'\r' || (0x20..0x7F).contains(&byte)) =>
        {
            "a text file".to_owned()
        }
        _ if head.iter().all(|&byte| byte == 0) => "nothing but zero bytes".to_owned(),
        _ => {
            let start: Vec<String> = head.iter().take(4).map(|byte| format!("{byte:02X}")).collect();
            format!("unknown bytes ({})", start.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_an_image_is_named() {
        let cases: [(&[u8], &str); 4] = [
            (b"", "an empty file"),
            (b"Dear colleague,\n", "a text file"),
            (&[0; 600], "nothing but zero bytes"),
            (&[0x7F, b'E', b'L', b'F', 2], "unknown bytes (7F 45 4C 46)"),
        ];
        for (bytes, found) in cases {
            let error = decode_bytes(bytes.to_vec(), &Limits::default()).unwrap_err();
            assert_eq!(error.code(), "not-an-image");
            assert!(error.to_string().contains(found), "{error}");
        }
    }

    #[test]
    fn a_beginning_tells_what_a_file_is() {
        let dicom = |class: &str| {
            let mut bytes = vec![0; 128];
            bytes.extend(b"DICM\x02\0\x02\0UI");
            bytes.extend((class.len() as u16).to_le_bytes());
            bytes.extend(class.as_bytes());
            bytes.extend(b"\x02\0\x10\0UI\x40\0cut off");
            bytes
        };
        assert_eq!(
            file_kind(&dicom("1.2.840.10008.5.1.4.1.1.1.1\0")),
            Some(FileKind::Dicom)
        );
        assert_eq!(file_kind(&dicom("1.2.840.10008.1.3.10")), None);
        assert_eq!(file_kind(b"\x89PNG\r\n\x1a\n...."), Some(FileKind::Raster));
        for other in [&b"Dear colleague"[..], b"%PDF-1.7", b""] {
            assert_eq!(file_kind(other), None);
        }
    }

    #[test]
    fn the_path_stands_in_every_error() {
        let folder = tempfile::tempdir().unwrap();
        let missing = decode_path(&folder.path().join("gone.dcm"), &Limits::default()).unwrap_err();
        assert!(!missing.is_refusal() && missing.to_string().contains("gone.dcm"));
        let text = folder.path().join("note.dcm");
        std::fs::write(&text, "no image").unwrap();
        let error = first_frame(&text, &Limits::default()).unwrap_err();
        assert!(
            error.to_string().contains("note.dcm") && error.code() == "not-an-image",
            "{error}"
        );
        assert_eq!(
            decode_path(folder.path(), &Limits::default()).unwrap_err().code(),
            "not-an-image"
        );
        let small = Limits {
            max_bytes: 3,
            ..Limits::default()
        };
        assert_eq!(decode_path(&text, &small).unwrap_err().code(), "too-large");
    }

    /// A reader that opens a pipe waits for a writer; a writer that will not wait finds out whether there is one.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_named_pipe_is_refused_without_being_opened() {
        use std::fs::OpenOptions;
        use std::os::unix::fs::OpenOptionsExt;

        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("scan.dcm");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let path = pipe.clone();
        let decoding = std::thread::spawn(move || decode_path(&path, &Limits::default()).unwrap_err());
        while !decoding.is_finished() {
            let writer = OpenOptions::new()
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(&pipe);
            assert!(writer.is_err(), "the pipe was opened for reading");
            std::thread::yield_now();
        }
        let error = decoding.join().unwrap();
        assert_eq!(error.code(), "not-an-image");
        assert!(error.to_string().contains("pipe"), "{error}");
    }
}
