//! From the last byte of an image to its result on the display, on an idle appliance: `cargo bench -p scanside-edge --bench
//! latency`.
//!
//! dcmtk's storescu pushes one image after the other to the whole appliance, which stores it durably, examines it with an
//! INT8 ResNet-18, stores the result durably and draws it. The appliance itself measures the time (`latency_ms` of `cases
//! list --json`). In turns with that, in the same process, the same file is decoded and the bare model run on its tensor.
//! Ends with an error above 1.5 times of the two.

mod appliance;
#[path = "../tests/inside/mod.rs"]
mod inside;
mod model;
#[path = "../tests/peers/mod.rs"]
mod peers;
#[path = "../tests/scanner/mod.rs"]
mod scanner;
#[path = "../tests/service/mod.rs"]
mod service;
#[path = "../tests/support/mod.rs"]
mod support;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use appliance::{Appliance, Running};
use imaging::decode::{Limits, decode_path};
use onnx::runtime::{self, SessionOptions};
use scanside_edge::examination::SMALL_SIDE;
use scanside_edge::inference::{Model, ReadBundle};

const ROUNDS: usize = 15;
/// A result stands for a moment before somebody acknowledges it; sooner would be taken for an accident.
const LOOK: Duration = Duration::from_millis(900);
/// Then the appliance comes to rest.
const REST: Duration = Duration::from_millis(400);
const RATIO: f64 = 1.5;

/// An image as it is stored and sent.
struct Kind {
    name: &'static str,
    size: [usize; 2],
    /// Made into another transfer syntax by one of dcmtk's programs, with its options.
    with: Option<&'static [&'static str]>,
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "1024 x 1024, uncompressed",
        size: [1024, 1024],
        with: None,
    },
    Kind {
        name: "1024 x 1024, lossless JPEG",
        size: [1024, 1024],
        with: Some(&["dcmcjpeg", "+e1"]),
    },
    Kind {
        name: "2560 x 2048, uncompressed",
        size: [2560, 2048],
        with: None,
    },
];

/// What one image took, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Times {
    latency: f64,
    decode: f64,
    run: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    if peers::dcmtk("storescu").is_none() {
        return Ok(());
    }
    let Some(appliance) = Appliance::set_up(100)? else {
        return Ok(());
    };
    let mut model = bare(&appliance)?;
    let mut worse = Vec::new();
    println!("milliseconds, best and median of {ROUNDS} images; the ratio is that of the medians");
    println!(
        "{:<28}{:>16}{:>16}{:>16}{:>8}",
        "", "to the display", "decoding", "bare model", "ratio"
    );
    for kind in &KINDS {
        let service = appliance.start()?;
        let folder = tempfile::tempdir()?;
        let mut times = Vec::new();
        for number in 0..ROUNDS {
            let file = kind.write(folder.path(), number)?;
            times.push(round(&appliance, &service, &mut model, &file, number)?);
        }
        println!("  parts of it, median: {}", parts(&appliance)?);
        service.stop()?;
        let [latency, decode, run] = [
            sorted(&times, |t| t.latency),
            sorted(&times, |t| t.decode),
            sorted(&times, |t| t.run),
        ];
        let median = |values: &[f64]| values[values.len() / 2];
        let both = |values: &[f64]| format!("{:.1} / {:.1}", values[0], median(values));
        let ratio = median(&latency) / (median(&decode) + median(&run));
        println!(
            "{:<28}{:>16}{:>16}{:>16}{ratio:>8.2}",
            kind.name,
            both(&latency),
            both(&decode),
            both(&run)
        );
        if ratio > RATIO {
            worse.push(format!("{}: {ratio:.2}", kind.name));
        }
    }
    match worse.is_empty() {
        true => Ok(()),
        false => Err(format!("more than {RATIO}: {}", worse.join("; ")).into()),
    }
}

impl Kind {
    fn write(&self, folder: &Path, number: usize) -> Result<PathBuf, Box<dyn Error>> {
        let file = scanner::write(folder, [number], self.size).remove(0);
        let Some([program, options @ ..]) = self.with else {
            return Ok(file);
        };
        let coded = file.with_extension("coded");
        let made = Command::new(program).args(options).args([&file, &coded]).output()?;
        match made.status.success() {
            true => Ok(coded),
            false => Err(format!("{program} failed: {made:?}").into()),
        }
    }
}

/// The appliance's model once more, by itself.
fn bare(appliance: &Appliance) -> Result<Model, Box<dyn Error>> {
    let (keys, policy) = (appliance.site.trusted(), bundle::Policy::default());
    let here = scanside_edge::appliance::Appliance::here(&[]);
    let bundle = ReadBundle::read(appliance.bundle(), &keys, &policy, &here, false)?;
    Ok(bundle.load(runtime::load(None)?, &SessionOptions::default())?.0)
}

fn milliseconds(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1e3
}

fn round(
    appliance: &Appliance,
    service: &Running<'_>,
    model: &mut Model,
    file: &Path,
    number: usize,
) -> Result<Times, Box<dyn Error>> {
    thread::sleep(LOOK);
    service.acknowledge();
    let begin = Instant::now();
    let image = decode_path(file, &Limits::default())?.frame(0)?;
    let decode = milliseconds(begin);
    model.prepare(&image, SMALL_SIDE)?;
    let begin = Instant::now();
    model.run()?;
    let run = milliseconds(begin);
    drop(image);
    thread::sleep(REST);
    let output = scanner::push("storescu", &["--propose-lossless"], appliance.port, &[file.to_owned()]);
    if !output.status.success() {
        return Err(format!("the image was not taken: {output:?}").into());
    }
    // Whoever looks takes processor time from it.
    thread::sleep(REST);
    let uid = scanner::uid(number);
    let measured = format!("SELECT latency_ms FROM images WHERE key = '{uid}' AND latency_ms > 0");
    let mut latency = None;
    service.wait("the result on the display", || {
        let database = appliance.site.database();
        latency = database.query_row(&measured, [], |row| row.get(0)).ok();
        latency.is_some()
    })?;
    Ok(Times {
        latency: latency.unwrap_or(f64::MAX),
        decode,
        run,
    })
}

/// What the findings tell of the parts.
fn parts(appliance: &Appliance) -> Result<String, Box<dyn Error>> {
    let findings = appliance.site.texts("SELECT finding FROM results WHERE image_id > 1");
    let findings: Vec<serde_json::Value> = findings
        .iter()
        .map(|text| serde_json::from_str(text))
        .collect::<Result<_, _>>()?;
    let median = |name: &str| {
        let mut values: Vec<f64> = findings
            .iter()
            .filter_map(|finding| finding["timings_ms"][name].as_f64())
            .collect();
        values.sort_by(f64::total_cmp);
        format!("{name} {:.1}", values.get(values.len() / 2).unwrap_or(&f64::NAN))
    };
    Ok(["decode", "quality", "prepare", "inference", "total"]
        .map(median)
        .join(", "))
}

fn sorted(times: &[Times], value: impl Fn(&Times) -> f64) -> Vec<f64> {
    let mut values: Vec<f64> = times.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values
}
