//! Decoding against the decoding library alone, as ratios within one run.
//!
//! `cargo run --release --package scanside-imaging --example decode_bench [FOLDER OR FILES]`
//!
//! For DICOM the library is dicom-rs (dicom-object and dicom-pixeldata) where it reads the file, for rasters the image
//! crate. Both sides start from bytes in memory and end with the stored values of the first frame. A ratio at or below
//! 1.1 is what the project promises; the least of several rounds is taken on both sides, in turn.

use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dicom_object::{DefaultDicomObject, from_reader};
use dicom_pixeldata::{ConvertOptions, ModalityLutOption, PixelDecoder, PixelRepresentation};
use scanside_imaging::decode::{Limits, decode_bytes};

const ROUNDS: usize = 7;
const PROMISED: f64 = 1.1;

fn main() -> Result<(), Box<dyn Error>> {
    let named: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let roots = if named.is_empty() { default_roots() } else { named };
    let mut files = Vec::new();
    roots.iter().try_for_each(|root| collect(root, &mut files))?;
    if files.is_empty() {
        println!("skipped: no files; set SCANSIDE_DATA to a folder with the shared data, or name files");
        return Ok(());
    }
    println!(
        "{:<34} {:>10} {:>10} {:>7}  library",
        "file", "ours ms", "library ms", "ratio"
    );
    let mut worst: f64 = 0.0;
    for path in &files {
        worst = worst.max(measure(path)?);
    }
    println!("worst ratio {worst:.2} (promised: at most {PROMISED:.2})");
    if worst > PROMISED {
        return Err("slower than promised".into());
    }
    Ok(())
}

/// The DICOM files of the shared data, and three of its JPEG radiographs.
fn default_roots() -> Vec<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = std::env::var_os("SCANSIDE_DATA").map_or_else(beside, PathBuf::from);
    let mut radiographs = Vec::new();
    if data.join("xray/normal").is_dir() && collect(&data.join("xray/normal"), &mut radiographs).is_ok() {
        radiographs.truncate(3);
    }
    let folders = [data.join("dicom/ct"), data.join("dicom/cxr")]
        .into_iter()
        .filter(|folder| folder.is_dir());
    folders.chain(radiographs).collect()
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let mut inside: Vec<PathBuf> = std::fs::read_dir(path)?.flatten().map(|entry| entry.path()).collect();
    inside.sort();
    inside.iter().try_for_each(|path| collect(path, files))
}

fn measure(path: &Path) -> Result<f64, Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    let name: String = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .chars()
        .take(34)
        .collect();
    let mut ours = Duration::MAX;
    let mut theirs: Option<(Duration, &str)> = None;
    for _ in 0..ROUNDS {
        let input = bytes.clone();
        let start = Instant::now();
        let image = decode_bytes(input, &Limits::default())?.frame(0)?;
        ours = ours.min(start.elapsed());
        drop(image);
        let start = Instant::now();
        if let Some(library) = library_alone(&bytes) {
            let elapsed = start.elapsed();
            theirs = Some((theirs.map_or(elapsed, |(least, _)| least.min(elapsed)), library));
        }
    }
    let milliseconds = |duration: Duration| 1000.0 * duration.as_secs_f64();
    let Some((least, library)) = theirs else {
        println!(
            "{name:<34} {:>10.2} {:>10} {:>7}  none reads it",
            milliseconds(ours),
            "-",
            "-"
        );
        return Ok(0.0);
    };
    let ratio = ours.as_secs_f64() / least.as_secs_f64();
    println!(
        "{name:<34} {:>10.2} {:>10.2} {ratio:>7.2}  {library}",
        milliseconds(ours),
        milliseconds(least)
    );
    Ok(ratio)
}

/// Decodes with the library alone; `None` if it cannot. dicom-rs gives compressed frames as samples and uncompressed ones
/// as the file's bytes, whose way to values its `to_vec` goes.
fn library_alone(bytes: &[u8]) -> Option<&'static str> {
    if bytes.get(128..132) == Some(b"DICM") {
        let object: DefaultDicomObject = from_reader(bytes).ok()?;
        let pixels = object.decode_pixel_data_frame(0).ok()?;
        if object.meta().transfer_syntax().starts_with("1.2.840.10008.1.2.4") {
            return (!black_box(pixels.data()).is_empty()).then_some("dicom-rs");
        }
        let options = ConvertOptions::new().with_modality_lut(ModalityLutOption::None);
        let empty = match pixels.pixel_representation() {
            PixelRepresentation::Signed => black_box(pixels.to_vec_with_options::<i16>(&options).ok()?).is_empty(),
            PixelRepresentation::Unsigned => black_box(pixels.to_vec_with_options::<u16>(&options).ok()?).is_empty(),
        };
        return (!empty).then_some("dicom-rs, to values");
    }
    let image = image::load_from_memory(bytes).ok()?;
    (!black_box(image.as_bytes()).is_empty()).then_some("image")
}
