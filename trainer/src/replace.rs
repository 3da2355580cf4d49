//! Files that are replaced whole: a reader, or the next start after a power cut, sees the old content or the new.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::NamedTempFile;

/// Lets `fill` write a new file beside `path`, and renames it to `path` when it lies safely on the disk. The new file
/// has a name that nobody can foresee: where others may write too, no link of theirs leads it elsewhere.
///
/// # Errors
/// What `fill` or the system says; the old content then stands, and nothing is left beside it.
pub fn replace(path: &Path, fill: impl FnOnce(&mut NamedTempFile) -> io::Result<()>) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut new = tempfile::Builder::new()
        .prefix(".")
        .suffix(".part")
        // As for any other file the umask takes from this; the default would be for the owner alone.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    fill(&mut new)?;
    new.as_file().sync_all()?;
    new.persist(path).map_err(|error| error.error)?;
    // The rename lasts once the folder does.
    File::open(folder)?.sync_all()
}
