//! Outputs that would take the place of an input or of each other, found before anything is done.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure};

/// A file of one call, with what the person calls it: `image`, `--screen`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    what: &'static str,
    path: PathBuf,
}

impl Named {
    /// A file and what it is called.
    pub fn new(what: &'static str, path: impl Into<PathBuf>) -> Self {
        Self {
            what,
            path: path.into(),
        }
    }
}

/// Checks that no output leads to where an input lies or another output goes, whatever the paths look like. A device or
/// a pipe may take several outputs.
///
/// # Errors
/// [`Failure`] with [`Exit::Usage`] that names both.
pub fn check(inputs: &[Named], outputs: &[Named]) -> Result<(), Failure> {
    let mut taken: HashMap<PathBuf, (&Named, bool)> = HashMap::new();
    for input in inputs {
        taken.extend(place(&input.path).map(|place| (place, (input, true))));
    }
    for output in outputs {
        let Some(place) = place(&output.path) else { continue };
        if let Some((other, is_input)) = taken.insert(place, (output, false)) {
            return Err(Failure::new(Exit::Usage, refusal(output, other, is_input)));
        }
    }
    Ok(())
}

fn refusal(output: &Named, other: &Named, is_input: bool) -> String {
    let (option, path) = (output.what, output.path.display());
    if is_input {
        return format!(
            "{option} {path} would overwrite the {}; give it another name",
            other.what
        );
    }
    format!(
        "{option} {path} would overwrite the output of {}; give them different names",
        other.what
    )
}

/// Where a path leads; `None` for what is no plain file.
fn place(path: &Path) -> Option<PathBuf> {
    match fs::metadata(path) {
        Ok(status) if status.is_file() => fs::canonicalize(path).ok(),
        Ok(_) => None,
        Err(_) => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf());
            Some(folder.join(path.file_name()?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(inputs: &[Named], outputs: &[Named]) -> Option<String> {
        check(inputs, outputs).err().map(|failure| {
            assert_eq!(failure.exit, Exit::Usage);
            failure.message
        })
    }

    #[test]
    fn one_place_by_two_paths_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("in.png"), "").unwrap();
        fs::create_dir(at("sub")).unwrap();
        std::os::unix::fs::symlink(at("in.png"), at("link.png")).unwrap();
        let inputs = [Named::new("image", at("in.png"))];
        for name in ["in.png", "./in.png", "sub/../in.png", "link.png"] {
            let message = said(&inputs, &[Named::new("--screen", at(name))]).expect(name);
            assert!(
                message.contains("--screen") && message.contains("the image"),
                "{message}"
            );
        }
        let outputs = [("--screen", "o.png"), ("--json-out", "sub/../o.png")];
        let message = said(&inputs, &outputs.map(|(what, name)| Named::new(what, at(name)))).unwrap();
        assert!(
            message.contains("--screen") && message.contains("--json-out"),
            "{message}"
        );
    }

    #[test]
    fn different_places_and_devices_are_free() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let outputs = [at("a.png"), at("none/a.png"), "/dev/null".into(), "/dev/null".into()];
        let outputs = outputs.map(|path| Named::new("--screen", path));
        assert_eq!(
            said(
                &[Named::new("image", "/dev/null"), Named::new("image", at("b.png"))],
                &outputs
            ),
            None
        );
    }
}
