//! Files by name in one folder: everything that slots, counters and the clock keep goes through here.
//!
//! The operations are those whose order and durability matter after a power cut; [`Folder`] carries them out on a real
//! file system and a simulated twin on one whose power fails when a test wants it to.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Files by name in one folder.
///
/// A change is durable only after [`sync`](Storage::sync) (content and length of a file) or
/// [`sync_folder`](Storage::sync_folder) (which names exist and what they stand for). Before that, a power cut may keep,
/// lose or tear it, in any order. Names are one path component.
pub trait Storage: Send + Sync {
    /// Makes `name` an empty file, emptying what was there.
    ///
    /// # Errors
    /// What the file system says.
    fn create(&self, name: &str) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`, lengthening the file where needed.
    ///
    /// # Errors
    /// What the file system says; `NotFound` if the file does not exist.
    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads up to `buffer.len()` bytes at `offset`; 0 at and behind the end.
    ///
    /// # Errors
    /// What the file system says; `NotFound` if the file does not exist.
    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Length in bytes, `None` if the file does not exist.
    ///
    /// # Errors
    /// What the file system says.
    fn length(&self, name: &str) -> io::Result<Option<u64>>;

    /// Returns when content and length of the file are durable.
    ///
    /// # Errors
    /// What the file system says; the content may then be lost.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Gives the file `from` the name `to`, replacing what was there.
    ///
    /// # Errors
    /// What the file system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; that it does not exist is no error.
    ///
    /// # Errors
    /// What the file system says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Names of all files, in any order.
    ///
    /// # Errors
    /// What the file system says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Returns when creations, renames and removals are durable.
    ///
    /// # Errors
    /// What the file system says.
    fn sync_folder(&self) -> io::Result<()>;

    /// Bytes that may still be written.
    ///
    /// # Errors
    /// What the file system says.
    fn free_bytes(&self) -> io::Result<u64>;

    /// A hint to begin writing a file's changes to the medium without waiting, so that a later sync is short.
    fn begin_write_back(&self, _name: &str) {}

    /// A hint to drop cached content, so that the next read comes from the medium.
    fn drop_cache(&self, _name: &str) {}
}

/// Reads until `buffer` is full or the file ends, and gives the number of bytes read.
///
/// # Errors
/// See [`Storage::read_at`].
pub fn read_full(storage: &dyn Storage, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match storage.read_at(name, offset + filled as u64, &mut buffer[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

/// Bytes that may still be written on the file system of a path.
///
/// # Errors
/// What the file system says.
#[allow(clippy::unnecessary_cast)] // The fields' widths differ between platforms.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all-zero bytes are a valid statvfs, a structure of integers.
    let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` ends in a zero byte and `found` is a statvfs to write to; both outlive the call.
    if unsafe { libc::statvfs(path.as_ptr(), &raw mut found) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((found.f_bavail as u64).saturating_mul(found.f_frsize as u64))
}

/// A real folder, locked so that a second process cannot use it at the same time.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Holds the lock; the system lets go of it when the process ends, however it ends.
    folder: File,
    /// Whether this process holds the lock, and may change what lies there.
    is_ours: bool,
}

impl Folder {
    /// Opens a folder, which is made if it does not exist (its parent must).
    ///
    /// # Errors
    /// What the file system says; `WouldBlock` if the folder is already in use.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        match fs::create_dir(&path) {
            // The new folder itself must survive a power cut.
            Ok(()) => File::open(
                path.parent()
                    .filter(|p| !p.as_os_str().is_empty())
                    .unwrap_or(Path::new(".")),
            )?
            .sync_all()?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let folder = File::open(&path)?;
        folder.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::new(
                io::ErrorKind::WouldBlock,
                format!("{} is in use by another process; stop that one first", path.display()),
            ),
            TryLockError::Error(error) => error,
        })?;
        Ok(Self {
            path,
            folder,
            is_ours: true,
        })
    }

    /// Opens a folder to look at what another process keeps in it: without the lock, so every change is refused.
    ///
    /// # Errors
    /// What the file system says.
    pub fn open_to_read(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let folder = File::open(&path)?;
        Ok(Self {
            path,
            folder,
            is_ours: false,
        })
    }

    /// Where the folder is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, name: &str) -> io::Result<PathBuf> {
        let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
        if plain {
            return Ok(self.path.join(name));
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{name:?} is not a plain file name"),
        ))
    }

    /// The path of a file that is to be changed.
    fn own_file(&self, name: &str) -> io::Result<PathBuf> {
        self.check_ours().and_then(|()| self.file(name))
    }

    fn check_ours(&self) -> io::Result<()> {
        if self.is_ours {
            return Ok(());
        }
        let message = format!("{} belongs to another process", self.path.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
    }

    fn open_for_writing(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().write(true).open(self.own_file(name)?)
    }
}

impl Storage for Folder {
    fn create(&self, name: &str) -> io::Result<()> {
        File::create(self.own_file(name)?).map(drop)
    }

    fn write_at(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.open_for_writing(name)?.write_all_at(bytes, offset)
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        File::open(self.file(name)?)?.read_at(buffer, offset)
    }

    fn length(&self, name: &str) -> io::Result<Option<u64>> {
        match fs::metadata(self.file(name)?) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.open_for_writing(name)?.sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.own_file(from)?, self.own_file(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.own_file(name)?) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // Our names are ASCII; another one is not ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.check_ours()?;
        self.folder.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        free_bytes(&self.path)
    }

    #[cfg(target_os = "linux")]
    fn begin_write_back(&self, name: &str) {
        use std::os::fd::AsRawFd;
        if let Ok(file) = self.open_for_writing(name) {
            // SAFETY: plain integers and a descriptor that is open for the time of the call. A length of 0 means up
            // to the end. What it returns does not matter: it is a hint.
            unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
        }
    }

    #[cfg(target_os = "linux")]
    fn drop_cache(&self, name: &str) {
        use std::os::fd::AsRawFd;
        if let Ok(file) = self.file(name).and_then(File::open) {
            // SAFETY: as above.
            unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;

    #[test]
    fn files_live_by_name() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path().join("slots")).unwrap();
        folder.create("a.new").unwrap();
        folder.write_at("a.new", 0, b"hello").unwrap();
        folder.write_at("a.new", 7, b"there").unwrap();
        folder.sync("a.new").unwrap();
        folder.rename("a.new", "a").unwrap();
        folder.sync_folder().unwrap();
        folder.begin_write_back("a");
        folder.drop_cache("a");
        assert_eq!(folder.list().unwrap(), ["a"]);
        assert_eq!(folder.length("a").unwrap(), Some(12));
        assert_eq!(folder.length("a.new").unwrap(), None);
        let mut bytes = [9; 20];
        assert_eq!(read_full(&folder, "a", 0, &mut bytes).unwrap(), 12);
        assert_eq!(&bytes[..12], b"hello\0\0there");
        folder.create("a").unwrap();
        assert_eq!(folder.length("a").unwrap(), Some(0));
        folder.remove("a").unwrap();
        folder.remove("a").unwrap();
        assert!(folder.list().unwrap().is_empty());
        assert!(folder.free_bytes().unwrap() > 0);
    }

    #[test]
    fn a_name_cannot_leave_the_folder() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path().join("slots")).unwrap();
        for name in ["", ".", "..", "../x", "/x", "x/y", ".hidden", "x\0y"] {
            assert!(folder.create(name).is_err(), "{name:?}");
            assert!(folder.remove(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_folder_serves_one_owner() {
        let place = tempfile::tempdir().unwrap();
        let first = Folder::open(place.path()).unwrap();
        let second = Folder::open(place.path());
        assert_eq!(second.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(first);
        Folder::open(place.path()).unwrap();
    }

    #[test]
    fn the_time_of_a_service_is_seen_beside_it() {
        let place = tempfile::tempdir().unwrap();
        let folder: Arc<dyn Storage> = Arc::new(Folder::open(place.path()).unwrap());
        let service = Clock::open(folder.clone(), Duration::ZERO);
        // A year ahead of this machine's clock, as an engineer set it.
        let year = Duration::from_secs(365 * 24 * 3600);
        service.set(service.now() + year).unwrap();
        service.keep().unwrap();
        let files = folder.list().unwrap().len();
        let beside = Clock::open(Arc::new(Folder::open_to_read(place.path()).unwrap()), Duration::ZERO).now();
        let now = service.now();
        let apart = now.abs_diff(beside);
        assert!(apart < Duration::from_secs(24 * 3600), "{apart:?}");
        assert_eq!(folder.list().unwrap().len(), files, "nothing was written");
    }
}
