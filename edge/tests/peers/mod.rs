//! Programs that are not ours.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod servers;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{root, stderr};

/// Whether a program is there, or a line that says what to install. In CI it must be.
pub fn program(name: &str, package: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).output();
    let present = found.is_ok_and(|output| output.status.success());
    present_or_skip(present, &format!("{name} is absent; apt-get install {package}"))
}

/// A program of dcmtk, or `None` with a line that says what to install. Python packages have some of the same names,
/// and stand before it where their environment is in use.
pub fn dcmtk(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join(name));
    let program = found.find(|file| {
        let mut beginning = [0; 2];
        let read = File::open(file).and_then(|mut file| file.read_exact(&mut beginning));
        read.is_ok() && &beginning != b"#!"
    });
    present_or_skip(
        program.is_some(),
        &format!("dcmtk's {name} is absent; apt-get install dcmtk"),
    )
    .then_some(program?)
}

/// Whether python3 can import a module, or a line that says what to install. In CI it must.
pub fn python(module: &str) -> bool {
    let found = Command::new("python3")
        .args(["-c", &format!("import {module}")])
        .output();
    let present = found.is_ok_and(|output| output.status.success());
    present_or_skip(
        present,
        &format!("python3 cannot import {module}; pip install {module}"),
    )
}

fn present_or_skip(present: bool, why: &str) -> bool {
    if !present {
        assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "{why}");
        eprintln!("skipped: {why}");
    }
    present
}

/// A script in a folder of the tests.
pub fn script(name: &str) -> Command {
    let mut command = Command::new("python3");
    command.arg(root().join("edge/tests").join(name));
    command
}

/// Runs a program that must end well, and gives what it printed.
pub fn printed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", stderr(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The errors that dciodvfy finds in an object.
pub fn dciodvfy(file: &Path) -> Vec<String> {
    let output: Output = Command::new("dciodvfy").arg(file).output().unwrap();
    let said = stderr(&output);
    assert!(!said.contains("Information Object Not found"), "{said}");
    let errors = said.lines().filter(|line| line.starts_with("Error"));
    errors.map(str::to_owned).collect()
}
