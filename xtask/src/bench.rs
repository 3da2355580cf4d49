//! `cargo xtask bench`: what the documentation claims about speed and memory, as ratios within one run.

use anyhow::{Result, bail};

use crate::command::{cargo, heading, run as run_command};
use crate::native;

/// One measurement: a name to call it by, and the cargo command that makes it.
struct Bench {
    name: &'static str,
    what: &'static str,
    command: &'static [&'static str],
}

const BENCHES: &[Bench] = &[
    Bench {
        name: "decode",
        what: "decoding against the decoding libraries alone (needs the development data)",
        command: &[
            "run",
            "--release",
            "--package",
            "scanside-imaging",
            "--example",
            "decode_bench",
        ],
    },
    Bench {
        name: "int8",
        what: "INT8 against float ResNet-18, and the memory of quantizing it and ResNet-50",
        command: &["bench", "--package", "scanside-onnx", "--bench", "int8"],
    },
    Bench {
        name: "screen",
        what: "preparation, heatmap, overlay and screen",
        command: &["bench", "--package", "scanside-edge", "--bench", "screen"],
    },
    Bench {
        name: "triage",
        what: "a whole triage, warm and from the start of the process",
        command: &["bench", "--package", "scanside-edge", "--bench", "triage"],
    },
    Bench {
        name: "receive",
        what: "images received and triaged over DICOM, against Orthanc (needs dcmtk and orthanc)",
        command: &["bench", "--package", "scanside-edge", "--bench", "receive"],
    },
    Bench {
        name: "latency",
        what: "from the last byte of an image to its result on the display (needs dcmtk)",
        command: &["bench", "--package", "scanside-edge", "--bench", "latency"],
    },
    Bench {
        name: "start",
        what: "from the start of the service until its model serves",
        command: &["bench", "--package", "scanside-edge", "--bench", "start"],
    },
    Bench {
        name: "line",
        what: "how much of a serial line scanside-flash uses",
        command: &["bench", "--package", "scanside-flash", "--bench", "line_rate"],
    },
];

/// Arguments of `bench`.
#[derive(clap::Args)]
pub struct Args {
    /// Only this one
    name: Option<String>,
}

/// Runs the measurements in release builds, one after the other.
///
/// # Errors
/// An unknown name; a measurement that fails, or finds more than is promised, after the others.
pub fn run(args: &Args) -> Result<()> {
    native::setup_all()?;
    let wanted: Vec<&Bench> = BENCHES
        .iter()
        .filter(|bench| args.name.as_deref().is_none_or(|name| name == bench.name))
        .collect();
    if wanted.is_empty() {
        let names: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
        bail!("no such bench; there are: {}", names.join(", "));
    }
    let mut missed = Vec::new();
    for bench in wanted {
        heading(&format!("{}: {}", bench.name, bench.what));
        if let Err(error) = run_command(&mut cargo(bench.command)) {
            eprintln!("{error:#}");
            missed.push(bench.name);
        }
    }
    if !missed.is_empty() {
        bail!("failed, or more than is promised: {}", missed.join(", "));
    }
    Ok(())
}
