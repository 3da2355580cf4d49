//! `bundle inspect`, `bundle verify`, `bundle header` and `bundle delta`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{CliError, TrustArgs, open_file};
use crate::container::{self, Checked, Front, Policy, hexadecimal};
use crate::manifest::{Estimate, Manifest};

/// Look at bundles and check them.
#[derive(Debug, Clone, Subcommand)]
pub enum BundleCommand {
    /// Print what a bundle says about itself, after checking every byte of it
    Inspect(InspectArgs),
    /// Check every byte of bundles: signature, files, checksums, MCUboot face
    Verify(VerifyArgs),
    /// Write the signed header and its signature as two files, which minisign -V checks
    Header(HeaderArgs),
    /// Say what an update from one bundle to another takes over a serial line, whole and as a difference
    Delta(super::DeltaArgs),
}

/// Arguments of `bundle inspect`.
#[derive(Debug, Clone, Args)]
pub struct InspectArgs {
    /// The bundle
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,
    /// Whose signatures are accepted
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Print the manifest as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `bundle verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// The bundle
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,
    /// Whose signatures are accepted
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Refuse a bundle with a lower security counter
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub lowest_security_counter: u32,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `bundle header`.
#[derive(Debug, Clone, Args)]
pub struct HeaderArgs {
    /// The bundle; nothing in it is believed or checked here
    #[arg(value_name = "BUNDLE")]
    pub bundle: PathBuf,
    /// Where the header is written; the signature is written beside it with .minisig appended
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

impl BundleCommand {
    /// Carries the verb out and writes its answer to `out`; `configured_keys` is the folder of trusted keys to take
    /// if the command line names none.
    ///
    /// # Errors
    /// [`CliError`].
    pub fn run(&self, configured_keys: Option<&Path>, out: &mut dyn Write) -> Result<(), CliError> {
        let answer = match self {
            Self::Inspect(args) => {
                let checked = check(&args.bundle, &args.trust, configured_keys, 0)?;
                if args.json {
                    inspect_json(&checked)
                } else {
                    inspect_text(&checked)
                }
            }
            Self::Verify(args) => {
                let checked = check(&args.bundle, &args.trust, configured_keys, args.lowest_security_counter)?;
                if args.json {
                    verify_json(&checked)
                } else {
                    verify_text(&args.bundle, &checked)
                }
            }
            Self::Header(args) => write_header(args)?,
            Self::Delta(args) => super::delta::run(args, configured_keys)?,
        };
        writeln!(out, "{answer}").map_err(|e| CliError::io(Path::new("standard output"), e))
    }
}

fn check(
    bundle: &Path,
    trust: &TrustArgs,
    configured_keys: Option<&Path>,
    lowest_security_counter: u32,
) -> Result<Checked, CliError> {
    let keys = trust.trusted(configured_keys)?;
    let policy = Policy {
        lowest_security_counter,
        ..Policy::default()
    };
    container::verify(open_file(bundle)?, &keys, &policy).map_err(|e| CliError::bundle(bundle, e))
}

fn write_header(args: &HeaderArgs) -> Result<String, CliError> {
    let front = Front::read(open_file(&args.bundle)?).map_err(|e| CliError::bundle(&args.bundle, e))?;
    let mut signature = args.out.as_os_str().to_owned();
    signature.push(".minisig");
    let signature = PathBuf::from(signature);
    let write = |path: &Path, bytes: &[u8]| fs::write(path, bytes).map_err(|e: io::Error| CliError::io(path, e));
    write(&args.out, front.signed_bytes())?;
    write(&signature, front.signature_bytes())?;
    let header = args.out.display();
    Ok(format!(
        "wrote {header} and {}; check them with: minisign -V -p KEY.pub -m {header}",
        signature.display()
    ))
}

fn verify_text(path: &Path, checked: &Checked) -> String {
    let manifest = &checked.front.manifest;
    format!(
        "{}: good\n  {} {}, role {}, security counter {}\n  signed by key {}\n  image digest {}",
        path.display(),
        manifest.name,
        manifest.version,
        manifest.role,
        manifest.security_counter,
        checked.front.signed_by.key_id,
        hexadecimal(&checked.image_digest),
    )
}

fn verify_json(checked: &Checked) -> String {
    let manifest = &checked.front.manifest;
    let value = json!({
        "verified": true,
        "name": manifest.name,
        "version": manifest.version,
        "role": manifest.role,
        "security_counter": manifest.security_counter,
        "key_id": checked.front.signed_by.key_id,
        "image_digest": hexadecimal(&checked.image_digest),
        "file_bytes": checked.file_bytes,
    });
    format!("{value:#}")
}

fn inspect_json(checked: &Checked) -> String {
    let value = json!({
        "key_id": checked.front.signed_by.key_id,
        "image_digest": hexadecimal(&checked.image_digest),
        "file_bytes": checked.file_bytes,
        "block_bytes": checked.front.blocks.block_bytes(),
        "manifest": checked.front.manifest,
    });
    format!("{value:#}")
}

fn inspect_text(checked: &Checked) -> String {
    let manifest = &checked.front.manifest;
    let mut lines = vec![
        format!("{} {} ({})", manifest.name, manifest.version, manifest.role),
        format!("  packed           {}", manifest.created),
        format!("  security counter {}", manifest.security_counter),
        format!("  signed by        key {}", checked.front.signed_by.key_id),
        format!("  image digest     {}", hexadecimal(&checked.image_digest)),
        format!(
            "  model            {} {}, input {}x{}x{}",
            manifest.model.architecture,
            manifest.model.precision,
            manifest.preprocess.channels,
            manifest.preprocess.size[0],
            manifest.preprocess.size[1],
        ),
        format!("  intended use     {}", manifest.intended_use.statement),
        format!("  {}", images(manifest)),
    ];
    lines.push("labels".to_owned());
    lines.extend((0..manifest.labels.len()).map(|i| label_line(manifest, i)));
    lines.extend(evaluation_lines(manifest));
    lines.extend(quantization_lines(manifest));
    lines.extend(provenance_lines(manifest));
    lines.push(format!("files ({} bytes in all)", checked.file_bytes));
    for file in &manifest.files {
        lines.push(format!("  {:>10} -> {:>10}  {}", file.length, file.stored, file.path));
    }
    lines.join("\n")
}

fn images(manifest: &Manifest) -> String {
    let intended = &manifest.intended_use;
    let list = |values: &[String]| match values {
        [] => "any".to_owned(),
        values => values.join(" "),
    };
    let age = intended
        .age_years
        .map_or("any".to_owned(), |a| format!("{}-{} years", a.min, a.max));
    format!(
        "images           modality {}, body part {}, view {}, age {age}",
        list(&intended.modalities),
        list(&intended.body_parts),
        list(&intended.views),
    )
}

fn label_line(manifest: &Manifest, index: usize) -> String {
    let label = &manifest.labels[index];
    let rule = match manifest.operating_point(index) {
        None => "no finding".to_owned(),
        Some(point) => {
            let mut rule = format!("flagged from {:.3}", point.threshold);
            if let Some(sensitivity) = &point.sensitivity {
                rule += &format!(", sensitivity {}", estimate(sensitivity));
            }
            if let Some(specificity) = &point.specificity {
                rule += &format!(", specificity {}", estimate(specificity));
            }
            rule
        }
    };
    format!("  {:<20} {:<32} {rule}", label.id, label.name)
}

fn estimate(e: &Estimate) -> String {
    format!("{:.3} ({:.3}-{:.3}, n {})", e.value, e.low, e.high, e.n)
}

fn evaluation_lines(manifest: &Manifest) -> Vec<String> {
    let mut lines = Vec::new();
    for evaluation in &manifest.evaluation {
        lines.push(format!("evaluation on {} (n {})", evaluation.dataset, evaluation.n));
        for metric in &evaluation.metrics {
            let label = metric.label.as_deref().unwrap_or("all");
            lines.push(format!(
                "  {:<20} {label:<20} {}",
                metric.name,
                estimate(&metric.estimate)
            ));
        }
    }
    lines
}

fn quantization_lines(manifest: &Manifest) -> Vec<String> {
    let Some(quantization) = &manifest.quantization else {
        return Vec::new();
    };
    let mut lines = vec![format!(
        "quantization ({}, {} calibration images, worst layer {:.1} dB)",
        quantization.method, quantization.calibration_images, quantization.worst_layer_db
    )];
    for figure in &quantization.gate {
        lines.push(format!(
            "  {:<24} {:.4} (limit {:.4}, n {})",
            figure.name, figure.value, figure.limit, figure.n
        ));
    }
    lines
}

fn provenance_lines(manifest: &Manifest) -> Vec<String> {
    let provenance = &manifest.provenance;
    let synthetic = if provenance.synthetic {
        ", some of them generated"
    } else {
        ""
    };
    vec![
        "provenance".to_owned(),
        format!("  recipe {} {}", provenance.recipe, provenance.recipe_sha256),
        format!("  data   {}", provenance.data_sha256),
        format!(
            "  {} training images from {}{synthetic}",
            provenance.training_images,
            provenance.sources.join(", ")
        ),
        format!(
            "  trainer {} at {}, seed {}",
            provenance.trainer_version, provenance.git_revision, provenance.seed
        ),
    ]
}
