//! What an engineer may read over the serial line: results, logs, the report of the self-test; nothing else.

use std::collections::BTreeMap;
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

    /// The first files, by name, whose names begin with `below` and come behind `after`; at most `most`. A folder may hold
    /// tens of thousands: no more than these are looked at closely.
    #[must_use]
    pub fn list(&self, below: &str, after: &str, most: usize) -> Vec<FileEntry> {
        let mut first = BTreeMap::new();
        let mut look_at = |name: String, path: &Path| {
            let is_full = first.len() >= most;
            let comes_late = is_full && first.last_key_value().is_none_or(|(last, _)| *last < name);
            if !name.starts_with(below) || name.as_str() <= after || comes_late {
                return;
            }
            if let Some(bytes) = plain_length(path) {
                first.insert(name, bytes);
            }
            if first.len() > most {
                first.pop_last();
            }
        };
        for (name, path) in &self.files {
            look_at((*name).to_owned(), path);
        }
        for (prefix, folder) in &self.folders {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if let Ok(name) = entry.file_name().into_string() {
                    look_at(format!("{prefix}/{name}"), &entry.path());
                }
            }
        }
        let entry = |(name, bytes)| FileEntry { name, bytes };
        first.into_iter().map(entry).collect()
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
            .list("", "", 64)
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
    fn a_list_is_gone_through_by_name_whatever_comes_and_goes() {
        let (folder, files) = readable();
        for number in 0..10 {
            fs::write(folder.path().join(format!("logs/{number}.log")), "x").unwrap();
        }
        let names = |after: &str| {
            let entries = files.list("logs/", after, 4).into_iter();
            entries.map(|entry| entry.name).collect::<Vec<_>>()
        };
        assert_eq!(names(""), ["logs/0.log", "logs/1.log", "logs/2.log", "logs/3.log"]);
        // One that was listed goes, and one comes in front of it.
        fs::remove_file(folder.path().join("logs/1.log")).unwrap();
        fs::write(folder.path().join("logs/00.log"), "x").unwrap();
        assert_eq!(
            names("logs/3.log"),
            ["logs/4.log", "logs/5.log", "logs/6.log", "logs/7.log"]
        );
        assert_eq!(names("logs/7.log"), ["logs/8.log", "logs/9.log", "logs/edge.log"]);
        assert!(names("logs/edge.log").is_empty());
        assert_eq!(files.list("doctor", "", 4).len(), 1);
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
