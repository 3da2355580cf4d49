//! The file that a delta lies in while it arrives and until it was followed.

use std::fmt;
use std::io;
use std::sync::Arc;

use hardware::slots::{Storage, StorageReader};

/// Writing to the medium is begun after so many bytes, so that a power cut takes little of what arrived.
const WRITE_BACK_BYTES: u64 = 256 * 1024;

/// The file of a delta.
#[derive(Clone)]
pub struct DeltaFile {
    storage: Arc<dyn Storage>,
    name: String,
    /// Bytes of the whole delta.
    length: u64,
}

impl DeltaFile {
    /// Of a delta of `length` bytes.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, name: String, length: u64) -> Self {
        Self { storage, name, length }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of the whole delta.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Bytes of it that are there, `None` if there is no file. After a power cut they need not be what arrived.
    ///
    /// # Errors
    /// What the storage says.
    pub fn found(&self) -> io::Result<Option<u64>> {
        let found = self.storage.length(&self.name)?;
        Ok(found.map(|found| found.min(self.length)))
    }

    /// Makes it an empty file, which a power cut does not take away.
    ///
    /// # Errors
    /// What the storage says.
    pub fn create(&self) -> io::Result<()> {
        self.storage.create(&self.name)?;
        self.storage.sync_folder()
    }

    /// Writes what arrived.
    ///
    /// # Errors
    /// What the storage says.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.storage.write_at(&self.name, offset, data)?;
        let end = offset + data.len() as u64;
        if offset / WRITE_BACK_BYTES != end / WRITE_BACK_BYTES {
            self.storage.begin_write_back(&self.name);
        }
        Ok(())
    }

    /// Removes it.
    ///
    /// # Errors
    /// What the storage says.
    pub fn remove(&self) -> io::Result<()> {
        self.storage.remove(&self.name)
    }

    /// Reads it from its beginning.
    #[must_use]
    pub fn reader(&self) -> StorageReader {
        StorageReader::new(self.storage.clone(), self.name.as_str(), self.length)
    }
}

impl fmt::Debug for DeltaFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.name, self.length)
    }
}
