//! Why a file gives no image: one stable code for each reason.

use std::path::{Path, PathBuf};

/// A file that gives no image. `code` is stable and stands in JSON, on the screen and in logs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The reason, with the file's name.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why it gives no image.
        reason: Box<DecodeError>,
    },
    /// The operating system refused to read the file.
    #[error("cannot be read: {0}; check that it exists and that this user may read it")]
    Io(#[from] std::io::Error),
    /// Neither DICOM nor PNG, JPEG, TIFF.
    #[error("not an image: {found}; expected DICOM, PNG, JPEG or TIFF")]
    NotAnImage {
        /// What the first bytes look like.
        found: String,
    },
    /// The file ends too early.
    #[error("truncated: {what} {}; send the file again", how_short(shortage))]
    Truncated {
        /// The part that is cut off.
        what: String,
        /// Where and by how much; absent where a decoder does not say.
        shortage: Option<Shortage>,
    },
    /// More than the limits allow; refused before memory is taken.
    #[error("too large: {what} is {value}, the limit is {limit}")]
    TooLarge {
        /// The measure: bytes, pixels, frames.
        what: &'static str,
        /// What the file asks for.
        value: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The bytes contradict the format.
    #[error("damaged {part}: {reason}")]
    Damaged {
        /// The part of the file, such as `pixel data` or `JPEG-LS header`.
        part: &'static str,
        /// What is wrong, with the offset or tag where there is one.
        reason: String,
    },
    /// A DICOM object without image, such as a report or a DICOMDIR.
    #[error("no pixels: {found}")]
    NoPixels {
        /// What the object is instead.
        found: String,
    },
    /// The picture has real colour.
    #[error(
        "colour photograph: {coloured_percent:.0} % of the pixels are coloured; only grey radiographs can be assessed"
    )]
    ColourPhotograph {
        /// Share of the pixels whose channels differ noticeably, 0 to 100.
        coloured_percent: f32,
    },
    /// A DICOM image that is not MONOCHROME1 or MONOCHROME2.
    #[error("colour image: photometric interpretation {photometric}; only MONOCHROME1 and MONOCHROME2 can be assessed")]
    Colour {
        /// Photometric Interpretation (0028,0004)
        photometric: String,
    },
    /// JPEG with lossy coding of more than 8 bits.
    #[error("{bits}-bit lossy JPEG is not supported; let the scanner send JPEG lossless, JPEG 2000 or uncompressed")]
    LossyBits {
        /// Sample precision of the JPEG frame.
        bits: u8,
    },
    /// MPEG-2, MPEG-4 or HEVC.
    #[error("video (transfer syntax {uid}) is not supported")]
    Video {
        /// Transfer Syntax UID
        uid: String,
    },
    /// A transfer syntax that is not decoded here.
    #[error("transfer syntax {uid} is not supported; let the scanner send uncompressed or JPEG lossless images")]
    UnsupportedTransferSyntax {
        /// Transfer Syntax UID
        uid: String,
    },
    /// A valid file with a feature that is not supported.
    #[error("unsupported: {what}")]
    Unsupported {
        /// The feature with its value.
        what: String,
    },
    /// There is no frame of this number.
    #[error("frame {frame} does not exist: the file has {frames}")]
    NoSuchFrame {
        /// The frame asked for, from 0.
        frame: usize,
        /// Frames in the file.
        frames: usize,
    },
}

/// Where something ends too early, and by how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Where it begins, in bytes from the start of the file; of a part of coded pixels, from the start of their frame.
    pub offset: usize,
    /// Bytes that it should have.
    pub needed: u64,
    /// Bytes that are there.
    pub available: u64,
}

fn how_short(shortage: &Option<Shortage>) -> String {
    match shortage {
        None => "ends too early".to_owned(),
        Some(Shortage {
            offset,
            needed,
            available,
        }) => format!("at byte {offset} needs {needed} bytes, {available} are left"),
    }
}

impl DecodeError {
    /// The stable name of the reason.
    pub fn code(&self) -> &'static str {
        match self {
            DecodeError::File { reason, .. } => reason.code(),
            DecodeError::Io(_) => "io",
            DecodeError::NotAnImage { .. } => "not-an-image",
            DecodeError::Truncated { .. } => "truncated",
            DecodeError::TooLarge { .. } => "too-large",
            DecodeError::Damaged { .. } => "damaged",
            DecodeError::NoPixels { .. } => "no-pixels",
            DecodeError::ColourPhotograph { .. } => "colour-photograph",
            DecodeError::Colour { .. } => "colour-image",
            DecodeError::LossyBits { .. } => "lossy-12-bit",
            DecodeError::Video { .. } => "video",
            DecodeError::UnsupportedTransferSyntax { .. } => "unsupported-transfer-syntax",
            DecodeError::Unsupported { .. } => "unsupported",
            DecodeError::NoSuchFrame { .. } => "no-such-frame",
        }
    }

    /// The reason in one short sentence, for a screen; the whole of it is the error itself.
    pub fn summary(&self) -> &'static str {
        match self {
            DecodeError::File { reason, .. } => reason.summary(),
            DecodeError::Io(_) => "The file cannot be read.",
            DecodeError::NotAnImage { .. } => "The file is no image.",
            DecodeError::Truncated { .. } => "The file ends too early.",
            DecodeError::TooLarge { .. } => "The image is too large.",
            DecodeError::Damaged { .. } => "The file is damaged.",
            DecodeError::NoPixels { .. } => "The file holds no image.",
            DecodeError::ColourPhotograph { .. } => "The picture is a colour photograph.",
            DecodeError::Colour { .. } => "The image is in colour.",
            DecodeError::LossyBits { .. } => "12-bit lossy JPEG is not supported.",
            DecodeError::Video { .. } => "The file is a video.",
            DecodeError::UnsupportedTransferSyntax { .. } => "The coding of the image is not supported.",
            DecodeError::Unsupported { .. } => "This kind of image is not supported.",
            DecodeError::NoSuchFrame { .. } => "The file has no frame of this number.",
        }
    }

    /// Whether the file itself is at fault; `false` if it could not be read at all.
    pub fn is_refusal(&self) -> bool {
        self.code() != "io"
    }

    /// The same reason with the file's name before it.
    pub fn in_file(self, path: &Path) -> Self {
        match self {
            DecodeError::File { .. } => self,
            reason => DecodeError::File {
                path: path.to_owned(),
                reason: Box::new(reason),
            },
        }
    }

    pub(crate) fn damaged(part: &'static str, reason: impl Into<String>) -> Self {
        DecodeError::Damaged {
            part,
            reason: reason.into(),
        }
    }

    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        DecodeError::Unsupported { what: what.into() }
    }

    pub(crate) fn truncated(what: impl Into<String>, offset: usize, needed: u64, available: u64) -> Self {
        DecodeError::Truncated {
            what: what.into(),
            shortage: Some(Shortage {
                offset,
                needed,
                available,
            }),
        }
    }

    /// `what` ends too early, and nobody knows where or by how much.
    pub(crate) fn cut(what: impl Into<String>) -> Self {
        DecodeError::Truncated {
            what: what.into(),
            shortage: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_file_reason_and_remedy() {
        let error = DecodeError::LossyBits { bits: 12 }.in_file(Path::new("in/chest.dcm"));
        assert_eq!(error.code(), "lossy-12-bit");
        assert_eq!(
            error.to_string(),
            "in/chest.dcm: 12-bit lossy JPEG is not supported; \
             let the scanner send JPEG lossless, JPEG 2000 or uncompressed"
        );
        let twice = error.in_file(Path::new("other"));
        assert!(twice.to_string().starts_with("in/chest.dcm: 12-bit"));
    }

    #[test]
    fn an_unreadable_file_is_not_a_refusal() {
        let error = DecodeError::from(std::io::Error::from(std::io::ErrorKind::PermissionDenied));
        assert!(!error.in_file(Path::new("x")).is_refusal());
        assert!(
            DecodeError::NoPixels {
                found: "a report".into()
            }
            .is_refusal()
        );
    }
}
