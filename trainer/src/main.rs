//! `scanside-trainer`: parses the command line, runs the verb, prints what ended it, once.

mod cli;

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use clap::Parser;

/// How libgomp's threads wait for work, read once when the library is loaded.
const WAIT_POLICY: &str = "OMP_WAIT_POLICY";

fn main() -> ExitCode {
    wait_without_spinning();
    let arguments = cli::Cli::parse();
    trainer::native::load_cuda();
    match cli::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}", failure.message());
            ExitCode::from(failure.code as u8)
        }
    }
}

/// libtorch's threads wait in busy loops unless the environment says otherwise, and so take the cores from the threads
/// that prepare images, and from other programs: training four times slower on a busy machine, somewhat slower on an
/// idle one. The library has read its environment before `main`, so the program begins anew with it set.
fn wait_without_spinning() {
    if std::env::var_os(WAIT_POLICY).is_some() {
        return;
    }
    if let Ok(program) = std::env::current_exe() {
        // Where this fails, all works as before, only slower.
        let _ = Command::new(program)
            .args(std::env::args_os().skip(1))
            .env(WAIT_POLICY, "passive")
            .exec();
    }
}
