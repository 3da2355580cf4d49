//! Files that are replaced whole: a reader, or the next start after a power cut, sees the old content or the new.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Lets `fill` write a new file beside `path`, whose name it gets too, and renames it to `path` when it lies safely on
/// the disk. The new file has a name that nobody can foresee: where others may write too, no link of theirs leads it
/// elsewhere.
///
/// # Errors
/// What `fill` or the system says; the old content then stands, and nothing is left beside it.
pub fn replace(path: &Path, fill: impl FnOnce(&mut File, &Path) -> io::Result<()>) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut new = tempfile::Builder::new()
        .prefix(".")
        .suffix(".part")
        // As for any other file the umask takes from this; tempfile's default would be for the owner alone. What the
        // system says is told as it is, without the name of a file that nobody asked for.
        .make_in(folder, |path| {
            OpenOptions::new().write(true).create_new(true).mode(0o666).open(path)
        })?;
    let name = new.path().to_owned();
    fill(new.as_file_mut(), &name)?;
    new.as_file().sync_all()?;
    new.persist(path).map_err(|error| error.error)?;
    // The rename lasts once the folder does.
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_failure_does_not_name_a_file_that_nobody_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let error = replace(&folder.path().join("none/a.json"), |file, _| file.write_all(b"{}")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(!error.to_string().contains(".part"), "{error}");
        // As a full disk answers: what is open for reading only takes nothing.
        let full = |file: &mut File, _: &Path| {
            *file = File::open("/dev/null")?;
            file.write_all(b"{}")
        };
        let error = replace(&folder.path().join("a.json"), full).unwrap_err();
        assert!(!error.to_string().contains(".part"), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
