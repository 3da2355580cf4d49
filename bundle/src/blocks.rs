//! The block table: a CRC-32C for every block of the payload, so that a transfer finds a bad block at once.
//!
//! The table is part of the signed header. A CRC guards against line noise and bad storage, not against an
//! attacker: what is believed of the payload is checked by SHA-256 as well.

use crc_fast::CrcAlgorithm;

/// The smallest block.
pub const MIN_BLOCK_BYTES: u32 = 4 * 1024;
/// The largest block, and with the header's 64 KiB what bounds a payload (just under 1 GiB).
pub const MAX_BLOCK_BYTES: u32 = 64 * 1024;
/// Block size and payload length before the checksums.
const FIXED_BYTES: usize = 4 + 8;

/// Why a block table was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The payload needs more checksums than the header has room for.
    #[error(
        "a payload of {payload_bytes} bytes needs a block table of more than {room} bytes even with blocks of 64 KiB; pack fewer or smaller files"
    )]
    TooLarge {
        /// Length of the payload.
        payload_bytes: u64,
        /// Bytes of the header that are left for the table.
        room: usize,
    },
    /// The block size is not a power of two from 4 to 64 KiB.
    #[error("block table: a block size of {block_bytes} bytes; it must be a power of two from 4096 to 65536")]
    BlockSize {
        /// What the table says.
        block_bytes: u32,
    },
    /// The number of checksums does not fit the payload.
    #[error(
        "block table: {found} bytes of checksums for a payload of {payload_bytes} bytes in blocks of {block_bytes}"
    )]
    Length {
        /// Bytes behind the fixed fields.
        found: usize,
        /// Length of the payload.
        payload_bytes: u64,
        /// Size of a block.
        block_bytes: u32,
    },
    /// A block's bytes do not fit its checksum.
    #[error(
        "block {block} of the payload (file offset {offset}) is damaged: CRC-32C {found:08x} instead of {wanted:08x}; copy or send the file again"
    )]
    Checksum {
        /// Index of the block.
        block: usize,
        /// Offset of the block in the file.
        offset: u64,
        /// CRC-32C of the bytes.
        found: u32,
        /// CRC-32C in the table.
        wanted: u32,
    },
}

/// CRC-32C (Castagnoli) of `bytes`.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    // The checksum is 32 bits wide and returned in the low half.
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// The checksums of a payload of known length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockTable {
    block_bytes: u32,
    payload_bytes: u64,
    checksums: Vec<u32>,
}

impl BlockTable {
    /// Computes the table of `payload` with the smallest blocks whose table takes at most `room` bytes:
    /// the smaller a block, the less is sent again after an error.
    ///
    /// # Errors
    /// [`BlockError::TooLarge`] if not even 64 KiB blocks fit.
    pub fn of(payload: &[u8], room: usize) -> Result<Self, BlockError> {
        let payload_bytes = payload.len() as u64;
        let mut block_bytes = MIN_BLOCK_BYTES;
        while table_bytes(payload_bytes, block_bytes) > room as u64 {
            if block_bytes == MAX_BLOCK_BYTES {
                return Err(BlockError::TooLarge { payload_bytes, room });
            }
            block_bytes *= 2;
        }
        let checksums = payload.chunks(block_bytes as usize).map(crc32c).collect();
        Ok(Self {
            block_bytes,
            payload_bytes,
            checksums,
        })
    }

    /// Size of every block but the last, in bytes.
    #[must_use]
    pub fn block_bytes(&self) -> usize {
        self.block_bytes as usize
    }

    /// Length of the payload in bytes.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// The checksums, one a block.
    #[must_use]
    pub fn checksums(&self) -> &[u32] {
        &self.checksums
    }

    /// Length of block `block` in bytes; 0 behind the last.
    #[must_use]
    pub fn length_of(&self, block: usize) -> usize {
        let start = (block as u64).saturating_mul(u64::from(self.block_bytes));
        let left = self.payload_bytes.saturating_sub(start);
        left.min(u64::from(self.block_bytes)) as usize
    }

    /// Compares `bytes`, the content of block `block`, with the table.
    ///
    /// `payload_offset` is the file offset of the payload and only names the place in the message.
    ///
    /// # Errors
    /// [`BlockError::Checksum`] if they differ, or if there is no such block.
    pub fn verify(&self, block: usize, bytes: &[u8], payload_offset: u64) -> Result<(), BlockError> {
        let found = crc32c(bytes);
        let wanted = self.checksums.get(block).copied();
        if wanted == Some(found) && bytes.len() == self.length_of(block) {
            return Ok(());
        }
        Err(BlockError::Checksum {
            block,
            offset: payload_offset.saturating_add((block as u64).saturating_mul(u64::from(self.block_bytes))),
            found,
            wanted: wanted.unwrap_or_default(),
        })
    }

    /// The table as it stands in the header: block size (u32), payload length (u64), checksums (u32 each).
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED_BYTES + 4 * self.checksums.len());
        bytes.extend(self.block_bytes.to_le_bytes());
        bytes.extend(self.payload_bytes.to_le_bytes());
        for checksum in &self.checksums {
            bytes.extend(checksum.to_le_bytes());
        }
        bytes
    }

    /// Reads a table that fills `bytes` to the last byte.
    ///
    /// # Errors
    /// [`BlockError::BlockSize`] or [`BlockError::Length`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BlockError> {
        let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else {
            return Err(BlockError::Length {
                found: bytes.len(),
                payload_bytes: 0,
                block_bytes: 0,
            });
        };
        let [b0, b1, b2, b3, length @ ..] = *fixed;
        let block_bytes = u32::from_le_bytes([b0, b1, b2, b3]);
        let payload_bytes = u64::from_le_bytes(length);
        if !block_bytes.is_power_of_two() || !(MIN_BLOCK_BYTES..=MAX_BLOCK_BYTES).contains(&block_bytes) {
            return Err(BlockError::BlockSize { block_bytes });
        }
        if bytes.len() as u64 != table_bytes(payload_bytes, block_bytes) {
            return Err(BlockError::Length {
                found: rest.len(),
                payload_bytes,
                block_bytes,
            });
        }
        let (checksums, _) = rest.as_chunks::<4>();
        Ok(Self {
            block_bytes,
            payload_bytes,
            checksums: checksums.iter().map(|c| u32::from_le_bytes(*c)).collect(),
        })
    }
}

/// Length of the table of a payload; saturates for absurd lengths.
fn table_bytes(payload_bytes: u64, block_bytes: u32) -> u64 {
    let blocks = payload_bytes.div_ceil(u64::from(block_bytes));
    blocks.saturating_mul(4).saturating_add(FIXED_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, B.4: 32 bytes of zeros and of ones.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn blocks_grow_until_the_table_fits() {
        let payload = vec![1; 100 * 4096];
        assert_eq!(BlockTable::of(&payload, 412).unwrap().block_bytes(), 4096);
        assert_eq!(BlockTable::of(&payload, 411).unwrap().block_bytes(), 8192);
        let error = BlockTable::of(&payload, 39).unwrap_err();
        assert!(matches!(
            error,
            BlockError::TooLarge {
                payload_bytes: 409_600,
                room: 39
            }
        ));
        assert!(BlockTable::of(&payload, 40).is_ok());
    }

    #[test]
    fn an_empty_payload_has_no_blocks() {
        let table = BlockTable::of(&[], 1024).unwrap();
        assert_eq!((table.checksums().len(), table.length_of(0)), (0, 0));
        assert_eq!(BlockTable::parse(&table.to_bytes()), Ok(table));
    }

    #[test]
    fn absurd_tables_are_refused() {
        let table = BlockTable::of(&[1; 5000], 1024).unwrap().to_bytes();
        for cut in 0..table.len() {
            assert!(BlockTable::parse(&table[..cut]).is_err(), "{cut}");
        }
        let mut huge = table.clone();
        huge[4..12].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(BlockTable::parse(&huge), Err(BlockError::Length { .. })));
        let mut odd = table;
        odd[0] = 1;
        assert!(matches!(BlockTable::parse(&odd), Err(BlockError::BlockSize { .. })));
    }

    proptest! {
        #[test]
        fn every_block_verifies_and_no_other(payload in prop::collection::vec(any::<u8>(), 1..20_000), bit in any::<prop::sample::Index>()) {
            let table = BlockTable::of(&payload, 1024).unwrap();
            prop_assert_eq!(&BlockTable::parse(&table.to_bytes()).unwrap(), &table);
            for (i, block) in payload.chunks(table.block_bytes()).enumerate() {
                prop_assert_eq!(block.len(), table.length_of(i));
                prop_assert!(table.verify(i, block, 0).is_ok());
                let mut damaged = block.to_vec();
                let bit = bit.index(damaged.len() * 8);
                damaged[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(table.verify(i, &damaged, 0).is_err());
                prop_assert!(table.verify(i, &block[1..], 0).is_err());
            }
        }
    }
}
