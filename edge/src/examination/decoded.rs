//! What of an examination needs no turn of the model, and so can be done for an image that waits while another one is
//! examined.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use imaging::decode::{self, DecodeError, Limits, Source};
use imaging::preprocess::PreprocessSpec;
use imaging::quality::{self, Quality};
use imaging::{GreyImage, small_image};

use super::{SMALL_SIDE, milliseconds};
use crate::inference::Prepared;

/// A file that was read and decoded, or refused, which needs no model.
#[derive(Debug)]
pub struct Decoded {
    /// The image, and how many frames its file has.
    pub(super) image: Result<(Arc<GreyImage>, usize), DecodeError>,
    /// Whether its other frames are left out.
    pub(super) others_left_out: bool,
    /// How long it took.
    pub(super) milliseconds: f64,
    pub(super) ahead: Option<Ahead>,
}

/// What was done before the model's turn.
#[derive(Debug)]
pub(super) struct Ahead {
    pub look: Look,
    /// None if no model is known for the image, or it cannot be prepared, which the model's turn will tell.
    pub prepared: Option<Prepared>,
}

/// How an image looks.
#[derive(Debug)]
pub(super) struct Look {
    /// The picture that stands in for a large image.
    pub small: Option<GreyImage>,
    /// The quality, by that picture.
    pub quality: Quality,
    /// How many milliseconds measuring the quality took.
    pub took: f64,
}

impl Look {
    /// At an image, by the picture that stands in for it, if it is large.
    pub fn at(image: &GreyImage, small: Option<GreyImage>) -> Self {
        let start = Instant::now();
        let size = [image.height(), image.width()];
        let quality = quality::assess_by(small.as_ref().unwrap_or(image), size);
        Self {
            small,
            quality,
            took: milliseconds(start),
        }
    }
}

impl Decoded {
    /// The image, if it could be decoded.
    #[must_use]
    pub fn image(&self) -> Option<&Arc<GreyImage>> {
        self.image.as_ref().ok().map(|(image, _)| image)
    }

    /// Reads a file and decodes its frame `frame`, counted from 0.
    #[must_use]
    pub fn read(path: &Path, frame: usize, limits: &Limits) -> Self {
        let start = Instant::now();
        let image = decode::decode_path(path, limits).and_then(|source| {
            let image = source.frame(frame).map_err(|e| e.in_file(path))?;
            Ok((Arc::new(image), source.frame_count()))
        });
        Self {
            image,
            others_left_out: true,
            milliseconds: milliseconds(start),
            ahead: None,
        }
    }

    /// Decodes a frame of a file that was opened before and whose frames are examined one by one.
    #[must_use]
    pub fn one_of(source: &Source, path: &Path, frame: usize) -> Self {
        let start = Instant::now();
        let image = source.frame(frame).map_err(|e| e.in_file(path));
        Self {
            image: image.map(|image| (Arc::new(image), source.frame_count())),
            others_left_out: false,
            milliseconds: milliseconds(start),
            ahead: None,
        }
    }

    /// A file that could not be opened.
    #[must_use]
    pub fn refused(error: DecodeError) -> Self {
        Self {
            image: Err(error),
            others_left_out: false,
            milliseconds: 0.0,
            ahead: None,
        }
    }

    /// Looks at the image, and makes its tensor for a model that takes images so.
    #[must_use]
    pub fn prepared_for(mut self, preprocess: Option<&PreprocessSpec>) -> Self {
        self.ahead = self.image().map(|image| {
            let mut prepared = preprocess.and_then(|preprocess| Prepared::new(image, preprocess, SMALL_SIDE).ok());
            let small = match &mut prepared {
                Some(prepared) => prepared.small.take(),
                None => small_image(image, SMALL_SIDE),
            };
            Ahead {
                look: Look::at(image, small),
                prepared,
            }
        });
        self
    }
}
