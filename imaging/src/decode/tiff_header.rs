//! The first directory of a TIFF file (TIFF 6.0 section 2), looked over before a decoder is let near it: the decoder
//! takes memory for as many values as an entry claims.

use super::error::DecodeError;

/// Bytes of a value by field type, from 1 (BYTE) to 12 (DOUBLE) and 13 (IFD).
const VALUE_BYTES: [u64; 14] = [1, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4];

/// What was seen of a directory whose values all lie within the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Directory {
    /// The file has another page, or a smaller copy of this one.
    pub(super) another_follows: bool,
}

/// Every value of the first directory lies within the file.
///
/// # Errors
/// `truncated` if the directory or a value reaches beyond the end.
pub(super) fn check_directory(bytes: &[u8]) -> Result<Directory, DecodeError> {
    let big_endian = bytes.starts_with(b"MM");
    let length = bytes.len() as u64;
    let cut = |what, offset, needed| {
        let available = length.saturating_sub(offset as u64);
        DecodeError::truncated(what, offset, needed, available)
    };
    let start = number(bytes, 4, 4, big_endian).ok_or_else(|| cut("TIFF header", 4, 4))?;
    let directory = usize::try_from(start).unwrap_or(usize::MAX);
    let entries = number(bytes, directory, 2, big_endian).ok_or_else(|| cut("TIFF directory", directory, 2))?;
    let entry = |index: usize| directory + 2 + 12 * index;
    for entry in (0..entries as usize).map(entry) {
        let fields = [(2, 2), (4, 4), (8, 4)].map(|(offset, width)| number(bytes, entry + offset, width, big_endian));
        let [Some(kind), Some(count), Some(offset)] = fields else {
            return Err(cut("TIFF directory", entry, 12));
        };
        let needed = count * VALUE_BYTES.get(kind as usize).copied().unwrap_or(1);
        // Up to four bytes stand in the entry itself.
        if needed > 4 && offset + needed > length {
            return Err(cut("TIFF field", offset as usize, needed));
        }
    }
    let next = number(bytes, entry(entries as usize), 4, big_endian);
    Ok(Directory {
        another_follows: next.is_some_and(|offset| offset != 0),
    })
}

fn number(bytes: &[u8], at: usize, width: usize, big_endian: bool) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(width)?)?;
    let join = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
    Some(if big_endian {
        field.iter().fold(0, join)
    } else {
        field.iter().rev().fold(0, join)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(count: u32, offset: u32) -> Vec<u8> {
        let mut bytes = b"II*\0\x08\0\0\0\x01\0\x00\x01\x04\0".to_vec();
        bytes.extend(count.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        bytes.extend([0; 12]);
        bytes
    }

    #[test]
    fn values_beyond_the_file_are_refused() {
        assert!(check_directory(&file(1, 7)).is_ok());
        assert!(check_directory(&file(3, 22)).is_ok());
        for (count, offset) in [(4, 22), (3, 23), (50_000_000, 22), (u32::MAX, u32::MAX)] {
            assert_eq!(
                check_directory(&file(count, offset)).unwrap_err().code(),
                "truncated",
                "{count} at {offset}"
            );
        }
        let whole = file(3, 22);
        for length in 0..whole.len() {
            assert!(check_directory(&whole[..length]).is_err(), "{length}");
        }
        assert!(check_directory(b"MM\0*\xFF\xFF\xFF\xFF").is_err());
    }
}
