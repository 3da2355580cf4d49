//! What a triage costs: `cargo bench -p scanside-edge --bench triage`.
//!
//! An INT8 ResNet-18 at 224 px with heatmaps and novelty (its weights are random: time and memory do not depend on
//! them), one thread. Warm: each step as a ratio of the library alone or of the session, measured in turns in one run.
//! Cold: the program from its start to its first result, by the median, and its peak memory. Warm, the best of many
//! rounds counts, because the machine's other work only ever adds. More than is promised ends with an error.

mod model;
#[path = "../tests/support/mod.rs"]
mod support;

use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use bundle::{TrustedKeys, container, sign};
use chrono::Utc;
use embedded_graphics::geometry::Size;
use hardware::display::Canvas;
use imaging::decode::{Limits, decode_bytes};
use onnx::runtime::{self, SessionOptions};
use scanside_edge::appliance::Appliance;
use scanside_edge::examination::{Examination, Examiner, Request};
use scanside_edge::finding::Engine;
use scanside_edge::inference::ReadBundle;
use scanside_edge::presentation::result_view;
use scanside_edge::screens::ResultScreen;
use scanside_edge::text::words::Language;

const IMAGES: [&str; 2] = ["8 bit 1024 x 1024.png", "16 bit 2048 x 2500.png"];
const WARM_ROUNDS: usize = 60;
const COLD_ROUNDS: usize = 12;
/// Limits of the design: seconds from the start to the first result, MB of peak memory, and two ratios.
const COLD_SECONDS: f64 = 0.2;
const PEAK_MEMORY_MB: f64 = 100.0;
const DECODING_RATIO: f64 = 1.1;
const AROUND_SESSION_RATIO: f64 = 0.35;

/// The folder of a bench process that prepares and measures warm; the first process stays small, because the peak
/// memory of a program that it starts begins at its own size.
const WARM: &str = "--warm-in";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == WARM) {
        let folder = PathBuf::from(arguments.get(at + 1).ok_or("no folder")?);
        let keys = pack(&folder)?;
        let [small, _] = images(&folder)?;
        return warm(&folder, &keys, &small);
    }
    let folder = tempfile::tempdir()?;
    let prepared = Command::new(std::env::current_exe()?)
        .arg(WARM)
        .arg(folder.path())
        .status()?;
    if !folder.path().join(IMAGES[1]).exists() {
        return Err("the warm part failed".into());
    }
    let mut kept = prepared.success();
    for image in IMAGES {
        kept &= cold(folder.path(), &folder.path().join(image))?;
    }
    promised(kept)
}

fn promised(kept: bool) -> Result<(), Box<dyn Error>> {
    kept.then_some(()).ok_or_else(|| "more than is promised".into())
}

/// Writes `model.scanside` and `site.pub`.
fn pack(folder: &Path) -> Result<TrustedKeys, Box<dyn Error>> {
    let (manifest, files) = model::resnet18()?;
    let keys = sign::generate(None)?;
    fs::write(folder.join("site.pub"), &keys.public_file)?;
    let secret = sign::parse_secret(&keys.secret_file)?;
    let file = fs::File::create(folder.join("model.scanside"))?;
    let packed = container::write(&manifest, &files, &secret, file)?;
    println!(
        "{} {}: bundle of {} KiB",
        manifest.name,
        manifest.version,
        packed.file_bytes / 1024
    );
    Ok(TrustedKeys::new(vec![keys.public]))
}

/// An 8-bit PNG as a folder of X-rays holds it, and a 16-bit one as a detector gives it.
fn images(folder: &Path) -> Result<[PathBuf; 2], Box<dyn Error>> {
    let [small, large] = IMAGES.map(|name| folder.join(name));
    support::chest(1024, 1024).save(&small)?;
    let values = support::chest_values(2500, 2048);
    let picture = image::ImageBuffer::from_fn(2048, 2500, |x, y| {
        image::Luma([(values[[y as usize, x as usize]] * 65535.0) as u16])
    });
    picture.save(&large)?;
    Ok([small, large])
}

/// Milliseconds of `work`.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed().as_secs_f64() * 1e3)
}

fn warm(folder: &Path, keys: &TrustedKeys, image: &Path) -> Result<(), Box<dyn Error>> {
    let file = fs::File::open(folder.join("model.scanside"))?;
    let bundle = ReadBundle::read(file, keys, &bundle::Policy::default(), &Appliance::here(&[]), false)?;
    let (model, _) = bundle.load(runtime::load(None)?, &SessionOptions::default())?;
    let mut examiner = Examiner::new(model, Engine::default(), Limits::default());
    let bytes = fs::read(image)?;
    let screen = ResultScreen::new();
    let mut canvas = Canvas::new(Size::new(800, 480));
    let mut best = [f64::MAX; 6];
    for _ in 0..WARM_ROUNDS {
        let (alone, library) = timed(|| image::load_from_memory(&bytes).map(|decoded| decoded.into_luma8()));
        black_box(alone?);
        let copy = bytes.clone();
        let (decoded, ours) = timed(|| decode_bytes(copy, &Limits::default()).and_then(|source| source.frame(0)));
        black_box(decoded?);
        let request = Request {
            path: image,
            frame: 0,
            case_id: "0001",
            time: Utc::now(),
        };
        let examination: Examination = examiner.examine(request)?;
        let (drawn, drawing) = timed(|| {
            let view = result_view(
                &examination,
                examiner.model().manifest(),
                Language::English.words(),
                "12:00",
            );
            screen.draw(&view, &mut canvas)
        });
        drawn?;
        let steps = examination.finding.timings_ms;
        for (best, value) in
            best.iter_mut()
                .zip([library, ours, steps.quality, steps.prepare, steps.inference, drawing])
        {
            *best = best.min(value);
        }
    }
    let [library, ours, quality, prepare, session, drawing] = best;
    println!("warm, one thread, {}", image.file_name().unwrap_or_default().display());
    println!("  decoding           {ours:7.2} ms, the library alone {library:.2} ms");
    println!("  quality gate       {quality:7.2} ms");
    println!("  preparation        {prepare:7.2} ms");
    println!("  session            {session:7.2} ms");
    println!("  heatmap and screen {drawing:7.2} ms");
    let [decoding, around] = [ours / library, (prepare + drawing) / session];
    let limit = format!("at most {DECODING_RATIO}");
    let decodes = verdict("decoding / library", decoding, decoding <= DECODING_RATIO, &limit);
    let limit = format!("at most {AROUND_SESSION_RATIO}");
    let name = "(preparation + heatmap + screen) / session";
    let shows = verdict(name, around, around <= AROUND_SESSION_RATIO, &limit);
    promised(decodes && shows)
}

/// Whether the promises hold.
fn cold(folder: &Path, image: &Path) -> Result<bool, Box<dyn Error>> {
    let mut seconds = Vec::with_capacity(COLD_ROUNDS);
    let mut memory = 0.0_f64;
    for _ in 0..COLD_ROUNDS {
        let start = Instant::now();
        memory = memory.max(peak_memory_mb(folder, image)?);
        seconds.push(start.elapsed().as_secs_f64());
    }
    println!(
        "cold, start to end with screen and JSON, {}",
        image.file_name().unwrap_or_default().display()
    );
    seconds.sort_by(f64::total_cmp);
    println!("  best of {COLD_ROUNDS} rounds {:.3} s", seconds[0]);
    let median = seconds[COLD_ROUNDS / 2];
    let limit = format!("under {COLD_SECONDS}");
    let fast = verdict("median, seconds", median, median < COLD_SECONDS, &limit);
    let limit = format!("under {PEAK_MEMORY_MB}");
    let small = verdict("peak memory, MB", memory, memory < PEAK_MEMORY_MB, &limit);
    Ok(fast && small)
}

/// Runs the program once; gives the largest resident size that it had.
#[allow(clippy::zombie_processes, reason = "wait4 waits for it, and tells its memory")]
fn peak_memory_mb(folder: &Path, image: &Path) -> Result<f64, Box<dyn Error>> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scanside-edge"));
    command.arg("triage").arg(image).arg("--json");
    command.arg("--bundle").arg(folder.join("model.scanside"));
    command.arg("--key").arg(folder.join("site.pub"));
    command.arg("--screen").arg(folder.join("screen.png"));
    let child = command.stdout(Stdio::null()).spawn()?;
    let pid = libc::pid_t::try_from(child.id())?;
    let mut status = 0;
    // SAFETY: a plain structure of integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: waits for our own child and writes to the two variables above.
    let waited = unsafe { libc::wait4(pid, &mut status, 0, &mut usage) };
    if waited != pid || status != 0 {
        return Err(format!("the program ended with status {status}").into());
    }
    // In KiB.
    Ok(usage.ru_maxrss as f64 * 1024.0 / 1e6)
}

fn verdict(name: &str, value: f64, kept: bool, limit: &str) -> bool {
    let word = if kept { "good" } else { "TOO MUCH" };
    println!("  {word}: {name} {value:.3} ({limit})");
    kept
}
