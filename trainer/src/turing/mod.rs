//! The visual Turing test: readers say of images one by one whether they are real or generated.
//!
//! The protocol that He (2019, arXiv 1903.00183) reports in one figure, 56.7 % of the trials, with what makes such a
//! figure worth something: as many real as generated images, an order from a seed, no hint in names, sizes or bytes,
//! some images shown twice, and a key that nobody can change after the reading.
//!
//! | module | what it holds |
//! |---|---|
//! | [`make`] | draws the items, and writes the page and the key |
//! | [`score`] | answers against the key: rates, intervals, agreement |
//!
//! `KIT/test.html` goes to the readers: one file that fetches nothing. `KIT/key.json` stays. The page holds the key's
//! SHA-256 and puts it into every answer file, so answers fit one key, and a key that was changed since fits none.

pub mod make;
pub mod score;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::data::DataError;
use crate::data::manifest::hex;
use crate::training::run::RunError;

/// Version of the key and of answer files.
pub const FORMAT: u32 = 1;

/// What an image is, or is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An image of a patient (or a phantom, in a trial of the kit).
    Real,
    /// Made by a generative model.
    Generated,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Real => "real",
            Self::Generated => "generated",
        })
    }
}

/// One showing of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// If it was shown before: the number of that item, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<usize>,
    /// The file that it was made from.
    pub file: PathBuf,
    /// SHA-256 of that file.
    pub sha256: String,
}

/// `key.json`: what the readers must not see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// [`FORMAT`].
    pub format: u32,
    /// What drew images and order.
    pub seed: u64,
    /// Side of the shown images in pixels.
    pub side: u32,
    /// In the order in which they are shown.
    pub items: Vec<Item>,
}

/// An answer file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// [`FORMAT`].
    pub format: u32,
    /// SHA-256 of the key, as the page holds it.
    pub kit: String,
    /// Who read.
    pub reader: String,
    /// When the reading began and ended, RFC 3339.
    pub begun: String,
    /// See `begun`.
    pub ended: String,
    /// One for each item, in its order.
    pub answers: Vec<Answer>,
}

/// The answer to one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Number of the item, from 1.
    pub item: usize,
    /// What the reader took it for.
    pub answer: Kind,
    /// Milliseconds that it was looked at.
    pub milliseconds: u64,
}

/// Why a kit cannot be made or answers cannot be scored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TuringError {
    /// The images' list.
    #[error(transparent)]
    Data(#[from] DataError),
    /// There are too few images.
    #[error("{path}: {found} {kind} images, {wanted} are wanted; give more, or a smaller --count", path = path.display())]
    TooFew {
        /// Where they were looked for.
        path: PathBuf,
        /// Which.
        kind: Kind,
        /// How many there are.
        found: usize,
        /// How many are needed.
        wanted: usize,
    },
    /// A setting out of its range.
    #[error("--{option} {found} is not allowed; allowed: {allowed}")]
    Setting {
        /// The option.
        option: &'static str,
        /// The value.
        found: String,
        /// What may stand there.
        allowed: String,
    },
    /// A row is of the wrong kind.
    #[error("{path}: its provenance is {provenance}, and it was given as {kind}", path = path.display())]
    WrongKind {
        /// The image.
        path: PathBuf,
        /// As the manifest says.
        provenance: String,
        /// As it was given.
        kind: Kind,
    },
    /// An image cannot be shown.
    #[error("{path}: {reason}", path = path.display())]
    Image {
        /// The image.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Input and output.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Reason of the operating system.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] RunError),
    /// A key or answer file cannot be understood.
    #[error("{path}: {reason}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Answers of another kit, or a key that was changed.
    #[error("{path}: answers the kit {found}, and the key is that of {wanted}; was the key changed since?", path = path.display())]
    OtherKey {
        /// The answer file.
        path: PathBuf,
        /// Digest in the answers.
        found: String,
        /// Digest of the key.
        wanted: String,
    },
}

/// SHA-256 of a key's file: the name of its kit.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn read(path: &Path) -> Result<Vec<u8>, TuringError> {
    std::fs::read(path).map_err(|source| TuringError::File {
        path: path.to_owned(),
        source,
    })
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, TuringError> {
    serde_json::from_slice(bytes).map_err(|error| TuringError::Malformed {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
