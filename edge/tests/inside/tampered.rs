//! Slots that a test meddles with.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hardware::slots::Storage;
use scanside_edge::daemon::Parts;

/// The folder of the slots, with something that is done before each read (at an offset), and without renames if no record
/// is to be written.
pub struct Tampered {
    folder: Arc<dyn Storage>,
    before_read: Box<dyn Fn(u64) + Send + Sync>,
    renames: bool,
}

impl Tampered {
    /// Stands between the service and its slots.
    pub fn put(parts: &mut Parts, renames: bool, before_read: impl Fn(u64) + Send + Sync + 'static) {
        parts.slots = Arc::new(Self {
            folder: parts.slots.clone(),
            before_read: Box::new(before_read),
            renames,
        });
    }

    /// Models cannot be read for as long as `stalls` says so, as on a medium that does not answer.
    pub fn stall(parts: &mut Parts, stalls: Arc<AtomicBool>) {
        Self::put(parts, true, move |offset| {
            // What stands in the records is read at the start; the models are large.
            while offset > 0 && stalls.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(10));
            }
        });
    }
}

impl Storage for Tampered {
    fn create(&self, name: &str) -> io::Result<()> {
        self.folder.create(name)
    }
    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.folder.write_at(name, offset, bytes)
    }
    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (self.before_read)(offset);
        self.folder.read_at(name, offset, buffer)
    }
    fn length(&self, name: &str) -> io::Result<Option<u64>> {
        self.folder.length(name)
    }
    fn sync(&self, name: &str) -> io::Result<()> {
        self.folder.sync(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        match self.renames {
            true => self.folder.rename(from, to),
            false => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
        }
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.folder.remove(name)
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.folder.list()
    }
    fn sync_folder(&self) -> io::Result<()> {
        self.folder.sync_folder()
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.folder.free_bytes()
    }
}
