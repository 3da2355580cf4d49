//! What an image is.
//!
//! - [`grey`]: one grey image with the meaning of its values (modality LUT, window, photometric interpretation)
//! - [`preprocess`]: from an image to the network's tensor, in one place
//! - [`colormap`], [`overlay`]: the heatmap over the image

pub mod colormap;
pub mod grey;
pub mod overlay;
pub mod preprocess;
mod resample;

pub use grey::{GreyImage, ImageMeta, ModalityLut, Photometric, Pixels, Voi, WindowFunction};
pub use preprocess::PreprocessSpec;
pub use resample::{display_picture, fit_size};
