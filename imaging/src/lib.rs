//! What an image is.
//!
//! - [`decode`]: files into grey images (DICOM, PNG, JPEG, TIFF); feature `decoders`
//! - [`grey`]: one grey image with the meaning of its values (modality LUT, window, photometric interpretation)
//! - [`preprocess`]: from an image to the network's tensor, in one place
//! - [`quality`]: whether an image is worth a network's opinion
//! - [`colormap`], [`overlay`]: the heatmap over the image

pub mod colormap;
#[cfg(feature = "decoders")]
pub mod decode;
pub mod grey;
pub mod overlay;
pub mod preprocess;
pub mod quality;
mod resample;

#[cfg(feature = "decoders")]
pub use decode::{DecodeError, Limits, Source};
pub use grey::{GreyImage, ImageMeta, ModalityLut, Photometric, Pixels, Voi, WindowFunction};
pub use preprocess::PreprocessSpec;
pub use resample::{display_picture, fit_size, small_image};
