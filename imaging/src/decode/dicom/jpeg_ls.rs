//! JPEG-LS in DICOM (PS3.5 A.4.3): lossless and near-lossless, one component of 2 to 16 bits (ISO/IEC 14495-1).
//!
//! - [`stream_header`](self::stream_header): frame, scan and preset parameters, checked against the DICOM header
//! - [`bits`](self::bits): bits with the stuffing after FF
//! - [`contexts`](self::contexts): the adaptive statistics of regular and run mode
//! - [`scan`](self::scan): prediction and reconstruction, line by line
//!
//! Our own, because the pure-Rust decoders at hand believe header fields of damaged files, and the C++ one needs cmake.
//! Letters such as Ra, N, RANGE are those of the standard.

mod bits;
mod contexts;
mod scan;
mod stream_header;

use super::image_header::ImageHeader;
use super::samples::CodeWords;
use crate::decode::error::DecodeError;

/// Decodes one frame.
///
/// # Errors
/// `truncated` if the bits end early, `damaged` if the stream contradicts itself or the DICOM header, `unsupported` for
/// palettes and restart intervals.
pub(super) fn decode(frame: &[u8], header: &ImageHeader) -> Result<CodeWords, DecodeError> {
    let stream = stream_header::StreamHeader::read(frame)?;
    if (stream.height, stream.width) != (header.rows, header.columns) {
        let (rows, columns) = (header.rows, header.columns);
        let reason = format!(
            "the stream has {} x {} pixels, the file {rows} x {columns}",
            stream.height, stream.width
        );
        return Err(DecodeError::damaged("JPEG-LS header", reason));
    }
    if stream.precision <= 8 {
        let mut bytes = Vec::with_capacity(header.pixels());
        scan::decode(&stream, frame, |line| {
            bytes.extend(line.iter().map(|&sample| sample as u8))
        })?;
        return Ok(CodeWords::Bytes(bytes));
    }
    let mut words = Vec::with_capacity(header.pixels());
    scan::decode(&stream, frame, |line| {
        words.extend(line.iter().map(|&sample| sample as u16))
    })?;
    Ok(CodeWords::Words(words))
}
