//! Files that are whole or absent: whoever reads them, whatever waits beside them, whenever the power goes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Writes `bytes` to a new file beside `path` and then renames it. What is no plain file (a pipe, a device) is written
/// to as it is.
///
/// The new file has a name that nobody can foresee and is never one that was there before, so that a link which another
/// user laid in a shared folder leads nowhere. It has the mode of any new file.
///
/// # Errors
/// What the system said; what stood at `path` then stands there still.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|status| !status.is_file()) {
        return OpenOptions::new().write(true).open(path)?.write_all(bytes);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut new = tempfile::Builder::new()
        .suffix(".partial")
        .make_in(folder.unwrap_or(Path::new(".")), |new| File::create_new(new))?;
    // The file itself: tempfile's own would put its name, which nobody asked for, into what the system says.
    new.as_file_mut().write_all(bytes)?;
    new.as_file().sync_all()?;
    new.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A folder and files of these names in it.
    fn folder<const N: usize>(names: [&str; N]) -> (tempfile::TempDir, [PathBuf; N]) {
        let folder = tempfile::tempdir().expect("a folder");
        let paths = names.map(|name| folder.path().join(name));
        (folder, paths)
    }

    #[test]
    fn a_file_is_written_whole_or_not_at_all() {
        let (folder, [path, nowhere]) = folder(["out.json", "none/out.json"]);
        for text in ["{}", "[]"] {
            write(&path, text.as_bytes()).expect("written");
            assert_eq!(fs::read_to_string(&path).expect("there"), text);
            assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
        }
        let error = write(&nowhere, b"{}").expect_err("no folder");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(!error.to_string().contains("partial"), "{error}");
    }

    #[test]
    fn what_cannot_take_the_place_of_a_folder_leaves_nothing_behind() {
        let (folder, [path]) = folder(["out.json"]);
        fs::create_dir(&path).expect("a folder");
        assert!(write(&path, b"{}").is_err());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn nothing_that_waits_beside_a_file_is_followed() {
        let (_folder, [path, trap, victim]) = folder(["out.json", "out.json.partial", "victim"]);
        fs::write(&victim, "precious").expect("written");
        std::os::unix::fs::symlink(&victim, &trap).expect("a link");
        write(&path, b"{}").expect("written");
        assert_eq!(fs::read(&victim).expect("there"), b"precious");
        assert!(fs::symlink_metadata(&path).expect("there").is_file());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_has_the_mode_of_any_new_one() {
        use std::os::unix::fs::PermissionsExt;

        let (_folder, [path, plain]) = folder(["out.json", "plain"]);
        write(&path, b"{}").expect("written");
        fs::write(&plain, b"{}").expect("written");
        let [mode, usual] = [&path, &plain].map(|path| fs::metadata(path).expect("there").permissions().mode());
        assert_eq!(mode, usual);
    }

    #[test]
    fn a_device_stays_one() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            eprintln!("skipped: this system has no /dev/full");
            return;
        }
        assert!(write(full, b"{}").is_err());
        assert!(!fs::metadata(full).expect("there").is_file());
    }
}
