//! What the end-to-end tests share: the built programs, the shared data, a scratch folder.
//!
//! The tests here drive the programs as a person does and link none of the crates behind them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace root.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// A built program of the profile that this test runs in, or `None` with a line that says how to build it.
///
/// # Panics
/// Under CI, where everything must be present.
#[must_use]
pub fn program(name: &str) -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    let path = test.parent()?.parent()?.join(name);
    present_or_skip(path.exists(), &format!("{name} is not built; run `cargo xtask test`")).then_some(path)
}

/// `../shared/data` or `SCANSIDE_DATA`, or `None` with a line that says so. It is absent on most machines.
#[must_use]
pub fn shared_data() -> Option<PathBuf> {
    let folder = std::env::var_os("SCANSIDE_DATA").map_or_else(|| root().join("../shared/data"), PathBuf::from);
    if folder.join("manifest.csv").exists() {
        return Some(folder);
    }
    eprintln!(
        "skipped: no development data at {}; set SCANSIDE_DATA",
        folder.display()
    );
    None
}

/// ONNX Runtime as `cargo xtask setup` keeps it, or `None` with a line that says how to get it.
///
/// # Panics
/// Under CI, where everything must be present.
#[must_use]
pub fn onnxruntime() -> Option<PathBuf> {
    let folder = root().join(".native/onnxruntime/lib");
    let library = std::fs::read_dir(folder)
        .ok()
        .and_then(|mut entries| entries.next()?.ok())
        .map(|entry| entry.path());
    present_or_skip(library.is_some(), "ONNX Runtime is absent; run `cargo xtask setup`").then_some(library?)
}

/// Whether an external program can be started, or a line that says what to install.
///
/// # Panics
/// Under CI, where everything must be present.
#[must_use]
pub fn peer(name: &str, install: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).output();
    present_or_skip(
        found.is_ok_and(|output| output.status.success()),
        &format!("{name} is absent; {install}"),
    )
}

fn present_or_skip(present: bool, why: &str) -> bool {
    if !present {
        assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "{why}");
        eprintln!("skipped: {why}");
    }
    present
}
