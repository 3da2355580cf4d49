//! `completions` and `man`.

use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use super::{Cli, Context};
use crate::exit::Failure;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// The folder; one page for the program and one for each verb are written
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut command = Cli::command();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "scanside-flash", &mut script);
    io::Write::write_all(&mut io::stdout().lock(), &script).map_err(|error| super::output_failed(&error))
}

pub fn man(context: &Context<'_>, args: &ManArgs) -> Result<(), Failure> {
    let written = clap_mangen::generate_to(Cli::command(), &args.folder);
    written.map_err(|error| Failure::file(&args.folder, &error))?;
    let text = format!(
        "wrote the manual pages; read them with: man -l {}",
        args.folder.join("scanside-flash.1").display()
    );
    context.done("written", json!({ "folder": args.folder }), &text)
}
