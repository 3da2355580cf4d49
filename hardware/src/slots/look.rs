//! A folder that belongs to a running service, as another program looks at it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::storage::Storage;

/// A folder that is read, whoever holds it; every change is refused.
#[derive(Debug, Clone)]
pub struct Look {
    folder: PathBuf,
}

impl Look {
    /// At a folder, which need not be there.
    #[must_use]
    pub fn at(folder: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
        }
    }
}

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, "the folder belongs to a service")
}

impl Storage for Look {
    fn create(&self, _: &str) -> io::Result<()> {
        Err(refused())
    }

    fn write_at(&self, _: &str, _: u64, _: &[u8]) -> io::Result<()> {
        Err(refused())
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        File::open(self.folder.join(name))?.read_at(buffer, offset)
    }

    fn length(&self, name: &str) -> io::Result<Option<u64>> {
        match fs::metadata(self.folder.join(name)) {
            Ok(status) => Ok(Some(status.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn sync(&self, _: &str) -> io::Result<()> {
        Err(refused())
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(refused())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(refused())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(&self.folder)?;
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn sync_folder(&self) -> io::Result<()> {
        Err(refused())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;
    use crate::slots::Folder;

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
        let beside = Clock::open(Arc::new(Look::at(place.path())), Duration::ZERO).now();
        let now = service.now();
        let apart = now.abs_diff(beside);
        assert!(apart < Duration::from_secs(24 * 3600), "{apart:?}");
        assert_eq!(folder.list().unwrap().len(), files, "nothing was written");
    }
}
