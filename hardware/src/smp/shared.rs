//! A device that the server's thread shares with others: each request locks it while it is answered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::files::{FileEntry, FileGroup};
use super::image::{ImageGroup, ImageSlots, ImageState, UploadChunk, UploadReply};
use super::os::{Information, OsGroup, Restart};
use super::refusal::Refusal;
use super::scanside::{DeltaChunk, Identity, KnownBundle, Preflight, PreflightChunk, ScansideGroup, Status};
use super::statistics::StatisticsGroup;

/// Locks also after a panic elsewhere: the line must go on answering.
pub(crate) fn lock<T>(device: &Mutex<T>) -> MutexGuard<'_, T> {
    device.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: OsGroup> OsGroup for Arc<Mutex<T>> {
    fn restart(&mut self, request: Restart) -> Result<(), Refusal> {
        lock(self).restart(request)
    }

    fn time(&mut self) -> Result<Duration, Refusal> {
        lock(self).time()
    }

    fn set_time(&mut self, time: Duration) -> Result<(), Refusal> {
        lock(self).set_time(time)
    }

    fn information(&mut self) -> Information {
        lock(self).information()
    }
}

impl<T: ImageGroup> ImageGroup for Arc<Mutex<T>> {
    fn states(&mut self) -> Vec<ImageState> {
        lock(self).states()
    }

    fn set_state(&mut self, hash: Option<&[u8; 32]>, confirm: bool) -> Result<(), Refusal> {
        lock(self).set_state(hash, confirm)
    }

    fn upload(&mut self, chunk: UploadChunk<'_>) -> Result<UploadReply, Refusal> {
        lock(self).upload(chunk)
    }

    fn erase(&mut self, slot: u32) -> Result<(), Refusal> {
        lock(self).erase(slot)
    }

    fn slots(&mut self) -> Vec<ImageSlots> {
        lock(self).slots()
    }
}

impl<T: FileGroup> FileGroup for Arc<Mutex<T>> {
    fn length(&mut self, name: &str) -> Result<u64, Refusal> {
        lock(self).length(name)
    }

    fn read(&mut self, name: &str, offset: u64, into: &mut [u8]) -> Result<usize, Refusal> {
        lock(self).read(name, offset, into)
    }

    fn list(&mut self, below: &str, after: &str) -> Result<Vec<FileEntry>, Refusal> {
        lock(self).list(below, after)
    }
}

impl<T: StatisticsGroup> StatisticsGroup for Arc<Mutex<T>> {
    fn statistics(&mut self) -> Vec<String> {
        lock(self).statistics()
    }

    fn counters(&mut self, name: &str) -> Option<Vec<(String, u64)>> {
        lock(self).counters(name)
    }
}

impl<T: ScansideGroup> ScansideGroup for Arc<Mutex<T>> {
    fn identity(&mut self) -> Identity {
        lock(self).identity()
    }

    fn status(&mut self) -> Status {
        lock(self).status()
    }

    fn preflight(&mut self, chunk: PreflightChunk<'_>) -> Result<Preflight, Refusal> {
        lock(self).preflight(chunk)
    }

    fn self_test(&mut self, image: u32) -> Result<(), Refusal> {
        lock(self).self_test(image)
    }

    fn bundles(&mut self) -> Vec<KnownBundle> {
        lock(self).bundles()
    }

    fn delta(&mut self, chunk: DeltaChunk<'_>) -> Result<UploadReply, Refusal> {
        lock(self).delta(chunk)
    }

    fn revert(&mut self, image: u32) -> Result<(), Refusal> {
        lock(self).revert(image)
    }
}
