//! `data sign-phantoms`.

use std::path::PathBuf;

use clap::Args;
use trainer::data::phantom::sign::Sign;
use trainer::data::phantom::sign::dataset::{SignSetRequest, write};
use trainer::interrupt::Interrupt;

use super::super::failure::Failure;
use super::super::output::Output;
use super::{failure, tell_set};

/// Arguments of `data sign-phantoms`.
#[derive(Debug, Args)]
pub struct SignPhantomArgs {
    /// Folder to make; one that is there must be empty.
    #[arg(long)]
    out: PathBuf,
    /// Patches of each class.
    #[arg(long, default_value_t = 150, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    per_class: u32,
    /// Signs beside `normal`, by label; all nine if none is given.
    #[arg(long, value_delimiter = ',', value_parser = sign)]
    signs: Vec<Sign>,
    /// The same seed gives the same patches.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Side of the patches in pixels; they show 48 mm.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(32..=512))]
    size: u32,
}

pub fn run(arguments: &SignPhantomArgs, output: &Output) -> Result<(), Failure> {
    let wanted = |sign: &Sign| arguments.signs.is_empty() || arguments.signs.contains(sign);
    let request = SignSetRequest {
        out: arguments.out.clone(),
        per_class: arguments.per_class as usize,
        signs: Sign::ALL.into_iter().filter(wanted).collect(),
        seed: arguments.seed,
        size: arguments.size as usize,
    };
    let summary = write(&request, output, &Interrupt::on_ctrl_c()?).map_err(failure)?;
    tell_set(&summary, "sign phantoms", output);
    Ok(())
}

fn sign(text: &str) -> Result<Sign, String> {
    let named = Sign::ALL.into_iter().find(|sign| sign.name() == text);
    named.ok_or_else(|| format!("allowed: {}", Sign::ALL.map(Sign::name).join(", ")))
}
