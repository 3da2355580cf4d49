//! A medium that does not answer.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hardware::slots::Storage;

/// Slots whose files cannot be read for as long as a test wants it, as on a medium that does not answer.
pub struct Stalled {
    inner: Arc<dyn Storage>,
    stalls: Arc<AtomicBool>,
}

impl Stalled {
    /// Stalls while `stalls` says so.
    pub fn new(inner: Arc<dyn Storage>, stalls: Arc<AtomicBool>) -> Self {
        Self { inner, stalls }
    }

    fn wait(&self) {
        while self.stalls.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Storage for Stalled {
    fn create(&self, name: &str) -> io::Result<()> {
        self.inner.create(name)
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(name, offset, bytes)
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        // What stands in the records is read at the start; the models are large.
        if offset > 0 {
            self.wait();
        }
        self.inner.read_at(name, offset, buffer)
    }

    fn length(&self, name: &str) -> io::Result<Option<u64>> {
        self.inner.length(name)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.inner.sync(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.inner.sync_folder()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.inner.free_bytes()
    }
}
