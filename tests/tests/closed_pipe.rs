//! A reader that has seen enough, as `| head` has: the programs end silently and well.

use std::fs;
use std::io;
use std::process::{Command, Stdio};

use scanside_tests::program;

#[test]
fn programs_whose_reader_is_gone_end_silently_and_well() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    for name in ["scanside-edge", "scanside-trainer"] {
        let Some(program) = program(name) else { continue };
        let (reader, writer) = io::pipe().expect("a pipe");
        drop(reader);
        let mut command = Command::new(program);
        command
            .args(["key", "new", "--no-password", "--out", name])
            .current_dir(folder.path());
        command.stdout(writer).stderr(Stdio::piped());
        let output = command.output().expect("the program runs");
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), message.as_ref()), (Some(0), ""), "{name}");
        let key = fs::read(folder.path().join(name).with_extension("pub"));
        assert!(key.is_ok(), "{name} did its work before it answered");
    }
}
