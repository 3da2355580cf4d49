//! `cargo xtask soak`: what runs in short form in `test`, in its long form.

use anyhow::{Result, bail};

use crate::command::{cargo, heading, run as run_command};
use crate::native;

/// One long run: the test, and the variables that make it long.
struct Soak {
    name: &'static str,
    what: &'static str,
    variables: &'static [(&'static str, &'static str)],
    command: &'static [&'static str],
}

const SOAKS: &[Soak] = &[
    Soak {
        name: "power",
        what: "the power cut at every storage operation, up to five times in a row",
        variables: &[],
        command: &[
            "test",
            "--release",
            "--package",
            "scanside-hardware",
            "--lib",
            "power_cuts",
            "--",
            "--include-ignored",
            "--nocapture",
        ],
    },
    Soak {
        name: "power",
        what: "the same while models come as deltas",
        variables: &[],
        command: &[
            "test",
            "--release",
            "--package",
            "scanside-edge",
            "--lib",
            "power_cuts",
            "--",
            "--include-ignored",
            "--nocapture",
        ],
    },
    Soak {
        name: "line",
        what: "uploads over a noisy line to the simulated device and to the real service, from 100 seeds in each framing",
        variables: &[("SCANSIDE_SEEDS", "100")],
        command: &[
            "test",
            "--package",
            "scanside-flash",
            "--package",
            "scanside-edge",
            "--test",
            "noise",
            "--",
            "--nocapture",
        ],
    },
    Soak {
        name: "kills",
        what: "the service killed 200 times at random moments of updates",
        variables: &[("SCANSIDE_KILLS", "200")],
        command: &[
            "test",
            "--package",
            "scanside-edge",
            "--test",
            "kills",
            "--",
            "--nocapture",
        ],
    },
    Soak {
        name: "pushes",
        what: "the service killed 100 times during DICOM pushes of 500 images",
        variables: &[("SCANSIDE_KILLS", "100"), ("SCANSIDE_IMAGES", "500")],
        command: &[
            "test",
            "--package",
            "scanside-edge",
            "--test",
            "dicom_kills",
            "--",
            "--nocapture",
        ],
    },
    Soak {
        name: "appliance",
        what: "every DICOM object and X-ray of the development data through the service to dcmtk's archive and to Orthanc",
        variables: &[("SCANSIDE_EVERY", "1")],
        command: &[
            "test",
            "--release",
            "--package",
            "scanside-edge",
            "--test",
            "network",
            "--",
            "everything",
            "--nocapture",
        ],
    },
    Soak {
        name: "images",
        what: "10,000 images through one service: its memory, files, database and disk",
        variables: &[("SCANSIDE_IMAGES", "10000")],
        command: &[
            "test",
            "--release",
            "--package",
            "scanside-edge",
            "--test",
            "soak",
            "--",
            "--nocapture",
        ],
    },
    Soak {
        name: "memory",
        what: "the service's memory while bundles of 5, 50 and 200 MB arrive, whole and as a delta",
        variables: &[("SCANSIDE_MEGABYTES", "5,50,200")],
        command: &[
            "test",
            "--package",
            "scanside-edge",
            "--test",
            "memory",
            "--",
            "--nocapture",
            "--test-threads=1",
        ],
    },
];

/// Arguments of `soak`.
#[derive(clap::Args)]
pub struct Args {
    /// Only those of this name
    name: Option<String>,
}

/// Runs the long forms one after the other.
///
/// # Errors
/// An unknown name, or a run that fails.
pub fn run(args: &Args) -> Result<()> {
    native::setup_all()?;
    let mut wanted = SOAKS
        .iter()
        .filter(|soak| args.name.as_deref().is_none_or(|name| name == soak.name))
        .peekable();
    if wanted.peek().is_none() {
        let mut names: Vec<&str> = SOAKS.iter().map(|soak| soak.name).collect();
        names.dedup();
        bail!("no such soak; there are: {}", names.join(", "));
    }
    for soak in wanted {
        heading(&format!("{}: {}", soak.name, soak.what));
        run_command(cargo(soak.command).envs(soak.variables.iter().copied()))?;
    }
    Ok(())
}
