//! `cargo xtask peers gan`: a DCGAN trained here and in PyTorch, at equal steps on the same images; both judged by the same
//! features, and the figures counted anew by an independent program; and the time of a step, in turn.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::environment;
use crate::command::{built, cargo, heading, root, run as run_command, shown};
use crate::native;

/// The name that this peer is called by.
pub const NAME: &str = "gan";
/// Where its scripts lie.
pub const FOLDER: &str = "trainer/peers/gan";
/// A figure counted twice from the same features differs by rounding at most: relative, from a thousandth on.
const SAME: f64 = 1e-3;
/// How much longer than PyTorch's a step may take in float32.
const F32_LIMIT: f64 = 1.05;
/// What share of PyTorch's time in float32 a step may take with bfloat16 and channels last.
const BF16_LIMIT: f64 = 0.75;

/// Arguments of `peers gan`.
#[derive(clap::Args)]
pub struct Args {
    /// With `gan`: manifest of the images, with the labels `covid` and `non_covid`; without it only steps are timed
    #[arg(long, value_name = "MANIFEST", requires = "weights")]
    data: Option<PathBuf>,
    /// With `gan`: weights of the ResNet-18 whose features are compared
    #[arg(long, requires = "data")]
    weights: Option<PathBuf>,
    /// With `gan`: steps of both trainings
    #[arg(long, default_value_t = 1000)]
    steps: u64,
    /// With `gan`: trainings on each side, each with a seed of its own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// With `gan`: images of each kind that are compared
    #[arg(long, default_value_t = 1000)]
    images: u64,
    /// With `gan`: rounds of the timing, each PyTorch's turn and ours
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// With `gan`: where the runs go, a folder that is not there yet
    #[arg(long, default_value = "target/peers/gan")]
    out: PathBuf,
}

/// Compares.
///
/// # Errors
/// A program that fails, or a figure that the independent program counts otherwise.
pub fn run(args: &Args) -> Result<()> {
    let out = root().join(&args.out);
    ensure!(
        !out.exists(),
        "{} is there already; remove it, or give another --out",
        out.display()
    );
    native::setup_all()?;
    heading("programs");
    let python = environment(NAME, &format!("{FOLDER}/requirements.txt"))?;
    run_command(&mut cargo([
        "build",
        "--release",
        "--package",
        "scanside-trainer",
        "--bins",
        "--example",
        "gan_step",
    ]))?;
    let peer = Peer { python, args, out };
    let timings = peer.timings()?;
    let figures = match (&args.data, &args.weights) {
        (Some(data), Some(weights)) => peer.figures(&std::path::absolute(data)?, &std::path::absolute(weights)?)?,
        _ => Vec::new(),
    };
    heading("step time, median in ms");
    timings.iter().for_each(|line| println!("{line}"));
    if !figures.is_empty() {
        heading(&format!("DCGAN at 64 px, {} steps, {} images", args.steps, args.images));
        figures.iter().for_each(|line| println!("{line}"));
    }
    Ok(())
}

struct Peer<'a> {
    python: PathBuf,
    args: &'a Args,
    out: PathBuf,
}

/// Our program, and what both sides are judged by.
struct Inputs<'a> {
    trainer: PathBuf,
    data: &'a Path,
    weights: &'a Path,
}

impl Peer<'_> {
    fn script(&self, name: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(root().join(FOLDER).join(name)).current_dir(root());
        command
    }

    /// A line for each model and number format: both medians over the rounds, and their quotient.
    fn timings(&self) -> Result<Vec<String>> {
        let ours = built("release", "examples/gan_step")?;
        let mut lines = Vec::new();
        for model in ["dcgan", "pix2pix"] {
            let formats: &[(&str, f64)] = match has_bf16() {
                true => &[("f32", F32_LIMIT), ("bf16", BF16_LIMIT)],
                false => &[("f32", F32_LIMIT)],
            };
            for (format, limit) in formats {
                heading(&format!("step time, {model} {format}"));
                let (mut of_peer, mut of_ours) = (Vec::new(), Vec::new());
                for _ in 0..self.args.rounds {
                    of_peer.push(number(self.script("step_time.py").args([model, "f32"]))?);
                    of_ours.push(number(Command::new(&ours).args([model, format]))?);
                }
                let (theirs, own) = (median(&mut of_peer), median(&mut of_ours));
                let ratio = own / theirs;
                let verdict = if ratio <= *limit { "within" } else { "beyond" };
                lines.push(format!(
                    "{model:8} {format:5} PyTorch f32 {theirs:8.1}, here {own:8.1}, ratio {ratio:.3} ({verdict} {limit})"
                ));
            }
        }
        if !has_bf16() {
            lines.push("bf16     not measured: this processor has no bfloat16 instructions".to_owned());
        }
        Ok(lines)
    }

    /// A line for each training: KID, precision and recall, ours and the independent program's.
    fn figures(&self, data: &Path, weights: &Path) -> Result<Vec<String>> {
        let inputs = Inputs {
            trainer: built("release", "scanside-trainer")?,
            data,
            weights,
        };
        let mut lines = Vec::new();
        let mut sums = [[0.0; 2]; 2];
        for seed in 1..=self.args.seeds {
            let of_seed = self.out.join(format!("seed-{seed}"));
            std::fs::create_dir_all(&of_seed)?;
            let (ours, theirs) = (of_seed.join("ours"), of_seed.join("theirs"));
            heading(&format!("training here, seed {seed}"));
            let steps = self.args.steps.to_string();
            run_command(
                Command::new(&inputs.trainer)
                    .args(["gan", "train"])
                    .arg(root().join(FOLDER).join("dcgan.toml"))
                    .args([
                        "--steps",
                        &steps,
                        "--seed",
                        &seed.to_string(),
                        "--device",
                        "cpu",
                        "--data",
                    ])
                    .arg(data)
                    .arg("--out")
                    .arg(&ours),
            )?;
            heading(&format!("training in PyTorch, seed {seed}"));
            run_command(
                self.script("train.py")
                    .arg(&ours)
                    .args([&steps, &seed.to_string(), &self.args.images.to_string()])
                    .arg(&theirs),
            )?;
            for (side, name, generated) in [(0, "here", None), (1, "PyTorch", Some(&theirs))] {
                let found = self.assessed(&inputs, &of_seed, name, generated)?;
                for (sum, key) in sums[side].iter_mut().zip(["kid", "recall"]) {
                    *sum += figure(&found, key)?;
                }
                lines.push(line(seed, name, &found)?);
            }
        }
        let mean = |side: usize, at: usize| sums[side][at] / self.args.seeds as f64;
        lines.push(format!(
            "mean: KID {:.4} against {:.4}, recall {:.3} against {:.3} (here against PyTorch)",
            mean(0, 0),
            mean(1, 0),
            mean(0, 1),
            mean(1, 1)
        ));
        Ok(lines)
    }

    /// Our figures of the run's images, or of those given, after the independent program counted them too.
    fn assessed(&self, inputs: &Inputs<'_>, of_seed: &Path, name: &str, generated: Option<&PathBuf>) -> Result<Value> {
        let out = of_seed.join(format!("assessed-{name}"));
        let mut command = Command::new(&inputs.trainer);
        command.args(["gan", "assess"]).arg(of_seed.join("ours"));
        command
            .arg("--real")
            .arg(inputs.data)
            .arg("--weights")
            .arg(inputs.weights);
        command.args(["--images", &self.args.images.to_string(), "--device", "cpu", "--out"]);
        command.arg(&out);
        if let Some(generated) = generated {
            command.arg("--generated").arg(generated);
        }
        // An objection ends with 4: after few steps there may be one, and it is no failure here.
        let status = command
            .status()
            .with_context(|| format!("cannot start {}", shown(&command)))?;
        ensure!(
            [Some(0), Some(4)].contains(&status.code()),
            "{} failed ({status})",
            shown(&command)
        );
        let text = std::fs::read_to_string(out.join("assess.json"))?;
        let found: Value = serde_json::from_str::<Value>(&text)?["assessment"].take();
        let text = output(self.script("figures.py").arg(out.join("features.safetensors")))?;
        let independent: Value = serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))?;
        for key in ["kid", "fid", "precision", "recall"] {
            let (own, theirs) = (figure(&found, key)?, figure(&independent, key)?);
            let gap = (own - theirs).abs() / theirs.abs().max(1e-3);
            ensure!(
                gap < SAME,
                "{name}: {key} is {own} here and {theirs} by the independent program"
            );
        }
        Ok(found)
    }
}

/// A figure, or the value of one with its interval.
fn figure(found: &Value, key: &str) -> Result<f64> {
    let value = found[key].as_f64().or_else(|| found[key]["value"].as_f64());
    value.with_context(|| format!("no figure {key} in {found}"))
}

fn line(seed: u64, name: &str, found: &Value) -> Result<String> {
    let middle = (figure(found, "kid_floor")? + figure(found, "kid_ceiling")?) / 2.0;
    Ok(format!(
        "seed {seed} {name:8} KID {:.4} (midpoint of floor and ceiling {middle:.4}), FID {:.2}, precision {:.3}, recall {:.3}",
        figure(found, "kid")?,
        figure(found, "fid")?,
        figure(found, "precision")?,
        figure(found, "recall")?
    ))
}

/// The standard output of a program.
fn output(command: &mut Command) -> Result<String> {
    let answer = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    if !answer.status.success() {
        bail!("{} failed ({})", shown(command), answer.status);
    }
    Ok(String::from_utf8(answer.stdout)?)
}

fn number(command: &mut Command) -> Result<f64> {
    let text = output(command)?;
    let value = text.trim().parse();
    value.with_context(|| format!("{} printed no number: {text}", shown(command)))
}

/// The middle one, or the mean of the two in the middle.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 => (values[middle - 1] + values[middle]) / 2.0,
        _ => values[middle],
    }
}

fn has_bf16() -> bool {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.split_whitespace()
        .any(|flag| flag == "avx512_bf16" || flag == "amx_bf16")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_with_and_without_an_interval() {
        let found = serde_json::json!({ "kid": { "value": 0.25, "low": 0.2, "high": 0.3 }, "recall": 0.5 });
        assert_eq!(figure(&found, "kid").unwrap(), 0.25);
        assert_eq!(figure(&found, "recall").unwrap(), 0.5);
        assert!(figure(&found, "fid").unwrap_err().to_string().contains("fid"));
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
