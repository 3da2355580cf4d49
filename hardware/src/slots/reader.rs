//! A file of a storage as a stream.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use super::storage::Storage;

/// A file of a [`Storage`], from its first byte to an end that is known beforehand.
pub struct StorageReader {
    storage: Arc<dyn Storage>,
    name: String,
    length: u64,
    position: u64,
}

impl StorageReader {
    /// Of `length` bytes of the file `name`. What lies behind them is not read; that they are not there shows with a read.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, name: impl Into<String>, length: u64) -> Self {
        Self {
            storage,
            name: name.into(),
            length,
            position: 0,
        }
    }

    /// Length of the file in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }
}

impl Read for StorageReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.length.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let n = self.storage.read_at(&self.name, self.position, &mut buffer[..wanted])?;
        self.position += n as u64;
        Ok(n)
    }
}

impl Seek for StorageReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulated::Simulated;
    use super::*;

    #[test]
    fn it_ends_where_it_was_told_to_or_where_the_file_does() {
        let disk = Arc::new(Simulated::new(1));
        disk.create("a").unwrap();
        disk.write_at("a", 0, b"0123456789").unwrap();
        let text = |length, from| {
            let mut reader = StorageReader::new(disk.clone(), "a", length);
            reader.seek(SeekFrom::Start(from)).unwrap();
            io::read_to_string(reader).unwrap()
        };
        assert_eq!(
            [text(4, 0), text(4, 2), text(4, 9), text(20, 8)],
            ["0123", "23", "", "89"]
        );
    }
}
