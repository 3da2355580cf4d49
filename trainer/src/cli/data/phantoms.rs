//! `data phantoms`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use trainer::data::phantom::anatomy::Side;
use trainer::data::phantom::dataset::{SetRequest, write};
use trainer::data::phantom::files::Depth;
use trainer::data::phantom::lesion::{LesionKind, Zone};
use trainer::interrupt::Interrupt;

use super::super::failure::{Code, Failure};
use super::super::output::Output;
use super::{failure, tell_set};

/// The abnormal classes.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Class {
    Consolidation,
    #[value(name = "ground_glass")]
    GroundGlass,
    Nodule,
}

/// Arguments of `data phantoms`.
#[derive(Debug, Args)]
pub struct PhantomArgs {
    /// Folder to make; one that is there must be empty.
    #[arg(long)]
    out: PathBuf,
    /// Images of each class.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    per_class: u32,
    /// Abnormal classes beside `normal`: consolidation, ground_glass, nodule.
    #[arg(long, value_delimiter = ',', default_values = ["consolidation", "ground_glass"])]
    classes: Vec<Class>,
    /// The same seed gives the same images.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Side of the pictures in pixels.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(32..=4096))]
    size: u32,
    /// Greatest share of a picture that a lesion fills, such as 0.06.
    #[arg(long)]
    max_area: Option<f32>,
    /// Where every lesion lies, such as right-upper: right or left lung (the patient's), upper, middle or lower third.
    /// Without it the place is drawn for each.
    #[arg(long, value_name = "LUNG-THIRD", value_parser = place)]
    place: Option<(Side, Zone)>,
    /// Factor on the density of lesions; less is harder.
    #[arg(long, default_value_t = 1.0)]
    strength: f32,
    /// Bits of the PNG files.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(8..=16))]
    bits: u8,
    /// Write each picture as a DX DICOM file too.
    #[arg(long)]
    dicom: bool,
}

pub fn run(arguments: &PhantomArgs, output: &Output) -> Result<(), Failure> {
    let request = request(arguments)?;
    let summary = write(&request, output, &Interrupt::on_ctrl_c()?).map_err(failure)?;
    tell_set(&summary, "phantoms", output);
    Ok(())
}

fn place(text: &str) -> Result<(Side, Zone), String> {
    let (lung, third) = text.split_once('-').unwrap_or((text, ""));
    let lung = match lung {
        "right" => Some(Side::Right),
        "left" => Some(Side::Left),
        _ => None,
    };
    let third = match third {
        "upper" => Some(Zone::Upper),
        "middle" => Some(Zone::Middle),
        "lower" => Some(Zone::Lower),
        _ => None,
    };
    lung.zip(third)
        .ok_or_else(|| "allowed: right or left, a hyphen, then upper, middle or lower".to_owned())
}

fn request(arguments: &PhantomArgs) -> Result<SetRequest, Failure> {
    let usage = |message: String| Failure::new(Code::Usage, message);
    let depth = match arguments.bits {
        8 => Depth::Eight,
        16 => Depth::Sixteen,
        bits => return Err(usage(format!("--bits {bits} is not allowed; allowed: 8, 16"))),
    };
    if arguments.max_area.is_some_and(|area| !(0.002..=1.0).contains(&area)) {
        return Err(usage(
            "--max-area: allowed is 0.002 to 1 (a share of the picture)".into(),
        ));
    }
    if !(0.05..=2.0).contains(&arguments.strength) {
        return Err(usage(format!(
            "--strength {}: allowed is 0.05 to 2",
            arguments.strength
        )));
    }
    let mut kinds = Vec::new();
    for class in &arguments.classes {
        let kind = match class {
            Class::Consolidation => LesionKind::Consolidation,
            Class::GroundGlass => LesionKind::GroundGlass,
            Class::Nodule => LesionKind::Nodule,
        };
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Ok(SetRequest {
        out: arguments.out.clone(),
        per_class: arguments.per_class as usize,
        kinds,
        seed: arguments.seed,
        size: arguments.size as usize,
        max_area: arguments.max_area,
        place: arguments.place,
        strength: arguments.strength,
        depth,
        dicom: arguments.dicom,
    })
}
