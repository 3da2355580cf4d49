//! JPEG in DICOM (PS3.5 A.4.1): baseline and extended with 8 bits, and lossless with 2 to 16 bits.

use std::io::Cursor;

use image::ImageDecoder;
use image::codecs::jpeg::JpegDecoder;
use jpeg_decoder::PixelFormat;

use super::image_header::ImageHeader;
use super::samples::{CodeWords, UnusedBits};
use crate::decode::error::DecodeError;
use crate::decode::jpeg_header::JpegHeader;

/// Decodes one frame.
///
/// # Errors
/// `lossy-12-bit`, `truncated` without end marker, `damaged` if the stream contradicts the DICOM header.
pub(super) fn decode(frame: &[u8], header: &ImageHeader) -> Result<(CodeWords, UnusedBits), DecodeError> {
    let stream = JpegHeader::read(frame)?;
    if stream.components != 1 {
        return Err(DecodeError::Colour {
            photometric: format!("JPEG with {} components", stream.components),
        });
    }
    if (usize::from(stream.height), usize::from(stream.width)) != (header.rows, header.columns) {
        let (rows, columns) = (header.rows, header.columns);
        let reason = format!(
            "the stream has {} x {} pixels, the file {rows} x {columns}",
            stream.height, stream.width
        );
        return Err(DecodeError::damaged("JPEG stream", reason));
    }
    match (stream.process, stream.precision) {
        (3, 2..=16) => Ok((lossless(frame, header.pixels())?, UnusedBits::Above)),
        (0..=2, 8) => Ok((
            CodeWords::Bytes(baseline(frame, header.pixels())?),
            UnusedBits::Overshoot,
        )),
        (0..=2, bits) => Err(DecodeError::LossyBits { bits }),
        (process, bits) => Err(DecodeError::unsupported(format!(
            "JPEG process {process} with {bits} bits"
        ))),
    }
}

fn baseline(frame: &[u8], pixels: usize) -> Result<Vec<u8>, DecodeError> {
    let failed = |error: image::ImageError| DecodeError::damaged("JPEG stream", error.to_string());
    let decoder = JpegDecoder::new(Cursor::new(frame)).map_err(failed)?;
    if decoder.total_bytes() != pixels as u64 {
        return Err(DecodeError::damaged(
            "JPEG stream",
            "the decoder does not see one grey component",
        ));
    }
    let mut bytes = vec![0; pixels];
    decoder.read_image(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn lossless(frame: &[u8], pixels: usize) -> Result<CodeWords, DecodeError> {
    let failed = |error: jpeg_decoder::Error| DecodeError::damaged("JPEG stream", error.to_string());
    let mut decoder = jpeg_decoder::Decoder::new(frame);
    decoder.set_max_decoding_buffer_size(2 * pixels);
    let bytes = decoder.decode().map_err(failed)?;
    match decoder.info().map(|info| info.pixel_format) {
        Some(PixelFormat::L8) => Ok(CodeWords::Bytes(bytes)),
        // The decoder gives the machine's byte order.
        Some(PixelFormat::L16) => Ok(CodeWords::Words(
            bytes
                .chunks_exact(2)
                .map(|pair| u16::from_ne_bytes([pair[0], pair[1]]))
                .collect(),
        )),
        _ => Err(DecodeError::damaged(
            "JPEG stream",
            "the decoder does not see one grey component",
        )),
    }
}
