//! What an engineer may read over the serial line: results, logs, the report of the self-test; nothing else.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use hardware::smp::{Code, FileEntry, Refusal};

/// The folders and files that can be read, by the name they have on the line.
#[derive(Debug, Clone)]
pub struct ReadableFiles {
    folders: Vec<(&'static str, PathBuf)>,
    files: Vec<(&'static str, PathBuf)>,
}

impl ReadableFiles {
    /// `folders` and single `files`, each with its name on the line.
    #[must_use]
    pub fn new(folders: Vec<(&'static str, PathBuf)>, files: Vec<(&'static str, PathBuf)>) -> Self {
        Self { folders, files }
    }

    /// Length of a file in bytes.
    ///
    /// # Errors
    /// [`Code::FileNotFound`] for whatever is not on the list, whether it exists or not.
    pub fn length(&self, name: &str) -> Result<u64, Refusal> {
        Ok(self.open(name)?.1)
    }

    /// Reads a piece of a file and gives the number of bytes.
    ///
    /// # Errors
    /// As [`length`](Self::length); [`Code::FileUnreadable`].
    pub fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> Result<usize, Refusal> {
        let (file, _) = self.open(name)?;
        file.read_at(into, offset)
            .map_err(|e| Refusal::new(Code::FileUnreadable, format!("{name}: {e}")))
    }

    /// Every file, by name.
    #[must_use]
    pub fn list(&self) -> Vec<FileEntry> {
        let mut entries = Vec::new();
        for (name, path) in &self.files {
            if let Some(bytes) = plain_length(path) {
                entries.push(FileEntry {
                    name: (*name).to_owned(),
                    bytes,
                });
            }
        }
        for (prefix, folder) in &self.folders {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let (Some(bytes), Ok(name)) = (plain_length(&entry.path()), entry.file_name().into_string()) else {
                    continue;
                };
                let name = format!("{prefix}/{name}");
                entries.push(FileEntry { name, bytes });
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        entries
    }

    fn open(&self, name: &str) -> Result<(File, u64), Refusal> {
        let absent = || Refusal::new(Code::FileNotFound, format!("there is no {name}; list the files"));
        let path = self.path(name).ok_or_else(absent)?;
        // A link may lead anywhere, and a pipe would wait for ever.
        let options = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = File::options()
            .read(true)
            .custom_flags(options)
            .open(path)
            .map_err(|_| absent())?;
        let metadata = file.metadata().map_err(|_| absent())?;
        if !metadata.is_file() {
            return Err(absent());
        }
        Ok((file, metadata.len()))
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        if let Some((_, path)) = self.files.iter().find(|(listed, _)| *listed == name) {
            return Some(path.clone());
        }
        let (prefix, rest) = name.split_once('/')?;
        let (_, folder) = self.folders.iter().find(|(listed, _)| *listed == prefix)?;
        let plain = !rest.is_empty() && rest != "." && rest != ".." && !rest.contains(['/', '\\', '\0']);
        plain.then(|| folder.join(rest))
    }
}

fn plain_length(path: &Path) -> Option<u64> {
    let metadata = fs::symlink_metadata(path).ok()?;
    metadata.is_file().then_some(metadata.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readable() -> (tempfile::TempDir, ReadableFiles) {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("logs");
        fs::create_dir_all(logs.join("deeper")).unwrap();
        fs::write(logs.join("edge.log"), "started").unwrap();
        fs::write(folder.path().join("secret.key"), "secret").unwrap();
        fs::write(folder.path().join("doctor.json"), "{}").unwrap();
        std::os::unix::fs::symlink("../secret.key", logs.join("link.log")).unwrap();
        let files = ReadableFiles::new(
            vec![("logs", logs)],
            vec![("doctor.json", folder.path().join("doctor.json"))],
        );
        (folder, files)
    }

    #[test]
    fn what_is_listed_can_be_read() {
        let (_folder, files) = readable();
        let names: Vec<_> = files
            .list()
            .into_iter()
            .map(|entry| (entry.name, entry.bytes))
            .collect();
        assert_eq!(names, [("doctor.json".to_owned(), 2), ("logs/edge.log".to_owned(), 7)]);
        let mut piece = [0; 4];
        assert_eq!(files.read("logs/edge.log", 3, &mut piece).unwrap(), 4);
        assert_eq!(&piece, b"rted");
        assert_eq!(files.length("doctor.json").unwrap(), 2);
    }

    #[test]
    fn nothing_else_can() {
        let (_folder, files) = readable();
        let names = [
            "secret.key",
            "logs/../secret.key",
            "logs/..",
            "logs/",
            "logs",
            "logs/deeper",
            "logs/link.log",
            "/etc/passwd",
            "results/x",
            "",
            "logs/a\0b",
        ];
        for name in names {
            assert_eq!(files.length(name).unwrap_err().code, Code::FileNotFound, "{name:?}");
        }
    }
}
