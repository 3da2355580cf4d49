//! JPEG 2000 in DICOM (PS3.5 A.4.4): the codestream's headers are checked here, then it is decoded by OpenJPEG's port.
//!
//! OpenJPEG fills what a cut stream lacks with a blur and takes memory as the headers say; both are settled in
//! [`codestream`](self::codestream) before it starts. It is chosen because it rebuilds lossy coefficients at the middle
//! of their interval, as every other viewer does; the decoder in safe Rust that was tried does not, and its pictures
//! differ from theirs by up to 2 % of the grey range.

mod codestream;

use jpeg2k::{Image, ImageComponent};

use super::image_header::ImageHeader;
use super::samples::CodeWords;
use crate::decode::error::DecodeError;
use codestream::Codestream;

/// Decodes one frame.
///
/// # Errors
/// `truncated` if a tile part reaches beyond the frame, `damaged` if the stream contradicts the DICOM header, `too-large`
/// if its structures would take more memory than its pixels justify.
pub(super) fn decode(frame: &[u8], header: &ImageHeader) -> Result<CodeWords, DecodeError> {
    let stream = Codestream::read(frame)?;
    if (stream.height as usize, stream.width as usize) != (header.rows, header.columns) {
        let (rows, columns) = (header.rows, header.columns);
        let reason = format!(
            "the stream has {} x {} pixels, the file {rows} x {columns}",
            stream.height, stream.width
        );
        return Err(DecodeError::damaged("JPEG 2000 header", reason));
    }
    let image =
        Image::from_bytes(stream.bytes).map_err(|error| DecodeError::damaged("JPEG 2000 stream", error.to_string()))?;
    let [component] = image.components() else {
        return Err(DecodeError::damaged(
            "JPEG 2000 stream",
            "not one component was decoded",
        ));
    };
    if !has_samples(component) || (component.height(), component.width()) != (stream.height, stream.width) {
        return Err(DecodeError::damaged("JPEG 2000 stream", "no tile could be decoded"));
    }
    let samples = component.data();
    Ok(match (stream.signed, stream.precision) {
        (true, _) => CodeWords::Signed(samples.iter().map(|&sample| saturated(sample)).collect()),
        (false, ..=8) => CodeWords::Bytes(samples.iter().map(|&sample| sample.clamp(0, 255) as u8).collect()),
        (false, _) => CodeWords::Words(samples.iter().map(|&sample| sample.clamp(0, 65_535) as u16).collect()),
    })
}

fn saturated(sample: i32) -> i16 {
    sample.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

/// Whether the decoder has taken memory for this component. `data` makes a slice of whatever its pointer is, and the
/// debug form is the only other sight of that pointer.
fn has_samples(component: &ImageComponent) -> bool {
    !format!("{component:?}").contains("data: 0x0,")
}
